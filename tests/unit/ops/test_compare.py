"""Comparisons that NumPy makes in 64 bits are exact here too."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nkipy.testing import run_simulated
from tests.support.kernels import check_kernel

INT32 = np.array(
    [0, 1, -1, 127, -128, -129, 255, 256, -256, 2**24, 2**24 + 1, -(2**24) - 1]
    + [2**31 - 1, 2**31 - 64, 2**31 - 65, 2**31 - 129, -(2**31), -(2**31) + 1],
    np.int32,
)
UINT32 = np.array([0, 1, 2**24 + 1, 2**31 - 1, 2**31, 2**32 - 1], np.uint32)


def all_six(x, y):
    return [x == y, x != y, x < y, x <= y, x > y, x >= y]


def check_pairs(x, y):
    check_kernel(all_six, x[:, None], y[None, :])
    check_kernel(all_six, y[:, None], x[None, :])


def floats_around(integers):
    near = integers.astype(np.float32)
    steps = [near, np.nextafter(near, np.inf), np.nextafter(near, -np.inf)]
    others = [near + 0.5, np.array([math.inf, -math.inf, math.nan, -1.0000001])]
    # Subnormal neighbours of 0 are 0 on the device.
    found = np.concatenate(steps + others).astype(np.float32)
    return found[(found == 0) | ~(np.abs(found) < 1e-30)]


def test_signed_with_unsigned():
    check_pairs(INT32, UINT32)
    check_pairs(np.array([-128, -1, 0, 127], np.int8), UINT32)


@pytest.mark.parametrize("integers", [INT32, UINT32], ids=["int32", "uint32"])
def test_integers_with_float32(integers):
    check_pairs(integers, floats_around(integers))


def test_integers_with_low_precision_floats():
    check_pairs(INT32, np.array([0, -0.5, 255, 256, 65504, math.inf], np.float16))


@pytest.mark.parametrize(
    "scalar",
    [-1, 300, 2**31, -(2**31) - 1, 10**30, True, 0.5, -0.0, 16777216.5, 1e300]
    + [math.nan, math.inf, -math.inf, np.int64(2**40), np.float32(0.5)],
    ids=str,
)
def test_tensor_with_scalar(scalar):
    def kernel(*arrays):
        return [
            (all_six(x, scalar), [scalar < x, scalar >= x, scalar == x]) for x in arrays
        ]

    arrays = [INT32, UINT32, INT32.astype(np.int8), UINT32.astype(np.uint8)]
    check_kernel(kernel, *arrays)


def test_result_has_the_broadcast_shape():
    got = run_simulated(lambda x, y: x < y, INT32[:, None], UINT32)
    assert got.shape == (INT32.size, UINT32.size) and got.dtype == bool
