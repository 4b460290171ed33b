"""Histograms of so many bins as a number says."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from spike_torch.aten.record import Sample, lowering
from spike_torch.lowering import indexing, moves
from spike_torch.lowering.arrays import Array
from spike_torch.lowering.errors import Unsupported
from spike_torch.lowering.sizes import MOST_ELEMENTS

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Graph


def _samples() -> Iterator[Sample]:
    x = torch.linspace(-2, 3, 23)
    yield (x, 5, -1.0, 2.0), {}
    yield (torch.cat([x, torch.tensor([math.nan, math.inf])]), 7, -1.5, 2.5), {}


@lowering("histc", samples=_samples)
def histc(
    g: Graph, self: Array, bins: int = 100, min: float = 0, max: float = 0
) -> Array:
    if min == max:
        raise Unsupported("counts between the least and the greatest element")
    if moves.is_nothing(g, self.sizes):
        return moves.nothing(g)
    low, high, x = _bounded(g, moves.flattened(g, self), bins, min, max)
    if math.prod(x.value.shape) * bins > MOST_ELEMENTS:
        raise Unsupported(f"counts {x.value.shape} elements in {bins} bins")
    kept = indexing.both(g, g.compare(x, low, "GE"), g.compare(x, high, "LE"))
    # As the CPU has it: nothing is rounded before the quotient.
    share = g.binary("multiply", g.binary("subtract", x, low), g.number(bins, x.dtype))
    place = g.binary("divide", share, g.binary("subtract", high, low))
    place = g.binary("minimum", moves.int32(g, place), g.number(bins - 1, torch.int32))
    place = g.insert_ones(g.select(kept, place, g.number(-1, torch.int32)), (1,))
    every = g.iota(g.dims((1, bins)), 1, torch.int32)
    hit = g.convert(g.compare(place, every, "EQ"), torch.int32)
    return g.convert(g.sum(hit, (0,)), g.result.dtype)


def _bounded(
    g: Graph, x: Array, bins: int, low: float, high: float
) -> tuple[Array, Array, Array]:
    """The bounds, and elements, in the dtype that places are computed in."""
    if x.dtype.is_floating_point:
        if x.dtype != torch.float32:
            raise Unsupported(f"counts elements of {x.dtype}")
        return g.number(low, x.dtype), g.number(high, x.dtype), x
    if x.dtype == torch.bool:
        raise Unsupported("counts booleans")
    first, last = int(low), int(high)
    if not 0 < (last - first) * bins < 2**31 or not _fits(first) or not _fits(last):
        raise Unsupported(f"counts integers from {low} to {high} in {bins} bins")
    x = indexing.indices(g, x, 0, wraps=False)
    return g.number(first, torch.int32), g.number(last, torch.int32), x


def _fits(number: int) -> bool:
    return -(2**31) < number < 2**31 - 1
