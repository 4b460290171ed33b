"""Parts and neighbours of floating-point numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops._lower import (
    fill,
    step_away,
)
from nkipy.core.ops._registry import Op, supports
from nkipy.core.ops._samples import Sample, make, special
from nkipy.core.ops._ufunc import UFuncOp, in_float32
from nkipy.core.ops._views import duplicate
from nkipy.core.ops.binary.floating import FLUSHED, NATIVE
from nkipy.core.ops.unary.rounding import _trunc
from nkipy.core.tensor import as_tensor
from nkipy.hlo.builder import HLOBuilder, Value
from nkipy.hlo.compositions import with_sign_of


def _spacing(b: HLOBuilder, x: Value) -> Value:
    away = b.full_like(x, math.inf)
    if x.dtype != dt.float16:  # of which NumPy takes the distance to the next above
        away = with_sign_of(b, away, x)
    following = b.bitcast_convert(step_away(b, x, away)[0], x.dtype)
    gap = b.subtract(following, x)
    return fill(b, b.not_(b.emit("is-finite", (x,), x.shape, dt.bool_)), math.nan, gap)


def _normal(dtype: np.dtype) -> Iterator[Sample]:
    yield Sample((make((3, 4), dtype, 1, 50),))
    yield Sample((make((0,), dtype),), label="empty")
    x = np.array([1, -1, 1.5, 100, -0.25, np.inf, np.nan]).astype(dtype)
    yield Sample((x,), label="special")


spacing = UFuncOp(
    np.spacing,
    _spacing,
    dtypes=(dt.float32, dt.float16),
    samples=_normal,
    note=FLUSHED,
)


def _modf(b: HLOBuilder, x: Value) -> tuple[Value, Value]:
    whole = _trunc(b, x)
    infinite = b.compare(b.unary("abs", x), b.full_like(x, math.inf), "EQ")
    rest = fill(b, infinite, 0, b.subtract(x, whole))
    return with_sign_of(b, rest, x), whole


def _frexp(b: HLOBuilder, x: Value) -> tuple[Value, Value]:
    bits = b.bitcast_convert(x, dt.int32)
    field = b.and_(
        b.binary("shift-right-logical", bits, b.full_like(bits, 23)),
        b.full_like(bits, 0xFF),
    )
    half = b.or_(
        b.and_(bits, b.full_like(bits, ~0x7F800000)), b.full_like(bits, 126 << 23)
    )
    size, smallest = b.unary("abs", x), b.full_like(x, np.finfo(np.float32).tiny)
    normal = b.compare(size, smallest, "GE")
    usual = b.and_(normal, b.compare(size, b.full_like(x, math.inf), "LT"))
    exponent = b.subtract(field, b.full_like(bits, 126))
    mantissa = b.bitcast_convert(half, dt.float32)
    return b.select(usual, mantissa, x), b.select(usual, exponent, b.full_like(bits, 0))


modf = UFuncOp(np.modf, in_float32(_modf), dtypes=NATIVE)
frexp = UFuncOp(np.frexp, in_float32(_frexp), dtypes=NATIVE)


# -- nan_to_num ------------------------------------------------------------------------
def _nan_samples(dtype: np.dtype) -> Iterator[Sample]:
    yield Sample((special(dtype),), label="special")
    yield Sample((make((2, 0), dtype),), label="empty")
    yield Sample((special(dtype),), {"copy": False}, "in place")
    if dt.is_float(dtype):
        replaced = {"nan": 1.5, "posinf": 2.0, "neginf": -3.0}
        yield Sample((special(dtype),), replaced, "values")


nan_to_num = Op(
    "nan_to_num",
    numpy=np.nan_to_num,
    dtypes=supports(dt.FLOATS, dt.FP8, dt.INTEGERS, dt.bool_),
    samples=_nan_samples,
    note="replaces in bfloat16 and fp8 too, which NumPy returns as they are",
)


@nan_to_num.impl("hlo")
def _nan_to_num(
    x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None
) -> Any:
    """`x` with NaN and infinities replaced, by default with 0 and the extremes.

    Raises:
        ValueError: `copy` is false, and `x` is a scalar, which cannot be written.
    """
    x = as_tensor(x)
    if not copy and not x.shape and not x._is_zero_d_array():
        raise ValueError("with copy=False, values are replaced in an array: no scalar")
    result = x
    if dt.is_float(x.dtype):
        largest = float(ml_dtypes.finfo(x.dtype).max)
        posinf = largest if posinf is None else posinf
        neginf = -largest if neginf is None else neginf
        for where, value in (
            (np.isnan(x), nan),
            (np.isposinf(x), posinf),
            (np.isneginf(x), neginf),
        ):
            result = np.where(where, as_tensor(value, x.dtype), result)
    if copy:
        return duplicate(result)
    if result is not x:
        x[...] = result
    return x if x.shape else duplicate(x)
