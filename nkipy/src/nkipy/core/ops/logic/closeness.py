"""Whether arrays are equal, or nearly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops._registry import Op, supports
from nkipy.core.ops._samples import ErrorSample, Sample, make, special
from nkipy.core.promotion import is_ours, result_type
from nkipy.core.tensor import as_tensor

_DTYPES = supports(dt.float32, dt.float16, dt.int8, dt.int32, dt.bool_)
_MISMATCH = ErrorSample(
    (np.ones((2, 3), np.float32), np.ones((2, 4), np.float32)),
    error=ValueError,
    match="could not be broadcast together",
)


def _close_samples(dtype: np.dtype) -> Iterator[Sample]:
    x = make((4, 3), dtype)
    near = (x * 1.000004).astype(dtype) if dt.is_float(dtype) else x.copy()
    yield Sample((x, near), label="near")
    yield Sample((x, near), {"rtol": 1e-7, "atol": 0.0}, "strict")
    yield Sample((x, make((3,), dtype, seed=1)), label="broadcast")
    yield Sample((x[:0], x[:0]), label="empty")
    values = special(dtype)
    for equal_nan in (False, True):
        pair = (values[:, None], values[None, :])
        yield Sample(pair, {"equal_nan": equal_nan}, f"special {equal_nan}")
        yield Sample((values, values), {"equal_nan": equal_nan}, f"same {equal_nan}")


isclose = Op(
    "isclose",
    numpy=np.isclose,
    dtypes=_DTYPES,
    samples=_close_samples,
    errors=[_MISMATCH],
)
allclose = Op(
    "allclose",
    numpy=np.allclose,
    dtypes=_DTYPES,
    samples=_close_samples,
    errors=[_MISMATCH],
    note="the result is a traced 0-d bool",
)


@isclose.composed_impl
def _isclose(
    a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False
) -> Any:
    """Where ``|a - b| <= atol + rtol * |b|``; infinities are close to themselves."""
    x: Any = as_tensor(a)
    y: Any = as_tensor(b)
    if is_ours(result_type(x, y)):  # compared as what they are, exact in float32
        x, y = x.astype(np.float32), y.astype(np.float32)
    y = y.astype(result_type(y, 1.0))
    near = np.less_equal(np.abs(x - y), atol + rtol * np.abs(y))
    result = (near & np.isfinite(y)) | (x == y)
    if equal_nan:
        result = result | (np.isnan(x) & np.isnan(y))
    return result


@allclose.composed_impl
def _allclose(
    a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False
) -> Any:
    """Whether :func:`isclose` holds everywhere."""
    return np.all(_isclose(a, b, rtol, atol, equal_nan))


def _equal_samples(dtype: np.dtype) -> Iterator[Sample]:
    x = make((4, 3), dtype)
    yield Sample((x, x.copy()), label="same")
    yield Sample((x, ~x if dtype == dt.bool_ else x + x.dtype.type(1)), label="other")
    yield Sample((x[:0], x[:0]), label="empty")
    yield Sample((special(dtype), special(dtype)), label="special")


def _equal_nan_samples(dtype: np.dtype) -> Iterator[Sample]:
    yield from _equal_samples(dtype)
    yield Sample((special(dtype), special(dtype)), {"equal_nan": True}, "equal_nan")


def _equiv_samples(dtype: np.dtype) -> Iterator[Sample]:
    yield from _equal_samples(dtype)
    x = make((3,), dtype)
    yield Sample((x, np.broadcast_to(x, (2, 3)).copy()), label="broadcast")


array_equal = Op(
    "array_equal",
    numpy=np.array_equal,
    dtypes=_DTYPES,
    samples=_equal_nan_samples,
    note="the result is a traced 0-d bool; False itself where the shapes differ",
)
array_equiv = Op(
    "array_equiv",
    numpy=np.array_equiv,
    dtypes=_DTYPES,
    samples=_equiv_samples,
    note="the result is a traced 0-d bool; False itself where no shape is common",
)


@array_equal.composed_impl
def _array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Any:
    """Whether shapes and elements are equal."""
    x, y = as_tensor(a1), as_tensor(a2)
    if x.shape != y.shape:
        return False
    same = x == y
    return np.all(same | (np.isnan(x) & np.isnan(y)) if equal_nan else same)


@array_equiv.composed_impl
def _array_equiv(a1: Any, a2: Any) -> Any:
    """Whether the elements are equal after broadcasting."""
    x, y = as_tensor(a1), as_tensor(a2)
    try:
        np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        return False
    return np.all(x == y)
