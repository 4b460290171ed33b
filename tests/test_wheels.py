"""The wheels hold what they should, and work where nothing else is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).resolve().parent.parent
XLA = "nkipy/third_party/xla"

pytestmark = pytest.mark.slow


def uv(*arguments: str | Path) -> str:
    """Standard output of a uv command run at the top of the workspace."""
    found = os.environ.get("UV") or shutil.which("uv")  # `uv run` sets UV
    assert found, "run the tests with `uv run pytest`"
    done = subprocess.run(
        [found, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheels, each built from its source archive as uv does."""
    out = tmp_path_factory.mktemp("dist")
    for package in ("nkipy", "spike", "nkipy-emulator"):
        build = ["--package", package, "--python", sys.executable]
        uv("build", *build, "--out-dir", out)
    return out


EXPECTED = {
    "nkipy": [
        f"{XLA}/xla_data_pb2.py",
        f"{XLA}/xla_data_pb2.pyi",
        f"{XLA}/xla_data.proto",
        f"{XLA}/service/hlo_pb2.py",
        f"{XLA}/service/metrics_pb2.py",
        f"{XLA}/wire_fields.py",
        "nkipy/py.typed",
    ],
    "spike": [
        "spike/__init__.py",
        "spike/_spike.pyi",
        "spike/py.typed",
        "neff/__init__.py",
        "neff/py.typed",
    ],
    "nkipy_emulator": ["nkipy_emulator/libnkipy_xla_handlers.so"],
}
SMOKE = {
    "nkipy": "import nkipy.hlo.ir, nkipy.third_party.xla.service.hlo_pb2",
    "spike": "import neff, spike; assert spike.__version__",
    "nkipy_emulator": "import nkipy_emulator.engine as e; e.XlaCpuEngine",
}


@pytest.mark.parametrize("package", EXPECTED)
def test_wheel_holds_what_the_build_made(dist: Path, package: str) -> None:
    (wheel,) = dist.glob(f"{package}-*.whl")
    names = set(ZipFile(wheel).namelist())
    assert set(EXPECTED[package]) - names == set()
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert not any(name.startswith(("src/", "tests/", "build/")) for name in names)


@pytest.mark.parametrize("package", SMOKE)
def test_wheel_imports_alone(dist: Path, tmp_path: Path, package: str) -> None:
    """In an environment with the wheel, its dependencies, and nothing of the tree."""
    (wheel,) = dist.glob(f"{package}-*.whl")
    uv("venv", "--quiet", "--python", sys.executable, tmp_path / "env")
    python = tmp_path / "env" / "bin" / "python"
    install = ["pip", "install", "--quiet", "--find-links", dist, "--python", python]
    uv(*install, wheel)
    done = subprocess.run(
        [python, "-I", "-c", SMOKE[package]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
