"""Ranks that are processes: what they exchange, and what becomes of the others."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.processes import ROOT, finish, free_port, start, start_rank

CASES = "from tests.support.collective_cases import main; main({})"


def outputs(done):
    for status, _, errors in done:
        assert status == 0, errors
    return [output for _, output, _ in done]


def wait_for_listener(host: str, port: int) -> None:
    for _ in range(600):
        try:
            socket.create_connection((host, port)).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"nobody listens at {host}:{port}")


@pytest.mark.parametrize("engine, every", [("inprocess", 11), ("child", 29)])
def test_collectives_are_those_of_numpy(engine, every, tmp_path):
    program = CASES.format(every)
    started = start(program, 2, tmp_path, NKIPY_EMULATOR_ENGINE=engine)
    assert outputs(finish(started)) == [f"rank {r}: 0 wrong\n" for r in range(2)]


def every_case(*whole, some):
    """All in these worlds, a third in the last; exhaustively, all in all."""
    rest = pytest.param(some, 1, marks=pytest.mark.exhaustive)
    return [*(pytest.param(world, 1) for world in whole), pytest.param(some, 3), rest]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["inprocess", "child"])
@pytest.mark.parametrize("ranks, every", every_case(2, 4, some=3))
def test_all_collectives_are_those_of_numpy(engine, ranks, every, tmp_path):
    started = start(CASES.format(every), ranks, tmp_path, NKIPY_EMULATOR_ENGINE=engine)
    done = finish(started, seconds=600)
    assert outputs(done) == [f"rank {r}: 0 wrong\n" for r in range(ranks)]


SETTING_UP = """
import os, signal, sys, time
import numpy as np
from tests.support.nrt_client import Nrt, NrtFailure, make_neff
rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
X = np.arange(8, dtype=np.float32)

def total(b, x):
    attributes = {"replica_groups": (), "to_apply": b.reducer("add", x.dtype)}
    return b.emit("all-reduce", (x,), x.shape, x.dtype, attributes)

def prepare(nrt, x=X, build=total):
    model = nrt.load(make_neff(build, x), rank=rank, world_size=ranks)
    sets = ({"x0": nrt.tensor(x)}, {"output0": nrt.empty(x.nbytes)})
    return model, *map(nrt.tensor_set, sets)

def status_of(execution):
    began = time.monotonic()
    try:
        nrt.execute(*execution)
        print("done")
    except NrtFailure as failure:
        took = time.monotonic() - began
        print(failure.status, "at once" if took < 10 else "late")
"""

KILLED = (
    SETTING_UP
    + """
with Nrt().running() as nrt:
    execution = prepare(nrt)
    status_of(execution)
    if rank == 1:
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    status_of(execution)
"""
)


@pytest.mark.parametrize("engine", ["inprocess", "child"])
def test_who_has_ended_is_named_at_once(engine, tmp_path):
    started = start(KILLED, 2, tmp_path, NKIPY_EMULATOR_ENGINE=engine)
    (status, output, errors), (killed, _, _) = finish(started)
    assert (status, killed) == (0, -9), errors
    assert output == "done\n1200 at once\n"
    assert "rank 1 (process" in errors and "has ended" in errors


ANOTHER = (
    SETTING_UP
    + """
with Nrt().running() as nrt:
    status_of(prepare(nrt, np.arange(8 + rank, dtype=np.float32)))
"""
)


def test_another_shape_is_named_on_both_sides(tmp_path):
    for status, output, errors in finish(start(ANOTHER, 2, tmp_path)):
        assert (status, output) == (0, "1200 at once\n"), errors
        assert "all-reduce of float32[8]" in errors
        assert "all-reduce of float32[9]" in errors


OTHERWISE = (
    SETTING_UP
    + """
def combined(b, x):
    reducer = b.reducer(("add", "maximum")[rank], x.dtype)
    attributes = {"replica_groups": ((0, 1),), "to_apply": reducer}
    return b.emit("all-reduce", (x,), x.shape, x.dtype, attributes)

with Nrt().running() as nrt:
    status_of(prepare(nrt, build=combined))
"""
)


def test_another_reduction_is_named_on_both_sides(tmp_path):
    for _, output, errors in finish(start(OTHERWISE, 2, tmp_path)):
        assert output.startswith("1200 "), errors
        assert "all-reduce of float32[8] by add, groups [0, 1]" in errors
        assert "all-reduce of float32[8] by maximum, groups [0, 1]" in errors


IN_A_RING = (
    SETTING_UP
    + """
