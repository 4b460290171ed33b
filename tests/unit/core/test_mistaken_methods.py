"""Methods and attributes of traced arrays that are used wrongly; partial ufuncs."""

from __future__ import annotations

import functools

import ml_dtypes
import numpy as np
import pytest

from nkipy.core.errors import NKIPyError
from nkipy.runtime import simulate_jit
from nkipy.testing import check_kernel

X = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize(
    ("op", "call"),
    [
        ("sum", lambda a: a.sum(self=1)),
        ("astype", lambda a: a.astype("f4", foo=1)),
        ("reshape", lambda a: a.reshape(3, 2, foo=1)),
        ("item", lambda a: a.item(foo=1)),
        ("max", lambda a: a.max(foo=1)),
    ],
)
def test_unknown_keywords_name_op_and_line(op, call):
    with pytest.raises(TypeError, match="foo|self") as caught:
        simulate_jit(call)(X)
    assert isinstance(caught.value, NKIPyError)
    assert caught.value.op == op
    assert caught.value.location is not None
    assert "NKIPyTensorRef" not in str(caught.value)


@pytest.mark.parametrize("name", "shape dtype strides T real imag flags".split())
def test_attributes_that_cannot_be_set(name):
    with pytest.raises(AttributeError, match="cannot be set") as caught:
        simulate_jit(lambda a: setattr(a, name, (3, 2)))(X)
    assert isinstance(caught.value, NKIPyError)
    assert caught.value.op == f"ndarray.{name}"
    assert caught.value.location is not None


@pytest.mark.parametrize(
    "kernel",
    [
        functools.partial(np.add, 1),
        functools.partial(np.exp),
        functools.partial(functools.partial(np.maximum), 0),
        functools.partial(np.add, 1, dtype="f4"),
    ],
)
def test_partial_ufuncs_are_kernels(kernel):
    np.testing.assert_allclose(simulate_jit(kernel)(X), kernel(X), rtol=1e-6)


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3])
def test_sinc_is_rounded_once(dtype):
    a = np.array([0, 1, 2, 96, 0.5], dtype)
    got = simulate_jit(lambda x: np.sinc(x))(a).astype(np.float32)
    want = np.sinc(a.astype(np.float32)).astype(dtype).astype(np.float32)
    # One unit of the dtype; near zero, the error of float32's angle.
    unit = float(ml_dtypes.finfo(dtype).eps)
    np.testing.assert_allclose(got, want, rtol=unit, atol=1e-6)


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, ml_dtypes.float8_e5m2])
def test_nan_to_num_takes_the_extremes_of_the_dtype(dtype):
    a = np.array([1, np.inf, -np.inf, np.nan], dtype)
    check_kernel(lambda x: np.nan_to_num(x), a, modes="simulate")


@pytest.mark.parametrize(
    "call",
    [
        lambda a: np.add(a, 1, order="Q"),
        lambda a: np.matmul(a, a.T, order="Q"),
        lambda a: np.copy(a, order="Q"),
        lambda a: np.sum(a, keepdims="x"),
        lambda a: np.ediff1d(a > 1),
        lambda a: np.concatenate([a, a], casting="bad"),
    ],
)
def test_keywords_that_numpy_refuses(call):
    for function in (call, simulate_jit(call)):
        with pytest.raises((TypeError, ValueError)):
            function(X)
