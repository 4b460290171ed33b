"""The developer's guide adds an instruction in one record; this does just that."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.packages import fenced

ROOT = Path(__file__).parents[3]
GUIDE = ROOT / "docs/dev_guide/adding_instructions.md"
SOURCES, SUPPORT = "nki_simulator/src/nkipy_nki", "tests/support/nki"
CHAPTERS = f"{SOURCES}/isa/__init__.py"
KERNEL = """
import numpy as np
import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nkipy_nki import coverage

def kernel(x):
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    tile = nl.ndarray(x.shape, x.dtype, buffer=nl.sbuf)
    nisa.dma_copy(tile, x)
    nisa.clip(tile, tile, -1.0, 1.0)
    nisa.dma_copy(result, tile)
    return result

x = np.linspace(-3, 3, 128 * 256, dtype=np.float32).reshape(128, 256)
run = nki.simulate(kernel).run(x)
np.testing.assert_array_equal(run.values, np.clip(x, -1, 1))
(place,) = (i for i, s in enumerate(run.traces[0].steps) if s.record.name == "clip")
schedule = run.report().schedule
assert schedule.end[place] - schedule.start[place] >= 256 / 0.96 / 2
assert "clip" in nisa.__all__ and "clip <nkipy_nki.isa.clipping.clip>" in (
    coverage.instructions()
)
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package, and its tests of records, with the guide's files among them."""
    tests = "nki_simulator/tests"
    for folder in (SOURCES, SUPPORT):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    (tmp_path / tests).mkdir()
    for name in ("test_records.py", "test_records_again.py"):
        shutil.copy(ROOT / tests / name, tmp_path / tests)
    for package in ("tests", "tests/support"):
        (tmp_path / package / "__init__.py").touch()
    files = fenced(GUIDE)
    assert sorted(files) == [f"{SOURCES}/isa/clipping.py", f"{SUPPORT}/clipping.py"]
    for path, text in files.items():
        assert not (tmp_path / path).exists()
        (tmp_path / path).write_text(text)
    return tmp_path


def take_in(copy: Path) -> None:
    """The guide's line in the list of chapters."""
    (line,) = (
        line
        for line in GUIDE.read_text().splitlines()
        if line.startswith("from nkipy_nki.isa.clipping")
    )
    chapters = copy / CHAPTERS
    first = "from nkipy_nki.isa.dma import *\n"
    assert chapters.read_text().count(first) == 1
    chapters.write_text(chapters.read_text().replace(first, f"{line}\n{first}"))


def run(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(copy / "nki_simulator/src"), str(copy)])
    environment = {**os.environ, "PYTHONPATH": path}
    environment.pop("PYTEST_ADDOPTS", None)
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_its_samples_are_tried_and_it_runs_in_a_kernel(copy: Path) -> None:
    take_in(copy)
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", "clip", "-rA"]
    done = run(copy, "-m", "pytest", *options, "nki_simulator/tests")
    assert done.returncode == 0, done.stdout
    for case in ("[clip]", "[clip-float32]", "[clip-int8]", "[clip-from-psum]"):
        assert f"{case}\n" in done.stdout
    assert done.stdout.count("test_a_wrong_sample_is_refused[clip-") == 4
    done = run(copy, "-c", KERNEL)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_wrong_meaning_is_told(copy: Path) -> None:
    take_in(copy)
    chapter = copy / SOURCES / "isa/clipping.py"
    right = "np.clip(data, low, high)"
    assert right in chapter.read_text()
    chapter.write_text(chapter.read_text().replace(right, "np.maximum(data, low)"))
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", "clip", "-rA"]
    done = run(copy, "-m", "pytest", *options, "nki_simulator/tests/test_records.py")
    assert done.returncode == 1
    assert "FAILED" in done.stdout and "[clip-float32]" in done.stdout


def test_without_the_line_there_is_no_instruction(copy: Path) -> None:
    done = run(copy, "-c", "from nkipy_nki.isa import clip")
    assert done.returncode == 1 and "cannot import name 'clip'" in done.stderr
