"""Pooling to a size that is given: means of parts, and their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import Value
from spike_torch.aten.record import lowering
from spike_torch.lowering.arrays import Array
from spike_torch.lowering.dtypes import accumulating
from spike_torch.lowering.errors import NeedsExactSize
from spike_torch.lowering.sizes import is_static

if TYPE_CHECKING:
    from spike_torch.lowering.dims import Dim
    from spike_torch.lowering.graph import Graph
    from spike_torch.lowering.sizes import Size


@lowering("_adaptive_avg_pool2d", rounding=8, samples="adaptive_avg_pool2d")
@lowering("_adaptive_avg_pool3d", rounding=8, samples="adaptive_avg_pool3d")
def adaptive_avg_pool(g: Graph, self: Array, output_size: Sequence[Size]) -> Array:
    axes = range(self.ndim - len(output_size), self.ndim)
    g.require_prefix(self, "pools what has padding inside", axes)
    x = g.convert(self, accumulating(self.dtype))
    counts = []
    for axis in axes:
        out = target_size(g, g.result.sizes[axis])
        counts.append((axis, _counts(g, self.dims[axis], out)))
        x = _sums(g, x, axis, out)
    for axis, count in counts:  # one after the other, as torch rounds
        x = _divided(g, x, axis, count)
    return g.convert(x, g.result.dtype)


@lowering("_adaptive_avg_pool2d_backward", rounding=8, samples="adaptive_avg_pool2d")
def adaptive_avg_pool2d_backward(g: Graph, grad_output: Array, self: Array) -> Array:
    return _backward(g, grad_output, self, 2)


@lowering("_adaptive_avg_pool3d_backward", rounding=8, samples="adaptive_avg_pool3d")
def adaptive_avg_pool3d_backward(g: Graph, grad_output: Array, self: Array) -> Array:
    return _backward(g, grad_output, self, 3)


def _backward(g: Graph, grad_output: Array, self: Array, n: int) -> Array:
    axes = range(self.ndim - n, self.ndim)
    g.require_prefix(self, "pools what has padding inside", axes)
    g.require_same(grad_output.dims[:-n], self.dims[:-n])
    x = g.convert(grad_output, accumulating(grad_output.dtype))
    for axis in axes:
        out = target_size(g, grad_output.sizes[axis])
        x = _divided(g, x, axis, _counts(g, self.dims[axis], out))
    for axis in axes:
        x = _spread(g, x, axis, self.dims[axis])
    return g.convert(x, g.result.dtype)


def target_size(g: Graph, size: Size) -> int:
    size = g.sizes.of(size)
    if not isinstance(size, int):
        raise NeedsExactSize("pools to a size in a bucket", size)
    return size


def _bounds(g: Graph, dim: Dim, out: int) -> tuple[Value, Value]:
    """s32[out]: where each part begins and ends; parts may overlap."""
    b = g.b
    places = np.arange(out + 1, dtype=np.int64)
    if is_static(dim.size):
        starts, ends = places[:-1] * dim.size // out, -(-places[1:] * dim.size // out)
        return b.constant(starts.astype(np.int32)), b.constant(ends.astype(np.int32))
    size, parts = (
        b.broadcast_to(g.size(dim.size), (out,)),
        b.full((out,), out, dt.int32),
    )
    first, last = (b.constant(p.astype(np.int32)) for p in (places[:-1], places[1:]))
    above = b.add(b.multiply(last, size), b.full((out,), out - 1, dt.int32))
    return b.divide(b.multiply(first, size), parts), b.divide(above, parts)


def _counts(g: Graph, dim: Dim, out: int) -> Value:
    """f32[out]: how many elements each part has."""
    starts, ends = _bounds(g, dim, out)
    return g.b.convert(g.b.subtract(ends, starts), dt.float32)


def inside(g: Graph, dim: Dim, out: int) -> Value:
    """Booleans [out, elements]: which part has which."""
    b = g.b
    shape = (out, dim.padded)
    starts, ends = (b.broadcast_in_dim(v, shape, (0,)) for v in _bounds(g, dim, out))
    place = b.iota(shape, 1)
    return b.and_(b.compare(place, starts, "GE"), b.compare(place, ends, "LT"))


def _sums(g: Graph, x: Array, axis: int, out: int) -> Array:
    if out == 1:
        return g.sum(x, (axis,), keepdim=True)
    dims = (*x.dims[:axis], g.dim(out), *x.dims[axis + 1 :])
    size = x.dims[axis].size
    if isinstance(size, int) and out and size and size % out == 0:
        part = (*x.dims[:axis], g.dim(out), g.dim(size // out), *x.dims[axis + 1 :])
        value = g.b.reshape(x.value, tuple(d.padded for d in part))
        return g.sum(Array(value, part), (axis + 1,))
    shape = [d.padded for d in dims]
    shape.insert(axis + 1, x.dims[axis].padded)
    others = [a for a in range(len(shape)) if a != axis]
    wide = g.b.broadcast_in_dim(x.value, shape, others)
    where = inside(g, x.dims[axis], out)
    where = g.b.broadcast_in_dim(where, shape, (axis, axis + 1))
    kept = g.b.select(where, wide, g.b.full_like(wide, 0))
    return Array(g.b.reduce(kept, "add", 0, (axis + 1,)), dims)


def _divided(g: Graph, x: Array, axis: int, count: Value) -> Array:
    wide = g.b.broadcast_in_dim(count, x.value.shape, (axis,))
    return Array(g.b.divide(x.value, wide), x.dims)


def _spread(g: Graph, x: Array, axis: int, dim: Dim) -> Array:
    """To each element the sum of its parts."""
    out = x.dims[axis].padded
    dims = (*x.dims[:axis], dim, *x.dims[axis + 1 :])
    shape = [d.padded for d in dims]
    shape.insert(axis, out)
    others = [a for a in range(len(shape)) if a != axis + 1]
    wide = g.b.broadcast_in_dim(x.value, shape, others)
    if out == 1:
        return Array(g.b.reshape(wide, tuple(d.padded for d in dims)), dims)
    where = g.b.broadcast_in_dim(inside(g, dim, out), shape, (axis, axis + 1))
    kept = g.b.select(where, wide, g.b.full_like(wide, 0))
    return Array(g.b.reduce(kept, "add", 0, (axis,)), dims)
