"""Sums and products, and what is made of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from spike_torch.aten.examples import given
from spike_torch.aten.pointwise import (
    combined,
    compare,
    computed,
    exact,
    like,
    reciprocal,
    record_unary,
    scaled,
)
from spike_torch.aten.record import Sample, lowering
from spike_torch.lowering.errors import Unsupported

if TYPE_CHECKING:
    from nkipy.hlo.builder import HLOBuilder, Value
    from spike_torch.lowering.graph import Array, Graph, Number


def _with_numbers() -> Iterator[Sample]:
    """A tensor and numbers, for the overloads that torch's samples do not reach."""
    x = torch.tensor([[-2.5, 0.0, 1.5], [7.0, -0.0, 3.25]])
    yield (x, 0.5), {}
    yield (x.to(torch.int32), 1.5), {}
    yield (x.to(torch.bfloat16), 3), {}


@lowering("add.Scalar", samples=_with_numbers)
@lowering("add.Tensor")
def add(g: Graph, self: Array, other: Array | Number, alpha: Number = 1) -> Array:
    return _sum(g, "add", self, other, alpha)


@lowering("sub.Scalar", samples=_with_numbers)
@lowering("sub.Tensor")
def sub(g: Graph, self: Array, other: Array | Number, alpha: Number = 1) -> Array:
    return _sum(g, "subtract", self, other, alpha)


@lowering("rsub.Scalar", samples=_with_numbers)
@lowering("rsub.Tensor", samples=given("x", "y", alpha=2))
def rsub(g: Graph, self: Array, other: Array | Number, alpha: Number = 1) -> Array:
    return _sum(g, "subtract", other, self, alpha)


def _sum(
    g: Graph, opcode: str, x: Array | Number, y: Array | Number, alpha: Number
) -> Array:
    """``x + alpha * y`` or ``x - alpha * y``, rounded once."""
    dtype = g.result.dtype
    is_one = isinstance(alpha, int) and alpha == 1
    if not is_one:
        exact(g, alpha, dtype)
    if dtype == torch.bool:
        both = g.binary("and", g.operand(y, dtype), g.operand(alpha, dtype))
        return g.binary("or", g.operand(x, dtype), both)

    def make(b: HLOBuilder, x: Value, y: Value, *factor: Value) -> Value:
        return b.binary(opcode, x, b.multiply(y, *factor) if factor else y)

    if dtype == torch.float16:  # to which numbers are rounded, though not to bfloat16
        x, y = g.operand(x, dtype), g.operand(y, dtype)
    return computed(g, make, x, y, *(() if is_one else (alpha,)))


@lowering("mul.Scalar", samples=_with_numbers)
@lowering("mul.Tensor")
def mul(g: Graph, self: Array, other: Array | Number) -> Array:
    opcode = "and" if g.result.dtype == torch.bool else "multiply"
    return scaled(g, combined(opcode), self, other)


# -- products and sums -----------------------------------------------------------------
@lowering("addcmul", samples=given("x", "y", "grad", value=0.5))
def addcmul(
    g: Graph, self: Array, tensor1: Array, tensor2: Array, value: Number = 1
) -> Array:
    exact(g, value, g.result.dtype)

    def make(b: HLOBuilder, x: Value, one: Value, two: Value, v: Value) -> Value:
        return b.add(x, b.multiply(b.multiply(v, one), two))

    return computed(g, make, self, tensor1, tensor2, value)


@lowering("addcdiv", samples=given("x", "y", "grad", value=0.5))
def addcdiv(
    g: Graph, self: Array, tensor1: Array, tensor2: Array, value: Number = 1
) -> Array:
    def make(b: HLOBuilder, x: Value, one: Value, two: Value, v: Value) -> Value:
        return b.add(x, b.divide(b.multiply(v, one), two))

    return computed(g, make, self, tensor1, tensor2, value)


@lowering("lerp.Scalar", samples=given("x", "y", 0.75))
@lowering("lerp.Tensor", samples=given("x", "y", "grad"))
def lerp(g: Graph, self: Array, end: Array, weight: Array | Number) -> Array:
    """From the nearer end, so that both ends are exact."""

    def make(b: HLOBuilder, x: Value, y: Value, weight: Value) -> Value:
        apart = b.subtract(y, x)
        near = compare(b, b.unary("abs", weight), "LT", 0.5)
        other = b.subtract(weight, like(b, weight, 1))
        return b.select(
            near,
            b.add(x, b.multiply(weight, apart)),
            b.add(y, b.multiply(apart, other)),
        )

    return computed(g, make, self, end, weight)


@lowering("prims::fma", samples=given("x", "y", "grad"))
def fma(g: Graph, a: Array, b: Array, c: Array) -> Array:
    return computed(g, lambda b, x, y, z: b.add(b.multiply(x, y), z), a, b, c)


# -- signs -----------------------------------------------------------------------------
@lowering("abs", samples=given("x"))
def absolute(g: Graph, self: Array) -> Array:
    if self.dtype == torch.bool:
        raise Unsupported("takes no booleans")
    is_unsigned = not self.dtype.is_signed
    return self if is_unsigned else g.unary("abs", self)


@lowering("neg", samples=given("x"))
def neg(g: Graph, self: Array) -> Array:
    return g.unary("negate", self)


@lowering("sgn", samples=given("x"))
@lowering("sign", samples=given("x"))
def sign(g: Graph, self: Array) -> Array:
    """-1, 0 or 1; of NaN 0, and of a zero 0 without sign."""
    if self.dtype == torch.bool:
        return self
    zero, one = g.number(0, self.dtype), g.number(1, self.dtype)
    above = g.select(g.compare(self, zero, "GT"), one, zero)
    if not self.dtype.is_signed:
        return above
    return g.select(g.compare(self, zero, "LT"), g.number(-1, self.dtype), above)


record_unary({"reciprocal": reciprocal})


@lowering("heaviside", samples=given("x", "grad"))
def heaviside(g: Graph, self: Array, values: Array) -> Array:
    """1 of positive numbers, `values` of zeros, 0 of all others and of NaN."""
    dtype = self.dtype
    if dtype == torch.bool:
        return g.binary("or", self, values)
    zero, one = g.number(0, dtype), g.number(1, dtype)
    step = g.select(g.compare(self, zero, "GT"), one, zero)
    return g.select(g.compare(self, zero, "EQ"), values, step)
