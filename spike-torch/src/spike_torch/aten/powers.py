"""Powers, roots, exponentials and logarithms."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from nkipy.hlo import compositions
from spike_torch.aten.examples import given
from spike_torch.aten.pointwise import (
    combined,
    compare,
    composed,
    computed,
    exact,
    is_signed,
    like,
    promoted,
    reciprocal,
    record_binary,
    record_unary,
)
from spike_torch.aten.record import lowering
from spike_torch.lowering.errors import Unsupported

if TYPE_CHECKING:
    from nkipy.hlo.builder import HLOBuilder, Value
    from spike_torch.lowering.graph import Array, Graph, Number


def _square(b: HLOBuilder, x: Value) -> Value:
    return b.multiply(x, x)


def _root(b: HLOBuilder, x: Value) -> Value:
    return b.unary("sqrt", x)


def _inverse_root(b: HLOBuilder, x: Value) -> Value:
    return reciprocal(b, _root(b, x))


#: Exponents for which the CPU computes something else than a power, with results of
#: its own: the root of -inf is NaN, and of -0.0 it is -0.0; not so of float16.
_SPECIAL: dict[float, Callable[[HLOBuilder, Value], Value]] = {
    0.0: lambda b, x: like(b, x, 1),
    0.5: _root,
    1.0: lambda b, x: x,
    2.0: _square,
    -0.5: _inverse_root,
    -1.0: reciprocal,
}
#: The same of exponents with which it computes with the square.
_OF_SQUARES: dict[float, Callable[[HLOBuilder, Value, Value], Value]] = {
    3.0: lambda b, square, x: b.multiply(square, x),
    -2.0: lambda b, square, x: reciprocal(b, square),
}


record_unary({"sqrt": _root, "rsqrt": _inverse_root, "square": _square})


@lowering("pow.Tensor_Scalar", samples=given("x", 3))
def pow_scalar(g: Graph, self: Array, exponent: Number) -> Array:
    dtype = g.result.dtype
    if dtype == torch.bool:
        raise Unsupported("takes no booleans")
    if not isinstance(exponent, (bool, int, float)):
        return computed(g, _power, self, exponent)
    if dtype.is_floating_point:
        square = _OF_SQUARES.get(float(exponent))
        if square is not None and dtype == torch.bfloat16:  # to which it is rounded
            return computed(g, square, computed(g, _square, self), self)
        if square is not None:
            return computed(g, lambda b, x: square(b, _square(b, x), x), self)
        special = _SPECIAL.get(float(exponent))
        is_a_power = dtype == torch.float16 and abs(exponent) == 0.5
        if special is not None and not is_a_power:
            return computed(g, special, self)
        return computed(g, _power, self, g.number(exponent, dtype))
    exact(g, exponent, dtype)
    if exponent < 0:
        raise Unsupported("takes integers to a negative power")
    whole = int(exponent)
    return computed(g, lambda b, x: _multiplied(b, x, whole), self)


@lowering("pow.Scalar", samples=given(2.5, "y"))
@lowering("pow.Tensor_Tensor", samples=given("x", "y"))
def pow_tensor(g: Graph, self: Array | Number, exponent: Array) -> Array:
    dtype = g.result.dtype
    if dtype == torch.bool:
        raise Unsupported("takes no booleans")
    make = _power if dtype.is_floating_point else _integer_power
    return computed(g, make, self, exponent)


_power = combined("power")


def _multiplied(b: HLOBuilder, x: Value, exponent: int) -> Value:
    """To a power that is known, by squares: modulo the dtype's range."""
    made: Value | None = None
    while exponent:
        if exponent & 1:
            made = x if made is None else b.multiply(made, x)
        exponent >>= 1
        x = b.multiply(x, x) if exponent else x
    return like(b, x, 1) if made is None else made


