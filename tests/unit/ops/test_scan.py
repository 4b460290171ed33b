"""Scans: exactness, size of the program, and what accumulates besides sums."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from nkipy.core.backend.hlo import get_hlo_context
from nkipy.core.ops.reduce.scan import FOLDS, scan
from nkipy.core.tensor import NKIPyTensorRef
from nkipy.core.trace import trace_function
from nkipy.testing import run_simulated


def along(opcode, axis):
    def kernel(a):
        ctx = get_hlo_context()
        return NKIPyTensorRef._wrap(ctx, scan(ctx, a.backend_tensor, opcode, axis))

    return kernel


ACCUMULATE = {
    "add": np.add,
    "multiply": np.multiply,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
}


@pytest.mark.parametrize("opcode", sorted(FOLDS))
@pytest.mark.parametrize("dtype", [np.int32, np.uint8])
def test_every_fold_accumulates_integers(opcode, dtype):
    x = np.random.default_rng(0).integers(0, 100, (3, 37)).astype(dtype)
    got = run_simulated(along(opcode, 1), x)
    want = ACCUMULATE[opcode].accumulate(x, axis=1, dtype=dtype)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("opcode", ["maximum", "minimum"])
def test_running_extremes_pass_nan_on(opcode):
    x = np.array([[1, -np.inf, 3, np.nan, 9], [5, 4, np.inf, 2, 1]], np.float32)
    want = ACCUMULATE[opcode].accumulate(x, axis=1)
    np.testing.assert_array_equal(run_simulated(along(opcode, 1), x), want)


def test_integers_are_exact_past_2_to_24():
    x = np.full(4096, 2**19 - 1, np.int32)
    x[0] = 1
    got = run_simulated(lambda a: np.cumsum(a), x)
    want = np.cumsum(x, dtype=np.int64).astype(np.int32)
    np.testing.assert_array_equal(got, want)


def test_nan_and_infinity_touch_only_what_follows():
    x = np.ones(3000, np.float32)
    x[1000], x[2000] = np.inf, np.nan
    got = run_simulated(lambda a: np.cumsum(a), x)
    np.testing.assert_array_equal(got[:1000], np.arange(1, 1001))
    assert np.isposinf(got[1000:2000]).all() and np.isnan(got[2000:]).all()


def test_low_precision_accumulates_in_float32():
    x = np.ones(600, ml_dtypes.bfloat16)
    got = run_simulated(lambda a: np.cumsum(a), x)
    want = np.arange(1, 601, dtype=np.float32).astype(ml_dtypes.bfloat16)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got.view(np.uint16), want.view(np.uint16))


def test_a_cumulative_sum_is_one_window():
    x = np.zeros((8, 4096), np.float32)
    module = trace_function(lambda a: np.cumsum(a, axis=1), (x,), {}).module
    assert [i.opcode for i in module.operations] == ["constant", "reduce-window"]
