"""Differences are found, and the table of tolerances is what decides."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from nkipy.core import dtypes as dt
from nkipy.testing import (
    RTOL,
    Tolerance,
    check_kernel,
    compare,
    special_values,
    subnormals,
)

FLOATS = sorted(RTOL, key=str)
ELEMENTWISE = Tolerance(elementwise=True)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_a_float_may_be_off_by_as_much_as_the_table_says(dtype):
    exact = np.ones(3, dtype)
    unit = float(ml_dtypes.finfo(dtype).eps)
    allowed = int(RTOL[dtype] / unit)
    assert allowed >= 1
    near = np.full(3, 1 + allowed * unit, dtype)
    far = np.full(3, 1 + (allowed + 1) * unit, dtype)
    compare(near, exact, tolerance=ELEMENTWISE)
    with pytest.raises(AssertionError):
        compare(far, exact, tolerance=ELEMENTWISE)


def test_only_sums_are_measured_by_the_largest_result():
    exact = np.array([1e4, 1e-4], np.float32)
    off = np.array([1e4, 2e-4], np.float32)
    compare(off, exact)
    with pytest.raises(AssertionError):
        compare(off, exact, tolerance=ELEMENTWISE)
    zeros = np.zeros(2, np.float32)
    compare(-zeros, zeros)
    with pytest.raises(AssertionError, match="sign of zero"):
        compare(-zeros, zeros, tolerance=ELEMENTWISE)


def test_an_ops_own_tolerance_goes_before_the_table():
    own = Tolerance(own={dt.float32: 1e-2})
    compare(np.float32(1.009), np.float32(1), tolerance=own)
    with pytest.raises(AssertionError):
        compare(np.float32(1.009), np.float32(1))


def test_integers_are_equal_and_64_bits_are_32():
    compare(np.arange(3, dtype=np.int32), np.arange(3))
    with pytest.raises(AssertionError):
        compare(np.array([2**24 + 1]), np.array([2**24]))
    with pytest.raises(AssertionError, match="r at b.0: dtype int32 instead of uint32"):
        compare({"b": [np.int32(1)]}, {"b": [np.uint32(1)]}, label="r")


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        ({"a": 1}, {"b": 1}),
        ([1, 2], [1]),
        (None, 1),
        (1, None),
        (np.zeros((1,)), np.zeros(())),
        (np.nan, 1.0),
        (np.inf, np.float32(3e38)),
    ],
)
def test_other_structures_shapes_and_special_values_differ(got, expected):
    with pytest.raises(AssertionError):
        compare(got, expected)
    compare(expected, expected)


@pytest.mark.parametrize("dtype", dt.SUPPORTED, ids=str)
def test_special_values_are_what_the_dtype_has(dtype):
    values = special_values(dtype)
    assert values.dtype == dtype and values.ndim == 1
    reals = values.astype(np.float64)
    if dtype == dt.bool_:
        assert set(reals) == {0, 1}
    elif dt.is_integer(dtype):
        info = np.iinfo(dtype)
        assert {info.min, info.max, 0} <= set(values.tolist())
    else:
        limits = ml_dtypes.finfo(dtype)
        assert {float(limits.max), float(limits.smallest_normal)} <= set(reals)
        assert np.isnan(reals).any()
        assert np.isinf(reals).sum() == (0 if dtype == dt.float8_e4m3fn else 2)
        assert {*np.signbit(reals[reals == 0])} == {True, False}


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_subnormals_are_between_zero_and_the_normal_numbers(dtype):
    values = np.abs(subnormals(dtype).astype(np.float64))
    assert (values > 0).all()
    assert (values < float(ml_dtypes.finfo(dtype).smallest_normal)).all()
    assert len(set(values)) == 2


def test_integers_have_no_subnormals():
    with pytest.raises(ValueError, match="int8 has no subnormal numbers"):
        subnormals(np.int8)


def test_the_first_line_says_where_values_differ():
    for got, expected in (
        (np.ones(2, np.float32), np.zeros(2, np.float32)),
        (np.ones(2, np.int32), np.zeros(2, np.int32)),
    ):
        with pytest.raises(AssertionError) as caught:
            compare({"b": got}, {"b": expected}, label="softmax")
        assert str(caught.value).splitlines()[0].startswith("softmax at b: ")
        assert "Mismatched elements: 2 / 2" in str(caught.value)


def test_pytest_shows_the_line_of_the_test_and_not_those_of_the_comparison():
    with pytest.raises(AssertionError) as caught:
        check_kernel(
            np.tanh, np.ones(2, np.float32), modes="simulate", reference=np.sinh
        )
    assert [entry.path.name for entry in caught.traceback.filter(caught)] == [
        "test_comparison.py"
    ]
