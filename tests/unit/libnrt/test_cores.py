"""Whose cores are whose: between processes, and after a process ended badly."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import libnrt
from tests.support.libnrt import FAILURE
from tests.support.users import OTHER, needs_root, run_as_other, shared_place

# Tries to start; says how that went and how many cores there are.
TRY = """
status = lib.nrt_init(1, b"", b"")
print(status, nrt.count("nrt_get_visible_nc_count") if status == 0 else "-")
"""


@contextmanager
def owner(locks: Path, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds cores until its standard input ends."""
    code = """
    nrt.init()
    print("ready", flush=True)
    sys.stdin.read()
    nrt.close()
    """
    variables["NKIPY_EMULATOR_LOCK_DIR"] = str(locks)
    process = libnrt.start_python(code, variables)
    try:
        assert process.stdout and process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.communicate(timeout=60)


def attempt(locks: Path, **variables: str) -> tuple[str, str]:
    """What a process prints that tries to start; and its log."""
    variables["NKIPY_EMULATOR_LOCK_DIR"] = str(locks)
    done = libnrt.run_python(TRY, **variables)
    return done.stdout.strip(), done.stderr


def test_a_core_in_use_is_not_given_twice(tmp_path: Path) -> None:
    with owner(tmp_path, NEURON_RT_VISIBLE_CORES="1"):
        said, log = attempt(tmp_path, NEURON_RT_VISIBLE_CORES="1")
        assert said == f"{FAILURE} -"
        assert "NeuronCore(s) not available - Requested:nc1-nc1 Available:0" in log
        assert "ERROR" in log and "NRT:nrt_init" in log
        said, log = attempt(tmp_path, NEURON_RT_VISIBLE_CORES="0-2")
        assert said == f"{FAILURE} -"
        assert "Requested:nc0-nc2 Available:2" in log
        assert attempt(tmp_path, NEURON_RT_VISIBLE_CORES="2-3") == ("0 2", "")
    assert attempt(tmp_path, NEURON_RT_VISIBLE_CORES="0-2") == ("0 3", "")


def test_a_number_of_cores_takes_free_ones(tmp_path: Path) -> None:
    with owner(tmp_path, NEURON_RT_VISIBLE_CORES="1"):
        with owner(tmp_path, NEURON_RT_NUM_CORES="2"):  # 0 and 2
            said, log = attempt(tmp_path, NEURON_RT_VISIBLE_CORES="2")
            assert said == f"{FAILURE} -"
            assert attempt(tmp_path, NEURON_RT_NUM_CORES="5") == ("0 5", "")
            said, log = attempt(tmp_path, NEURON_RT_NUM_CORES="6")
            assert said == f"{FAILURE} -"
            assert "Requested:6 Available:5" in log
            said, log = attempt(tmp_path)
            assert "Requested:nc0-nc7 Available:5" in log


def test_logical_cores_share_physical_ones(tmp_path: Path) -> None:
    """Core 1 of two physical ones each is cores 2 and 3 of one each."""
    double = {"NEURON_LOGICAL_NC_CONFIG": "2", "NEURON_RT_VISIBLE_CORES": "1"}
    with owner(tmp_path, **double):
        for core, free in (("1", True), ("2", False), ("3", False), ("4", True)):
            said, _ = attempt(tmp_path, NEURON_RT_VISIBLE_CORES=core)
            assert said == ("0 1" if free else f"{FAILURE} -"), core


def test_instances_are_machines_of_their_own(tmp_path: Path) -> None:
    with owner(tmp_path, NKIPY_EMULATOR_INSTANCE="trn1.2xlarge"):
        assert attempt(tmp_path) == ("0 8", "")


def test_killing_the_owner_frees_its_cores(tmp_path: Path) -> None:
    with owner(tmp_path) as process:
        assert attempt(tmp_path)[0] == f"{FAILURE} -"
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
        assert attempt(tmp_path) == ("0 8", "")


def test_a_forked_child_does_not_keep_the_cores(tmp_path: Path) -> None:
    code = """
    nrt.init()
    child = os.fork()
    if child == 0:
        sys.stdin.read()
        os._exit(0)
    print("ready", flush=True)
    os.kill(os.getpid(), 9)
    """
    variables = {"NKIPY_EMULATOR_LOCK_DIR": str(tmp_path)}
    process = libnrt.start_python(code, variables)
    assert process.stdout and process.stdout.readline() == "ready\n"
    assert process.wait(timeout=60) == -signal.SIGKILL
    assert attempt(tmp_path) == ("0 8", "")
    process.communicate(timeout=60)  # only now the grandchild ends


def test_who_has_the_cores_is_said(tmp_path: Path) -> None:
    user = pwd.getpwuid(os.getuid()).pw_name
    with owner(tmp_path, NEURON_RT_VISIBLE_CORES="1") as one:
        _, log = attempt(tmp_path, NEURON_RT_VISIBLE_CORES="0-3")
        assert f"; taken by process {one.pid} of user {user} (" in log
        assert Path(sys.executable).name in log.partition(" of user ")[2]
        assert log.count(" process ") == 1
        assert "NEURON_RT_VISIBLE_CORES shares cores out, such as 0 to the one" in log
        assert "NKIPY_EMULATOR_LOCK_DIR=" in log
        with owner(tmp_path, NEURON_RT_VISIBLE_CORES="2-3") as other:
            _, log = attempt(tmp_path, NEURON_RT_VISIBLE_CORES="0-3")
            assert f"process {one.pid} of" in log and f"process {other.pid} of" in log
            assert log.count(" process ") == 2
            _, log = attempt(tmp_path, NEURON_RT_NUM_CORES="6")
            assert f"process {other.pid} of" in log


