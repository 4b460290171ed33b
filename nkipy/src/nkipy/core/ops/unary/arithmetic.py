"""Element-wise arithmetic of one operand."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops._dtype_sets import ALL, NUMERIC, REAL
from nkipy.core.ops._lower import absolute, fill, is_zero
from nkipy.core.ops._registry import supports
from nkipy.core.ops._samples import ErrorSample, Sample, unary_sampler
from nkipy.core.ops._ufunc import UFuncOp, in_float32, opcode
from nkipy.core.ops._ufunc_samples import float_sampler
from nkipy.hlo.builder import HLOBuilder, Value
from nkipy.hlo.compositions import scale

_NO_BOOL = ErrorSample((np.ones(2, bool),), error=TypeError, match="bool")
#: NumPy rounds float16's result of float32 arithmetic; ml_dtypes its own types'.
_UNSIGNED_ROOT = supports(dt.FLOATS, dt.FP8, dt.int8, dt.uint16)


def _identity(b: HLOBuilder, x: Value) -> Value:
    return x


def _reciprocal(b: HLOBuilder, x: Value) -> Value:
    one = b.full_like(x, 1)
    if dt.is_float(x.dtype):
        return b.divide(one, x)
    # 1 and -1 are their own reciprocals; those of larger integers round to zero.
    unit = b.compare(absolute(b, x), one, "EQ")
    inverse = b.select(unit, x, b.full_like(x, 0))
    if x.dtype == dt.int32:  # what x86 makes of the infinity that NumPy converts
        inverse = fill(b, is_zero(b, x), np.iinfo(np.int32).min, inverse)
    return inverse


def _sign(b: HLOBuilder, x: Value) -> Value:
    assert x.dtype is not None
    if x.dtype in dt.UNSIGNED:
        return b.convert(b.convert(x, dt.bool_), x.dtype)
    sign = b.unary("sign", x)
    if dt.is_float(x.dtype):  # NumPy: +0.0 for both zeros
        return fill(b, is_zero(b, x), 0, sign)
    return sign


def _square(b: HLOBuilder, x: Value) -> Value:
    return b.multiply(x, x)


def _nonzero(dtype: np.dtype) -> Iterator[Sample]:
    """Without integer zeros, whose reciprocal NumPy leaves to the machine."""
    for sample in unary_sampler()(dtype):
        x = sample.args[0]
        if not dt.is_float(dtype):
            x = np.where(x == 0, np.ones((), dtype), x)
        yield Sample((x,), label=sample.label)


def _with_keywords(dtype: np.dtype) -> Iterator[Sample]:
    yield from unary_sampler()(dtype)
    x, out = np.arange(6).astype(dtype).reshape(2, 3), np.ones((2, 3), dtype)
    yield Sample((x,), {"out": out.copy()}, "out")
    mask = np.array([True, False, True])
    yield Sample((x,), {"out": (out.copy(),), "where": mask}, "where")


negative = UFuncOp(
    np.negative,
    opcode("negate"),
    dtypes=NUMERIC,
    samples=_with_keywords,
    errors=[_NO_BOOL],
)
positive = UFuncOp(np.positive, _identity, dtypes=NUMERIC, errors=[_NO_BOOL])
conjugate = UFuncOp(np.conjugate, _identity, dtypes=ALL)
absolute_ = UFuncOp(np.absolute, absolute, name="abs", aliases=["absolute"], dtypes=ALL)
fabs = UFuncOp(np.fabs, opcode("abs"), dtypes=REAL)
sign = UFuncOp(np.sign, _sign, dtypes=NUMERIC, errors=[_NO_BOOL])
square = UFuncOp(np.square, _square, dtypes=ALL)
reciprocal = UFuncOp(
    np.reciprocal,
    _reciprocal,
    dtypes=NUMERIC,
    samples=_nonzero,
    note="of the integer 0: the lowest int32, 0 in other dtypes, as NumPy on x86",
)
sqrt = UFuncOp(np.sqrt, opcode("sqrt"), dtypes=_UNSIGNED_ROOT)
cbrt = UFuncOp(
    np.cbrt, in_float32(opcode("cbrt"), dt.FP8), dtypes=REAL, samples=float_sampler()
)


def _scaled(factor: float):  # type: ignore[no-untyped-def]
    return in_float32(lambda b, x: scale(b, x, factor))


_ANGLES: dict[str, Any] = {"dtypes": REAL}
degrees = UFuncOp(np.degrees, _scaled(180 / math.pi), **_ANGLES)
radians = UFuncOp(np.radians, _scaled(math.pi / 180), **_ANGLES)
rad2deg = UFuncOp(np.rad2deg, _scaled(180 / math.pi), **_ANGLES)
deg2rad = UFuncOp(np.deg2rad, _scaled(math.pi / 180), **_ANGLES)
