"""Rules for the number, or vector of numbers, that an operation takes beside a tile."""

from __future__ import annotations

from nkipy.chips import Chip
from nkipy_nki.operators import OPERATIONS, Operation
from nkipy_nki.program import Instruction, View
from nkipy_nki.records import Rule

__all__ = ["number_fits", "number_problem"]


def number_problem(made: Instruction, name: str, operation: Operation) -> str | None:
    """What is wrong with the number that an operation takes beside a tile."""
    given = made.operands[name]
    if operation.arity == 1:
        if given is None or (not isinstance(given, View) and given == 0):
            return None
        return f"{name} is given, and {operation.name} takes one operand: leave it None"
    if given is None:
        return f"{name} is None, and {operation.name} takes two operands"
    if operation.is_bitvec or not isinstance(given, View):
        return None
    if given.dtype.name == "float32":
        return None
    return f"{name} is {given.dtype.name}, and must be float32 beside {operation.name}"


def number_fits(operation: str, name: str) -> Rule:
    """An operand is the number that an attribute's operation takes, if it takes one."""

    def rule(made: Instruction, chip: Chip) -> str | None:
        return number_problem(made, name, OPERATIONS[made.attributes[operation]])

    return rule