def _integer_power(b: HLOBuilder, x: Value, y: Value) -> Value:
    """By squares. Of a negative power is left what is whole: of 1 and of -1."""
    one = like(b, x, 1)
    made, square, rest = one, x, y
    bits = 8 * x.dtype.itemsize - is_signed(x)
    for i in range(bits):
        is_odd = compare(b, b.and_(rest, one), "NE", 0)
        made = b.select(is_odd, b.multiply(made, square), made)
        if i + 1 < bits:
            square = b.multiply(square, square)
            rest = b.binary("shift-right-logical", rest, one)
    if not is_signed(x):
        return made
    is_odd = compare(b, b.and_(y, one), "NE", 0)
    alternating = b.select(is_odd, like(b, x, -1), one)
    small = b.select(compare(b, x, "EQ", -1), alternating, like(b, x, 0))
    small = b.select(compare(b, x, "EQ", 1), one, small)
    return b.select(compare(b, y, "LT", 0), small, made)


# -- exponentials and logarithms -------------------------------------------------------
record_unary(
    {
        "exp": "exponential",
        "exp2": compositions.exp2,
        "expm1": "exponential-minus-one",
        "log1p": "log-plus-one",
    }
)
record_unary(
    {"log": "log", "log2": compositions.log2, "log10": compositions.log10}, "positive"
)


def _times_logarithm(b: HLOBuilder, x: Value, y: Value, logarithm: Value) -> Value:
    """0 where `x` is, unless `y` is NaN."""
    is_zero = b.and_(compare(b, x, "EQ", 0), b.compare(y, y, "EQ"))
    return b.select(is_zero, like(b, x, 0), b.multiply(x, logarithm))


def _logarithmic(opcode: str) -> Callable[..., Array]:
    def lower(g: Graph, self: Array | Number, other: Array | Number) -> Array:
        dtype = g.result.dtype
        x, y = g.operand(self, dtype), g.operand(other, dtype)
        logarithm = computed(g, composed(opcode), y)  # which is rounded to the dtype
        return computed(g, _times_logarithm, x, y, logarithm)

    return lower


lowering("xlogy.Tensor", samples=given("x", "y"))(_logarithmic("log"))
lowering("xlogy.Scalar_Other", samples=given("x", 2))(_logarithmic("log"))
lowering("xlogy.Scalar_Self", samples=given(2, "y"))(_logarithmic("log"))
lowering("special_xlog1py", samples=given("x", "y"))(_logarithmic("log-plus-one"))


@lowering("ldexp.Tensor", samples=given("x", "y"))
def ldexp(g: Graph, self: Array, other: Array) -> Array:
    """The power of 2 is rounded by itself, and may be infinite."""
    dtype = promoted(2.0, other)
    power = computed(g, compositions.exp2, other, dtype=dtype, returns=dtype)
    return computed(g, combined("multiply"), self, power)


#: Where a float32 has its exponent; what says that it is from 1/2 to 1.
_EXPONENT, _OF_HALF, _BIAS = 0xFF << 23, 126 << 23, 126


@lowering("frexp.Tensor", samples=given("x"))
def frexp(g: Graph, self: Array) -> tuple[Array, Array]:
    """Zero, infinity, NaN, and subnormal numbers, which are zero, stay as they are."""
    if not self.dtype.is_floating_point:
        raise Unsupported(f"takes floats, not {self.dtype}")

    def both(b: HLOBuilder, x: Value) -> tuple[Value, Value, Value]:
        bits = compositions.bits_of(b, x)
        exponent = b.and_(bits, like(b, bits, _EXPONENT))
        is_usual = b.and_(
            compare(b, exponent, "NE", 0), compare(b, exponent, "NE", _EXPONENT)
        )
        return bits, exponent, is_usual

    def mantissa(b: HLOBuilder, x: Value) -> Value:
        bits, exponent, is_usual = both(b, x)
        rest = b.add(b.subtract(bits, exponent), like(b, bits, _OF_HALF))
        return b.select(is_usual, b.bitcast_convert(rest, x.dtype), x)

    def power(b: HLOBuilder, x: Value) -> Value:
        _, exponent, is_usual = both(b, x)
        shifted = b.binary("shift-right-arithmetic", exponent, like(b, exponent, 23))
        own = b.subtract(shifted, like(b, shifted, _BIAS))
        return b.select(is_usual, own, like(b, own, 0))

    x = g.convert(self, torch.float32)
    made = g.elementwise(mantissa, x), g.elementwise(power, x)
    return g.convert(made[0], self.dtype), made[1]


record_binary(
    {
        "logaddexp": compositions.logaddexp,
        "logaddexp2": compositions.logaddexp2,
        "hypot": compositions.hypot,
        "atan2": "atan2",
    }
)
