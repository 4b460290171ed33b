"""Where torch comes from: pip's own places, uv's CPU backend, and no build for GPUs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from tools import workspace
from tools.install_torch import is_for_gpus

TOOL = workspace.ROOT / "tools" / "install_torch.py"
(VERSION,) = {member.torch for member in workspace.members() if member.torch}
REQUIRES = ["filelock", 'opt-einsum>=3.3; extra == "opt-einsum"']
CUDA = "nvidia-cudnn-cu13==9.1; platform_system == 'Linux'"


@pytest.mark.parametrize(
    ("version", "requires", "expected"),
    [
        ("2.13.0+cpu", [], False),
        ("2.13.0", REQUIRES, False),
        ("2.13.0+cu130", REQUIRES, True),
        ("2.13.0+rocm7.0", [], True),
        ("2.13.0", [*REQUIRES, CUDA], True),
        ("2.13.0", ["triton==3.7.0"], True),
        ("2.13.0", ['triton; extra == "all"'], False),
    ],
)
def test_a_build_for_gpus_is_known_by_its_metadata(
    version: str, requires: list, expected: bool
) -> None:
    assert is_for_gpus(version, requires) is expected


class Elsewhere:
    """An environment without torch, with no index to ask but a folder of wheels."""

    def __init__(self, place: Path) -> None:
        self.wheels = place / "wheels"
        self.wheels.mkdir()
        command = [sys.executable, "-m", "venv", "--without-pip", place / "env"]
        subprocess.run(command, check=True)
        self.python = place / "env" / "bin" / "python"

    def add(self, version: str, *requires: str) -> None:
        """A wheel that is called torch."""
        info = f"torch-{version}.dist-info"
        lines = ["Metadata-Version: 2.1", "Name: torch", f"Version: {version}"]
        lines += [f"Requires-Dist: {required}" for required in requires]
        tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        with ZipFile(self.wheels / f"torch-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr("torch/__init__.py", "")
            wheel.writestr(f"{info}/METADATA", "\n".join(lines) + "\n")
            wheel.writestr(f"{info}/WHEEL", tags)
            wheel.writestr(f"{info}/RECORD", "")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "UV_"))}
        env |= {"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": str(self.wheels)}
        env |= {"UV_OFFLINE": "1", "UV_NO_CACHE": "1"}
        command = [self.python, TOOL, *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True)

    def torch(self) -> list[str]:
        """What is installed of it."""
        found = self.python.parents[1].glob("lib/*/site-packages/torch-*")
        return [path.name for path in found]


@pytest.fixture
def elsewhere(tmp_path: Path) -> Elsewhere:
    if sys.version_info < (3, 11):
        pytest.skip("the tool reads pyproject.toml, which takes tomllib")
    return Elsewhere(tmp_path)


SAY = ("--if-possible", sys.executable, "-c", "print('ran')")


@pytest.mark.slow
def test_without_torch_a_line_says_so_and_the_command_runs(
    elsewhere: Elsewhere,
) -> None:
    done = elsewhere.run(*SAY)
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert done.stderr.count("\n") == 1
    assert f"have no torch {VERSION} for Python" in done.stderr
    assert "their tests are left out" in done.stderr
    required = elsewhere.run()
    assert required.returncode == 1 and "left out" not in required.stderr


@pytest.mark.slow
def test_a_build_for_gpus_is_not_installed(elsewhere: Elsewhere) -> None:
    elsewhere.add(f"{VERSION}.0", *REQUIRES, CUDA)
    done = elsewhere.run()
    assert done.returncode == 1 and f"have no torch {VERSION}" in done.stderr
    assert elsewhere.torch() == []


@pytest.mark.slow
def test_a_build_for_the_cpu_is_installed(elsewhere: Elsewhere) -> None:
    """And what cannot be built against it says so."""
    elsewhere.add("2.0.0+cpu")
    elsewhere.add(f"{VERSION}.1+cpu", *REQUIRES)
    done = elsewhere.run()
    assert elsewhere.torch() == [f"torch-{VERSION}.1+cpu.dist-info"], done.stderr
    assert done.returncode == 1 and "cannot be built against it" in done.stderr
