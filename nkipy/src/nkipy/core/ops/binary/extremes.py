"""The larger and the smaller of two operands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import HLOTraceContext
from nkipy.core.ops._dtype_sets import ALL
from nkipy.core.ops._lower import is_nan
from nkipy.core.ops._samples import Sample
from nkipy.core.ops._ufunc import UFuncOp, as_value, broadcast, opcode
from nkipy.core.ops._ufunc_samples import distinct_zeros
from nkipy.core.ops.binary.comparison import signed_with_unsigned
from nkipy.core.promotion import Loop, kind_of
from nkipy.hlo.builder import HLOBuilder, Value
from nkipy.hlo.ir import HLOInstruction

_DIRECTIONS = {"minimum": "LT", "maximum": "GT"}


class ExtremeOp(UFuncOp):
    """One of two operands, chosen by what they are in their own dtypes.

    NumPy takes int64 for a signed integer and uint32, which is computed in int32 here:
    a large uint32 is negative there, so which one is chosen is asked before.

    Args:
        ufunc: the ufunc.
        name: the opcode.
        on_bool: that for bool.
        record: as for :class:`UFuncOp`.
    """

    def __init__(self, ufunc: np.ufunc, name: str, on_bool: str, **record: Any) -> None:
        lower = opcode(name, on_bool)
        if ufunc.__name__ != name:
            lower = _ignoring_nan(lower)
        super().__init__(ufunc, lower, samples=_samples, dtypes=ALL, **record)
        self.direction = _DIRECTIONS[name]

    def apply(
        self, ctx: HLOTraceContext, operands: Sequence[Any], loop: Loop
    ) -> tuple[HLOInstruction, ...]:
        kinds = [kind_of(x) for x in operands]
        if loop.inputs[0] != dt.int32 or dt.uint32 not in kinds:
            return super().apply(ctx, operands, loop)
        if kinds[0] == dt.uint32:
            operands, kinds = operands[::-1], kinds[::-1]
        if kinds[0] == dt.uint32:  # and the dtype asked for is int32
            return super().apply(ctx, operands, loop)
        values = [as_value(ctx, x, d) for x, d in zip(operands, (dt.int32, dt.uint32))]
        signed, unsigned = broadcast(ctx, values)
        chosen = signed_with_unsigned(ctx, signed, unsigned, self.direction)
        return (ctx.select(chosen, signed, ctx.convert(unsigned, dt.int32)),)


def _ignoring_nan(lower):  # type: ignore[no-untyped-def]
    """`lower`, but where one operand is NaN the result is the other."""

    def chosen(b: HLOBuilder, x: Value, y: Value) -> Value:
        result = lower(b, x, y)
        if not dt.is_float(x.dtype):
            return result
        return b.select(is_nan(b, x), y, b.select(is_nan(b, y), x, result))

    return chosen


def _samples(dtype: np.dtype) -> Iterator[Sample]:
    yield from distinct_zeros(dtype)
    if dtype in dt.SIGNED:
        own = np.array([-1, 0, 1, np.iinfo(dtype).max, np.iinfo(dtype).min], dtype)
        large = np.array([[0], [1], [2**31 - 1], [2**31], [2**32 - 1]], np.uint32)
        yield Sample((own, large), label="large uint32")
        yield Sample((large, own), label="large uint32 first")


maximum = ExtremeOp(np.maximum, "maximum", "or")
minimum = ExtremeOp(np.minimum, "minimum", "and")
fmax = ExtremeOp(np.fmax, "maximum", "or")
fmin = ExtremeOp(np.fmin, "minimum", "and")
