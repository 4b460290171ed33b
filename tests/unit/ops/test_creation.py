"""Creation inside of a trace and outside, and what it must not depend on."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.core import dtypes as dt
from nkipy.core import tensor_apis
from nkipy.core.ops import creation
from nkipy.core.tensor import NKIPyTensorRef
from nkipy.core.trace import trace_function
from nkipy.testing import run_simulated
from tests.support.kernels import check_kernel

X = np.array([[1, np.nan, np.inf], [-np.inf, 0, -0.0]], np.float32)


def trace_one(func, *args):
    made = []

    def kernel(*tensors):
        made.append(func(*tensors))

    trace_function(kernel, args, {})
    return made[0]


def same(got, want):
    assert isinstance(got, np.ndarray)
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    np.testing.assert_array_equal(got, want)


def test_outside_of_a_trace_creation_makes_numpy_arrays():
    same(tensor_apis.zeros((2, 3)), np.zeros((2, 3), np.float32))
    same(tensor_apis.zeros(4, dtype=np.int8), np.zeros(4, np.int8))
    same(tensor_apis.full((2,), 1.5), np.full(2, 1.5, np.float32))
    same(tensor_apis.full(2, True, bool), np.ones(2, bool))
    same(tensor_apis.constant([1, 2], np.int16), np.array([1, 2], np.int16))
    same(tensor_apis.constant(True), np.array(True))


def test_inside_of_a_trace_they_are_traced():
    for make in (
        lambda a: tensor_apis.zeros(3),
        lambda a: tensor_apis.full((2, 2), 4),
        lambda a: tensor_apis.constant([1.0]),
    ):
        made = trace_one(make, X)
        assert isinstance(made, NKIPyTensorRef)
        assert made.dtype == dt.float32


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (True, None, dt.bool_),
        (3, None, dt.int32),
        (2.5, None, dt.float32),
        ([1, 2], None, dt.int32),
        ([0.5], None, dt.float32),
        ([True], None, dt.bool_),
        (np.int8(3), None, dt.int8),
        (np.arange(3), None, dt.int32),
        (np.zeros(2), np.float64, dt.float32),
        ([1, 2], dt.bfloat16, dt.bfloat16),
    ],
)
def test_dtype_of_a_constant(value, dtype, expected):
    made = trace_one(lambda a: tensor_apis.constant(value, dtype), X)
    assert made.dtype == expected
    assert made.shape == np.shape(value)


def test_a_constant_of_a_traced_array_is_that_array():
    assert trace_one(lambda a: tensor_apis.constant(a) is a, X)
    assert (
        trace_one(lambda a: tensor_apis.constant(a, dt.float16), X).dtype == dt.float16
    )


def test_a_constant_can_be_indexed_by_a_traced_value():
    table = np.array([5.0, 6.0, 7.0], np.float32)
    got = run_simulated(lambda t: tensor_apis.constant(table)[t], np.array(2, np.int32))
    np.testing.assert_array_equal(got, np.float32(7))


def test_created_arrays_can_be_written():
    def kernel(a):
        out = tensor_apis.zeros((3, 2))
        out[1] = a[0, :2]
        return out

    got = run_simulated(kernel, np.arange(6, dtype=np.float32).reshape(2, 3))
    np.testing.assert_array_equal(got, [[0, 0], [0, 1], [0, 0]])


@pytest.mark.parametrize(
    "like", [np.zeros_like, np.ones_like, np.empty_like, lambda a: np.full_like(a, 7)]
)
def test_what_is_like_an_array_does_not_depend_on_its_values(like):
    module = trace_function(like, (X,), {}).module
    opcodes = [op.opcode for op in module.operations if not op.is_parameter]
    assert opcodes == ["constant", "broadcast"]


def test_full_takes_traced_values():
    def kernel(a):
        return creation.full((2, 3), a), np.full_like(a, a[1], dtype=np.float32)

    row = np.array([1, 2, 3], np.int32)
    got, like = run_simulated(kernel, row)
    np.testing.assert_array_equal(got, np.full((2, 3), row, np.float32))
    np.testing.assert_array_equal(like, np.full(3, 2, np.float32))
    with pytest.raises(ValueError, match="does not broadcast"):
        trace_function(lambda a: creation.full((4,), a), (row,), {})


def test_np_full_takes_traced_values():
    def kernel(a):
        return (
            np.full((2, 3), a),
            np.full(2, a[1]),
            np.full((2,), fill_value=a[0] * 2.5),
        )

    check_kernel(kernel, np.array([1, 2, 3], np.float16))


def test_like_arguments_make_traced_arrays():
    made = trace_one(lambda a: np.zeros((2, 2), like=a), X)
    assert isinstance(made, NKIPyTensorRef)
    assert (made.shape, made.dtype) == ((2, 2), dt.float32)


def test_imag_and_isreal_ignore_the_values():
    check_kernel(
        lambda a: (np.imag(a), np.isreal(a), np.iscomplex(a), a.imag, a.real), X
    )


def test_metadata_is_plain_python():
    def kernel(a, b):
        assert np.shape(a) == (2, 3) and type(np.shape(a)) is tuple
        assert np.ndim(a) == 2 and np.size(a) == 6 and np.size(a, 1) == 3
        assert np.size(a, axis=-2) == 2
        assert np.result_type(a, b) == np.dtype(np.float32)
        assert np.result_type(b, np.int64) == np.dtype(np.int32)
        assert np.result_type(a.astype(np.float16), 1.0) == np.dtype(np.float16)
        assert np.can_cast(a, np.int8) is False
        assert np.can_cast(b, np.int64) is True
        assert np.common_type(a, b) is np.float32
        assert np.isrealobj(a) is True and np.iscomplexobj(a) is False
        assert np.min_scalar_type(b) == np.dtype(np.int32)
        return None

    trace_function(kernel, (X, np.arange(3, dtype=np.int32)), {})


def test_size_checks_the_axis():
    with pytest.raises(np.exceptions.AxisError, match="out of bounds"):
        trace_function(lambda a: np.size(a, 2), (X,), {})


def test_triangle_indices_are_static():
    def kernel(a):
        rows, columns = np.tril_indices_from(a, k=-1)
        assert isinstance(rows, np.ndarray)
        assert all(isinstance(i, np.ndarray) for i in np.diag_indices_from(a))
        return a[rows, columns] + a[np.triu_indices_from(a, k=1)]

    check_kernel(kernel, np.arange(9, dtype=np.float32).reshape(3, 3))
