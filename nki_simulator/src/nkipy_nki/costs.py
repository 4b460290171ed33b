"""Cycles of an instruction by the number of its elements, for records.

The formulas are those that the documentation gave with each instruction up to SDK 2.26.
N is the number of elements in a partition.
"""

from __future__ import annotations

from nkipy.chips import Chip
from nkipy_nki.program import Instruction
from nkipy_nki.records import Cost

__all__ = ["INTERVAL", "cycles", "cycles_of_free"]

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
