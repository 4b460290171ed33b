"""Running sums, products and extremes along a dimension.

A scan is one reduce-window whose window reaches back to the first element. Padding that
follows what counts does not reach it; padding in between is given the identity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from nkipy.hlo import compositions
from nkipy.hlo import dtypes as dt
from nkipy.hlo.opcodes import WindowDim
from spike_torch.aten.record import lowering
from spike_torch.aten.reductions import wide
from spike_torch.lowering.arrays import Array

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Graph


def scan(g: Graph, x: Array, opcode: str, identity: Any, axis: int) -> Array:
    """What `opcode` makes of each element and all before it, in the array's dtype."""
    if x.ndim == 0 or 0 in x.value.shape:
        return x
    x = _masked_between(g, x, identity, axis)
    size = x.value.shape[axis]
    window = [WindowDim(1)] * x.ndim
    window[axis] = WindowDim(size=size, pad_low=size - 1)
    start = g.b.scalar(identity, x.hlo_dtype)
    reducer = g.b.reducer(opcode, x.hlo_dtype)
    attributes = {"window": tuple(window), "to_apply": reducer}
    operands = (x.value, start)
    shape = x.value.shape
    value = g.b.emit("reduce-window", operands, shape, x.hlo_dtype, attributes)
    return Array(value, x.dims)


def _masked_between(g: Graph, x: Array, identity: Any, axis: int) -> Array:
    return x if x.dims[axis].is_prefix else g.masked(x, [axis], identity)


@lowering("cumsum")
def cumsum(g: Graph, self: Array, dim: int, *, dtype: Any = None) -> Array:
    x = wide(g, g.convert(self, g.result.dtype))
    made = scan(g, x, "add", 0, g.axis(x, dim))
    return g.convert(made, g.result.dtype)


@lowering("cumprod")
def cumprod(g: Graph, self: Array, dim: int, *, dtype: Any = None) -> Array:
    x = wide(g, g.convert(self, g.result.dtype))
    made = scan(g, x, "multiply", 1, g.axis(x, dim))
    return g.convert(made, g.result.dtype)


@lowering("cummax")
def cummax(g: Graph, self: Array, dim: int) -> tuple[Array, Array]:
    return _running_extreme(g, self, "maximum", dim)


@lowering("cummin")
def cummin(g: Graph, self: Array, dim: int) -> tuple[Array, Array]:
    return _running_extreme(g, self, "minimum", dim)


def _running_extreme(g: Graph, x: Array, opcode: str, dim: int) -> tuple[Array, Array]:
    """The extreme so far, and its last place so far; NaN stays, once it is there."""
    axis = g.axis(x, dim)
    if x.ndim == 0:
        return x, g.full((), 0, torch.int64)
    own = g.convert(x, torch.int32) if x.dtype == torch.bool else x
    limit = dt.lowest if opcode == "maximum" else dt.highest
    found = scan(g, own, opcode, limit(own.hlo_dtype), axis)
    hit = g.compare(own, found, "EQ")
    if x.dtype.is_floating_point:
        nan = g.compare(own, own, "NE")
        hit = g.binary("or", hit, nan)
    place = g.iota(x.dims, axis, torch.int32)
    place = g.select(hit, place, g.number(-1, torch.int32))
    last = scan(g, place, "maximum", -1, axis)
    return g.convert(found, x.dtype), g.convert(last, torch.int64)


@lowering("logcumsumexp")
def logcumsumexp(g: Graph, self: Array, dim: int) -> Array:
    """In steps of powers of two: after each, so many elements are in a sum."""
    axis = g.axis(self, dim)
    x = wide(g, self)
    if x.ndim == 0 or 0 in x.value.shape:
        return self
    x = _masked_between(g, x, float("-inf"), axis)
    value, nothing = x.value, g.b.scalar(float("-inf"), x.hlo_dtype)
    step = 1
    while step < value.shape[axis]:
        moved = [(step, -step, 0) if a == axis else (0, 0, 0) for a in range(x.ndim)]
        before = g.b.pad(value, nothing, moved)
        value = compositions.logaddexp(g.b, value, before)
        step *= 2
    return g.convert(Array(value, x.dims), self.dtype)