def test_what_stands_in_a_lock_file_is_not_believed(tmp_path: Path) -> None:
    with owner(tmp_path, NEURON_RT_VISIBLE_CORES="0"):
        (lock,) = tmp_path.glob("*/core-0.lock")
        for text in (b"", b"-1 x", b"12", b"\xff" * 500, b"99999999999999999999 "):
            lock.write_bytes(text)
            _, log = attempt(tmp_path, NEURON_RT_VISIBLE_CORES="0")
            assert "taken by another process" in log or "of another container" in log
        namespace = os.readlink("/proc/self/ns/pid")
        lock.write_text(f"{2**30} {namespace}")
        _, log = attempt(tmp_path, NEURON_RT_VISIBLE_CORES="0")
        assert f"process {2**30}, which has ended" in log
        lock.write_text(f"{os.getpid()} pid:[1]")
        _, log = attempt(tmp_path, NEURON_RT_VISIBLE_CORES="0")
        assert f"process {os.getpid()} of another container" in log


def test_closing_frees_the_cores(tmp_path: Path) -> None:
    code = """
    nrt.init()
    nrt.close()
    print("ready", flush=True)
    sys.stdin.read()
    """
    process = libnrt.start_python(code, {"NKIPY_EMULATOR_LOCK_DIR": str(tmp_path)})
    assert process.stdout and process.stdout.readline() == "ready\n"
    assert attempt(tmp_path) == ("0 8", "")
    process.communicate(timeout=60)


def test_cores_are_numbered_from_zero_in_each_process(tmp_path: Path) -> None:
    code = """
    nrt.init()
    nrt.allocate(8, core=1)
    info = AllocationInfo()
    lib.nrt_tensor_get_device_allocation_info(nrt.allocate(8, core=0), byref(info))
    bad = lib.nrt_tensor_allocate(0, 2, 8, b"t", byref(c_void_p()))
    print(info.hbm_index, bad)
    """
    done = libnrt.run_python(
        code,
        NEURON_RT_VISIBLE_CORES="6-7",
        NKIPY_EMULATOR_LOCK_DIR=str(tmp_path),
    )
    assert done.stdout == "3 2\n"  # bank 3 has the physical cores 6 and 7


@pytest.mark.parametrize("kind", ["file", "missing parent"])
def test_a_place_for_locks_that_cannot_be_used(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" if kind == "file" else tmp_path / "file" / "below"
    said, log = attempt(place)
    assert said == f"{FAILURE} -"
    assert str(tmp_path / "file") in log and "NKIPY_EMULATOR_LOCK_DIR" in log


@pytest.mark.parametrize(
    ("below", "mode"),
    [
        ("", 0o777),
        ("", 0o1777),
        ("trn2", 0o720),
        ("trn2/picking.lock", 0o602),
        ("trn2/core-0.lock", 0o666),
    ],
)
def test_a_place_for_locks_that_others_can_write_is_refused(
    tmp_path: Path, below: str, mode: int
) -> None:
    locks = tmp_path / "locks"
    assert attempt(locks) == ("0 8", "")
    (locks / below).chmod(mode)
    said, log = attempt(locks)
    assert said == f"{FAILURE} -"
    assert f"cannot use {locks / below}: it belongs to user {os.getuid()}" in log
    assert f"has mode {mode:04o}: other users can write it; run chmod go-w" in log
    (locks / below).chmod(0o700)
    assert attempt(locks) == ("0 8", "")


@pytest.mark.parametrize("below", ["", "trn2", "trn2/picking.lock", "trn2/core-7.lock"])
def test_no_link_is_followed_below_the_place_for_locks(
    tmp_path: Path, below: str
) -> None:
    locks, elsewhere = tmp_path / "locks", tmp_path / "elsewhere"
    assert attempt(locks) == ("0 8", "")
    (locks / below).rename(elsewhere)
    (locks / below).symlink_to(elsewhere)
    said, log = attempt(locks)
    assert said == f"{FAILURE} -"
    assert f"cannot use {locks / below}: it is a link" in log
    assert "NKIPY_EMULATOR_LOCK_DIR" in log


def test_locks_are_private_whatever_the_umask(tmp_path: Path) -> None:
    variables = {"NKIPY_EMULATOR_LOCK_DIR": str(tmp_path / "a" / "locks")}
    libnrt.run_python("os.umask(0); nrt.init(); nrt.close()", **variables)
    for path in (tmp_path / "a").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)


@needs_root
def test_a_place_for_locks_of_another_user_is_refused(tmp_path: Path) -> None:
    assert attempt(tmp_path / "locks") == ("0 8", "")
    os.chown(tmp_path / "locks", OTHER, OTHER)
    said, log = attempt(tmp_path / "locks")
    assert said == f"{FAILURE} -"
    assert f"belongs to user {OTHER}" in log and "runs as user 0" in log


@needs_root
def test_a_user_does_not_lock_what_another_planted() -> None:
    with shared_place() as place:
        (place / "planted").mkdir()
        (place / "planted").chmod(0o777)
        for name, said in (("planted", f"{FAILURE} -"), ("mine", "0 8")):
            done = run_as_other(
                "from tests.support.libnrt import *\nnrt = Nrt()\nlib = nrt.lib",
                f"""
                os.environ.pop("NEURON_RT_VISIBLE_CORES", None)
                os.environ["NKIPY_EMULATOR_LOCK_DIR"] = "{place}/{name}"
                {TRY.strip().replace(chr(10), chr(10) + 16 * " ")}
                """,
            )
            assert done.stdout.strip() == said, done.stderr
        assert not list((place / "planted").iterdir())
        assert (place / "mine").stat().st_uid == OTHER
