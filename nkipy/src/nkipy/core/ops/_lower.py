"""Small compositions of instructions that several element-wise lowerings share."""

from __future__ import annotations

from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.hlo.builder import HLOBuilder, Value
from nkipy.hlo.compositions import bits_of


def uniform(x: Value) -> Any | None:
    """The value, a NumPy scalar, that all of `x` is known to have; else None."""
    while x.opcode == "broadcast":
        x = x.operands[0]
    if x.opcode == "constant" and not x.shape:
        return x.attributes["literal"][()]
    if x.opcode == "convert" and dt.is_float(x.dtype):  # low precision, widened
        value = uniform(x.operands[0])
        return None if value is None else value.astype(x.dtype)
    return None


def is_negative(b: HLOBuilder, x: Value) -> Value:
    """``x < 0``."""
    return b.compare(x, b.full_like(x, 0), "LT")


def is_zero(b: HLOBuilder, x: Value) -> Value:
    return b.compare(x, b.full_like(x, 0), "EQ")


def is_nan(b: HLOBuilder, x: Value) -> Value:
    return b.compare(x, x, "NE")


def absolute(b: HLOBuilder, x: Value) -> Value:
    """The magnitude; of types without a sign, the value itself."""
    if x.dtype in dt.UNSIGNED or x.dtype == dt.bool_:
        return x
    return b.unary("abs", x)


def magnitude(b: HLOBuilder, x: Value) -> Value:
    """|x|, unsigned: the least signed integer has no signed magnitude."""
    assert x.dtype is not None
    return b.convert(absolute(b, x), np.dtype(f"uint{8 * x.dtype.itemsize}"))


def fill(b: HLOBuilder, where: Value, value: Any, otherwise: Value) -> Value:
    """The scalar `value` where `where` holds, else `otherwise`."""
    return b.select(where, b.full_like(otherwise, value), otherwise)


def sign_bit(b: HLOBuilder, x: Value) -> Value:
    """Whether the sign of a float is set, -0.0 and NaN included."""
    return is_negative(b, bits_of(b, x))


def shift_right(b: HLOBuilder, x: Value, y: Value) -> Value:
    """`x >> y` of integers of one width, the sign kept.

    In 32 bits: the Neuron compiler takes no narrower arithmetic shift (NCC_EVRF022).
    """
    if x.dtype in dt.UNSIGNED:
        return b.binary("shift-right-logical", x, b.convert(y, x.dtype))
    wide = b.convert(x, dt.int32), b.convert(y, dt.int32)
    return b.convert(b.binary("shift-right-arithmetic", *wide), x.dtype)


def step_away(b: HLOBuilder, x: Value, y: Value) -> tuple[Value, Value]:
    """The bits of the next number from `x` toward `y`, and those of `x`.

    By integer arithmetic: comparing floats would take subnormal numbers for zero.
    """
    bits, target = bits_of(b, x), bits_of(b, y)
    zero, one = b.full_like(bits, 0), b.full_like(bits, 1)
    ours, theirs = _ordered(b, bits), _ordered(b, target)
    up = b.compare(ours, theirs, "LT")
    positive = b.compare(bits, zero, "GE")
    grows = b.compare(b.convert(up, dt.int8), b.convert(positive, dt.int8), "EQ")
    moved = b.select(grows, b.add(bits, one), b.subtract(bits, one))
    sign = np.iinfo(bits.dtype).min
    smallest = b.select(up, one, b.full_like(bits, sign + 1))
    moved = b.select(b.compare(ours, zero, "EQ"), smallest, moved)
    return b.select(b.compare(ours, theirs, "EQ"), target, moved), bits


def _ordered(b: HLOBuilder, bits: Value) -> Value:
    """Integers in the order of the floats that have these bits; both zeros are 0."""
    lowest = b.full_like(bits, np.iinfo(bits.dtype).min)
    negative = b.compare(bits, b.full_like(bits, 0), "LT")
    return b.select(negative, b.subtract(lowest, bits), bits)
