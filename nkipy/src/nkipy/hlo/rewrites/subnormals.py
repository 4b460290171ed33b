"""Makes functions take subnormal numbers for zero, where a compiler's do so by halves.

XLA on the CPU lets the processor flush them, and computes some functions from the bits
of their operand besides: the logarithm of 1e-40 is -inf or -103.97, as the place among
vector registers decides, and its cube root is negative.
"""

from __future__ import annotations

import numpy as np

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOInstruction, HLOModule
from nkipy.hlo.opcodes import OPCODES, OnCpu
from nkipy.hlo.rewrites.base import Place, rewrite

Value = HLOInstruction

_FLUSHED = frozenset({dt.float32, dt.bfloat16})
#: Of both.
_SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)


def flush_subnormals(module: HLOModule) -> HLOModule:
    """`module` with zero in the place of subnormal operands of such functions.

    It is `module` itself if it has none. All computations are looked at, those that are
    applied to elements too.
    """
    if not any(map(_needs, module.instructions())):
        return module

    def rule(inst: Value, operands: tuple[Value, ...], place: Place) -> Value | None:
        if not _needs(inst):
            return None
        flushed = _flushed(place.builder, *operands)
        return place.builder.unary(inst.opcode, flushed)

    return rewrite(module, rule)


def _needs(inst: Value) -> bool:
    reads_them = OnCpu.READS_SUBNORMALS in OPCODES[inst.opcode].on_cpu
    return reads_them and inst.dtype in _FLUSHED


def _flushed(b: HLOBuilder, x: Value) -> Value:
    limit = b.full_like(x, _SMALLEST_NORMAL)
    is_small = b.compare(b.unary("abs", x), limit, "LT")
    return b.select(is_small, b.multiply(x, b.full_like(x, 0)), x)  # of its sign
