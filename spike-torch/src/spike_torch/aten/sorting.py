"""Operators that put elements in order. NaN is greater than all; sorts are stable.

Padding comes last, in either order, by a first key of which it has the greater value.
Of equal elements, torch does not say which ones topk, kthvalue and median take; here it
is the one that comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder, Value
from nkipy.hlo.ir import HLOComputation, Shape
from spike_torch.aten.extremes import extreme, place_of_first
from spike_torch.aten.record import lowering
from spike_torch.aten.reductions import is_nan
from spike_torch.lowering import moves
from spike_torch.lowering.arrays import Array
from spike_torch.lowering.dims import Dim, Factor, dim_of
from spike_torch.lowering.errors import Unsupported

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Graph
    from spike_torch.lowering.sizes import Size


# -- parts of lowerings ----------------------------------------------------------------
def _precedes(b: HLOBuilder, x: Value, y: Value) -> Value:
    """Whether `x` comes before `y` in rising order, in which NaN is last."""
    if not dt.is_float(x.dtype):
        return b.compare(x, y, "LT")
    return b.and_(b.compare(x, x, "EQ"), b.not_(b.compare(y, x, "LE")))


@cache
def _comparator(
    dtypes: tuple[np.dtype, ...], descending: bool, has_padding: bool
) -> HLOComputation:
    """Compares rows: by whether they are padding, if there is some, then by value."""
    order = "descending" if descending else "ascending"
    names = "_".join(dt.HLO_NAMES[d] for d in dtypes)
    made = HLOComputation(f"{order}_{'padded_' if has_padding else ''}{names}")
    pairs = [
        (made.add_parameter((), d, f"x{i}"), made.add_parameter((), d, f"y{i}"))
        for i, d in enumerate(dtypes)
    ]
    b = HLOBuilder(made)
    x, y = pairs[1 if has_padding else 0]
    made.root = _precedes(b, y, x) if descending else _precedes(b, x, y)
    if has_padding:
        before = b.compare(*pairs[0], "LT")
        same = b.compare(*pairs[0], "EQ")
        made.root = b.or_(before, b.and_(same, made.root))
    return made.fix()


def sorted_along(
    g: Graph, x: Array, axis: int, descending: bool = False
) -> tuple[Array, Array]:
    """The elements in order along a dimension, and their places before, in int32."""
    places = g.iota(x.dims, axis, torch.int32)
    if x.value.shape[axis] <= 1 or 0 in x.value.shape:
        return x, places
    operands = [x.value, places.value]
    where = g.valid(x.dims, [axis])
    if where is not None:
        operands.insert(0, g.b.convert(g.b.not_(where.value), dt.int32))
    dtypes = tuple(v.dtype for v in operands if v.dtype is not None)
    attributes = {
        "dimension": axis,
        "is_stable": True,
        "to_apply": _comparator(dtypes, descending, where is not None),
    }
    shapes = [Shape(d, x.value.shape) for d in dtypes]
    *_, value, order = g.b.tuple_result("sort", tuple(operands), shapes, attributes)
    dims = list(x.dims)
    dims[axis] = _gathered(dims[axis])
    return Array(value, tuple(dims)), Array(order, tuple(dims))


def _gathered(dim: Dim) -> Dim:
    """A dimension after all that counts has come to its front."""
    return dim if dim.is_prefix else dim_of([Factor(dim.padded, dim.size)])


def _first(g: Graph, x: Array, axis: int, start: int, size: Size) -> Array:
    """So many elements from a place on, all of which count."""
    dim = g.dim(size)  # whose bucket may be larger than that of all
    value = moves.part_of(g, x.value, axis, start, dim.padded)
    return Array(value, (*x.dims[:axis], dim, *x.dims[axis + 1 :]))


# -- sort and topk ---------------------------------------------------------------------
@lowering("sort", samples="sort")
def sort(
    g: Graph, self: Array, dim: int = -1, descending: bool = False
) -> tuple[Array, Array]:
    if self.ndim == 0:
        return self, g.full((), 0, torch.int64)
    values, places = sorted_along(g, self, g.axis(self, dim), descending)
    return values, g.convert(places, torch.int64)


@lowering("sort.stable", samples="sort argsort")
def sort_stable(
    g: Graph,
    self: Array,
    *,
    stable: bool | None,
    dim: int = -1,
    descending: bool = False,
) -> tuple[Array, Array]:
    return sort(g, self, dim, descending)


@lowering("topk")
def topk(
    g: Graph,
    self: Array,
    k: Size,
    dim: int = -1,
    largest: bool = True,
    sorted: bool = True,
) -> tuple[Array, Array]:
    if self.ndim == 0:
        return self, g.full((), 0, torch.int64)
    axis = g.axis(self, dim)
    made = sorted_along(g, self, axis, descending=largest)
    values, places = (_first(g, x, axis, 0, k) for x in made)
    return values, g.convert(places, torch.int64)


# -- one element of the order ----------------------------------------------------------
@lowering("kthvalue")
def kthvalue(
    g: Graph, self: Array, k: Size, dim: int = -1, keepdim: bool = False
) -> tuple[Array, Array]:
    if self.ndim == 0:
        return self, g.full((), 0, torch.int64)
    if not isinstance(k, int):
        raise Unsupported(f"takes element {k} of the order, which differs from call")
    axis = g.axis(self, dim)
    made = [_first(g, x, axis, k - 1, 1) for x in sorted_along(g, self, axis)]
    values, places = made if keepdim else [g.drop_ones(x, [axis]) for x in made]
    return values, g.convert(places, torch.int64)


@lowering("median")
def median(g: Graph, self: Array) -> Array:
    return _median(g, _flat(g, self), 0, False, skips_nan=False)[0]


@lowering("nanmedian")
def nanmedian(g: Graph, self: Array) -> Array:
    return _median(g, _flat(g, self), 0, False, skips_nan=True)[0]


@lowering("median.dim", samples="median")
def median_dim(
    g: Graph, self: Array, dim: int, keepdim: bool = False
) -> tuple[Array, Array]:
    return _median(g, self, dim, keepdim, skips_nan=False)


@lowering("nanmedian.dim", samples="nanmedian")
def nanmedian_dim(
    g: Graph, self: Array, dim: int, keepdim: bool = False
) -> tuple[Array, Array]:
    return _median(g, self, dim, keepdim, skips_nan=True)


def _flat(g: Graph, x: Array) -> Array:
    return g.reshape(x, (g.count(x, range(x.ndim)),))


def _median(
    g: Graph, x: Array, dim: int, keepdim: bool, skips_nan: bool
) -> tuple[Array, Array]:
    """The lower one of the two in the middle, and a place where it is."""
    if 0 in x.value.shape:
        raise Unsupported("takes the median of nothing")
    if x.ndim == 0:
        return x, g.full((), 0, torch.int64)
    axes = (g.axis(x, dim),)
    values, places = sorted_along(g, x, *axes)
    middle = _middle(g, x, axes, skips_nan)
    hit = g.compare(g.iota(values.dims, axes[0], torch.int32), middle, "EQ")
    value = extreme(g, "maximum", _where(g, hit, values), axes, keepdim)
    place = g.maximum(_where(g, hit, places), axes, keepdim)
    if x.dtype.is_floating_point and not skips_nan:
        nan = is_nan(g, x)
        any_nan = g.reduce(nan, "or", False, axes, keepdim)
        value = g.select(any_nan, g.number(float("nan"), x.dtype), value)
        first = g.convert(place_of_first(g, nan, axes, keepdim), torch.int32)
        place = g.select(any_nan, first, place)
    return value, g.convert(place, torch.int64)


def _where(g: Graph, hit: Array, x: Array) -> Array:
    return g.select(hit, x, g.number(_lowest(x), x.dtype))


def _lowest(x: Array) -> int | float:
    least = dt.lowest(x.hlo_dtype)
    return least if isinstance(least, float) else int(least)


def _middle(g: Graph, x: Array, axes: Sequence[int], skips_nan: bool) -> Array:
    """int32: the place in the order, with dimensions of size 1."""
    if skips_nan and x.dtype.is_floating_point:
        numbers = g.convert(g.compare(x, x, "EQ"), torch.int32)
        count = g.sum(numbers, axes, keepdim=True)
    else:
        count = g.number(g.count(x, axes), torch.int32)
    less = g.binary("subtract", count, g.number(1, torch.int32))
    less = g.binary("maximum", less, g.number(0, torch.int32))
    return g.binary("divide", less, g.number(2, torch.int32))
