"""The greatest and least elements along dimensions, and where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch

from nkipy.hlo import dtypes as dt
from spike_torch.aten.record import lowering
from spike_torch.lowering.sizes import product

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Array, Graph

Which = Literal["maximum", "minimum"]


def extreme(
    g: Graph, which: Which, x: Array, axes: Sequence[int], keepdim: bool = False
) -> Array:
    """The greatest or least along dimensions; NaN if there is one."""
    if x.dtype == torch.bool:
        opcode, identity = ("or", False) if which == "maximum" else ("and", True)
        return g.reduce(x, opcode, identity, axes, keepdim)
    return (g.maximum if which == "maximum" else g.minimum)(x, axes, keepdim)


def place_of_first(
    g: Graph, hit: Array, axes: Sequence[int], keepdim: bool = False
) -> Array:
    """int64: where along dimensions, taken as one, `hit` holds first."""
    if not axes:
        return g.full(hit.dims, 0, torch.int64)
    places = places_along(g, hit, axes)
    none = g.number(int(dt.highest(dt.int32)), torch.int32)
    first = g.minimum(g.select(hit, places, none), axes, keepdim)
    return g.convert(first, torch.int64)


def places_along(g: Graph, x: Array, axes: Sequence[int]) -> Array:
    """int32: the place of each element along dimensions, taken as one."""
    found: Array | None = None
    for i, axis in enumerate(axes):
        place = g.iota(x.dims, axis, torch.int32)
        if i + 1 < len(axes):
            stride = product(x.dims[a].size for a in axes[i + 1 :])
            place = g.binary("multiply", place, g.number(stride, torch.int32))
        found = place if found is None else g.binary("add", found, place)
    assert found is not None
    return found


def where_extreme(g: Graph, x: Array, found: Array) -> Array:
    """Booleans: what equals the extreme that was found, which NaN does where it is."""
    hit = g.compare(x, found, "EQ")
    if not x.dtype.is_floating_point:
        return hit
    return g.elementwise(lambda b, y, h: b.or_(b.compare(y, y, "NE"), h), x, hit)


def _both(
    g: Graph, which: Which, x: Array, axes: Sequence[int], keepdim: bool
) -> tuple[Array, Array]:
    """The extreme, and the first place where it is, or the first NaN."""
    kept = extreme(g, which, x, axes, keepdim=True)
    place = place_of_first(g, where_extreme(g, x, kept), axes, keepdim)
    return (kept if keepdim else g.drop_ones(kept, axes)), place


# -- whole and along dimensions --------------------------------------------------------
@lowering("max amax", samples="max amax")
def amax(g: Graph, self: Array, dim: Any = None, keepdim: bool = False) -> Array:
    return extreme(g, "maximum", self, g.axes(self, dim), keepdim)


@lowering("min amin", samples="min amin")
def amin(g: Graph, self: Array, dim: Any = None, keepdim: bool = False) -> Array:
    return extreme(g, "minimum", self, g.axes(self, dim), keepdim)


@lowering("aminmax")
def aminmax(
    g: Graph, self: Array, *, dim: int | None = None, keepdim: bool = False
) -> tuple[Array, Array]:
    axes = g.axes(self, dim)
    least = extreme(g, "minimum", self, axes, keepdim)
    return least, extreme(g, "maximum", self, axes, keepdim)


@lowering("max.dim", samples="max")
def max_dim(
    g: Graph, self: Array, dim: int, keepdim: bool = False
) -> tuple[Array, Array]:
    return _both(g, "maximum", self, g.axes(self, dim), keepdim)


@lowering("min.dim", samples="min")
def min_dim(
    g: Graph, self: Array, dim: int, keepdim: bool = False
) -> tuple[Array, Array]:
    return _both(g, "minimum", self, g.axes(self, dim), keepdim)


@lowering("argmax")
def argmax(
    g: Graph, self: Array, dim: int | None = None, keepdim: bool = False
) -> Array:
    return _both(g, "maximum", self, g.axes(self, dim), keepdim)[1]


@lowering("argmin")
def argmin(
    g: Graph, self: Array, dim: int | None = None, keepdim: bool = False
) -> Array:
    return _both(g, "minimum", self, g.axes(self, dim), keepdim)[1]
