"""Kernels of nkipy over ranks that are processes: on the device, and in simulation."""

from __future__ import annotations

import pytest

from tests.support.processes import finish, start

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
        took = time.monotonic() - began
        print(type(error).__name__, "at once" if took < 20 else "late", error)
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
distributed.barrier()
print("as NumPy")
"""
)


@pytest.mark.parametrize("ranks", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_every_collective_is_that_of_numpy(ranks, tmp_path):
    for status, output, errors in finish(start(EVERY_COLLECTIVE, ranks, tmp_path)):
        assert (status, output) == (0, "as NumPy\n"), errors
