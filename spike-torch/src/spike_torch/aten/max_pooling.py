"""Pooling: the greatest of what is in a window, where it is, and its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import torch

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import Value
from spike_torch.aten.pooling import Slide, slides_of
from spike_torch.aten.record import lowering
from spike_torch.lowering.arrays import Array
from spike_torch.lowering.dtypes import accumulating
from spike_torch.lowering.errors import Unsupported
from spike_torch.lowering.sizes import product

if TYPE_CHECKING:
    from spike_torch.lowering.dims import Dim
    from spike_torch.lowering.graph import Graph

#: Steps of a window, each of which takes a few instructions.
_MOST_STEPS = 256


def _max_pool(
    g: Graph,
    self: Array,
    n: int,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int] | int,
    dilation: Sequence[int] | int,
) -> tuple[Array, Array]:
    numbers = (kernel_size, stride, padding, dilation)
    slides = slides_of(self, n, *numbers)
    if sum(s.size for s in slides) > _MOST_STEPS:
        raise Unsupported(f"has a window of {tuple(s.size for s in slides)}")
    axes = [s.axis for s in slides]
    g.require_prefix(self, "pools what has padding inside", axes)
    values, places, dims = self, None, list(self.dims)
    for slide in reversed(slides):  # rows first, then what is greatest among them
        inner = product(self.sizes[slide.axis + 1 :])
        dims[slide.axis] = g.dim(g.results[0].sizes[slide.axis])
        unit = g.size(inner)
        values, places = _greatest_along(g, values, places, slide, tuple(dims), unit)
    assert places is not None
    return values, g.convert(places, torch.int64)


def _greatest_along(
    g: Graph,
    x: Array,
    places: Array | None,
    slide: Slide,
    dims: tuple[Dim, ...],
    unit: Value,
) -> tuple[Array, Array]:
    """The greatest in a window along one dimension, and where in the plane it is.

    Of equal ones it is the first, of NaN the last. `places` has where each element of
    `x` is among the later dimensions, and `unit` how many elements these have.
    """
    b = g.b
    shape = tuple(d.padded for d in dims)
    limit = x.dims[slide.axis].size
    steps = _steps(g, x.value, slide, shape)
    inner: Sequence[Value | None] = [None] * slide.size
    if places is not None:
        inner = _steps(g, places.value, slide, shape)
    start = np.arange(shape[slide.axis], dtype=np.int32) * slide.stride - slide.padding
    best = where = None
    for i, (value, place) in enumerate(zip(steps, inner)):
        position = start + i * slide.dilation
        at = _along(g, b.constant(position.astype(np.int32)), shape, slide.axis)
        flat = b.multiply(at, b.broadcast_to(unit, shape))
        if place is not None:
            flat = b.add(flat, place)
        if best is None or where is None:
            best, where = value, flat
            continue
        first = (position >= 0) & (position < slide.dilation)
        take = b.or_(b.compare(value, best, "GT"), _mask(g, first, shape, slide.axis))
        if x.dtype.is_floating_point:
            take = b.or_(take, b.compare(value, value, "NE"))
        take = b.and_(take, _mask(g, position >= 0, shape, slide.axis))
        end = b.broadcast_to(g.size(limit), shape)
        take = b.and_(take, b.compare(at, end, "LT"))
        best, where = b.select(take, value, best), b.select(take, flat, where)
    assert best is not None and where is not None
    return Array(best, dims), Array(where, dims)


def _steps(g: Graph, x: Value, slide: Slide, shape: tuple[int, ...]) -> list[Value]:
    """For each element of the window, those that it lies on, with others outside."""
    assert x.dtype is not None
    axis, out = slide.axis, shape[slide.axis]
    span = (out - 1) * slide.stride + 1
    reach = span + (slide.size - 1) * slide.dilation
    config = [(0, 0, 0)] * len(x.shape)
    high = max(0, reach - x.shape[axis] - slide.padding)
    config[axis] = (slide.padding, high, 0)
    x = g.b.pad(x, g.b.scalar(0, x.dtype), config)
    starts = (i * slide.dilation for i in range(slide.size))
    return [g.b.slice_dim(x, axis, s, s + span, slide.stride) for s in starts]


def _along(g: Graph, x: Value, shape: tuple[int, ...], axis: int) -> Value:
    return g.b.broadcast_in_dim(x, shape, (axis,))


def _mask(g: Graph, where: np.ndarray, shape: tuple[int, ...], axis: int) -> Value:
    if where.all() or not where.any():
        return g.b.full(shape, bool(where.any()), dt.bool_)
    return _along(g, g.b.constant(where), shape, axis)


@lowering("max_pool2d_with_indices", samples="max_pool2d")
def max_pool2d_with_indices(
    g: Graph,
    self: Array,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] | int = 0,
    dilation: Sequence[int] | int = 1,
    ceil_mode: bool = False,
) -> tuple[Array, Array]:
    return _max_pool(g, self, 2, kernel_size, stride, padding, dilation)


@lowering("max_pool3d_with_indices", samples="max_pool3d")
def max_pool3d_with_indices(
    g: Graph,
    self: Array,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] | int = 0,
    dilation: Sequence[int] | int = 1,
    ceil_mode: bool = False,
) -> tuple[Array, Array]:
    return _max_pool(g, self, 3, kernel_size, stride, padding, dilation)


@lowering("max_pool2d_with_indices_backward", checks_values=True, samples="max_pool2d")
def max_pool2d_with_indices_backward(
    g: Graph,
    grad_output: Array,
    self: Array,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
    indices: Array,
) -> Array:
    return to_places(g, grad_output, indices, self.dims, 2)


@lowering("max_pool3d_with_indices_backward", checks_values=True, samples="max_pool3d")
def max_pool3d_with_indices_backward(
    g: Graph,
    grad_output: Array,
    self: Array,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
    indices: Array,
) -> Array:
    return to_places(g, grad_output, indices, self.dims, 3)


def to_places(
    g: Graph, x: Array, indices: Array, dims: tuple[Dim, ...], n: int
) -> Array:
    """Elements added up at places in planes, which are the last `n` dimensions."""
    b = g.b
    lead = len(dims) - n
    g.require_same(x.dims, indices.dims)
    g.require_same(x.dims[:lead], dims[:lead])
    shape = tuple(d.padded for d in dims)
    rows, plane = prod(shape[:lead]), shape[lead:]
    if 0 in x.value.shape or 0 in shape:
        return g.full(dims, 0, x.dtype)
    places = b.convert(indices.value, dt.int32)
    valid = g.valid(x.dims, range(lead, x.ndim))
    if valid is not None:  # what is nowhere is dropped
        places = b.select(valid.value, places, b.full_like(places, -1))
    coordinates = _coordinates(g, places, dims[lead:], plane)
    flat = (rows, *x.value.shape[lead:])
    row = b.iota((*flat, 1), 0)
    columns = [b.reshape(c, (*flat, 1)) for c in coordinates]
    index = b.concatenate([row, *columns], len(flat))
    wide = g.convert(x, accumulating(x.dtype))
    target = b.full((rows, *plane), 0, wide.hlo_dtype)
    made = b.scatter(
        target,
        index,
        b.reshape(wide.value, flat),
        update_window_dims=(),
        inserted_window_dims=tuple(range(n + 1)),
        scatter_dims_to_operand_dims=tuple(range(n + 1)),
        opcode="add",
    )
    return g.convert(Array(b.reshape(made, shape), dims), x.dtype)


def _coordinates(
    g: Graph, places: Value, dims: Sequence[Dim], plane: Sequence[int]
) -> list[Value]:
    """Places in a plane as a number for each dimension of it."""
    b = g.b
    found = []
    rest = places
    for dim in reversed(dims[1:]):
        size = b.broadcast_to(g.size(dim.size), places.shape)
        found.append(b.binary("remainder", rest, size))
        rest = b.divide(rest, size)
    # -1 stays out of the plane, though -1 // size is 0 in HLO.
    below = b.compare(places, b.full_like(places, 0), "LT")
    found.append(b.select(below, b.full_like(places, plane[0]), rest))
    return found[::-1]
