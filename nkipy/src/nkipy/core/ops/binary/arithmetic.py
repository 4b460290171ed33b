"""Element-wise arithmetic of two operands."""

from __future__ import annotations

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops._dtype_sets import ALL, NUMERIC, REAL
from nkipy.core.ops._lower import (
    is_nan,
    is_negative,
    is_zero,
)
from nkipy.core.ops._samples import ErrorSample
from nkipy.core.ops._ufunc import UFuncOp, in_float32, opcode
from nkipy.core.ops._ufunc_samples import keyword_sampler
from nkipy.hlo import compositions
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


logaddexp = UFuncOp(np.logaddexp, in_float32(compositions.logaddexp), dtypes=REAL)
logaddexp2 = UFuncOp(np.logaddexp2, in_float32(compositions.logaddexp2), dtypes=REAL)


def _heaviside(b: HLOBuilder, x: Value, at_zero: Value) -> Value:
    step = b.select(is_negative(b, x), b.full_like(x, 0), b.full_like(x, 1))
    step = b.select(is_zero(b, x), at_zero, step)
    return b.select(is_nan(b, x), x, step)


hypot = UFuncOp(np.hypot, in_float32(compositions.hypot), dtypes=REAL)
heaviside = UFuncOp(np.heaviside, _heaviside, dtypes=REAL)


arctan2 = UFuncOp(np.arctan2, in_float32(opcode("atan2"), dt.FP8), dtypes=REAL)
