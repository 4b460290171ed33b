"""The Python in READMEs and docs runs as it stands there."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from nkipy.core.compile import compile_to_neff, trace
from nkipy.testing import core_released
from tools import workspace

ROOT = Path(__file__).parents[2]
FOLDERS = [ROOT, *(member.path for member in workspace.members())]
READMES = [folder / "README.md" for folder in FOLDERS]
#: Pages whose code is files of a package have tests of their own.
PACKAGES = (
    "adding_ops",
    "adding_opcodes",
    "adding_custom_calls",
    "adding_packages",
)
DOCS = sorted(p for p in ROOT.glob("docs/**/*.md") if p.stem not in PACKAGES)
#: A block that shows an error is followed by its text.
BLOCK = re.compile(r"^```python\n(.*?)^```\n+(?:^```text\n(.*?)^```)?", re.M | re.S)
PAGES = [page for page in READMES + DOCS if BLOCK.search(page.read_text())]


@pytest.fixture
def kernel_neff(tmp_path):
    """``kernel.neff``, which pages load: from x, of (128, 128), to output0."""
    kernel = trace(lambda x: x + 1)
    kernel.specialize(np.ones((128, 128), np.float32))
    shutil.copy(compile_to_neff(kernel, tmp_path / "build"), tmp_path / "kernel.neff")


@pytest.mark.usefixtures("kernel_neff")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_on_the_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "page", "np": np}
    for i, (code, shown) in enumerate(BLOCK.findall(page.read_text())):
        file = tmp_path / f"block_{i}.py"
        file.write_text(code)
        compiled = compile(code, str(file), "exec")
        if not shown:
            exec(compiled, namespace)
            continue
        with pytest.raises(Exception) as caught:
            exec(compiled, namespace)
        assert str(caught.value).replace(str(file), "kernel.py") == shown.strip()
    logging.getLogger("nkipy.simulate").setLevel(logging.NOTSET)


def test_the_compile_command_on_the_page_and_what_it_says_of_lnc(tmp_path):
    """As it stands there; and without its ``--lnc 1``, with the variable it names."""
    page = (ROOT / "docs/compiler.md").read_text()
    compile_it, run_it = re.findall(r"^\$ ((?:\S+ compile|spike-run) .*)$", page, re.M)
    kernel = trace(lambda x: x + 1)
    module = kernel.specialize(np.ones(3, np.float32))
    (tmp_path / "hlo_module.pb").write_bytes(module.serialize())
    np.save(tmp_path / "x.npy", np.arange(3, dtype=np.float32))

    def run(line, **variables):
        (tmp_path / "out/output0.npy").unlink(missing_ok=True)
        name, *arguments = line.split()
        command = [str(Path(sysconfig.get_path("scripts"), name)), *arguments]
        environment = {**os.environ, **variables}
        with core_released():
            return subprocess.run(
                command, cwd=tmp_path, env=environment, capture_output=True, text=True
            )

    def check_result():
        result = np.load(tmp_path / "out/output0.npy")
        np.testing.assert_array_equal(result, np.array([1, 2, 3], np.float32))

    for line in (compile_it, run_it):
        done = run(line)
        assert done.returncode == 0, done.stderr
    check_result()
    assert run(compile_it.replace(" --lnc 1", "")).returncode == 0
    refused = run(run_it)
    assert refused.returncode == 1
    for told in ("with --lnc 2", "has 1 physical", "NEURON_LOGICAL_NC_CONFIG=2"):
        assert told in refused.stderr
    done = run(run_it, NEURON_LOGICAL_NC_CONFIG="2")
    assert done.returncode == 0, done.stderr
    check_result()


def test_the_readme_has_a_tour():
    assert len(BLOCK.findall(READMES[0].read_text())) >= 5
