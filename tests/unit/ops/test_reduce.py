"""Reductions: what a single call against NumPy does not show."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import nkipy.core.ops  # noqa: F401  (enters ops into the tables)
from nkipy.core.trace import trace_function
from nkipy.testing import run_simulated
from tests.support.kernels import check_kernel


def opcodes(func, *args):
    return [i.opcode for i in trace_function(func, args, {}).module.operations]


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_long_sums_of_low_precision_do_not_stagnate(dtype):
    x = np.full(5000, 1.0, dtype)
    got = run_simulated(lambda a: np.sum(a), x)
    assert got.dtype == np.dtype(dtype)
    assert float(got) == float(np.dtype(dtype).type(5000))


def test_mean_of_float16_survives_an_overflowing_sum():
    x = np.full(100, 60000, np.float16)
    assert float(run_simulated(lambda a: np.mean(a), x)) == float(np.float16(60000))


def test_fp8_sums_go_through_float32():
    x = np.full(64, 0.25, ml_dtypes.float8_e4m3fn)
    got = run_simulated(lambda a: np.sum(a), x)
    assert got.dtype == np.dtype(ml_dtypes.float8_e4m3fn) and float(got) == 16.0


def test_small_integers_sum_in_32_bits():
    x = np.full(300, 127, np.int8)
    got = run_simulated(lambda a: (np.sum(a), np.mean(a), np.sum(a, dtype=np.int8)), x)
    assert [int(got[0]), float(got[1])] == [38100, 127.0]
    assert got[2].dtype == np.int8 and int(got[2]) == 38100 - 149 * 256


def test_bool_sum_counts_and_bool_dtype_asks():
    x = np.array([True, True, False])
    got = run_simulated(lambda a: (np.sum(a), np.sum(a, dtype=bool), np.prod(a)), x)
    assert [g.dtype for g in got] == [np.int32, np.bool_, np.int32]
    assert [g.item() for g in got] == [2, True, 0]


def test_initial_may_be_traced():
    check_kernel(
        lambda a, s: np.sum(a, axis=0, initial=s), np.ones((3, 2), "f4"), np.float32(2)
    )


def test_where_may_be_traced():
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    check_kernel(lambda a: np.max(a, axis=1, initial=-1, where=a < 2), x)


def test_where_hides_nan_and_infinity():
    x = np.array([1, np.nan, np.inf, 3], np.float32)

    def kernel(a):
        ok = np.isfinite(a)
        return np.sum(a, where=ok), np.mean(a, where=ok), np.var(a, where=ok)

    check_kernel(kernel, x)


def test_out_is_written_and_returned():
    x, out = np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros(3, np.int32)

    def kernel(a, o):
        result = np.add(np.sum(a, axis=0, out=o), 1)
        return result, o

    check_kernel(kernel, x, out)


def test_argmax_sees_integers_beyond_float32():
    x = np.array([2**31 - 2, 2**31 - 1, 5], np.int32)
    assert int(run_simulated(lambda a: np.argmax(a), x)) == 1


def test_indices_beyond_2_to_24_are_exact():
    n = 2**24 + 3
    x = np.zeros(n, np.int8)
    x[n - 1] = 1
    assert int(run_simulated(lambda a: np.argmax(a), x)) == n - 1


def test_variance_does_not_cancel():
    x = (1e4 + np.arange(8)).astype(np.float32)
    got = run_simulated(lambda a: np.var(a), x)
    np.testing.assert_allclose(got, np.var(x.astype(np.float64)), rtol=1e-5)


def test_a_sum_is_two_instructions():
    x = np.zeros((4, 5), np.float32)
    assert opcodes(lambda a: np.sum(a, axis=1), x) == ["constant", "reduce"]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint32", "bool"])
def test_mean_in_a_whole_dtype_divides_by_counts_beyond_it(dtype):
    x = np.arange(600, dtype=np.int32).reshape(2, 300) % 3
    check_kernel(lambda a: np.mean(a[:, :300], axis=1, dtype=dtype), x)


def test_whole_mean_of_nothing_divides_by_no_zero():
    result = run_simulated(
        lambda a: (np.mean(a, axis=0, dtype=np.int32), np.mean(a, dtype=np.int8)),
        np.zeros((0, 2), np.float32),
    )
    assert [(r.dtype.name, r.shape) for r in result] == [("int32", (2,)), ("int8", ())]
    assert all((r == 0).all() for r in result)
