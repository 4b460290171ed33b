"""Pooling to a size that is given: the greatest of parts, where it is, its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

import torch

from spike_torch.aten.adaptive_pooling import inside, target_size
from spike_torch.aten.max_pooling import to_places
from spike_torch.aten.record import lowering
from spike_torch.aten.reductions import is_nan, wide
from spike_torch.lowering import moves
from spike_torch.lowering.arrays import Array
from spike_torch.lowering.errors import Unsupported
from spike_torch.lowering.indexing import both
from spike_torch.lowering.sizes import MOST_ELEMENTS

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Graph
    from spike_torch.lowering.sizes import Size


@lowering("adaptive_max_pool2d")
@lowering("adaptive_max_pool3d")
def adaptive_max_pool(
    g: Graph, self: Array, output_size: Sequence[Size]
) -> tuple[Array, Array]:
    if moves.is_nothing(g, g.results[0].sizes):
        values, places = (g.full(r.sizes, 0, r.dtype) for r in g.results)
        return values, places
    axes = range(self.ndim - len(output_size), self.ndim)
    g.require_prefix(self, "pools what has padding inside", axes)
    x, places = wide(g, self), g.full((), 0, torch.int32)
    for axis in reversed(axes):
        out = target_size(g, g.results[0].sizes[axis])
        unit = g.number(_after(self, axis), torch.int32)
        x, places = _greatest(g, x, places, axis, out, unit)
    return g.convert(x, self.dtype), g.convert(places, torch.int64)


def _after(x: Array, axis: int) -> Size:
    """How many elements the dimensions after one have together."""
    return prod(d.size for d in x.dims[axis + 1 :])


def _greatest(
    g: Graph, x: Array, places: Array, axis: int, out: int, unit: Array
) -> tuple[Array, Array]:
    """The greatest of each part along a dimension, and where it is in the plane.

    Of equal ones it is the first, of NaN the last. `places` has where each element is
    among the later dimensions, which have `unit` elements.
    """
    dims = (*x.dims[:axis], g.dim(out), *x.dims[axis:])
    shape = tuple(d.padded for d in dims)
    if prod(shape) > MOST_ELEMENTS:
        raise Unsupported(f"has parts of shape {shape}")
    spread = g.expand(g.insert_ones(x, (axis,)), dims)
    along = Array(inside(g, x.dims[axis], out), (dims[axis], dims[axis + 1]))
    counts = g.expand(g.insert_ones(along, range(2, len(dims) - axis)), dims)
    lowest = g.number(float("-inf"), x.dtype)
    kept = g.select(counts, spread, lowest)
    best = g.maximum(kept, (axis + 1,), keepdim=True)
    at = g.iota(dims, axis + 1, torch.int32)
    first = both(g, counts, g.compare(spread, best, "EQ"))
    last = both(g, counts, is_nan(g, spread))
    end, before = g.number(2**31 - 1, torch.int32), g.number(-1, torch.int32)
    chosen = g.select(
        is_nan(g, best),
        g.reduce(g.select(last, at, before), "maximum", -1, (axis + 1,), True),
        g.reduce(g.select(first, at, end), "minimum", 2**31 - 1, (axis + 1,), True),
    )
    if places.ndim:
        places = g.insert_ones(places, (axis,))
    nothing = g.number(0, torch.int32)
    own = g.select(g.compare(at, chosen, "EQ"), places, nothing)
    found = g.binary("multiply", g.drop_ones(chosen, (axis + 1,)), unit)
    inner = g.sum(own, (axis + 1,))
    return g.drop_ones(best, (axis + 1,)), g.binary("add", found, inner)


@lowering(
    "adaptive_max_pool2d_backward", checks_values=True, samples="adaptive_max_pool2d"
)
def adaptive_max_pool2d_backward(
    g: Graph, grad_output: Array, self: Array, indices: Array
) -> Array:
    return to_places(g, grad_output, indices, self.dims, 2)


@lowering(
    "adaptive_max_pool3d_backward", checks_values=True, samples="adaptive_max_pool3d"
)
def adaptive_max_pool3d_backward(
    g: Graph, grad_output: Array, self: Array, indices: Array
) -> Array:
    return to_places(g, grad_output, indices, self.dims, 3)
