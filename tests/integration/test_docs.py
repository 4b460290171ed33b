"""The Python in READMEs and docs runs as it stands there, and tutorials wholly."""

from __future__ import annotations

import doctest
import logging
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
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
    "adding_instructions",
    "adding_packages",
)
DOCS = sorted(p for p in ROOT.glob("docs/**/*.md") if p.stem not in PACKAGES)
#: Python; of which a block that shows an error is followed by its text.
BLOCK = re.compile(r"^```python\n(.*?)^```\n+(?:^```text\n(.*?)^```)?", re.M | re.S)
#: Python with its results; and the shell's.
SESSION = re.compile(r"^```pycon\n(.*?)^```", re.M | re.S)
SHELL = re.compile(r"^```bash\n(.*?)^```", re.M | re.S)
TUTORIALS = [page for page in DOCS if page.parent.name == "tutorials"]


def pieces(page: Path) -> list[re.Match[str]]:
    """What is run of a page, from top to bottom."""
    text = page.read_text()
    patterns = [BLOCK, SESSION, *[SHELL] * (page in TUTORIALS)]
    found = [match for pattern in patterns for match in pattern.finditer(text)]
    return sorted(found, key=re.Match.start)


#: What needs torch, and what pages import that are about it.
TORCH = ("torch", "spike_torch", "spiky")
IMPORTS_TORCH = re.compile(rf"^(import|from) ({'|'.join(TORCH)})\b", re.M)
HAS_TORCH = all(find_spec(name) is not None for name in TORCH)
PAGES = [page for page in READMES + DOCS if pieces(page)]


@pytest.fixture
def kernel_neff(tmp_path):
    """``kernel.neff``, which pages load: from x, of (128, 128), to output0."""
    kernel = trace(lambda x: x + 1)
    kernel.specialize(np.ones((128, 128), np.float32))
    shutil.copy(compile_to_neff(kernel, tmp_path / "build"), tmp_path / "kernel.neff")


@pytest.mark.usefixtures("kernel_neff")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_the_page_shows_runs(page, tmp_path, monkeypatch):
    if not HAS_TORCH and IMPORTS_TORCH.search(page.read_text()):
        pytest.skip("the page needs torch and its device")
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "page", "np": np}
    for i, piece in enumerate(pieces(page)):
        if piece.re is BLOCK:
            run_block(*piece.groups(), tmp_path / f"block_{i}.py", namespace)
        elif piece.re is SESSION:
            run_session(piece[1], page.stem, namespace)
        else:
            run_in_shell(piece[1])
    logging.getLogger("nkipy.simulate").setLevel(logging.NOTSET)
    if "spiky.torch" in sys.modules:
        sys.modules["spiky.torch"].reset_nkipy_backend()


def run_block(code, shown, file, namespace):
    file.write_text(code)
    compiled = compile(code, str(file), "exec")
    if not shown:
        exec(compiled, namespace)
        return
    with pytest.raises(Exception) as caught:
        exec(compiled, namespace)
    assert str(caught.value).replace(str(file), "kernel.py") == shown.strip()


def run_session(code, name, namespace):
    test = doctest.DocTestParser().get_doctest(code, {}, name, None, None)
    test.globs = namespace
    assert test.examples
    report = []
    doctest.DocTestRunner().run(test, out=report.append, clear_globs=False)
    assert report == []


def run_in_shell(commands):
    """In the workspace's environment; what installs it is run by CI."""
    if "run.py" in commands:
        install, activate = commands.splitlines()
        assert f"step {install}\n" in (ROOT / ".ci/run").read_text()
        assert activate == "source .venv/bin/activate"
        return
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    with core_released():
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout


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
    # It takes two physical cores, of which another worker has one: on its own machine.
    locks = str(tmp_path / "locks")
    done = run(run_it, NEURON_LOGICAL_NC_CONFIG="2", NKIPY_EMULATOR_LOCK_DIR=locks)
    assert done.returncode == 0, done.stderr
    check_result()


def test_the_readme_has_a_tour():
    assert len(BLOCK.findall(READMES[0].read_text())) >= 5


def test_tutorials_show_nothing_that_is_not_run():
    assert TUTORIALS
    for page in TUTORIALS:
        fences = re.findall(r"^```\w+\n", page.read_text(), re.M)
        errors = sum(piece.re is BLOCK and bool(piece[2]) for piece in pieces(page))
        assert len(fences) == len(pieces(page)) + errors > 5


@pytest.mark.parametrize("page", READMES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_the_readme_lead_to_files(page):
    links = re.findall(r"\]\((?!https?://)([^)#]+)[^)]*\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
