"""Element-wise arithmetic of two operands."""

from __future__ import annotations

import math

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops._dtype_sets import ALL, NUMERIC, REAL
from nkipy.core.ops._lower import (
    fill,
    is_nan,
    is_negative,
    is_zero,
    scale,
)
from nkipy.core.ops._samples import ErrorSample
from nkipy.core.ops._ufunc import UFuncOp, in_float32, opcode
from nkipy.core.ops._ufunc_samples import keyword_sampler
from nkipy.hlo.builder import HLOBuilder, Value

_F32 = np.ones((2, 3), np.float32)
#: Mistakes that every op of two operands refuses.
MISTAKES = (
    ErrorSample(
        (_F32, np.ones((2, 4), np.float32)),
        error=ValueError,
        match="could not be broadcast together",
    ),
    ErrorSample((_F32, "text"), error=TypeError, match="[Uu]nsupported"),
)
_NO_BOOL_SUBTRACT = ErrorSample(
    (np.ones(2, bool), np.ones(2, bool)), error=TypeError, match="boolean subtract"
)
_NO_CAST = ErrorSample(
    (np.ones(2, np.int32), 1.5),
    {"out": np.ones(2, np.int32)},
    TypeError,
    "cannot cast the result",
)


_add, _multiply = opcode("add", "or"), opcode("multiply", "and")
add = UFuncOp(
    np.add, _add, dtypes=ALL, samples=keyword_sampler(), errors=(*MISTAKES, _NO_CAST)
)
subtract = UFuncOp(
    np.subtract,
    opcode("subtract"),
    dtypes=NUMERIC,
    errors=(*MISTAKES, _NO_BOOL_SUBTRACT),
)
multiply = UFuncOp(np.multiply, _multiply, dtypes=ALL, errors=MISTAKES)
divide = UFuncOp(np.divide, opcode("divide"), dtypes=ALL, errors=MISTAKES)


def _distance(b: HLOBuilder, x: Value, y: Value) -> Value:
    """``-|x - y|``, which is 0 for infinities of the same sign."""
    apart = fill(b, b.compare(x, y, "EQ"), 0, b.subtract(x, y))
    return b.negate(b.unary("abs", apart))


def _logaddexp(b: HLOBuilder, x: Value, y: Value) -> Value:
    # exp of what is not positive cannot overflow, and log-plus-one keeps its digits.
    smaller = b.unary("exponential", _distance(b, x, y))
    return b.add(b.maximum(x, y), b.unary("log-plus-one", smaller))


def _logaddexp2(b: HLOBuilder, x: Value, y: Value) -> Value:
    smaller = b.unary("exponential", scale(b, _distance(b, x, y), math.log(2)))
    rest = scale(b, b.unary("log-plus-one", smaller), 1 / math.log(2))
    return b.add(b.maximum(x, y), rest)


logaddexp = UFuncOp(np.logaddexp, in_float32(_logaddexp), dtypes=REAL)
logaddexp2 = UFuncOp(np.logaddexp2, in_float32(_logaddexp2), dtypes=REAL)


def _hypot(b: HLOBuilder, x: Value, y: Value) -> Value:
    # Scaled by the larger one, so that the squares neither overflow nor vanish.
    x, y = b.unary("abs", x), b.unary("abs", y)
    larger, smaller = b.maximum(x, y), b.minimum(x, y)
    ratio = b.divide(smaller, larger)
    root = b.unary("sqrt", b.add(b.full_like(x, 1), b.multiply(ratio, ratio)))
    result = b.select(is_zero(b, larger), larger, b.multiply(larger, root))
    infinity = b.full_like(x, math.inf)
    either = b.or_(b.compare(x, infinity, "EQ"), b.compare(y, infinity, "EQ"))
    return b.select(either, infinity, result)


def _heaviside(b: HLOBuilder, x: Value, at_zero: Value) -> Value:
    step = b.select(is_negative(b, x), b.full_like(x, 0), b.full_like(x, 1))
    step = b.select(is_zero(b, x), at_zero, step)
    return b.select(is_nan(b, x), x, step)


hypot = UFuncOp(np.hypot, in_float32(_hypot), dtypes=REAL)
heaviside = UFuncOp(np.heaviside, _heaviside, dtypes=REAL)


arctan2 = UFuncOp(np.arctan2, in_float32(opcode("atan2"), dt.FP8), dtypes=REAL)
