"""Keeps integers from being divided by zero, and the least one by -1.

HLO defines both: ``x / 0`` is -1 (all bits set), ``x % 0`` is x, ``least / -1`` is the
least integer and ``least % -1`` is 0. A compiler that finds a divisor to be zero while
it compiles may divide by it all the same, in whichever pass notices, and a processor
ends the process for that. So the divisor is replaced by one before the division: as
whatever folds the division has folded its divisor first, none sees a zero.
"""

from __future__ import annotations

from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.dtypes import lowest
from nkipy.hlo.ir import HLOInstruction, HLOModule
from nkipy.hlo.rewrites.base import Place, literal_below, rewrite

Value = HLOInstruction


def guard_divisions(module: HLOModule) -> HLOModule:
    """`module` with integer divisions that no operands can stop.

    It is `module` itself if each divisor is a constant without zero and -1. All
    computations are looked at, those that are applied to elements too.
    """
    if not any(map(_needs, module.instructions())):
        return module

    def rule(inst: Value, operands: tuple[Value, ...], place: Place) -> Value | None:
        return _guarded(inst, operands, place.builder) if _needs(inst) else None

    return rewrite(module, rule)


def _needs(inst: Value) -> bool:
    if inst.opcode not in ("divide", "remainder"):
        return False
    assert inst.dtype is not None
    return inst.dtype.kind in "iu" and not _is_harmless(inst.operands[1])


def _is_harmless(divisor: Value) -> bool:
    literal = literal_below(divisor)
    if literal is None:
        return False
    is_signed = literal.dtype.kind == "i"
    return bool(literal.all()) and not (is_signed and (literal == -1).any())


def _guarded(inst: Value, operands: tuple[Value, ...], b: HLOBuilder) -> Value:
    x, y = operands
    assert x.dtype is not None
    zero = b.full_like(x, 0)
    by_zero = replaced = b.compare(y, zero, "EQ")
    if x.dtype.kind == "i":
        is_least = b.compare(x, b.full_like(x, lowest(x.dtype)), "EQ")
        by_minus_one = b.compare(y, b.full_like(x, -1), "EQ")
        replaced = b.or_(by_zero, b.and_(is_least, by_minus_one))
    divisor = b.select(replaced, b.full_like(x, 1), y)
    # By one, the least integer is itself and leaves nothing, as it is to be by -1.
    result = b.binary(inst.opcode, x, divisor)
    instead = x if inst.opcode == "remainder" else b.not_(zero)
    return b.select(by_zero, instead, result)
