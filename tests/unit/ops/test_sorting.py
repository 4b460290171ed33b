"""Sorting and searching: NumPy's order, stability, and size of the program."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.core.trace import trace_function
from nkipy.testing import run_simulated
from tests.support.kernels import check_kernel

ZEROS = np.array([0.0, -0.0, np.nan, -0.0, -1.0, 0.0, np.nan], np.float32)


def test_zeros_of_both_signs_keep_their_order():
    got = run_simulated(lambda a: np.sort(a, kind="stable"), ZEROS)
    np.testing.assert_array_equal(got, np.sort(ZEROS))
    np.testing.assert_array_equal(np.signbit(got[:5]), [True, False, True, True, False])


def test_indices_of_ties_rise_and_nan_is_last():
    got = run_simulated(lambda a: np.argsort(a), ZEROS)
    np.testing.assert_array_equal(got, [4, 0, 1, 3, 5, 2, 6])


def test_negative_nan_is_last_too():
    x = np.array([1.0, np.copysign(np.nan, -1), -np.inf], np.float32)
    got = run_simulated(lambda a: np.sort(a), x)
    np.testing.assert_array_equal(got, [-np.inf, 1.0, np.nan])


@pytest.mark.parametrize("axis", [0, 1, 2, -3])
def test_sort_and_argsort_agree(axis):
    x = np.random.default_rng(0).integers(-3, 3, (4, 5, 6)).astype(np.int8)
    check_kernel(
        lambda a: (
            np.sort(a, axis=axis),
            np.take_along_axis(a, np.argsort(a, axis=axis, kind="stable"), axis),
        ),
        x,
    )


def test_lexsort_is_one_sort():
    x = np.zeros(9, np.float32)
    module = trace_function(lambda a, b: np.lexsort((a, b)), (x, x), {}).module
    assert [i.opcode for i in module.operations].count("sort") == 1


def test_searchsorted_grows_with_the_logarithm():
    def size(n):
        args = np.zeros(n, np.float32), np.zeros(5, np.float32)
        module = trace_function(lambda a, v: np.searchsorted(a, v), args, {}).module
        return len(module.operations)

    assert size(1024) - size(512) == size(512) - size(256)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 1000])
@pytest.mark.parametrize("side", ["left", "right"])
def test_searchsorted_of_every_length(n, side):
    row = np.sort(np.random.default_rng(n).integers(0, n, n)).astype(np.int32)
    values = np.arange(-1, n + 1, dtype=np.int32)
    got = run_simulated(lambda a, v: np.searchsorted(a, v, side), row, values)
    np.testing.assert_array_equal(got, np.searchsorted(row, values, side))
    assert got.dtype == np.int32


def test_a_traced_partition_index_is_fine():
    x = np.array([3, 1, 2], np.int32)
    got = run_simulated(lambda a, k: np.partition(a, k), x, np.array(1, np.int32))
    np.testing.assert_array_equal(got, [1, 2, 3])
