"""Rounds float32 values where hardware would compute in a narrower type.

This is what neuronx-cc's ``--auto-cast`` does to a program, written as a program:
values are rounded, and the arithmetic stays float32, so that products are accumulated
in float32 as in the PE array's accumulator.
"""

from __future__ import annotations

import numpy as np

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOComputation, HLOInstruction, HLOModule
from nkipy.hlo.opcodes import OPCODES, Cast
from nkipy.hlo.options import CAST_TYPES, AutoCastType, SimulationOptions
from nkipy.hlo.rewrites.base import Place, rewrite

_TF32 = {"exponent_bits": 8, "mantissa_bits": 10}


def apply_auto_cast(module: HLOModule, options: SimulationOptions | None) -> HLOModule:
    """`module` with the roundings that `options` ask for; itself if there are none."""
    if options is None or options.auto_cast == "none":
        return module
    everything = options.auto_cast == "all"
    cast_type = options.auto_cast_type
    accumulators = _accumulators(module)

    def rule(
        inst: HLOInstruction, operands: tuple[HLOInstruction, ...], place: Place
    ) -> HLOInstruction | None:
        b = place.builder
        cast = OPCODES[inst.opcode].compiled.cast
        if cast is Cast.OPERANDS and any(_is_float32(o) for o in operands):
            rounded = tuple(_round(b, o, cast_type) for o in operands)
            return b.emit(inst.opcode, rounded, inst.shape, inst.dtype, inst.attributes)
        if not everything or cast is not Cast.RESULT or not _is_float32(inst):
            return None
        if place.computation in accumulators:
            return None
        exact = b.emit(inst.opcode, operands, inst.shape, inst.dtype, inst.attributes)
        return _round(b, exact, cast_type)

    return rewrite(module, rule)


def _is_float32(inst: HLOInstruction) -> bool:
    return inst.dtype == dt.float32 and inst.tuple_shapes is None


def _round(b: HLOBuilder, x: HLOInstruction, cast_type: AutoCastType) -> HLOInstruction:
    """`x` rounded to nearest even in `cast_type`, as float32."""
    if not _is_float32(x):
        return x
    if cast_type == "tf32":
        return b.emit("reduce-precision", (x,), x.shape, x.dtype, _TF32)
    return b.convert(b.convert(x, np.dtype(CAST_TYPES[cast_type])), dt.float32)


def _accumulators(module: HLOModule) -> set[HLOComputation]:
    """Computations that reductions, scatters and sorts apply to pairs of elements."""
    return {
        inst.attributes["to_apply"]
        for inst in module.instructions()
        if inst.opcode != "call" and "to_apply" in inst.attributes
    }
