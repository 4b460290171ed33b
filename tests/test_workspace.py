"""The workspace itself: its pins, its entry points and what its build generates."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

from tools import workspace

ROOT = Path(__file__).resolve().parent.parent
MEMBERS = {"nkipy-workspace", *(member.name for member in workspace.members())}


def run_py(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "run.py"), *arguments],
        capture_output=True,
        text=True,
    )


@pytest.mark.skipif(sys.version_info < (3, 11), reason="needs tomllib")
def test_every_resolved_version_is_pinned() -> None:
    """A new dependency whose pins were not refreshed would float."""
    import tomllib

    lock = ROOT / "uv.lock"
    if not lock.exists():
        pytest.skip("the workspace was not installed by uv")
    packages = tomllib.loads(lock.read_text())["package"]
    resolved = {f"{p['name']}=={p['version']}" for p in packages}
    resolved = {r for r in resolved if r.partition("==")[0] not in MEMBERS}
    settings = workspace.load(ROOT)["tool"]["uv"]
    pinned = {p.partition(" ")[0] for p in settings["constraint-dependencies"]}
    assert resolved and resolved - pinned == set()


def test_pins_hold_no_download_address() -> None:
    assert not re.search(r"https?://", (ROOT / "pyproject.toml").read_text())


def test_git_tracks_no_lock_file() -> None:
    files = ["*uv.lock", "*poetry.lock", "*package-lock.json"]
    tracked = subprocess.run(
        ["git", "ls-files", *files], cwd=ROOT, capture_output=True, text=True
    )
    assert tracked.stdout == ""


@pytest.mark.parametrize("member", workspace.members(), ids=lambda m: m.name)
def test_packages_state_the_version_of_their_distribution(member) -> None:
    if member.torch and not member.is_installed:
        pytest.skip(f"torch {member.torch} is not installed")
    assert version(member.name) == workspace.version_of()
    for package in member.packages:
        assert import_module(package).__version__ == version(member.name)


def test_the_version_is_written_everywhere() -> None:
    tool = [sys.executable, "-I", str(ROOT / "tools/generate_versions.py"), "--check"]
    done = subprocess.run(tool, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_generated_protos_are_submodules_of_the_package() -> None:
    from nkipy.third_party.xla import xla_data_pb2
    from nkipy.third_party.xla.service import hlo_pb2, metrics_pb2

    assert xla_data_pb2.DESCRIPTOR in hlo_pb2.DESCRIPTOR.dependencies
    assert metrics_pb2.DESCRIPTOR in hlo_pb2.DESCRIPTOR.dependencies
    module = hlo_pb2.HloModuleProto(name="m")
    assert hlo_pb2.HloModuleProto.FromString(module.SerializeToString()).name == "m"


def test_the_emulator_is_registered_as_a_simulator() -> None:
    (found,) = entry_points(group="nkipy.simulators", name="xla-cpu")
    assert found.value == "nkipy_emulator.engine:XlaCpuSimulator"


def test_run_py_without_a_command_shows_its_usage() -> None:
    done = run_py()
    assert (done.returncode, done.stdout) == (2, "")
    assert "python3 run.py demo" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tset"], "no command tset; did you mean test?"),
        (["--hepl"], "no command --hepl; did you mean --help?"),
        (["frobnicate"], "no command frobnicate; there are demo, test, torch, "),
        (["demo", "now"], "demo takes no arguments, got now"),
        (["torch", "2.0"], "torch takes no arguments, got 2.0"),
    ],
)
def test_run_py_refuses_what_it_does_not_know(arguments: list, said: str) -> None:
    done = run_py(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"run.py: error: {said}")
    assert done.stderr.count("\n") == 1


def copy_of_run_py(place: Path) -> list[str]:
    """Of a workspace in which nothing is installed."""
    shutil.copy(ROOT / "run.py", place)
    shutil.copy(ROOT / "pyproject.toml", place)
    for member in workspace.members():
        (place / member.folder).mkdir(parents=True)
        shutil.copy(member.path / "pyproject.toml", place / member.folder)
    return [sys.executable, str(place / "run.py")]


@pytest.mark.parametrize("arguments", [["demo"], ["test"], ["torch"], ["uv", "sync"]])
def test_run_py_says_that_there_is_no_compiler(tmp_path: Path, arguments: list) -> None:
    command = [*copy_of_run_py(tmp_path), *arguments]
    done = subprocess.run(command, env={"PATH": ""}, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "a C++17 compiler is needed" in done.stderr


def test_what_git_clean_deleted_is_built_again(tmp_path: Path) -> None:
    """Without .venv, for part of what uv keeps may be gone as well; and not with it."""
    shown = tmp_path / "bin/uv"
    shown.parent.mkdir()
    shown.write_text('#!/bin/sh\necho "uv 0.99.0 $*"\n')
    shown.chmod(0o755)
    (tmp_path / "a clone").mkdir()
    command = [*copy_of_run_py(tmp_path / "a clone"), "uv", "sync", "--frozen"]
    env = {"PATH": f"{shown.parent}:/usr/bin:/bin", "CXX": "c++"}

    def said() -> str:
        return subprocess.run(command, env=env, capture_output=True, text=True).stdout

    options = {f"--reinstall-package={member.name}" for member in workspace.members()}
    words = said().split()[2:]
    assert (words[0], words[-1]) == ("sync", "--frozen")
    assert set(words[1:-1]) == options and len(words) == len(options) + 2
    (tmp_path / "a clone/.venv").mkdir()
    assert said() == "uv 0.99.0 sync --frozen\n"


ENDS_LATE = """
import signal, sys, time
def end(*_):
    time.sleep(0.3)
    print("ended", flush=True)
    sys.exit(7)
signal.signal(signal.SIGINT, end)
print("began", flush=True)
time.sleep(60)
"""


def test_ctrl_c_in_run_py_waits_for_what_it_runs() -> None:
    command = [sys.executable, str(ROOT / "run.py"), "uv", "run", "--no-sync", "python"]
    with subprocess.Popen(
        [*command, "-c", ENDS_LATE],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout and process.stderr
        assert process.stdout.readline() == "began\n"
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        process.wait(20)
        os.set_blocking(process.stdout.fileno(), False)
        assert process.stdout.read() == "ended\n"
        assert "Traceback" not in process.stderr.read()
    assert process.returncode == 7


def test_run_py_passes_arguments_and_exit_code_to_uv() -> None:
    done = run_py("uv", "--version")
    assert done.returncode == 0 and done.stdout.startswith("uv ")
    assert run_py("uv", "no-such-command").returncode == 2


def test_every_member_has_what_it_needs() -> None:
    assert len(workspace.members()) >= 3
    assert workspace.problems() == []


def test_every_package_among_the_layers_is_a_members() -> None:
    found = {package for member in workspace.members() for package in member.packages}
    layered = workspace.load(ROOT)["tool"]["importlinter"]["root_packages"]
    assert set(layered) == found, "see tool.importlinter in pyproject.toml"


def test_tools_name_no_member_themselves() -> None:
    """But those whose matter is one package."""
    names = "|".join(member.name for member in workspace.members())
    listed = re.compile(rf"""["']({names})["'], *["']({names})["']""")
    files = [*ROOT.glob("tools/*.py"), *ROOT.glob("tests/*.py"), ROOT / "conftest.py"]
    assert len(files) > 5
    assert [f.name for f in files if listed.search(f.read_text())] == []
