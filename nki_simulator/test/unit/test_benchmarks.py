# SPDX-License-Identifier: MIT-0
"""The pages with estimates are those that the tool writes, and call them estimates."""

from __future__ import annotations

from pathlib import Path

import pytest

from nki_simulator.src import reference, tutorials
from tools import generate_nki_benchmarks as tool

#: The others take some seconds together.
QUICK = ("rmsnorm", "rotary", "softmax", "transpose2d")
PAGES = [
    pytest.param(path, marks=[] if Path(path).stem in QUICK else pytest.mark.slow)
    for path in tool.GENERATED
]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_current(path):
    written = (tool.ROOT / path).read_text()
    assert written == tool.GENERATED[path](), "run tools/generate_nki_benchmarks.py"


@pytest.mark.parametrize("path", tool.GENERATED)
def test_a_page_calls_its_figures_estimates(path):
    written = (tool.ROOT / path).read_text()
    assert "none was measured" in written and "time (estimate)" in written
    assert all(f" {target} " in written for target in tool.TARGETS)


def test_each_file_of_kernels_has_a_page():
    folders = [Path(next(iter(folder.__path__))) for folder in (reference, tutorials)]
    assert {f.stem for folder in folders for f in folder.glob("*.py")} == set(
        tool.PAGES
    )
