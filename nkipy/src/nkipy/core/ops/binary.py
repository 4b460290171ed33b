"""Element-wise ops of two operands: arithmetic, comparison, bits, logic."""

from __future__ import annotations

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.hlo.builder import HLOBuilder, Value
from nkipy.core.ops._registry import supports
from nkipy.core.ops._samples import binary_sampler
from nkipy.core.ops._ufunc import UFuncOp, opcode

NUMERIC = supports(dt.FLOATS, dt.FP8, dt.INTEGERS)


def _add(b: HLOBuilder, x: Value, y: Value) -> Value:
    return b.or_(x, y) if x.dtype == dt.bool_ else b.add(x, y)


def _multiply(b: HLOBuilder, x: Value, y: Value) -> Value:
    return b.and_(x, y) if x.dtype == dt.bool_ else b.multiply(x, y)


add = UFuncOp(np.add, _add, dtypes=supports(NUMERIC, dt.bool_))
subtract = UFuncOp(np.subtract, opcode("subtract"), dtypes=NUMERIC)
multiply = UFuncOp(np.multiply, _multiply, dtypes=supports(NUMERIC, dt.bool_))
divide = UFuncOp(
    np.divide,
    opcode("divide"),
    dtypes=NUMERIC,
    samples=binary_sampler(nonzero=True),
)
