"""Replaces powers of integers by products, since a compiler may cut exponents.

HLO's power of integers is that of repeated multiplication, modulo two to the number of
bits; with a negative exponent it is that of rational numbers, towards zero, and 0 of 0.
XLA on the CPU looks at six bits of an exponent, which is enough for even numbers only,
and takes the highest one for a sign where there is none.
"""

from __future__ import annotations

from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOInstruction, HLOModule
from nkipy.hlo.rewrites.base import Place, literal_below, rewrite

Value = HLOInstruction

#: The first exponent that XLA takes for another one.
_TOO_LARGE = 64


def expand_powers(module: HLOModule) -> HLOModule:
    """`module` without powers of integers that XLA computes otherwise.

    It is `module` itself if each exponent is a constant from 0 to 63. All computations
    are looked at, those that are applied to elements too.
    """
    if not any(map(_needs, module.instructions())):
        return module

    def rule(inst: Value, operands: tuple[Value, ...], place: Place) -> Value | None:
        return _expanded(place.builder, *operands) if _needs(inst) else None

    return rewrite(module, rule)


def _needs(inst: Value) -> bool:
    if inst.opcode != "power":
        return False
    assert inst.dtype is not None
    if inst.dtype.kind not in "iu":
        return False
    literal = literal_below(inst.operands[1])
    return literal is None or not ((literal >= 0) & (literal < _TOO_LARGE)).all()


def _expanded(b: HLOBuilder, x: Value, y: Value) -> Value:
    power = repeated_squaring(b, x, y)
    assert x.dtype is not None
    if x.dtype.kind == "u":
        return power
    # That of 1 and -1 depends on the lowest bit of the exponent alone.
    is_one = b.compare(b.unary("abs", x), b.full_like(x, 1), "EQ")
    is_negative = b.compare(y, b.full_like(y, 0), "LT")
    vanishes = b.and_(is_negative, b.not_(is_one))
    return b.select(vanishes, b.full_like(x, 0), power)


def repeated_squaring(b: HLOBuilder, x: Value, y: Value) -> Value:
    """``x ** y`` of integers, modulo 2**n, by a step for each bit of the exponent.

    Args:
        b: what to build with.
        x: of any shape and integer type.
        y: exponents of the same shape, and of any integer type. Signs of negative ones
            are not seen.
    """
    assert y.dtype is not None
    result, zero = b.full_like(x, 1), b.full_like(y, 0)
    width = 8 * y.dtype.itemsize - (y.dtype.kind == "i")
    for bit in range(width):
        chosen = b.compare(b.and_(y, b.full_like(y, 1 << bit)), zero, "NE")
        result = b.select(chosen, b.multiply(result, x), result)
        if bit + 1 < width:
            x = b.multiply(x, x)
    return result