groups = ((0, 1), (2, 3)) if rank % 2 == 0 else ((1, 2), (3, 0))

def of_a_group(b, x):
    attributes = {"replica_groups": groups, "to_apply": b.reducer("add", x.dtype)}
    return b.emit("all-reduce", (x,), x.shape, x.dtype, attributes)

with Nrt().running() as nrt:
    status_of(prepare(nrt, build=of_a_group))
"""
)


@pytest.mark.parametrize("engine", ["inprocess", "child"])
def test_groups_that_wait_for_each_other_are_named_at_once(engine, tmp_path):
    started = start(IN_A_RING, 4, tmp_path, NKIPY_EMULATOR_ENGINE=engine)
    for status, output, errors in finish(started):
        assert (status, output) == (0, "1200 at once\n"), errors
        assert "ranks 0, 1, 2 and 3 wait for each other" in errors
        what = "all-reduce of float32[8] by add"
        assert f"rank 0 in {what}, groups [0, 1][2, 3]" in errors
        assert f"and 1 in {what}, groups [1, 2][3, 0]" in errors


MISSING = (
    SETTING_UP
    + """
if rank == 0:
    with Nrt().running() as nrt:
        status_of(prepare(nrt))
"""
)


@pytest.mark.parametrize("engine", ["inprocess", "child"])
def test_who_never_comes_is_named_after_the_timeout(engine, tmp_path):
    variables = {"NEURON_RT_EXEC_TIMEOUT": "1", "NKIPY_EMULATOR_ENGINE": engine}
    started = start(MISSING, 3, tmp_path, **variables)
    status, output, errors = finish(started)[0]
    assert (status, output) == (0, "5 at once\n"), errors
    assert "ranks 1, 2" in errors


OF_TWO_JOBS = (
    SETTING_UP
    + """
with Nrt().running() as nrt:
    try:
        execution = prepare(nrt)
    except NrtFailure as failure:
        print("load", failure.status)
    else:
        status_of(execution)
    sys.stdin.read()
"""
)


def test_two_jobs_at_one_address_do_not_meet(tmp_path):
    common = {"NEURON_RT_ROOT_COMM_ID": f"127.0.0.1:{free_port()}"}
    waits = start_rank(
        *(OF_TWO_JOBS, 0, 2, tmp_path),
        **{**common, "TORCHELASTIC_RUN_ID": "one", "NEURON_RT_EXEC_TIMEOUT": "1"},
    )
    host, port = common["NEURON_RT_ROOT_COMM_ID"].split(":")
    wait_for_listener(host, int(port))
    (tmp_path / "other").mkdir()
    others = [
        start_rank(
            *(OF_TWO_JOBS, rank, 2, tmp_path / "other"),
            **{**common, "TORCHELASTIC_RUN_ID": "two"},
        )
        for rank in range(2)
    ]
    (first, second), (waited,) = finish(others), finish([waits])
    assert first[:2] == (0, "load 1\n"), first[2]
    assert second[:2] == (0, "1200 at once\n"), second[2]
    assert waited[:2] == (0, "5 at once\n"), waited[2]
    for _, _, errors in (first, second):
        assert "rank 0 cannot listen" in errors and "that nobody uses" in errors
    assert "rank 1, which has not come" in waited[2]


def on_machines(
    program: str, machines: Sequence[int], directory: Path, **variables: str
) -> list[subprocess.Popen[str]]:
    """Start a rank for each item, its machine, which has locks of its own."""
    common = {"NEURON_RT_ROOT_COMM_ID": f"127.0.0.1:{free_port()}", **variables}
    started = []
    for rank, machine in enumerate(machines):
        place = directory / f"machine{machine}"
        place.mkdir(exist_ok=True)
        started.append(start_rank(program, rank, len(machines), place, **common))
    return started


@pytest.mark.parametrize(
    "machines, every",
    [((0, 1), 23), pytest.param((0, 1, 0), 61, marks=pytest.mark.slow)],
)
def test_collectives_of_several_machines(machines, every, tmp_path):
    started = on_machines(CASES.format(every), machines, tmp_path)
    expected = [f"rank {r}: 0 wrong\n" for r in range(len(machines))]
    assert outputs(finish(started)) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    "machines, every", every_case((0, 1), (1, 0, 0, 2), some=(0, 1, 0))
)
def test_all_collectives_of_several_machines(machines, every, tmp_path):
    started = on_machines(CASES.format(every), machines, tmp_path)
    expected = [f"rank {r}: 0 wrong\n" for r in range(len(machines))]
    assert outputs(finish(started, seconds=600)) == expected


#: A network of one's own, without being root outside of it.
HOSTS = ("unshare", "--user", "--map-root-user", "--net", "sh")


@pytest.mark.slow
def test_collectives_of_hosts_with_networks_of_their_own(tmp_path):
    tools = all(map(shutil.which, ("unshare", "nsenter", "ip")))
    allowed = tools and subprocess.run([*HOSTS, "-c", "ip link add v type veth"])
    if not allowed or allowed.returncode:
        pytest.skip("this machine allows no network namespaces")
    locks = tmp_path / "locks"
    locks.mkdir(mode=0o700)
    done = subprocess.run(
        [*HOSTS, str(ROOT / "tests" / "support" / "two_hosts.sh")],
        env={
            **os.environ,
            "NKIPY_EMULATOR_LOCK_DIR": str(locks),
            "PYTHONPATH": str(ROOT),
            "WORLD_SIZE": "2",
            "PYTHON": sys.executable,
            "PROGRAM": CASES.format(11),
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    lines = sorted(done.stdout.splitlines())
    assert (done.returncode, lines) == (0, [f"rank {r}: 0 wrong" for r in range(2)]), (
        done.stderr
    )


def test_the_end_of_a_machine_is_named_on_the_others(tmp_path):
    done = finish(on_machines(KILLED, (0, 1, 0), tmp_path))
    assert [status for status, *_ in done] == [0, -9, 0], done[0][2]
    for _, output, errors in (done[0], done[2]):
        assert output == "done\n1200 at once\n"
        assert "rank 1" in errors


@pytest.mark.slow
def test_another_shape_is_named_on_all_machines(tmp_path):
    for status, output, errors in finish(on_machines(ANOTHER, (0, 1), tmp_path)):
        assert (status, output) == (0, "1200 at once\n"), errors
        assert "all-reduce of float32[8]" in errors
        assert "all-reduce of float32[9]" in errors


# Rank 0 finds what differs, and is gone before rank 1 has heard anything from it.
HEARS_LATE = """
import os, signal, sys, time
from nkipy_emulator.errors import WorldError
from nkipy_emulator.worlds import Worlds, machines
rank = int(os.environ["RANK"])
hear = machines.Machines._follow

