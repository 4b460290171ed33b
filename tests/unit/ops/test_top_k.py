"""topk: order, ties, extremes, untraced and traced."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.core.tensor_apis import topk
from nkipy.testing import run_simulated


def both(x, *args, **kwargs):
    yield topk(x, *args, **kwargs)
    yield run_simulated(lambda a: topk(a, *args, **kwargs), x)


@pytest.mark.parametrize("is_ascend", [False, True])
def test_of_equal_elements_the_first_comes_first(is_ascend):
    x = np.array([2, 1, 2, 1, 2, 1], np.float32)
    expected = [1, 3, 5, 0] if is_ascend else [0, 2, 4, 1]
    for values, indices in both(x, 4, is_ascend=is_ascend):
        assert indices.dtype == np.uint32 and values.dtype == np.float32
        np.testing.assert_array_equal(indices, expected)
        np.testing.assert_array_equal(values, x[expected])


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.uint8, np.uint32])
def test_smallest_of_integers_at_the_ends_of_their_range(dtype):
    info = np.iinfo(dtype)
    x = np.array([info.max, info.min, 1, info.min + 1], dtype)
    for values, indices in both(x, 3, is_ascend=True):
        np.testing.assert_array_equal(values, np.sort(x)[:3])
        np.testing.assert_array_equal(indices, [1, 3, 2] if info.min else [1, 2, 3])


@pytest.mark.parametrize("is_ascend", [False, True])
def test_nan_comes_first_in_both_orders(is_ascend):
    x = np.array([1, np.nan, np.inf, -np.inf], np.float32)
    for values, indices in both(x, 2, is_ascend=is_ascend):
        np.testing.assert_array_equal(
            values, [np.nan, -np.inf if is_ascend else np.inf]
        )
        np.testing.assert_array_equal(indices, [1, 3 if is_ascend else 2])


def test_untraced_call_checks_its_arguments():
    with pytest.raises(ValueError, match="from 0 to 3"):
        topk(np.zeros(3, np.float32), 4)
    with pytest.raises(np.exceptions.AxisError):
        topk(np.zeros(3, np.float32), 1, axis=1)


def test_several_in_one_kernel():
    def kernel(x):
        values, indices = topk(x, k=2, axis=-1)
        again, _ = topk(-x, k=1, axis=-1)
        return values, indices, again

    x = np.array([[3, 1, 2], [4, 6, 5]], np.float32)
    values, indices, again = run_simulated(kernel, x)
    np.testing.assert_array_equal(values, [[3, 2], [6, 5]])
    np.testing.assert_array_equal(indices, [[0, 2], [1, 2]])
    np.testing.assert_array_equal(again, [[-1], [-4]])
