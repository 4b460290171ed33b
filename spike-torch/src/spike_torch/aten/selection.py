"""Operators that take one of several operands, element by element."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from spike_torch.aten.examples import given
from spike_torch.aten.pointwise import computed, exact, is_nan
from spike_torch.aten.record import lowering

if TYPE_CHECKING:
    from nkipy.hlo.builder import HLOBuilder, Value
    from spike_torch.lowering.graph import Array, Graph, Number


@lowering("where.self", samples=given("where", "x", "y"))
@lowering("where.ScalarSelf", samples=given("where", 2, "y"))
@lowering("where.ScalarOther", samples=given("where", "x", 2))
@lowering("where.Scalar", samples=given("where", 2, 3.5))
def where(
    g: Graph, condition: Array, self: Array | Number, other: Array | Number
) -> Array:
    dtype = g.result.dtype
    chosen = g.convert(condition, torch.bool)
    return g.select(chosen, exact(g, self, dtype), exact(g, other, dtype))


@lowering("masked_fill.Scalar", samples=given("x", "where", 2))
@lowering("masked_fill.Tensor", samples=given("x", "where", "number"))
def masked_fill(g: Graph, self: Array, mask: Array, value: Array | Number) -> Array:
    return g.select(g.convert(mask, torch.bool), exact(g, value, self.dtype), self)


# -- the larger and the smaller --------------------------------------------------------
def _extreme(g: Graph, opcode: str, x: Array | Number, y: Array | Number) -> Array:
    """NaN if one of them is."""
    dtype = g.result.dtype
    if dtype == torch.bool:
        opcode = "or" if opcode == "maximum" else "and"
    return g.binary(opcode, exact(g, x, dtype), exact(g, y, dtype))


@lowering("maximum", samples=given("x", "y"))
def maximum(g: Graph, self: Array, other: Array | Number) -> Array:
    return _extreme(g, "maximum", self, other)


@lowering("minimum", samples=given("x", "y"))
def minimum(g: Graph, self: Array, other: Array | Number) -> Array:
    return _extreme(g, "minimum", self, other)


def _without_nan(g: Graph, opcode: str, x: Array, y: Array) -> Array:
    """The one that is no NaN, where the other is."""
    if not g.result.dtype.is_floating_point:
        return _extreme(g, opcode, x, y)

    def make(b: HLOBuilder, x: Value, y: Value) -> Value:
        both = b.binary(opcode, x, y)
        return b.select(is_nan(b, x), y, b.select(is_nan(b, y), x, both))

    return computed(g, make, x, y)


@lowering("fmax", samples=given("x", "y"))
def fmax(g: Graph, self: Array, other: Array) -> Array:
    return _without_nan(g, "maximum", self, other)


@lowering("fmin", samples=given("x", "y"))
def fmin(g: Graph, self: Array, other: Array) -> Array:
    return _without_nan(g, "minimum", self, other)


@lowering("clamp", samples=given("x", -0.5, 2))
@lowering("clamp.Tensor", samples=given("x", "y", "grad"))
def clamp(
    g: Graph,
    self: Array,
    min: Array | Number | None = None,
    max: Array | Number | None = None,
) -> Array:
    """Never above `max`, should `min` be; NaN stays, and of a NaN there is NaN."""
    made = g.convert(self, g.result.dtype)
    if min is not None:
        made = _extreme(g, "maximum", made, min)
    return made if max is None else _extreme(g, "minimum", made, max)


@lowering("clamp_min", samples=given("x", 0.5))
@lowering("clamp_min.Tensor", samples=given("x", "y"))
def clamp_min(g: Graph, self: Array, min: Array | Number) -> Array:
    return clamp(g, self, min)


@lowering("clamp_max", samples=given("x", 0.5))
@lowering("clamp_max.Tensor", samples=given("x", "y"))
def clamp_max(g: Graph, self: Array, max: Array | Number) -> Array:
    return clamp(g, self, None, max)


@lowering("threshold", samples=given("x", 0.75, 9))
def threshold(g: Graph, self: Array, threshold: Number, value: Number) -> Array:
    dtype = self.dtype
    least, other = exact(g, threshold, dtype), exact(g, value, dtype)
    return g.select(g.compare(self, least, "LE"), other, self)


@lowering("threshold_backward", samples=given("grad", "x", 0.75))
def threshold_backward(
    g: Graph, grad_output: Array, self: Array, threshold: Number
) -> Array:
    dtype = g.result.dtype
    below = g.compare(g.convert(self, dtype), exact(g, threshold, dtype), "LE")
    return g.select(below, g.number(0, dtype), g.convert(grad_output, dtype))
