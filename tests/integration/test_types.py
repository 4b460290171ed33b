"""What type checkers say of a user's project: ``typed_project``, copied elsewhere."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = Path(__file__).parent / "typed_project"

Lines = set[tuple[str, int]]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The project in a place of its own, from which nothing of the tree is seen."""
    return Path(shutil.copytree(PROJECT, tmp_path / "project"))


def marked(project: Path) -> Lines:
    """The lines that have to be refused: they say so."""
    return {
        (file.name, number)
        for file in project.glob("*.py")
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if line.endswith("# refused")
    }


def check(project: Path, *command: str) -> str:
    """What a type checker, a module of Python's, writes on the project."""
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=project, capture_output=True, text=True
    )
    assert done.stderr == ""
    return done.stdout


def test_mypy_refuses_the_wrong_calls_and_no_others(project: Path) -> None:
    pytest.importorskip("mypy")
    # What it knows of NumPy and of nkipy is kept from one run to the next.
    cache = ROOT / ".mypy_cache" / "users"
    said = check(project, "mypy", "--strict", f"--cache-dir={cache}", ".")
    found = re.findall(r"^([\w/]+\.py):(\d+): error:", said, re.M)
    assert {(name, int(line)) for name, line in found} == marked(project), said


@pytest.mark.slow
def test_pyright_refuses_the_wrong_calls_and_no_others(project: Path) -> None:
    pytest.importorskip("pyright", reason="needs pyright: uv run --group types pytest")
    (project / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    said = check(
        project, "pyright", "--outputjson", "--pythonpath", sys.executable, "."
    )
    found = {
        (Path(each["file"]).name, each["range"]["start"]["line"] + 1)
        for each in json.loads(said)["generalDiagnostics"]
        if each["severity"] == "error"
    }
    assert found == marked(project), said
