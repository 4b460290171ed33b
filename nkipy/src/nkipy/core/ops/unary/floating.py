"""Parts and neighbours of floating-point numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops._lower import bits_of, fill, is_nan, is_zero, with_sign_of
from nkipy.core.ops._registry import Op, supports
from nkipy.core.ops._samples import Sample, binary_sampler, make, special
from nkipy.core.ops._ufunc import UFuncOp, in_float32
from nkipy.core.ops.binary.arithmetic import REAL
from nkipy.core.ops.unary.rounding import _trunc
from nkipy.core.tensor import as_tensor
from nkipy.hlo.builder import HLOBuilder, Value

_NATIVE = supports(dt.FLOATS, dt.int8)
_FLUSHED = "float32 results below the smallest normal number are zero on the device"

copysign = UFuncOp(np.copysign, with_sign_of, dtypes=REAL)


def _step_away(b: HLOBuilder, x: Value, y: Value) -> tuple[Value, Value]:
    """The bits of the next number from `x` toward `y`, and those of `x`.

    By integer arithmetic: comparing floats would take subnormal numbers for zero.
    """
    bits, target = bits_of(b, x), bits_of(b, y)
    zero, one = b.full_like(bits, 0), b.full_like(bits, 1)
    ours, theirs = _ordered(b, bits), _ordered(b, target)
    up = b.compare(ours, theirs, "LT")
    positive = b.compare(bits, zero, "GE")
    grows = b.compare(b.convert(up, dt.int8), b.convert(positive, dt.int8), "EQ")
    moved = b.select(grows, b.add(bits, one), b.subtract(bits, one))
    sign = np.iinfo(bits.dtype).min
    smallest = b.select(up, one, b.full_like(bits, sign + 1))
    moved = b.select(b.compare(ours, zero, "EQ"), smallest, moved)
    return b.select(b.compare(ours, theirs, "EQ"), target, moved), bits


def _ordered(b: HLOBuilder, bits: Value) -> Value:
    """Integers in the order of the floats that have these bits; both zeros are 0."""
    lowest = b.full_like(bits, np.iinfo(bits.dtype).min)
    negative = b.compare(bits, b.full_like(bits, 0), "LT")
    return b.select(negative, b.subtract(lowest, bits), bits)


def _nextafter(b: HLOBuilder, x: Value, y: Value) -> Value:
    moved = b.bitcast_convert(_step_away(b, x, y)[0], x.dtype)
    return b.select(b.or_(is_nan(b, x), is_nan(b, y)), b.add(x, y), moved)


def _spacing(b: HLOBuilder, x: Value) -> Value:
    away = b.full_like(x, math.inf)
    if x.dtype != dt.float16:  # of which NumPy takes the distance to the next above
        away = with_sign_of(b, away, x)
    following = b.bitcast_convert(_step_away(b, x, away)[0], x.dtype)
    gap = b.subtract(following, x)
    return fill(b, b.not_(b.emit("is-finite", (x,), x.shape, dt.bool_)), math.nan, gap)


def _neighbours(dtype: np.dtype) -> Iterator[Sample]:
    yield from binary_sampler(specials=False)(dtype)
    x = np.array([1, -1, 1.5, 100, -0.25, np.inf, -np.inf, np.nan]).astype(dtype)
    yield Sample((x[:, None], x[None, :]), label="special")


def _normal(dtype: np.dtype) -> Iterator[Sample]:
    yield Sample((make((3, 4), dtype, 1, 50),))
    yield Sample((make((0,), dtype),), label="empty")
    x = np.array([1, -1, 1.5, 100, -0.25, np.inf, np.nan]).astype(dtype)
    yield Sample((x,), label="special")


nextafter = UFuncOp(
    np.nextafter,
    _nextafter,
    dtypes=dt.FLOATS,
    samples=_neighbours,
    note=_FLUSHED,
)
spacing = UFuncOp(
    np.spacing,
    _spacing,
    dtypes=(dt.float32, dt.float16),
    samples=_normal,
    note=_FLUSHED,
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
    finite = b.emit("is-finite", (x,), x.shape, dt.bool_)
    usual = b.and_(finite, b.not_(is_zero(b, x)))
    exponent = b.subtract(field, b.full_like(bits, 126))
    mantissa = b.bitcast_convert(half, dt.float32)
    return b.select(usual, mantissa, x), b.select(usual, exponent, b.full_like(bits, 0))


def _ldexp(b: HLOBuilder, x: Value, y: Value) -> Value:
    """Three factors: twice 2**-126 does not take the largest float below the smallest.

    None is zero, so that infinities stay, and their product moves one way only: what
    overflows or vanishes on the way does so at the end too.
    """
    y = b.convert(y, dt.int32)
    low, high = b.scalar(-126, dt.int32), b.scalar(127, dt.int32)
    for _ in range(3):
        step = b.clamp(low, y, high)
        x = b.multiply(x, _power_of_two(b, step))
        y = b.subtract(y, step)
    return x


def _power_of_two(b: HLOBuilder, exponent: Value) -> Value:
    biased = b.add(exponent, b.full_like(exponent, 127))
    bits = b.binary("shift-left", biased, b.full_like(exponent, 23))
    return b.bitcast_convert(bits, dt.float32)


def _scalings(dtype: np.dtype) -> Iterator[Sample]:
    x = special(dtype) if dt.is_float(dtype) else make((9,), dtype)
    exponents = np.array([0, 1, -1, 5, -5, 100, -100, 300, -300, 2**31 - 1], np.int32)
    yield Sample((x[:, None], exponents), label="special")
    yield Sample((x, 3), label="right scalar")
    yield Sample((make((2, 0), dtype), np.ones((2, 1), np.int8)), label="empty")


modf = UFuncOp(np.modf, in_float32(_modf), dtypes=_NATIVE)
frexp = UFuncOp(np.frexp, in_float32(_frexp), dtypes=_NATIVE)
ldexp = UFuncOp(
    np.ldexp, in_float32(_ldexp), dtypes=_NATIVE, samples=_scalings, note=_FLUSHED
)


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
    dtypes=supports(dt.float32, dt.float16, dt.INTEGERS, dt.bool_),
    samples=_nan_samples,
    note="replaces in bfloat16 and fp8 too, which NumPy returns as they are",
)


@nan_to_num.impl("hlo")
def _nan_to_num(
    x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None
) -> Any:
    """`x` with NaN and infinities replaced, by default with 0 and the extremes."""
    x = as_tensor(x)
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
        return result.copy() if result is x else result
    if result is not x:
        x[...] = result
    return x
