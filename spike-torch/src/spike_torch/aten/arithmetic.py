"""Operators that compute element by element."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from spike_torch.aten.record import Sample, lowering

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Array, Graph, Number


def _with_numbers() -> Iterator[Sample]:
    """A tensor and numbers, for the overloads that torch's samples do not reach."""
    x = torch.tensor([[-2.5, 0.0, 1.5], [7.0, -0.0, 3.25]])
    yield (x, 2), {}
    yield (x, 0.5), {}
    yield (x.to(torch.int32), 3), {}
    yield (x.to(torch.int32), 1.5), {}
    yield (x.to(torch.bfloat16), 3), {}


@lowering("add.Scalar", samples=_with_numbers)
@lowering("add.Tensor")
def add(g: Graph, self: Array, other: Array | Number, alpha: Number = 1) -> Array:
    dtype = g.result.dtype
    return g.binary("add", g.operand(self, dtype), _times(g, other, alpha))


@lowering("sub.Scalar", samples=_with_numbers)
@lowering("sub.Tensor")
def sub(g: Graph, self: Array, other: Array | Number, alpha: Number = 1) -> Array:
    dtype = g.result.dtype
    return g.binary("subtract", g.operand(self, dtype), _times(g, other, alpha))


def _times(g: Graph, x: Array | Number, alpha: Number) -> Array:
    """The second operand of a sum, in the result's dtype."""
    dtype = g.result.dtype
    x = g.operand(x, dtype)
    if isinstance(alpha, int) and alpha == 1:
        return x
    return g.binary("multiply", x, g.number(alpha, dtype))


@lowering("mul.Scalar", samples=_with_numbers)
@lowering("mul.Tensor")
def mul(g: Graph, self: Array, other: Array | Number) -> Array:
    dtype = g.result.dtype
    opcode = "and" if dtype == torch.bool else "multiply"
    return g.binary(opcode, g.operand(self, dtype), g.operand(other, dtype))


@lowering("relu")
def relu(g: Graph, self: Array) -> Array:
    return g.binary("maximum", self, g.number(0, self.dtype))
