"""Transfers: what is moved, how contiguous it is, and where values end."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.core.trace import trace_function
from nkipy.hlo.ir import AliasInfo, HLOModule
from nkipy_emulator.cost_model import TARGETS, estimate
from nkipy_emulator.cost_model.constants import DMA_FIXED_NS
from nkipy_emulator.cost_model.types import DMA

TRN2 = TARGETS["trn2"]


def events(function, *arguments):
    module = trace_function(function, arguments, {}).module
    result = estimate(module, launch_ns=0)
    return [e for e in result.events if e.engine == DMA]


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def test_a_load_takes_the_fixed_cost_and_its_bytes():
    x = zeros(128, 256)
    load, store = events(lambda x: x + 1, x)
    expected = DMA_FIXED_NS + x.nbytes / TRN2.hbm_gb_s
    assert load[:2] == ("x", "load")
    assert (load.bytes, store.bytes) == (x.nbytes, x.nbytes)
    for transfer in (load, store):
        assert transfer.duration_ns == pytest.approx(expected, abs=1)


def test_the_fixed_cost_is_hidden_behind_another_transfer():
    x = zeros(128, 512)
    first, second, _ = events(lambda x, y: x + y, x, x)
    assert second.start_ns == first.start_ns + first.duration_ns
    assert second.duration_ns == pytest.approx(x.nbytes / TRN2.hbm_gb_s, abs=1)


def test_a_parameter_is_read_once():
    names = [e.name for e in events(lambda x: (x + 1, np.exp(x)), zeros(128, 512))]
    assert names.count("x") == 1


def test_a_value_larger_than_its_share_of_the_sbuf_is_read_by_each_use():
    def both(x):
        return np.sum(x, axis=0), np.max(x, axis=1)

    found = events(both, zeros(4096, 4096))
    assert [e.name for e in found].count("x") == 2


def test_a_view_moves_nothing_until_it_is_used():
    def kernel(x):
        return x[:16].reshape(4, 4, -1) + 1

    load, store = events(kernel, zeros(4096, 512))
    assert load.bytes == store.bytes == 16 * 512 * 4


def test_short_runs_are_slower():
    def rows(x, indices):
        return np.take(x, indices, axis=0)

    indices = np.zeros(4096, np.int32)
    (*_, wide) = events(rows, zeros(8192, 1024), indices)
    (*_, narrow) = events(rows, zeros(8192 * 64, 16), np.zeros(4096 * 64, np.int32))
    assert wide.bytes == narrow.bytes == 4096 * 1024 * 4
    # A descriptor's start is as long as 512 bytes: 64 bytes take 576, 4096 take 4608.
    ratio = (576 / 64) / (4608 / 4096)
    assert narrow.duration_ns / wide.duration_ns == pytest.approx(ratio, rel=0.02)


def test_concatenation_moves_the_result():
    (move,) = (
        e
        for e in events(
            lambda x, y: np.concatenate([x, y]), zeros(64, 32), zeros(8, 32)
        )
        if e.opcode == "concatenate"
    )
    assert move.bytes == 72 * 32 * 4


def test_a_returned_parameter_is_copied_unless_it_is_aliased():
    module = HLOModule("identity")
    module.set_results([module.add_parameter((128, 128), np.float32, "x")])
    (copy,) = estimate(module, launch_ns=0).events
    assert (copy.opcode, copy.bytes) == ("copy", 128 * 128 * 4)
    # A copy inside the HBM goes through its bandwidth twice.
    expected = DMA_FIXED_NS + copy.bytes / (TRN2.hbm_gb_s / 2)
    assert copy.duration_ns == round(expected)
    module.aliases = [AliasInfo(0, 0, "x", True)]
    assert estimate(module, launch_ns=0).events == ()