def hear_late(*args):
    sys.stdin.read()  # until rank 0 has ended
    time.sleep(0.3)
    hear(*args)

if rank == 1:
    machines.Machines._follow = hear_late
worlds = Worlds("a test")
seat = worlds.join(os.environ["NEURON_RT_ROOT_COMM_ID"], rank, 2)
try:
    seat.all_gather(b"1", f"a gathering by rank {rank}", 60.0)
except WorldError as e:
    print(e, flush=True)
if rank == 0 and IS_KILLED:
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("is_killed", [False, True])
@pytest.mark.parametrize("machines", [(0, 0), (0, 1)])
def test_what_differs_is_named_though_who_says_so_has_gone(
    machines, is_killed, tmp_path
):
    program = HEARS_LATE.replace("IS_KILLED", str(is_killed))
    first, second = on_machines(program, machines, tmp_path)
    (_, output, errors), *_ = finish([first])
    assert "gathering by rank 0" in output and "gathering by rank 1" in output, errors
    ((status, output, errors),) = finish([second])
    assert status == 0, errors
    assert "gathering by rank 0" in output and "gathering by rank 1" in output


# Killed at any moment: others end, and do the same again when it has been replaced.
KILLABLE = (
    SETTING_UP
    + """
Y = np.arange(1 << 18, dtype=np.float32)

def worlds_mapped():
    with open("/proc/self/maps") as maps:
        return sum("nkipy-world" in line for line in maps)

try:
    with Nrt().running() as nrt:
        print("up", flush=True)
        execution = prepare(nrt, Y)
        while True:
            nrt.execute(*execution)
except NrtFailure as failure:
    print(failure.status, flush=True)
end = time.monotonic() + 10
while worlds_mapped() and time.monotonic() < end:  # by a thread that was left behind
    time.sleep(0.01)
print(worlds_mapped(), flush=True)
sys.stdin.readline()
os.environ["NEURON_RT_EXEC_TIMEOUT"] = "60"  # until the one that was killed is replaced
with Nrt().running() as nrt:
    status_of(prepare(nrt))
"""
)
REPLACEMENT = (
    SETTING_UP
    + """
with Nrt().running() as nrt:
    status_of(prepare(nrt))
"""
)


