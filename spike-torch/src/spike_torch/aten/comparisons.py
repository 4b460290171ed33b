"""Comparisons, and what is made of booleans."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from nkipy.hlo.compositions import bits_of
from spike_torch.aten.examples import given
from spike_torch.aten.pointwise import compare, promoted
from spike_torch.aten.record import lowering

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Array, Graph, Number


def _comparison(direction: str) -> Callable[..., Array]:
    def lower(g: Graph, self: Array, other: Array | Number) -> Array:
        dtype = promoted(self, other)
        return g.compare(g.operand(self, dtype), g.operand(other, dtype), direction)

    return lower


for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    lowering(f"{_name}.Tensor", samples=given("x", "y"))(_comparison(_name.upper()))
    lowering(f"{_name}.Scalar", samples=given("i", 1.5))(_comparison(_name.upper()))


def _logical(opcode: str) -> Callable[..., Array]:
    def lower(g: Graph, self: Array, other: Array) -> Array:
        return g.binary(opcode, *(g.convert(x, torch.bool) for x in (self, other)))

    return lower


for _name in ("and", "or", "xor"):
    lowering(f"logical_{_name}", samples=given("x", "where"))(_logical(_name))


@lowering("logical_not", samples=given("x"))
def logical_not(g: Graph, self: Array) -> Array:
    return g.unary("not", g.convert(self, torch.bool))


# -- kinds of numbers ------------------------------------------------------------------
@lowering("isnan", samples=given("x"))
def isnan(g: Graph, self: Array) -> Array:
    return g.compare(self, self, "NE")


def _is_infinity(sign: int) -> Callable[[Graph, Array], Array]:
    """Whether elements are an infinity: of this sign, or of any for 0."""

    def lower(g: Graph, self: Array) -> Array:
        if not self.dtype.is_floating_point:
            return g.compare(self, self, "NE")
        x = self if sign else g.unary("abs", self)
        infinity = g.number(float("-inf" if sign < 0 else "inf"), self.dtype)
        return g.compare(x, infinity, "EQ")

    return lower


for _name, _sign in (("isinf", 0), ("isposinf", 1), ("isneginf", -1)):
    lowering(_name, samples=given("x"))(_is_infinity(_sign))


@lowering("isfinite", samples=given("x"))
def isfinite(g: Graph, self: Array) -> Array:
    if not self.dtype.is_floating_point:
        return g.compare(self, self, "EQ")
    infinity = g.number(float("inf"), self.dtype)
    return g.compare(g.unary("abs", self), infinity, "LT")


@lowering("signbit", samples=given("x"))
def signbit(g: Graph, self: Array) -> Array:
    """Whether the sign is negative: of zeros and NaN too."""
    if not self.dtype.is_floating_point:
        if not self.dtype.is_signed:
            return g.compare(self, self, "NE")
        return g.compare(self, g.number(0, self.dtype), "LT")
    return g.elementwise(lambda b, x: compare(b, bits_of(b, x), "LT", 0), self)
