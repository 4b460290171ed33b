"""Errors and programs as IPython shows them, and with it a notebook."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("IPython")

#: An IPython of a process of its own, which shows what the cells say.
SHELL = """
import sys
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance(history_load_length=0)
shell.run_line_magic("colors", "NoColor")
for cell in open(sys.argv[1]).read().split("# ---\\n"):
    shell.run_cell(cell, store_history=True)
    print("-" * 5)
"""
PRELUDE = """import numpy as np
from nkipy.runtime import simulate_jit
# ---
"""
MISTAKE = """@simulate_jit
def kernel(x):
    return x @ np.ones((5, 5), np.float32)
# ---
kernel(np.ones((3, 3), np.float32))
"""


def shown(tmp_path: Path, cells: str) -> str:
    """What is shown when cells, with lines "# ---" between them, have run."""
    (tmp_path / "cells.py").write_text(PRELUDE + cells)
    done = subprocess.run(
        [sys.executable, "-c", SHELL, str(tmp_path / "cells.py")],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "IPYTHONDIR": str(tmp_path / "ipython")},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_error_names_the_cell_and_shows_no_frame_of_ours(tmp_path):
    text = shown(tmp_path, MISTAKE)
    assert "NKIPyValueError: [matmul] shapes (3, 3) and (5, 5)" in text
    assert "\n  at Cell In[2], line 3" in text
    assert "Cell In[3], line 1" in text and "----> 3     return x @ np.ones" in text
    assert "direct cause" not in text
    assert "nkipy/src" not in text and "site-packages" not in text


def test_verbose_errors_and_others_show_every_frame(tmp_path):
    text = shown(tmp_path, "%xmode Verbose\n# ---\n" + MISTAKE)
    assert "trace_function" in text and "direct cause" in text
    assert "\n  at Cell In[3], line 3" in text
    text = shown(tmp_path, MISTAKE + "# ---\nimport json\njson.loads('{')\n")
    assert "JSONDecodeError" in text and "raw_decode" in text


def test_the_text_of_a_program_keeps_its_lines(tmp_path):
    text = shown(tmp_path, "simulate_jit(np.exp).hlo(np.ones(3, np.float32))\n")
    assert "HloModule" in text and "exponential(" in text and "\\n" not in text
