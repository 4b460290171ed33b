"""Programs of several ranks: which are run together, and which alone."""

from __future__ import annotations

import json

import numpy as np
import pytest

from neff.status import NrtStatus
from nkipy_emulator.device.options import LoadOptions
from nkipy_emulator.device.ranks import RankedProgram, for_ranks
from nkipy_emulator.device.service import load
from nkipy_emulator.device.status import DeviceError
from tests.support.engines import no_prints
from tests.support.nrt_client import make_module, make_neff

X = np.arange(4, dtype=np.float32)


def number(b, x):
    rank = b.emit("replica-id", (), (), np.dtype(np.uint32))
    return b.add(x, b.broadcast_to(b.convert(rank, x.dtype), x.shape))


def shift(b, x):
    """Rank 0 sends its x to rank 1, and gets zeros."""
    attributes = {"source_target_pairs": ((0, 1),)}
    return b.emit("collective-permute", (x,), x.shape, x.dtype, attributes)


def test_one_rank_is_left_alone():
    module = make_module(number, X)
    assert for_ranks(module, LoadOptions()) == RankedProgram(module)


@pytest.mark.parametrize("rank", [0, 5])
@pytest.mark.parametrize("reachable", [True, False])
def test_ranks_that_exchange_nothing_know_their_number(rank, reachable):
    options = LoadOptions(rank=rank, world_size=6, peers_reachable=reachable)
    program = load(make_neff(number, X), options)
    out = np.zeros_like(X)
    program.execute([X.ctypes.data], [out.ctypes.data], no_prints)
    np.testing.assert_array_equal(out, X + rank)
    assert json.loads(program.description)["ranks"] == 1
    assert program.input_count == 1


def test_ranks_that_talk_run_together():
    program = load(make_neff(shift, X), LoadOptions(world_size=2))
    assert json.loads(program.description)["ranks"] == 2
    assert program.input_count == 2
    ins, outs = [X + 1, X + 50], [np.ones_like(X) for _ in range(2)]
    program.execute(
        [a.ctypes.data for a in ins], [a.ctypes.data for a in outs], no_prints
    )
    np.testing.assert_array_equal(outs, [X * 0, X + 1])


def test_ranks_that_talk_must_be_reachable():
    options = LoadOptions(world_size=2, peers_reachable=False)
    with pytest.raises(DeviceError, match="collectives over 2 ranks") as error:
        for_ranks(make_module(shift, X), options)
    assert error.value.status == NrtStatus.LOAD_NOT_ENOUGH_NC


def total(b, x):
    attributes = {"replica_groups": ((0, 1),), "to_apply": b.reducer("add", x.dtype)}
    return b.emit("all-reduce", (x,), x.shape, x.dtype, attributes)


@pytest.mark.parametrize("kernel", [total, shift])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_collectives_are_over_the_ranks_that_there_are(kernel, world_size):
    """One rank of two that ran alone would get its own values back as their sum."""
    module, options = make_module(kernel, X), LoadOptions(world_size=world_size)
    if world_size == 2 or (kernel is shift and world_size == 3):
        assert for_ranks(module, options) == RankedProgram(module, world_size)
        return
    with pytest.raises(DeviceError, match=r"ranks \[0, 1\].*loaded for . rank") as e:
        for_ranks(module, options)
    assert e.value.status == NrtStatus.INVALID
