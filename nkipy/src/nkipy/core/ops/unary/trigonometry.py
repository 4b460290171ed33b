"""Trigonometric and hyperbolic functions, and their inverses.

HLO has sine, cosine, tan, tanh and atan2. The others are composed of these such that no
digits cancel, near zero and at the ends of the range included.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops._dtype_sets import REAL
from nkipy.core.ops._lower import scale, with_sign_of
from nkipy.core.ops._ufunc import UFuncOp, in_float32, opcode
from nkipy.core.ops._ufunc_samples import near_zero_sampler
from nkipy.hlo.builder import HLOBuilder, Value

_LN2 = math.log(2)
#: From here on the square exceeds float32, or 1 no longer adds to it.
_LARGE = 2.0**28


def _product_to_one(b: HLOBuilder, x: Value) -> Value:
    """``sqrt(1 - x*x)``, exact near 1."""
    one = b.full_like(x, 1)
    return b.unary("sqrt", b.multiply(b.subtract(one, x), b.add(one, x)))


def _arcsin(b: HLOBuilder, x: Value) -> Value:
    return b.binary("atan2", x, _product_to_one(b, x))


def _arccos(b: HLOBuilder, x: Value) -> Value:
    return b.binary("atan2", _product_to_one(b, x), x)


def _arctan(b: HLOBuilder, x: Value) -> Value:
    return b.binary("atan2", x, b.full_like(x, 1))


def _half_exp(b: HLOBuilder, x: Value) -> Value:
    """``exp(x) / 2`` for large `x`, also where exp overflows and this does not."""
    root = b.unary("exponential", scale(b, x, 0.5))
    return b.multiply(scale(b, root, 0.5), root)


def _sinh(b: HLOBuilder, x: Value) -> Value:
    size = b.unary("abs", x)
    grown = b.unary("exponential-minus-one", size)
    ratio = b.divide(grown, b.add(grown, b.full_like(x, 1)))
    result = scale(b, b.add(grown, ratio), 0.5)
    large = b.compare(size, b.full_like(x, 80), "GT")
    return with_sign_of(b, b.select(large, _half_exp(b, size), result), x)


def _cosh(b: HLOBuilder, x: Value) -> Value:
    size = b.unary("abs", x)
    grown = b.unary("exponential", size)
    result = b.add(scale(b, grown, 0.5), b.divide(b.full_like(x, 0.5), grown))
    large = b.compare(size, b.full_like(x, 80), "GT")
    return b.select(large, _half_exp(b, size), result)


def _arcsinh(b: HLOBuilder, x: Value) -> Value:
    size, one = b.unary("abs", x), b.full_like(x, 1)
    square = b.multiply(size, size)
    root = b.unary("sqrt", b.add(square, one))
    small = b.add(size, b.divide(square, b.add(one, root)))
    result = b.unary("log-plus-one", small)
    return with_sign_of(b, _or_log_of_double(b, size, result), x)


def _or_log_of_double(b: HLOBuilder, x: Value, result: Value) -> Value:
    """``log(2 * x)`` where `x` is large, else `result`."""
    logarithm = b.add(b.unary("log", x), b.full_like(x, _LN2))
    large = b.compare(x, b.full_like(x, _LARGE), "GT")
    return b.select(large, logarithm, result)


def _arccosh(b: HLOBuilder, x: Value) -> Value:
    one = b.full_like(x, 1)
    above = b.subtract(x, one)
    root = b.unary("sqrt", b.multiply(above, b.add(x, one)))
    # Below -1 the product is positive again; the argument would come out wrong.
    result = b.unary("log-plus-one", b.add(above, root))
    result = _or_log_of_double(b, x, result)
    outside = b.compare(x, one, "LT")
    return b.select(outside, b.full_like(x, math.nan), result)


def _arctanh(b: HLOBuilder, x: Value) -> Value:
    size = b.unary("abs", x)
    ratio = b.divide(scale(b, size, 2), b.subtract(b.full_like(x, 1), size))
    return with_sign_of(b, scale(b, b.unary("log-plus-one", ratio), 0.5), x)


_RECORD: dict[str, Any] = {"dtypes": REAL}
_NEAR: dict[str, Any] = {**_RECORD, "samples": near_zero_sampler()}
_UNIT: dict[str, Any] = {**_RECORD, "samples": near_zero_sampler(-1, 1)}

sin = UFuncOp(np.sin, in_float32(opcode("sine"), dt.FP8), **_NEAR)
cos = UFuncOp(np.cos, in_float32(opcode("cosine"), dt.FP8), **_NEAR)
tan = UFuncOp(np.tan, in_float32(opcode("tan"), dt.FP8), **_NEAR)
tanh = UFuncOp(np.tanh, in_float32(opcode("tanh"), dt.FP8), **_NEAR)
arcsin = UFuncOp(np.arcsin, in_float32(_arcsin), **_UNIT)
arccos = UFuncOp(np.arccos, in_float32(_arccos), **_UNIT)
arctan = UFuncOp(np.arctan, in_float32(_arctan, dt.FP8), **_NEAR)
sinh = UFuncOp(np.sinh, in_float32(_sinh), **_NEAR)
cosh = UFuncOp(np.cosh, in_float32(_cosh), **_NEAR)
arcsinh = UFuncOp(np.arcsinh, in_float32(_arcsinh), **_NEAR)
arccosh = UFuncOp(np.arccosh, in_float32(_arccosh), **_NEAR)
arctanh = UFuncOp(np.arctanh, in_float32(_arctanh), **_UNIT)
