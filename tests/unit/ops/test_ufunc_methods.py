"""reduce, accumulate, outer, at and reduceat of ufuncs, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.core.trace import trace_function
from tests.support.kernels import check_kernel

X = np.random.default_rng(0).uniform(-3, 3, (4, 5)).astype(np.float32)
N = np.random.default_rng(1).integers(-50, 50, (4, 5)).astype(np.int32)
B = N > 0


def reductions(x, i, b):
    return [
        np.add.reduce(x),
        np.add.reduce(x, axis=1, keepdims=True),
        np.add.reduce(x, axis=None),
        np.add.reduce(x, axis=(0, 1), initial=2.0),
        np.add.reduce(b, axis=0),
        np.add.reduce(i, dtype=np.float32),
        np.multiply.reduce(x, axis=-1),
        np.maximum.reduce(x),
        np.minimum.reduce(i, axis=1, initial=-7),
        np.logical_and.reduce(b, axis=1),
        np.logical_or.reduce(x, axis=0),
        np.logical_xor.reduce(b, axis=0),
        np.bitwise_and.reduce(i, axis=0),
        np.bitwise_or.reduce(i, axis=1),
        np.bitwise_xor.reduce(i, axis=None),
        np.subtract.reduce(x, axis=1),
        np.fmax.reduce(x, axis=0),
        np.logaddexp.reduce(x, axis=1),
        np.hypot.reduce(x, axis=0),
        np.gcd.reduce(i, axis=1),
        np.add.reduce(x, axis=0, where=b),
    ]


def scans(x, i, b):
    return [
        np.add.accumulate(x),
        np.add.accumulate(i, axis=1),
        np.add.accumulate(b, axis=1),
        np.multiply.accumulate(x, axis=-1),
        np.maximum.accumulate(x, axis=1),
        np.minimum.accumulate(i),
        np.bitwise_xor.accumulate(i, axis=1),
        np.logical_or.accumulate(b, axis=1),
        np.subtract.accumulate(x, axis=0),
        np.logaddexp.accumulate(x, axis=1),
    ]


def outers(x, i, b):
    return [
        np.multiply.outer(x, i[0]),
        np.subtract.outer(2.0, x[1]),
        np.less.outer(i[:, 0], i[0]),
        np.add.outer(x[0], x[1], dtype=np.float16, casting="same_kind"),
    ]


def segments(x, i, b):
    return [
        np.add.reduceat(x, [0, 2, 1, 3]),
        np.add.reduceat(i, [0, 3, 4], axis=1),
        np.maximum.reduceat(x, [1, 1, 4], axis=1),
    ]


def of_one_element(x, i, b):
    """A reduction starts with the identity, an accumulation with the element."""
    return [
        np.gcd.reduce(-abs(i[:1])),
        np.gcd.reduceat(-abs(i), [3]),
        np.gcd.accumulate(-abs(i[:1])),
        np.gcd.reduce(i, axis=0, where=b),
        np.hypot.reduce(-abs(x[:1])),
        np.hypot.reduce(i[:1]),
        np.logical_xor.reduce(x[:1], axis=0),
        np.logical_xor.reduce(i, axis=0, where=b),
        np.logical_and.accumulate(i),
        np.subtract.reduce(x, initial=1, where=b),
        np.fmax.reduce(x, axis=(0, 1)),
        np.fmax.reduce(x, axis=(0, 1), where=b, initial=-9),
        np.fmin.reduce(x, axis=None, where=b, initial=9, keepdims=True),
    ]


@pytest.mark.parametrize(
    "kernel", [reductions, scans, outers, segments, of_one_element]
)
def test_method_equals_numpy(kernel):
    check_kernel(kernel, X, N, B, rtol=2e-6)


def test_methods_store_into_out():
    def kernel(x, total, running):
        np.add.reduce(x, axis=1, out=total)
        np.maximum.accumulate(x, axis=0, out=running)
        return total

    check_kernel(kernel, X, np.zeros(4, np.float32), np.zeros((4, 5), np.float32))


ROWS = np.array([0, 2, 0, -1], np.int32)


def test_at_accumulates_duplicates():
    def kernel(x, i, b, rows):
        np.add.at(x, rows, 1.5)  # traced indices
        np.add.at(x, [0, 0, 1], 2.0)
        np.subtract.at(i, ([0, 0], [1, 1]), 3)
        np.multiply.at(i, rows, 2)
        np.maximum.at(x, (slice(None), [1, 1]), np.float32(0.25))
        np.bitwise_or.at(b, [1, 1], np.array([True, False, True, False, True]))
        np.add.at(i, np.s_[1:3], 7)  # no index array
        np.negative.at(x, 3)

    check_kernel(kernel, X, N, B, ROWS)


def test_at_writes_through_a_view():
    def kernel(x):
        np.add.at(x[1:, ::2], [0, 0, 2], 1.0)
        return x.sum()

    check_kernel(kernel, X, rtol=2e-6)


def test_at_values_have_the_index_shape():
    def kernel(x, updates):
        np.add.at(x, ROWS, updates)

    check_kernel(kernel, X, np.arange(20, dtype=np.float32).reshape(4, 5))


@pytest.mark.parametrize(
    ("kernel", "error", "match"),
    [
        (lambda x: np.divide.reduce(x[:0]), ValueError, "no identity"),
        (lambda x: np.subtract.reduce(x, axis=(0, 1)), ValueError, "reorderable"),
        (lambda x: np.exp.reduce(x), ValueError, "binary functions"),
        (lambda x: np.add.reduce(x, axis=2), np.exceptions.AxisError, "out of bounds"),
        (lambda x: np.add.accumulate(x[0, 0]), TypeError, "scalar"),
        (lambda x: np.divide.at(x, [0, 0], 2.0), NotImplementedError, "np.where"),
        (lambda x: np.add.at(x, [9], 1.0), IndexError, "out of bounds"),
        (lambda x: np.add.at(x.astype(np.int32), [0], 0.5), TypeError, "cannot cast"),
        (lambda x: np.add.reduceat(x, [4]), IndexError, "out-of-bounds"),
        (lambda x: np.add.reduceat(x, x[0]), NotImplementedError, "traced"),
        (
            lambda x: np.hypot.reduce(np.concatenate([x.ravel()] * 20)),
            NotImplementedError,
            "too many to unroll",
        ),
    ],
)
def test_mistake_is_refused(kernel, error, match):
    with pytest.raises(error, match=match):
        trace_function(kernel, (X,), {})


# -- uint32 in int64 -------------------------------------------------------------------
LARGE = np.array([[0, 7, 2**31], [2**32 - 1, 2**31 + 8, 3], [5, 1, 2**32 - 6]], "u4")
BY_SIZE = [np.maximum, np.minimum, np.fmax, np.fmin, np.floor_divide, np.remainder]
BY_SIZE += [np.fmod, np.gcd, np.right_shift]


def wrapped(x):
    """The last 32 bits, which remain of what NumPy has in int64."""
    return x.astype(np.int64).astype(np.int32)


@pytest.mark.parametrize("ufunc", BY_SIZE, ids=lambda ufunc: ufunc.__name__)
def test_large_uint32_count_as_what_they_are_where_the_result_is_int64(ufunc):
    def kernel(x):
        return [
            wrapped(result)
            for result in (
                ufunc.reduce(x, dtype=np.int64),
                ufunc.reduce(x, axis=1, dtype=np.int64, keepdims=True),
                ufunc.accumulate(x, axis=1, dtype=np.int64),
                ufunc.reduceat(x, [0, 1], dtype=np.int64),
            )
        ]

    with np.errstate(divide="ignore"):
        check_kernel(kernel, LARGE)


@pytest.mark.parametrize(
    ("given", "dtype"), [(np.int16, np.int64), (np.uint32, np.uint64)]
)
def test_least_common_multiples_pass_32_bits_on_the_way(given, dtype):
    x = np.random.default_rng(3).integers(9000, 2**15, (3, 5)).astype(given)
    x[2, 0], x[0, 1], x[:2, 2], x[0, 3] = 0, 0, 0, x[1, 3]

    def kernel(x):
        return [
            result.astype(np.uint32)
            for result in (
                np.lcm.reduce(x, dtype=dtype, initial=35, where=x % 3 != 1),
                np.lcm.accumulate(x, dtype=dtype),
            )
        ]

    check_kernel(kernel, x)


def test_a_negative_start_of_such_a_reduction_is_refused():
    def kernel(x):
        return np.maximum.reduce(x, dtype=np.int64, initial=-5)

    with pytest.raises(
        NotImplementedError, match="initial=-5 of a reduction of uint32"
    ):
        trace_function(kernel, (LARGE,), {})
