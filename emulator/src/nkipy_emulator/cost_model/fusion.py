"""Which values a compiler would not write to memory.

An instruction is fused into its consumers if it is elementwise or a product, everything
that uses it is in one region (directly, or through a reshape), and that region goes
over as many elements. A reduction starts a region over its input. So a chain of
elementwise instructions is one region, with the product that it starts from or the
reduction that it ends in; a value with uses elsewhere too ends a region.

A fused value stays on chip whatever its size, and its consumer works on it tile by
tile while it is being made.
"""

from __future__ import annotations

from math import prod

from nkipy.hlo.ir import HLOComputation, HLOInstruction
from nkipy.hlo.opcodes import OPCODES, CostKind

Region = list[int]  # [number of elements]; its identity is what matters

_PRODUCERS = frozenset({CostKind.ELEMENTWISE, CostKind.DOT, CostKind.CONVOLUTION})


def fused_values(
    computation: HLOComputation, results: frozenset[HLOInstruction]
) -> set[HLOInstruction]:
    """The instructions of `computation` that are fused into their consumers.

    Args:
        results: what has to be written in any case.
    """
    fused: set[HLOInstruction] = set()
    wanted: dict[HLOInstruction, Region | None] = dict.fromkeys(results)
    for inst in reversed(computation.instructions):
        region = wanted.get(inst)
        kind = OPCODES[inst.opcode].cost.kind
        if kind in _PRODUCERS:
            elements = prod(inst.shape)
            if region is not None and region[0] == elements:
                fused.add(inst)
            else:
                region = [elements]
            if kind is not CostKind.ELEMENTWISE:
                region = None  # nothing is computed on the way into a product
        elif kind is CostKind.REDUCE:
            region = [prod(inst.operands[0].shape)]
        elif kind is not CostKind.RENAME:
            region = None
        for operand in inst.operands:
            if operand not in wanted:
                wanted[operand] = region
            elif wanted[operand] is not region:
                wanted[operand] = None
    return fused
