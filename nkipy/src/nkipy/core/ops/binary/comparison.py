"""Comparisons, exact between dtypes that have no common one on the device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import HLOTraceContext
from nkipy.core.ops._dtype_sets import ALL
from nkipy.core.ops._lower import is_negative
from nkipy.core.ops._ufunc import UFuncOp, as_hlo_tensor, broadcast
from nkipy.core.ops.binary.arithmetic import MISTAKES
from nkipy.core.promotion import Kind, Loop, is_ours
from nkipy.core.tensor import NKIPyTensorRef
from nkipy.hlo.builder import HLOBuilder, Value
from nkipy.hlo.ir import HLOInstruction

_MIRROR = {"EQ": "EQ", "NE": "NE", "LT": "GT", "GT": "LT", "LE": "GE", "GE": "LE"}
_WIDE = (dt.int32, dt.uint32)


class CompareOp(UFuncOp):
    """A comparison that is exact where NumPy compares in 64 bits.

    Args:
        ufunc: the ufunc.
        direction: HLO's name of the comparison.
        record: as for :class:`UFuncOp`.
    """

    def __init__(self, ufunc: np.ufunc, direction: str, **record: Any) -> None:
        def lower(b: HLOBuilder, x: Value, y: Value) -> Value:
            return b.compare(x, y, direction)

        super().__init__(ufunc, lower, **record)
        self.direction = direction

    def loop(self, kinds: tuple[Kind, ...], dtype: Any, casting: str) -> Loop:
        """The ufunc's; but bfloat16 and fp8 meet integers in float32, exactly."""
        loop = super().loop(kinds, dtype, casting)
        mixed = any(map(is_ours, kinds)) and any(map(_is_integer, kinds))
        return Loop((dt.float32, dt.float32), loop.outputs) if mixed else loop

    def apply(
        self, ctx: HLOTraceContext, operands: Sequence[Any], loop: Loop
    ) -> tuple[HLOInstruction, ...]:
        x, y = operands
        if loop.inputs[0] not in _EXACT_WITHOUT_CARE:
            result = self._exact(ctx, x, y, self.direction)
            if result is None:
                result = self._exact(ctx, y, x, _MIRROR[self.direction])
            if result is not None:
                return (ctx.convert(result, loop.outputs[0]),)
        return super().apply(ctx, operands, loop)

    def _exact(
        self, ctx: HLOTraceContext, x: Any, y: Any, direction: str
    ) -> Value | None:
        """``x <direction> y`` if `x` is an integer tensor that needs care with `y`."""
        if not isinstance(x, NKIPyTensorRef) or not dt.is_integer(x.dtype):
            return None
        if isinstance(y, np.ndarray) and not y.shape:
            y = y[()]
        if isinstance(y, (int, float, np.number)):
            return _with_scalar(ctx, as_hlo_tensor(ctx, x), y, direction)
        if y.dtype == x.dtype:
            return None
        if x.dtype in dt.SIGNED and y.dtype == dt.uint32:
            left, right = broadcast(ctx, [as_hlo_tensor(ctx, v) for v in (x, y)])
            return signed_with_unsigned(ctx, left, right, direction)
        if x.dtype in _WIDE and dt.is_float(y.dtype):
            y = as_hlo_tensor(ctx, y, dt.float32)
            left, right = broadcast(ctx, [as_hlo_tensor(ctx, x), y])
            return _int_with_float(ctx, left, right, direction)
        return None


def _is_integer(kind: Kind) -> bool:
    return isinstance(kind, np.dtype) and dt.is_integer(kind)


#: Loops whose operands were converted to the loop's dtype without loss.
_EXACT_WITHOUT_CARE = frozenset({dt.bool_, dt.float16, dt.bfloat16, *dt.FP8})


def _with_scalar(b: HLOBuilder, x: Value, value: Any, direction: str) -> Value | None:
    """An integer tensor with a number: an integer in the tensor's range, or known."""
    assert x.dtype is not None
    info = np.iinfo(x.dtype)
    if isinstance(value, (int, np.integer)):
        limit = int(value)
    elif math.isfinite(value):
        rounded = math.ceil(value) if direction in ("LT", "GE") else math.floor(value)
        if direction in ("EQ", "NE") and rounded != value:
            return b.full(x.shape, direction == "NE", dt.bool_)
        limit = rounded
    elif math.isnan(value):
        return b.full(x.shape, direction == "NE", dt.bool_)
    else:
        limit = info.max + 1 if value > 0 else info.min - 1
    if info.min <= limit <= info.max:
        return b.compare(x, b.full_like(x, limit), direction)
    true_for = ("NE", "LT", "LE") if limit > 0 else ("NE", "GT", "GE")
    return b.full(x.shape, direction in true_for, dt.bool_)


def signed_with_unsigned(b: HLOBuilder, x: Value, y: Value, direction: str) -> Value:
    """NumPy compares in int64. A negative number is below all unsigned ones."""
    as_unsigned = b.convert(b.convert(x, dt.int32), dt.uint32)
    result, below = b.compare(as_unsigned, y, direction), is_negative(b, x)
    if direction in ("NE", "LT", "LE"):
        return b.or_(below, result)
    return b.and_(b.not_(below), result)


def _int_with_float(b: HLOBuilder, x: Value, y: Value, direction: str) -> Value:
    """NumPy compares in float64; here the integer goes to float32 in two parts.

    The high part is a multiple of 256, exact in float32. Where the low part decides,
    ``y - high`` is exact too (Sterbenz), because both parts have the same sign.
    """
    upper = x
    if x.dtype == dt.int32:
        toward_zero = b.binary("shift-right-arithmetic", x, b.full_like(x, 31))
        upper = b.add(x, b.and_(toward_zero, b.full_like(x, 255)))
    mask = -256 if x.dtype == dt.int32 else 0xFFFFFF00
    high = b.and_(upper, b.full_like(x, mask))
    low = b.convert(b.subtract(x, high), dt.float32)
    return b.compare(low, b.subtract(y, b.convert(high, dt.float32)), direction)


_RECORD: dict[str, Any] = {"dtypes": ALL, "errors": MISTAKES}
equal = CompareOp(np.equal, "EQ", **_RECORD)
not_equal = CompareOp(np.not_equal, "NE", **_RECORD)
less = CompareOp(np.less, "LT", **_RECORD)
less_equal = CompareOp(np.less_equal, "LE", **_RECORD)
greater = CompareOp(np.greater, "GT", **_RECORD)
greater_equal = CompareOp(np.greater_equal, "GE", **_RECORD)
