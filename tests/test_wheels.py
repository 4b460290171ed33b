"""The wheels hold what they should, and work where nothing else is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from tools import workspace

ROOT = Path(__file__).resolve().parent.parent
XLA = "nkipy/third_party/xla"

#: All C++ is compiled, which takes a busy machine longer than any other test.
MINUTES = 15
pytestmark = [pytest.mark.slow, pytest.mark.timeout(60 * MINUTES)]


def uv(*arguments: str | Path) -> str:
    """Standard output of a uv command run at the top of the workspace."""
    found = os.environ.get("UV") or shutil.which("uv")  # `uv run` sets UV
    assert found, "run the tests with `uv run pytest`"
    done = subprocess.run(
        [found, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60 * MINUTES,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheels, each built from its source archive as uv does."""
    out = tmp_path_factory.mktemp("dist")
    uv("build", "--all-packages", "--python", sys.executable, "--out-dir", out)
    return out


MEMBERS = {member.name.replace("-", "_"): member for member in workspace.members()}
#: What the build makes, beside the sources.
GENERATED = {
    "nkipy": [
        f"{XLA}/xla_data_pb2.py",
        f"{XLA}/xla_data_pb2.pyi",
        f"{XLA}/service/hlo_pb2.py",
        f"{XLA}/service/metrics_pb2.py",
        f"{XLA}/wire_fields.py",
    ],
    "spike": [
        "spike/_spike.pyi",
        "spike/include/spike_c.h",
        "spike/include/spike_statuses.h",
    ],
    "nkipy_emulator": ["nkipy_emulator/libnkipy_xla_handlers.so"],
}
#: What is tried besides importing a package.
SMOKE = {
    "nkipy": "import nkipy.hlo.ir, nkipy.third_party.xla.service.hlo_pb2",
    "spike": "import spike; assert spike.__version__",
    "nkipy_emulator": "import nkipy_emulator.engine as e; e.XlaCpuEngine",
}


def sources_of(member: workspace.Member) -> set[str]:
    """The files in git of a member's packages, as they stand in its wheel."""
    places = [f"src/{package}" for package in member.packages]
    command = ["git", "ls-files", *places]
    done = subprocess.run(
        command, cwd=member.path, check=True, capture_output=True, text=True
    )
    return {name.removeprefix("src/") for name in done.stdout.splitlines()}


@pytest.mark.parametrize("package", MEMBERS)
def test_wheel_holds_what_the_build_made(dist: Path, package: str) -> None:
    (wheel,) = dist.glob(f"{package}-*.whl")
    names = set(ZipFile(wheel).namelist())
    expected = sources_of(MEMBERS[package])
    assert len(expected) > 1
    assert {*expected, *GENERATED.get(package, ())} - names == set()
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert not any(name.startswith(("src/", "tests/", "build/")) for name in names)


@pytest.mark.parametrize("package", MEMBERS)
def test_wheel_imports_alone(dist: Path, tmp_path: Path, package: str) -> None:
    """In an environment with the wheel, its dependencies, and nothing of the tree."""
    (wheel,) = dist.glob(f"{package}-*.whl")
    uv("venv", "--quiet", "--python", sys.executable, tmp_path / "env")
    python = tmp_path / "env" / "bin" / "python"
    install = ["pip", "install", "--quiet", "--find-links", dist, "--python", python]
    uv(*install, wheel)
    imports = f"import {', '.join(MEMBERS[package].packages)}"
    done = subprocess.run(
        [python, "-I", "-c", f"{imports}\n{SMOKE.get(package, '')}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
