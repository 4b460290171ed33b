"""Ranks that are processes: what they exchange, and what becomes of the others."""

from __future__ import annotations

import pytest

from tests.support.processes import finish, start

CASES = "from tests.support.collective_cases import main; main({})"


def outputs(done):
    for status, _, errors in done:
        assert status == 0, errors
    return [output for _, output, _ in done]


@pytest.mark.parametrize("engine, every", [("inprocess", 11), ("child", 29)])
def test_collectives_are_those_of_numpy(engine, every, tmp_path):
    program = CASES.format(every)
    started = start(program, 2, tmp_path, NKIPY_EMULATOR_ENGINE=engine)
    assert outputs(finish(started)) == [f"rank {r}: 0 wrong\n" for r in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["inprocess", "child"])
@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_all_collectives_are_those_of_numpy(engine, ranks, tmp_path):
    started = start(CASES.format(1), ranks, tmp_path, NKIPY_EMULATOR_ENGINE=engine)
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


MISSING = (
    SETTING_UP
    + """
if rank == 0:
    with Nrt().running() as nrt:
        status_of(prepare(nrt))
"""
)


def test_who_never_comes_is_named_after_the_timeout(tmp_path):
    started = start(MISSING, 3, tmp_path, NEURON_RT_EXEC_TIMEOUT="1")
    status, output, errors = finish(started)[0]
    assert (status, output) == (0, "5 at once\n"), errors
    assert "ranks 1, 2" in errors


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
"""
)


def test_who_ends_is_only_missed_where_it_is_needed(tmp_path):
    started = start(ENDS_FIRST, 2, tmp_path)
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
