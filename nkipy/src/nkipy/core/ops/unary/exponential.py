"""Exponentials and logarithms."""

from __future__ import annotations

import math

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops._dtype_sets import REAL
from nkipy.core.ops._lower import scale
from nkipy.core.ops._ufunc import UFuncOp, in_float32, opcode
from nkipy.core.ops._ufunc_samples import near_zero_sampler
from nkipy.hlo.builder import HLOBuilder, Value

# XLA rounds fp8 through float16, and float16's subnormals in expm1 early.
_ONCE = (dt.float16, *dt.FP8)

exp = UFuncOp(
    np.exp,
    in_float32(opcode("exponential"), dt.FP8),
    dtypes=REAL,
    samples=near_zero_sampler(),
)
expm1 = UFuncOp(
    np.expm1,
    in_float32(opcode("exponential-minus-one"), _ONCE),
    dtypes=REAL,
    samples=near_zero_sampler(),
)
log = UFuncOp(
    np.log,
    in_float32(opcode("log"), dt.FP8),
    dtypes=REAL,
    samples=near_zero_sampler(),
)
log1p = UFuncOp(
    np.log1p,
    in_float32(opcode("log-plus-one"), dt.FP8),
    dtypes=REAL,
    samples=near_zero_sampler(),
)


def _exp2(b: HLOBuilder, x: Value) -> Value:
    # exp(x * ln 2) would lose the digits that the product rounds off.
    return b.binary("power", b.full_like(x, 2), x)


def _log2(b: HLOBuilder, x: Value) -> Value:
    """The exponent plus the logarithm of the mantissa: exact at powers of two."""
    bits = b.bitcast_convert(x, dt.int32)
    # Mantissas from sqrt(1/2) to sqrt(2), so that nothing cancels near one.
    shifted = b.subtract(bits, b.full_like(bits, 0x3F3504F3))
    exponent = b.binary("shift-right-arithmetic", shifted, b.full_like(bits, 23))
    offset = b.binary("shift-left", exponent, b.full_like(bits, 23))
    mantissa = b.bitcast_convert(b.subtract(bits, offset), dt.float32)
    fraction = scale(b, b.unary("log", mantissa), 1 / math.log(2))
    regular = b.add(b.convert(exponent, dt.float32), fraction)
    # Zero, subnormal numbers, infinity, NaN and negative numbers: log knows.
    smallest = b.full_like(x, np.finfo(np.float32).tiny)
    positive = b.compare(x, smallest, "GE")
    usual = b.and_(positive, b.compare(x, b.full_like(x, math.inf), "LT"))
    return b.select(usual, regular, b.unary("log", x))


def _log10(b: HLOBuilder, x: Value) -> Value:
    # 1/ln 10 in two parts; the first has few enough digits that the product of a
    # logarithm near an integer multiple of ln 10 rounds to that integer.
    natural = b.unary("log", x)
    result = scale(b, natural, 1 / math.log(10))
    nearest = b.unary("round-nearest-even", result)
    power = b.binary("power", b.full_like(x, 10), nearest)
    return b.select(b.compare(power, x, "EQ"), nearest, result)


exp2 = UFuncOp(np.exp2, in_float32(_exp2), dtypes=REAL, samples=near_zero_sampler())
log2 = UFuncOp(np.log2, in_float32(_log2), dtypes=REAL, samples=near_zero_sampler())
log10 = UFuncOp(np.log10, in_float32(_log10), dtypes=REAL, samples=near_zero_sampler())
