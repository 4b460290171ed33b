"""Places in images that a grid says, and pixels at them.

A grid's numbers are from -1 to 1 over an image. What lies outside is 0, or the pixel at
the border, or a reflection. A place that is no number is outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

import torch

from spike_torch.lowering import indexing, moves
from spike_torch.lowering.indexing import both

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Array, Graph
    from spike_torch.lowering.sizes import Size

ZEROS, BORDER, REFLECTION = range(3)
_float = torch.float32


class Image(NamedTuple):
    """What is read.

    Attributes:
        x: images: a number, channels, and the dimensions that a grid has places in.
        padding: what is outside of an image.
        aligned: whether -1 and 1 are the middles of the outermost pixels, not edges.
    """

    x: Array
    padding: int
    aligned: bool

    @property
    def is_solid(self) -> bool:
        """Whether there are three dimensions, of which the CPU takes NaN otherwise."""
        return self.x.ndim == 5


# -- arithmetic ------------------------------------------------------------------------
def _op(opcode: str, g: Graph, x: Array, y: Array | float | Size) -> Array:
    other = y if isinstance(y, moves.Array) else g.number(y, _float)
    return g.binary(opcode, x, other)


def add(g: Graph, x: Array, y: Array | float | Size) -> Array:
    """``x + y``, where y may be a number."""
    return _op("add", g, x, y)


def subtract(g: Graph, x: Array, y: Array | float | Size) -> Array:
    """``x - y``, likewise."""
    return _op("subtract", g, x, y)


def multiply(g: Graph, x: Array, y: Array | float | Size) -> Array:
    """``x * y``, likewise."""
    return _op("multiply", g, x, y)


# -- places ----------------------------------------------------------------------------
def coordinates(g: Graph, grid: Array) -> list[Array]:
    """One for each dimension of an image, the first of them first."""
    last = grid.ndim - 1
    g.require_exact(grid, "has places of some dimensions", (last,))
    parts = []
    for i in reversed(range(grid.dims[last].padded)):
        value = g.b.slice_dim(grid.value, last, i, i + 1)
        dims = (*grid.dims[:last], moves.ONE)
        parts.append(g.drop_ones(moves.Array(value, dims), (last,)))
    return parts


def in_pixels(g: Graph, x: Array, size: Size, aligned: bool) -> Array:
    """From -1 .. 1 to places of pixels."""
    factor = _factor(g, size, aligned)
    made = multiply(g, add(g, x, 1.0), factor)
    return made if aligned else subtract(g, made, 0.5)


def _factor(g: Graph, size: Size, aligned: bool) -> Array:
    """How many pixels a 1 of a grid is."""
    count = g.number(size, _float)
    return multiply(g, subtract(g, count, 1.0) if aligned else count, 0.5)


def _clipped(g: Graph, x: Array, size: Size) -> Array:
    """Within an image; what is no number is 0."""
    positive = g.compare(x, g.number(0.0, _float), "GT")
    low = g.select(positive, x, g.number(0.0, _float))
    return g.binary("minimum", low, _last(g, size))


def _last(g: Graph, size: Size) -> Array:
    return subtract(g, g.number(size, _float), 1.0)


def _reflected(g: Graph, x: Array, size: Size, aligned: bool) -> tuple[Array, Array]:
    """Thrown back at both borders; and 1, or -1 where that turns directions."""
    low = 0.0 if aligned else -0.5
    count = g.number(size, _float)
    span = multiply(g, _last(g, size) if aligned else count, 2.0)
    moved = subtract(g, x, low)
    far = g.unary("abs", moved)
    turns = g.unary("floor", g.binary("divide", far, span))
    extra = subtract(g, far, multiply(g, turns, span))
    back = subtract(g, span, extra)
    made = add(g, g.binary("minimum", extra, back), low)
    one, less = g.number(1.0, _float), g.number(-1.0, _float)
    negative = g.compare(moved, g.number(0.0, _float), "LT")
    sign = g.select(negative, less, one)
    is_back = g.compare(back, extra, "LT")
    sign = g.select(is_back, g.unary("negate", sign), sign)
    empty = g.compare(span, g.number(0.0, _float), "LE")
    return g.select(empty, g.number(0.0, _float), made), sign


def placed(
    g: Graph, image: Image, axis: int, x: Array, backward: bool = False
) -> Array:
    """Where in an image a place is, if that may be outside."""
    size = image.x.dims[axis].size
    if image.padding == REFLECTION:
        x, _ = _reflected(g, x, size, image.aligned)
    if image.is_solid:
        return _in_solid(g, image, x, size, backward)
    return x if image.padding == ZEROS else _clipped(g, x, size)


def _in_solid(g: Graph, image: Image, x: Array, size: Size, backward: bool) -> Array:
    """The same of three dimensions, where what is no number is the last, or outside."""
    if image.padding != ZEROS:
        is_number = g.compare(x, x, "EQ")
        clipped = _clipped(g, x, size)
        x = g.select(is_number, clipped, x if backward else _last(g, size))
    fits = g.compare(g.unary("abs", x), g.number(2.0**31, _float), "LT")
    return g.select(fits, x, g.number(-100.0, _float))


def slope_of(g: Graph, image: Image, axis: int, x: Array) -> Array:
    """By how much a place in an image moves with the number of a grid, in pixels."""
    size = image.x.dims[axis].size
    factor = _factor(g, size, image.aligned)
    if image.padding == ZEROS:
        return factor
    if image.padding == REFLECTION:
        x, sign = _reflected(g, x, size, image.aligned)
        factor = multiply(g, sign, factor)
    inside = both(
        g,
        g.compare(x, g.number(0.0, _float), "GT"),
        g.compare(x, _last(g, size), "LT"),
    )
    return g.select(inside, factor, g.number(0.0, _float))


def _all(g: Graph, found: Sequence[Array]) -> Array:
    return reduce(lambda x, y: both(g, x, y), found)


def is_inside(g: Graph, image: Image, at: Sequence[Array]) -> Array:
    """Booleans: which places, whole numbers in float32, are in an image."""
    return _all(
        g,
        [
            both(
                g,
                g.compare(x, g.number(0.0, _float), "GE"),
                g.compare(x, _last(g, image.x.dims[2 + i].size), "LE"),
            )
            for i, x in enumerate(at)
        ],
    )


def _pixels(
    g: Graph, image: Image, at: Sequence[Array], valid: Array
) -> indexing.Places:
    """Pixels at whole places, of which those outside are replaced by the first."""
    zero = g.number(0.0, _float)
    own = [g.convert(g.select(valid, x, zero), torch.int32) for x in at]
    number = g.iota(own[0].dims, 0, torch.int32)
    axes = (0, *range(2, image.x.ndim))
    return indexing.places(g, axes, (number, *own))


def read_at(g: Graph, image: Image, at: Sequence[Array]) -> Array:
    """Pixels at whole places, channels last; 0 outside."""
    valid = is_inside(g, image, at)
    made = indexing.read(g, image.x, _pixels(g, image, at, valid), 0)
    where = g.insert_ones(valid, (valid.ndim,))
    return g.select(where, made, g.number(0.0, _float))


def added_at(
    g: Graph, made: Array, image: Image, at: Sequence[Array], values: Array
) -> Array:
    """With values, channels last, added to pixels at whole places."""
    valid = is_inside(g, image, at)
    where = _pixels(g, image, at, valid)
    outside = g.number(-1, torch.int32)
    own = (g.select(valid, where.indices[0], outside), *where.indices[1:])
    where = indexing.places(g, where.axes, own)
    return indexing.write(g, made, where, values, 0, "add")
