"""Operators on the bits of integers, and of floats."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from nkipy.hlo import compositions
from spike_torch.aten.examples import given
from spike_torch.aten.pointwise import (
    compare,
    computed,
    is_nan,
    is_signed,
    like,
    record_binary,
)
from spike_torch.aten.record import lowering
from spike_torch.lowering.errors import Unsupported

if TYPE_CHECKING:
    from nkipy.hlo.builder import HLOBuilder, Value
    from spike_torch.lowering.graph import Array, Graph, Number


def _bitwise(opcode: str) -> Callable[..., Array]:
    def lower(g: Graph, self: Array | Number, other: Array | Number) -> Array:
        dtype = g.result.dtype
        return g.binary(opcode, g.operand(self, dtype), g.operand(other, dtype))

    return lower


for _name in ("and", "or", "xor"):
    _lower = _bitwise(_name)
    lowering(f"bitwise_{_name}.Tensor", samples=given("i", "j"))(_lower)
    lowering(f"bitwise_{_name}.Scalar", samples=given("i", 6))(_lower)
    lowering(f"bitwise_{_name}.Scalar_Tensor", samples=given(6, "i"))(_lower)
    lowering(f"__{_name}__.Tensor", samples=given("i", "j"))(_lower)
    lowering(f"__{_name}__.Scalar", samples=given("i", 6))(_lower)


@lowering("bitwise_not", samples=given("i"))
def bitwise_not(g: Graph, self: Array) -> Array:
    return g.unary("not", self)


# -- shifts ----------------------------------------------------------------------------
def _shift(make: Callable[..., Value]) -> Callable[..., Array]:
    def lower(g: Graph, self: Array | Number, other: Array | Number) -> Array:
        dtype = g.result.dtype
        if dtype == torch.bool or dtype.is_floating_point:
            raise Unsupported(f"shifts {dtype}")
        return computed(g, make, self, other)

    return lower


def _is_outside(b: HLOBuilder, amount: Value, width: int) -> Value:
    """Whether an amount is negative, or as large as the integer is wide."""
    return b.or_(compare(b, amount, "LT", 0), compare(b, amount, "GE", width))


def _left(b: HLOBuilder, x: Value, amount: Value) -> Value:
    outside = _is_outside(b, amount, 8 * x.dtype.itemsize)
    inside = b.select(outside, like(b, amount, 0), amount)
    return b.select(outside, like(b, x, 0), b.binary("shift-left", x, inside))


def _right(b: HLOBuilder, x: Value, amount: Value) -> Value:
    """With copies of the sign: of arithmetic shifts, targets have those of 32 bits."""
    most = 8 * x.dtype.itemsize - 1
    if not is_signed(x):
        outside = _is_outside(b, amount, most + 1)
        inside = b.select(outside, like(b, amount, 0), amount)
        shifted = b.binary("shift-right-logical", x, inside)
        return b.select(outside, like(b, x, 0), shifted)
    amount = b.select(_is_outside(b, amount, most), like(b, amount, most), amount)
    if x.dtype.itemsize == 4:
        return b.binary("shift-right-arithmetic", x, amount)
    sign = b.select(compare(b, x, "LT", 0), like(b, x, -1), like(b, x, 0))
    return b.xor(b.binary("shift-right-logical", b.xor(x, sign), amount), sign)


for _name, _make in (("left", _left), ("right", _right)):
    _lower = _shift(_make)
    lowering(f"bitwise_{_name}_shift.Tensor", samples=given("i", "bits"))(_lower)
    _scalar = f"bitwise_{_name}_shift.Tensor_Scalar __{_name[0]}shift__.Scalar"
    lowering(_scalar, samples=given("i", 3))(_lower)
    lowering(f"bitwise_{_name}_shift.Scalar_Tensor", samples=given(-77, "bits"))(_lower)
    lowering(f"__{_name[0]}shift__.Tensor", samples=given("i", "bits"))(_lower)


def _magnitude_of_lcm(b: HLOBuilder, x: Value, y: Value) -> Value:
    return b.unary("abs", compositions.lcm(b, x, y))


# -- divisors --------------------------------------------------------------------------
def _of_integers(compose: Callable[..., Value]) -> Callable[..., Array]:
    def lower(g: Graph, self: Array, other: Array) -> Array:
        dtype = g.result.dtype
        if dtype == torch.bool or dtype.itemsize > 4:
            raise Unsupported(f"computes divisors of {dtype}")
        wide = torch.int32
        made = computed(g, compose, self, other, dtype=wide, returns=wide)
        return g.convert(made, dtype)

    return lower


lowering("gcd", samples=given("i", "j"))(_of_integers(compositions.gcd))
lowering("lcm", samples=given("i", "j"))(_of_integers(_magnitude_of_lcm))


# -- the bits of floats ----------------------------------------------------------------
def copysign(b: HLOBuilder, x: Value, y: Value) -> Value:
    return compositions.with_sign_of(b, x, y)


record_binary({"copysign.Tensor": copysign})
record_binary({"copysign.Scalar": copysign}, second=-2)


@lowering("nextafter", samples=given("x", "y"))
def nextafter(g: Graph, self: Array, other: Array) -> Array:
    """By counting bits, which grow with the magnitude; in the floats' own dtype."""
    dtype = g.result.dtype

    def make(b: HLOBuilder, x: Value, y: Value) -> Value:
        bits = compositions.bits_of(b, x)
        one = like(b, bits, 1)
        away = b.xor(b.compare(x, y, "LT"), compare(b, x, "LT", 0))
        stepped = b.bitcast_convert(
            b.select(away, b.add(bits, one), b.subtract(bits, one)), x.dtype
        )
        smallest = b.bitcast_convert(one, x.dtype)
        smallest = compositions.with_sign_of(b, smallest, y)
        stepped = b.select(compare(b, x, "EQ", 0), smallest, stepped)
        stepped = b.select(b.compare(x, y, "EQ"), y, stepped)
        return b.select(b.or_(is_nan(b, x), is_nan(b, y)), b.add(x, y), stepped)

    return g.elementwise(make, g.operand(self, dtype), g.operand(other, dtype))
