"""The names in this environment, and what is installed of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from pkgutil import resolve_name

import pytest

import nkipy_nki_names

ROOT = Path(__file__).resolve().parents[2]
AT_START = "nkipy_nki_names.pth", "nkipy_nki_names.start"


def test_they_reach_ours_here_without_a_further_step(tmp_path: Path) -> None:
    code = (
        "import nki, nkipy_nki, neuronxcc.nki, nkipy_nki.neuronxcc.nki as own\n"
        "assert nki is nkipy_nki and neuronxcc.nki is own\n"
        "assert nki.__nkipy_internal__ and neuronxcc.__nkipy_internal__"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_nobody_takes_them_for_the_vendors_compiler(tmp_path: Path) -> None:
    code = (
        "import nki, neuronxcc\n"
        "from nkipy.compiler.discovery import find_compiler\n"
        "found = find_compiler(); print(found.is_vendor, found.identity)"
    )
    env = {**os.environ, "PATH": os.defpath}
    run = [sys.executable, "-c", code]
    said = subprocess.check_output(run, cwd=tmp_path, env=env, text=True)
    assert said.startswith("False nkipy-emulator")


def test_the_distribution_claims_no_name_of_the_vendors() -> None:
    files = metadata.files("nkipy-nki-names") or []
    names = {file.parts[0] for file in files if not file.parts[0].endswith("-info")}
    assert names == {"nkipy_nki_names", *AT_START}


@pytest.mark.parametrize("name", AT_START)
def test_what_python_reads_at_its_start_is_that_of_the_sources(name: str) -> None:
    site = Path(nkipy_nki_names.__file__).parent.parent
    text = (ROOT / "nki_names/src" / name).read_text()
    assert (site / name).read_text() == text and text.count("\n") == 1


def test_both_files_call_the_same_function() -> None:
    """Python 3.15 takes the line of the second kind, older ones that of the first."""
    lines = [(ROOT / "nki_names/src" / name).read_text().strip() for name in AT_START]
    assert resolve_name(lines[1]) is nkipy_nki_names.install
    assert lines[0] == "import nkipy_nki_names; nkipy_nki_names.install()"


def uv(*arguments: str | Path) -> None:
    found = os.environ.get("UV") or shutil.which("uv")  # `uv run` sets UV
    assert found, "run the tests with `uv run pytest`"
    done = subprocess.run([found, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


VENDOR = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"
[project]
name = "nki"
version = "0.7.0"
[tool.setuptools]
packages = ["nki"]
package-dir = {nki = "odd/place"}
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Ours, built out of its source archive."""
    dist = tmp_path_factory.mktemp("dist")
    uv("build", "--quiet", "--out-dir", dist, ROOT / "nki_names")
    (built,) = dist.glob("*.whl")
    return built


@pytest.mark.slow
@pytest.mark.parametrize("vendor", ["wheel", "editable"])
@pytest.mark.parametrize("ours", ["before", "after"])
def test_installed_with_the_vendors(bare, wheel, tmp_path, vendor, ours) -> None:
    """By an installer."""
    source = tmp_path / "vendor"
    (source / "odd/place").mkdir(parents=True)
    (source / "odd/place/__init__.py").touch()
    (source / "pyproject.toml").write_text(VENDOR)
    theirs = ["--editable", source] if vendor == "editable" else [source]
    steps: list[list[str | Path]] = [["--no-deps", wheel], theirs]
    install = ("pip", "install", "--quiet", "--python", str(bare.python))
    for step in steps if ours == "before" else reversed(steps):
        uv(*install, *step)
    shutil.copytree(ROOT / "nki_simulator/src/nkipy_nki", bare.site / "nkipy_nki")
    whose = "import importlib.util as u; print(u.find_spec('nki').loader)"
    assert "OwnLoader" not in bare.code(whose)
    assert "the vendor's nki 0.7.0" in bare.run("-m", "nkipy_nki_names")
    uv("pip", "uninstall", "--quiet", "--python", str(bare.python), "nki")
    assert "OwnLoader" in bare.code(whose)
    uv("pip", "uninstall", "--quiet", "--python", str(bare.python), "nkipy-nki-names")
    assert bare.code(whose.replace(".loader", "")) == "None\n"
    assert not list(bare.site.glob("nkipy_nki_names*"))
