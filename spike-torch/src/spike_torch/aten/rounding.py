"""Operators that round numbers, or replace some."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from spike_torch.aten.examples import given
from spike_torch.aten.pointwise import (
    Make,
    composed,
    computed,
    is_nan,
    like,
    times,
    truncated,
)
from spike_torch.aten.record import lowering
from spike_torch.lowering.errors import Unsupported

if TYPE_CHECKING:
    from nkipy.hlo.builder import HLOBuilder, Value
    from spike_torch.lowering.graph import Array, Graph


def _rounded(make: Make) -> Callable[[Graph, Array], Array]:
    def lower(g: Graph, self: Array) -> Array:
        if self.dtype == torch.bool:
            raise Unsupported("takes no booleans")
        return computed(g, make, self) if self.dtype.is_floating_point else self

    return lower


for _name, _make in (
    ("ceil", composed("ceil")),
    ("floor", composed("floor")),
    ("round", composed("round-nearest-even")),
    ("trunc", truncated),
):
    lowering(_name, samples=given("x"))(_rounded(_make))


@lowering("frac", samples=given("x"))
def frac(g: Graph, self: Array) -> Array:
    if not self.dtype.is_floating_point:
        raise Unsupported("takes floats")
    return computed(g, lambda b, x: b.subtract(x, truncated(b, x)), self)


@lowering("round.decimals", samples=given("x", decimals=1))
def round_decimals(g: Graph, self: Array, *, decimals: int) -> Array:
    if not self.dtype.is_floating_point:
        raise Unsupported("takes floats")
    if decimals == 0:
        return computed(g, composed("round-nearest-even"), self)
    if self.dtype != torch.float32:
        raise Unsupported("rounds narrow floats at each step")
    power = 10.0 ** abs(decimals)

    def make(b: HLOBuilder, x: Value) -> Value:
        factor = like(b, x, power)
        scaled = b.multiply(x, factor) if decimals > 0 else b.divide(x, factor)
        whole = b.unary("round-nearest-even", scaled)
        return b.divide(whole, factor) if decimals > 0 else b.multiply(whole, factor)

    return computed(g, make, self)


@lowering("nan_to_num", samples=given("x", 1.5))
def nan_to_num(
    g: Graph,
    self: Array,
    nan: float | None = None,
    posinf: float | None = None,
    neginf: float | None = None,
) -> Array:
    dtype = self.dtype
    if not dtype.is_floating_point:
        return self
    limits = torch.finfo(dtype)
    highest = g.number(limits.max if posinf is None else posinf, dtype)
    lowest = g.number(limits.min if neginf is None else neginf, dtype)
    x = self
    for sign, value in ((math.inf, highest), (-math.inf, lowest)):
        x = g.select(g.compare(self, g.number(sign, dtype), "EQ"), value, x)
    return g.select(g.compare(self, self, "NE"), g.number(nan or 0.0, dtype), x)


@lowering("deg2rad", samples=given("x"))
def deg2rad(g: Graph, self: Array) -> Array:
    return computed(g, lambda b, x: times(b, x, math.pi / 180), self)


@lowering("rad2deg", samples=given("x"))
def rad2deg(g: Graph, self: Array) -> Array:
    return computed(g, lambda b, x: times(b, x, 180 / math.pi), self)


@lowering("angle", samples=given("x"))
def angle(g: Graph, self: Array) -> Array:
    """0, or pi of negative numbers; NaN of NaN."""

    def make(b: HLOBuilder, x: Value) -> Value:
        below = b.compare(x, like(b, x, 0), "LT")
        found = b.select(below, like(b, x, math.pi), like(b, x, 0))
        return b.select(is_nan(b, x), x, found)

    return computed(g, make, self)
