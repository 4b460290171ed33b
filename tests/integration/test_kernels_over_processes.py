"""Kernels of nkipy over ranks that are processes: on the device, and in simulation."""

from __future__ import annotations

import pytest

from tests.support.processes import finish, free_port, start

SLOW = pytest.mark.slow

SETTING_UP = """
import os, sys, time
import numpy as np
from nkipy import distributed
from nkipy.distributed import *
from nkipy.runtime import DeviceKernel, DeviceTensor, baremetal_jit, simulate_jit
me, ranks = distributed.rank(), distributed.world_size()
assert (me, ranks) == (int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))

def data(rank, dtype=np.float32):
    rng = np.random.default_rng(rank)
    return rng.integers(-50, 50, (2 * ranks, 3 * ranks)).astype(dtype)

def refused(call, *args, **kwargs):
    began = time.monotonic()
    try:
        call(*args, **kwargs)
        print("done")
    except Exception as error:
        when = "at once" if time.monotonic() - began < 20 else "late"
        print(type(error).__name__, when, *str(error).split())
"""

EVERY_COLLECTIVE = (
    SETTING_UP
    + """
def kernel(x):
    everyone = replica_groups()
    ring = [(r, (r + 1) % ranks) for r in range(ranks)]
    return {
        "reduced": all_reduce(x, everyone),
        "gathered": all_gather(x, 1, everyone),
        "scattered": reduce_scatter(x, 0, everyone, np.maximum),
        "exchanged": all_to_all(x, 1, 0, everyone),
        "permuted": collective_permute(x, ring),
        "broadcast": broadcast(x, everyone, ranks - 1),
        "alone": x * distributed.rank(),
    }

def expected(dtype):
    all_ = [data(rank, dtype) for rank in range(ranks)]
    total = all_[0]
    for other in all_[1:]:
        total = total + other
    return {
        "reduced": total,
        "gathered": np.hstack(all_),
        "scattered": np.split(np.maximum.reduce(all_), ranks)[me],
        "exchanged": np.vstack([np.split(x, ranks, 1)[me] for x in all_]),
        "permuted": all_[me - 1],
        "broadcast": all_[-1],
        "alone": all_[me] * np.uint32(me).astype(dtype),
    }

def check(results, dtype):
    for name, wanted in expected(dtype).items():
        assert results[name].dtype == wanted.dtype, name
        np.testing.assert_array_equal(results[name], wanted, name)

for dtype in (np.float32, np.int32):
    mine = data(me, dtype)
    check(simulate_jit(kernel)(mine), dtype)
    check(baremetal_jit(kernel)(mine), dtype)
    loaded = DeviceKernel.compile_and_load(kernel, mine)
    outputs = loaded({"x": DeviceTensor.from_numpy(mine)})
    order = list(expected(dtype))
    check({order[int(n[6:])]: t.numpy() for n, t in outputs.items()}, dtype)
def own(x):  # of each rank another program
    return all_reduce(x * np.float32(number), replica_groups())

number, mine = me + 1, data(me)
loaded = DeviceKernel.compile_and_load(own, mine, is_spmd=False)
(sum_,) = loaded({"x": DeviceTensor.from_numpy(mine)}).values()
wanted = sum(data(rank) * np.float32(rank + 1) for rank in range(ranks))
np.testing.assert_array_equal(sum_.numpy(), wanted)
distributed.barrier()
print("as NumPy")
"""
)


@pytest.mark.parametrize("ranks", [2, pytest.param(4, marks=SLOW)])
def test_every_collective_is_that_of_numpy(ranks, tmp_path):
    for status, output, errors in finish(start(EVERY_COLLECTIVE, ranks, tmp_path)):
        assert (status, output) == (0, "as NumPy\n"), errors


