"""Combinations of truth values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import HLOTraceContext
from nkipy.core.ops._dtype_sets import ALL
from nkipy.core.ops._ufunc import UFuncOp, as_hlo_tensor, broadcast, opcode
from nkipy.core.promotion import Loop
from nkipy.hlo.ir import HLOInstruction


class TruthOp(UFuncOp):
    """Takes operands as true or false, each by itself: no common dtype is needed."""

    def apply(
        self, ctx: HLOTraceContext, operands: Sequence[Any], loop: Loop
    ) -> tuple[HLOInstruction, ...]:
        values = [_truth(ctx, x) for x in operands]
        result = self.lower(ctx, *broadcast(ctx, values))
        assert isinstance(result, HLOInstruction)
        return (ctx.convert(result, loop.outputs[0]),)


def _truth(ctx: HLOTraceContext, x: Any) -> HLOInstruction:
    if isinstance(x, (int, float)):
        return ctx.scalar(bool(x), dt.bool_)
    return ctx.convert(as_hlo_tensor(ctx, x), dt.bool_)


logical_and = TruthOp(np.logical_and, opcode("and"), dtypes=ALL)


logical_or = TruthOp(np.logical_or, opcode("or"), dtypes=ALL)


logical_xor = TruthOp(np.logical_xor, opcode("xor"), dtypes=ALL)
