"""The workspace itself: its pins, its entry points and what its build generates."""

from __future__ import annotations

import re
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
    assert found.value == "nkipy_emulator.engine:XlaCpuEngine"


def test_run_py_without_a_command_shows_its_usage() -> None:
    done = run_py()
    assert done.returncode != 0
    assert "python3 run.py demo" in done.stderr


def test_run_py_refuses_an_unknown_command() -> None:
    assert run_py("tset").returncode != 0


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