MISTAKES = (
    SETTING_UP
    + """
def total(x):
    return all_reduce(x, replica_groups())

def bad(x):
    raise ValueError("cannot be traced")

x = np.ones(4, np.float32)
refused(DeviceKernel.compile_and_load, total, np.ones(4 + me, np.float32))
refused(DeviceKernel.compile_and_load, bad, x)
half = simulate_jit(lambda x: all_reduce(x, [[0]]))
refused(half, x)
refused(simulate_jit(total), np.ones(4 + me, np.float32))  # which ends this world
good = simulate_jit(total)
loaded = DeviceKernel.compile_and_load(total, x)
made = loaded({"x": DeviceTensor.from_numpy(x)})
print(good(x)[0], made["output0"].numpy()[0])
"""
)


def test_who_differs_is_named_on_all_ranks(tmp_path):
    for rank, (status, output, errors) in enumerate(
        finish(start(MISTAKES, 2, tmp_path))
    ):
        assert status == 0, errors
        shapes, failure, groups, ended, after = output.splitlines()
        assert shapes.startswith("NKIPyValueError at once all ranks compile one prog")
        assert "argument 0: rank 0 has float32[4], rank 1 has float32[5]" in shapes
        text = "ValueError at once" if rank == 0 else "RuntimeError at once compilation"
        assert failure.startswith(text)
        assert "world_size=2: the groups must hold each rank once" in groups
        assert ended.startswith("WorldError at once")
        assert "float32[4]" in ended and "float32[5]" in ended
        assert after == "2.0 2.0"


ALONE = (
    SETTING_UP
    + """
def total(x):
    return all_reduce(x, replica_groups())

x = np.ones(4, np.float32)
if me == 0:
    refused({})
"""
)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("distributed.barrier", "NrtError"),
        pytest.param("simulate_jit(total), x", "", marks=SLOW),
        pytest.param("baremetal_jit(total), x", "", marks=SLOW),
        pytest.param("DeviceKernel.compile_and_load, total, x", "NrtError", marks=SLOW),
    ],
)
def test_who_never_comes_is_named_after_the_timeout(call, error, tmp_path):
    program = ALONE.replace("{}", call)
    started = start(program, 3, tmp_path, NEURON_RT_EXEC_TIMEOUT="1")
    status, output, errors = finish(started)[0]
    assert status == 0, errors
    (line,) = output.splitlines()
    assert "ranks 1, 2" in line and line.startswith(error), output


UNSET = (
    SETTING_UP
    + """
import socket
for name in ("VISIBLE_CORES", "ROOT_COMM_ID", "NUM_CORES"):
    os.environ.pop(f"NEURON_RT_{name}", None)
os.environ.update(MASTER_ADDR="127.0.0.1", LOCAL_RANK=str(me))
x = np.full(2, me + 1, np.float32)
print(baremetal_jit(lambda x: all_reduce(x, replica_groups()))(x))
print(os.environ["NEURON_RT_VISIBLE_CORES"] == str(me))
"""
)


def test_torchruns_variables_are_enough(tmp_path):
    port = str(free_port())
    for status, output, errors in finish(start(UNSET, 2, tmp_path, MASTER_PORT=port)):
        assert (status, output) == (0, "[3. 3.]\nTrue\n"), errors


COMPILED_ONCE = (
    SETTING_UP
    + """
from nkipy_emulator import _xla
compiles, apart = [], _xla.apart_until_the_end

def noting(function, seconds, name, *more):
    compiles.append(name)
    return apart(function, seconds, name, *more)

_xla.apart_until_the_end = noting

def kernel(x):
    return np.tanh(all_reduce(x, replica_groups())) + 1

x = np.full((2, 3), 0.25, np.float32)
for jit in simulate_jit, baremetal_jit:
    (result,) = {float(v) for v in jit(kernel)(x).ravel()}
    assert abs(result - (np.tanh(0.25 * ranks) + 1)) < 1e-6, result
    print(compiles.count("nkipy-compile"))
    compiles.clear()
"""
)


def test_one_of_the_ranks_of_a_machine_compiles(tmp_path):
    code = {"NKIPY_EMULATOR_CODE_CACHE": str(tmp_path / "code")}
    counts = []
    for status, output, errors in finish(start(COMPILED_ONCE, 2, tmp_path, **code)):
        assert status == 0, errors
        counts.append([int(line) for line in output.split()])
    assert [sum(of_all) for of_all in zip(*counts)] == [1, 1]
