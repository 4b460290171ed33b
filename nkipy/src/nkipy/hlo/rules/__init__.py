"""What each opcode makes of its operands: the result's shape and dtype.

A rule takes an instruction whose operand count and attributes fit its
:class:`~nkipy.hlo.opcodes.Opcode` and returns the :class:`Shape` that the result
has to have (a tuple of them for a tuple result), or raises :class:`RuleError`.
"""

from __future__ import annotations

from nkipy.hlo.rules import (
    calls,
    collectives,
    contraction,
    elementwise,
    indexing,
    movement,
    windows,
)
from nkipy.hlo.rules.base import Rule, RuleError

RULES: dict[str, Rule] = {
    **elementwise.RULES,
    **movement.RULES,
    **contraction.RULES,
    **windows.RULES,
    **indexing.RULES,
    **calls.RULES,
    **collectives.RULES,
}

__all__ = ["RULES", "Rule", "RuleError"]