def kill_one(seed: int, directory: Path) -> None:
    rng = random.Random(seed)
    ranks, engine = rng.choice([2, 3, 4]), rng.choice(["inprocess", "child"])
    killed, seconds = rng.randrange(ranks), rng.choice([0, 0.5, 1, 2]) * rng.random()
    told = f"seed {seed}: rank {killed} of {ranks}, {engine}, after {seconds:.3f} s"
    variables = {
        "NEURON_RT_ROOT_COMM_ID": f"127.0.0.1:{free_port()}",
        "NEURON_RT_EXEC_TIMEOUT": "6",
        "NKIPY_EMULATOR_ENGINE": engine,
    }
    started = start(KILLABLE, ranks, directory, **variables)
    assert started[killed].stdout.readline() == "up\n", told
    time.sleep(seconds)
    began = time.monotonic()
    started[killed].kill()
    started[killed].wait()
    others = [p for rank, p in enumerate(started) if rank != killed]
    for other in others:
        assert other.stdout.readline() == "up\n", told
        assert other.stdout.readline() in ("1200\n", "5\n"), told
        assert time.monotonic() - began < 60, told
        assert other.stdout.readline() == "0\n", told
        other.stdin.write("\n")
        other.stdin.flush()
    replacement = start_rank(REPLACEMENT, killed, ranks, directory, **variables)
    for status, output, errors in finish([*others, replacement]):
        assert (status, output) == (0, "done\n"), f"{told}\n{errors}"
    for process in started:
        process.kill()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(0, 20, 2))
def test_a_rank_is_killed(seed, tmp_path):
    """In two worlds at once: the others mostly wait."""
    with ThreadPoolExecutor(2) as pool:
        for world in range(seed, seed + 2):
            (tmp_path / str(world)).mkdir()
        list(pool.map(lambda s: kill_one(s, tmp_path / str(s)), range(seed, seed + 2)))


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
def test_ranks_are_killed(tmp_path):
    for seed in range(1000, 1200):
        (tmp_path / str(seed)).mkdir()
        kill_one(seed, tmp_path / str(seed))


AGAIN = (
    SETTING_UP
    + """
for turn in range(2):
    with Nrt().running() as nrt:
        execution = prepare(nrt)
        status_of(execution)
        if turn == 0 and rank == 0:
            try:
                nrt.execute(prepare(nrt, build=lambda b, x: b.negate(x))[0], None, None)
            except NrtFailure:
                pass
"""
)


def test_a_closed_runtime_can_be_opened_again(tmp_path):
    assert outputs(finish(start(AGAIN, 2, tmp_path))) == ["done\ndone\n"] * 2


ENDS_FIRST = (
    SETTING_UP
    + """
def alone(b, x):
    attributes = {"replica_groups": ((0,), (1,)), "to_apply": b.reducer("add", x.dtype)}
    return b.emit("all-reduce", (x,), x.shape, x.dtype, attributes)

nrt = Nrt()
nrt.call("init", 1, b"", b"")
both, own = prepare(nrt), prepare(nrt, build=alone)
status_of(both)
if rank == 1:
    while sys.stdin.read():
        pass
    status_of(own)
    status_of(both)
elif os.environ["NKIPY_EMULATOR_ENGINE"] == "child":  # which does not see an exit
    nrt.lib.nrt_close()
"""
)


@pytest.mark.parametrize("engine", ["inprocess", "child"])
def test_who_ends_is_only_missed_where_it_is_needed(engine, tmp_path):
    started = start(ENDS_FIRST, 2, tmp_path, NKIPY_EMULATOR_ENGINE=engine)
    started[0].wait()
    done = finish(started)
    assert outputs(done) == ["done\n", "done\ndone\n1200 at once\n"], done[1][2]
    assert "rank 0 has left" in done[1][2]


HOST = (
    SETTING_UP
    + """
from ctypes import c_int32, c_uint32, create_string_buffer
with Nrt().running() as nrt:
    who = (c_int32(0), c_uint32(rank), c_uint32(ranks))
    nrt.call("build_global_comm", *who)
    nrt.call("barrier", *who)
    own, all_ = create_string_buffer(bytes([rank] * 3), 3), create_string_buffer(9)
    nrt.call("all_gather", *who, c_uint32(3), own, all_)
    print(list(all_.raw))
"""
)


@pytest.mark.parametrize("engine", ["inprocess", "child"])
def test_collectives_of_the_host(engine, tmp_path):
    started = start(HOST, 3, tmp_path, NKIPY_EMULATOR_ENGINE=engine)
    assert outputs(finish(started)) == ["[0, 0, 0, 1, 1, 1, 2, 2, 2]\n"] * 3
