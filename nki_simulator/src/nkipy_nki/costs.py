"""Cycles of an instruction by the number of its elements, for records.

The formulas are those that the documentation gave with each instruction up to SDK 2.26.
N is the number of elements in a partition.
"""

from __future__ import annotations

from collections.abc import Sequence

from nkipy.chips import Chip
from nkipy_nki.program import Instruction, View, contiguous_strides
from nkipy_nki.records import Cost
from nkipy_nki.regions import MemoryRegion

__all__ = ["INTERVAL", "cycles", "cycles_of_free", "elements_per_cycle"]

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


#: Element types of two bytes that the vector engine of trn2 and later is faster with.
_HALVES = ("bfloat16", "float16")


def elements_per_cycle(tiles: Sequence[View], chip: Chip) -> float:
    """How many the vector engine takes of tiles that it copies, or scales.

    The architecture guide of trn2 tells it of tiles of two-byte floats: 4 if all are in
    the SBUF without gaps, 2 if they have gaps or one of them is in the PSUM.
    """
    if chip.generation < 3 or any(t.dtype.name not in _HALVES for t in tiles):
        return 1.0
    in_psum = sum(tile.region is MemoryRegion.psum for tile in tiles)
    if in_psum == 0 and all(_has_no_gaps(tile) for tile in tiles):
        return 4.0
    return 2.0 if in_psum <= 1 else 1.0


def _has_no_gaps(tile: View) -> bool:
    return tile.strides[1:] == contiguous_strides(tile.shape[1:])
