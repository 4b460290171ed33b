"""Cycles of an instruction by the number of its elements, for records.

The formulas are those that the documentation gave with each instruction up to SDK 2.26.
N is the number of elements in a partition.
"""

from __future__ import annotations

from collections.abc import Sequence

from nkipy.chips import Chip
from nkipy_nki.program import Instruction, View
from nkipy_nki.records import Cost
from nkipy_nki.regions import MemoryRegion

__all__ = ["HALVES", "INTERVAL", "cycles", "cycles_of_free", "elements_per_cycle"]

#: Cycles between the starts of two small instructions.
INTERVAL = 64.0


def cycles(elements: float) -> float:
    """Cycles of an instruction that takes one for each element."""
    return max(INTERVAL, elements)


def cycles_of_free(operand: str, factor: float = 1.0, more: float = 0.0) -> Cost:
    """``max(64, factor * N) + more``, with N that of an operand."""

    def cost(made: Instruction, chip: Chip) -> float:
        return cycles(factor * made.operands[operand].free_size) + more

    return cost


#: Element types that the vector engine of trn2 and later is faster with.
HALVES = ("bfloat16", "float16")


def elements_per_cycle(tiles: Sequence[View], chip: Chip) -> float:
    """How many the vector engine takes of tiles that it copies, or scales.

    The architecture guide of trn2 tells it of tiles of two-byte floats: 4 if all are in
    the SBUF and the elements of their last dimension lie side by side; 2 if they do not
    lie so, or if one of the tiles is in the PSUM instead.
    """
    if chip.generation < 3 or any(t.dtype.name not in HALVES for t in tiles):
        return 1.0
    in_psum = sum(tile.region is MemoryRegion.psum for tile in tiles)
    lacking = in_psum + any(_has_gaps(tile) for tile in tiles)
    return {0: 4.0, 1: 2.0}.get(lacking, 1.0)


def _has_gaps(tile: View) -> bool:
    return tile.shape[-1] > 1 and tile.strides[-1] != 1
