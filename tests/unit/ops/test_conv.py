"""Convolutions: the NumPy definition against a loop, and arguments."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from nkipy.core.ops.conv.spatial import (
    _normalize_tuple_2d,
    _normalize_tuple_3d,
    conv1d,
    conv2d,
)
from nkipy.core.tensor_apis import conv3d
from nkipy.testing import run_simulated


def by_loops(x, w, stride, pads, dilation, groups):
    """A 2-D convolution by its formula, one product at a time."""
    x = np.pad(x, ((0, 0), (0, 0), *pads))
    spatial = [
        (x.shape[i + 2] - (w.shape[i + 2] - 1) * dilation[i] - 1) // stride[i] + 1
        for i in range(2)
    ]
    result = np.zeros((x.shape[0], w.shape[0], *spatial))
    per_group = w.shape[0] // groups
    for b, o, i, j in itertools.product(*map(range, result.shape)):
        first = (o // per_group) * w.shape[1]
        for c, p, q in itertools.product(*map(range, w.shape[1:])):
            row, column = (
                i * stride[0] + p * dilation[0],
                j * stride[1] + q * dilation[1],
            )
            result[b, o, i, j] += x[b, first + c, row, column] * w[o, c, p, q]
    return result


@pytest.mark.parametrize("groups", [1, 2])
def test_numpy_definition_and_simulation_equal_the_formula(groups):
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (2, 4, 7, 6)).astype(np.float32)
    w = rng.uniform(-1, 1, (6, 4 // groups, 3, 2)).astype(np.float32)
    options = {
        "stride": (2, 1),
        "padding": [(1, 2), (0, 1)],
        "dilation": (1, 2),
        "groups": groups,
    }
    expected = by_loops(x, w, (2, 1), [(1, 2), (0, 1)], (1, 2), groups)
    for got in (
        conv2d(x, w, **options),
        run_simulated(lambda a, b: conv2d(a, b, **options), x, w),
    ):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [5, 6, 7])
def test_same_padding_gives_the_size_divided_by_the_stride(size, stride):
    x, w = np.ones((1, 1, size), np.float32), np.ones((1, 1, 3), np.float32)
    assert conv1d(x, w, stride=stride, padding="same").shape == (
        1,
        1,
        -(-size // stride),
    )


def test_mixed_dtypes_promote():
    x, w = np.ones((1, 1, 2, 2, 2), np.float16), np.ones((1, 1, 1, 1, 1), np.float32)
    assert conv3d(x, w).dtype == np.float32
    assert run_simulated(conv3d, x, w).dtype == np.float32


def test_arguments_per_dimension():
    assert _normalize_tuple_2d(2) == (2, 2)
    assert _normalize_tuple_2d((1, 2)) == (1, 2)
    assert _normalize_tuple_3d([1, 2, 3]) == (1, 2, 3)
    with pytest.raises(ValueError, match="2 ints"):
        _normalize_tuple_2d((1, 2, 3))
