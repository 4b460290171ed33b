"""Truth values and kinds of elements."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops._dtype_sets import ALL, REAL
from nkipy.core.ops._lower import is_nan, sign_bit
from nkipy.core.ops._registry import Op, supports
from nkipy.core.ops._samples import ErrorSample, unary_sampler
from nkipy.core.ops._ufunc import UFuncOp, opcode
from nkipy.core.ops.binary.logical import TruthOp
from nkipy.hlo.builder import HLOBuilder, Value

logical_not = TruthOp(np.logical_not, opcode("not"), dtypes=ALL)


def _isnan(b: HLOBuilder, x: Value) -> Value:
    if not dt.is_float(x.dtype):
        return b.full(x.shape, False, dt.bool_)
    return is_nan(b, x)


def _isinf(b: HLOBuilder, x: Value) -> Value:
    if not dt.is_float(x.dtype) or x.dtype == dt.float8_e4m3fn:
        return b.full(x.shape, False, dt.bool_)
    return b.compare(b.unary("abs", x), b.full_like(x, math.inf), "EQ")


def _isfinite(b: HLOBuilder, x: Value) -> Value:
    if not dt.is_float(x.dtype):
        return b.full(x.shape, True, dt.bool_)
    return b.emit("is-finite", (x,), x.shape, dt.bool_)


isnan = UFuncOp(np.isnan, _isnan, dtypes=ALL)
isinf = UFuncOp(np.isinf, _isinf, dtypes=ALL)
isfinite = UFuncOp(np.isfinite, _isfinite, dtypes=ALL)
signbit = UFuncOp(np.signbit, sign_bit, dtypes=supports(REAL, dt.int16))

_NOT_SIGNED = ErrorSample(
    (np.ones(2, bool),), error=TypeError, match="boolean|not supported"
)
isposinf = Op("isposinf", numpy=np.isposinf, dtypes=REAL, samples=unary_sampler())
isneginf = Op("isneginf", numpy=np.isneginf, dtypes=REAL, samples=unary_sampler())


@isposinf.composed_impl
def _isposinf(x: Any, out: Any = None) -> Any:
    """Where `x` is positive infinity."""
    return np.logical_and(np.isinf(x), ~np.signbit(x), out=out)


@isneginf.composed_impl
def _isneginf(x: Any, out: Any = None) -> Any:
    """Where `x` is negative infinity."""
    return np.logical_and(np.isinf(x), np.signbit(x), out=out)
