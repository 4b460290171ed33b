"""Packages of other projects under our names, and other versions of ours, are told."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import nkipy
import spike
from nkipy.installed import check_package, how_to_install, problem_of
from tests.support import packages
from tools import workspace


@pytest.fixture(autouse=True)
def forget():
    check_package.cache_clear()
    yield
    check_package.cache_clear()


def test_ours_are_right() -> None:
    for name in ("nkipy", "spike"):
        assert problem_of(name) == ""
        check_package(name)


def test_another_version_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spike._release.__version__", "0.0.7")
    with pytest.raises(ImportError, match="spike 0.0.7 is installed, and nkipy"):
        check_package("spike")


def test_a_package_without_the_marker_is_not_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(spike, "__nkipy_internal__")
    with pytest.raises(ImportError, match=r"another project's .*pip uninstall spike"):
        check_package("spike")


def run(code: str, site: Path) -> str:
    """The last line that Python says of it, with `site` before what is installed.

    -S keeps out the editable installs, which Python would find first of all.
    """
    path = [site, *workspace.sources(), sysconfig.get_path("purelib")]
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": os.pathsep.join(map(str, path))},
        capture_output=True,
        text=True,
    )
    return (done.stdout + done.stderr).strip().splitlines()[-1]


@pytest.mark.parametrize(
    "code",
    [
        "from nkipy.runtime import DeviceTensor",
        "from nkipy.runtime import baremetal_jit; baremetal_jit(lambda x: x)",
    ],
)
def test_a_strangers_spike_is_named(code: str, tmp_path: Path) -> None:
    packages.install(tmp_path, "spike", {"spike/__init__.py": "class Sim: pass"}, {})
    said = run(code, tmp_path)
    assert said.startswith("ImportError: ") and "needs spike, which talks to" in said
    assert f"spike 1.0 in {tmp_path}/spike/__init__.py is another project's" in said
    assert f"install the wheel of spike {nkipy.__version__}" in said


@pytest.mark.parametrize("text", ["", "__version__ = '9'"])
def test_the_emulator_names_a_strangers_nkipy(text: str, tmp_path: Path) -> None:
    packages.install(tmp_path, "nkipy", {"nkipy/__init__.py": text}, {})
    said = run("import nkipy_emulator", tmp_path)
    assert said.startswith("ImportError: nkipy-emulator ")
    assert f"in {tmp_path}/nkipy/__init__.py: uninstall that" in said


def test_no_message_sends_to_the_public_index() -> None:
    """Where the names are others', or nobody's."""
    assert "pip install" not in how_to_install("spike")
    root = Path(__file__).parents[2]
    files = [f for f in root.glob("*/src/**/*.py") if "pip install" in f.read_text()]
    ours = ("pip install nkipy", "pip install spike")
    assert [f for f in files if any(o in f.read_text() for o in ours)] == []
