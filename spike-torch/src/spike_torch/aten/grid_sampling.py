"""Images read at places that a grid says, and the gradients of that.

A grid's numbers are from -1 to 1 over an image. What lies outside is 0, or the pixel at
the border, or a reflection. A place that is no number is outside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

import torch

from spike_torch.aten.record import Sample, lowering
from spike_torch.lowering import indexing, moves
from spike_torch.lowering.errors import Unsupported
from spike_torch.lowering.indexing import both

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Array, Graph
    from spike_torch.lowering.sizes import Size

_LINEAR, _NEAREST, _CUBIC = range(3)
_ZEROS, _BORDER, _REFLECTION = range(3)
_float = torch.float32


class _Image(NamedTuple):
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


def _add(g: Graph, x: Array, y: Array | float | Size) -> Array:
    return _op("add", g, x, y)


def _sub(g: Graph, x: Array, y: Array | float | Size) -> Array:
    return _op("subtract", g, x, y)


def _mul(g: Graph, x: Array, y: Array | float | Size) -> Array:
    return _op("multiply", g, x, y)


# -- places ----------------------------------------------------------------------------
def _coordinates(g: Graph, grid: Array) -> list[Array]:
    """One for each dimension of an image, the first of them first."""
    last = grid.ndim - 1
    g.require_exact(grid, "has places of some dimensions", (last,))
    parts = []
    for i in reversed(range(grid.dims[last].padded)):
        value = g.b.slice_dim(grid.value, last, i, i + 1)
        dims = (*grid.dims[:last], moves.ONE)
        parts.append(g.drop_ones(moves.Array(value, dims), (last,)))
    return parts


def _in_pixels(g: Graph, x: Array, size: Size, aligned: bool) -> Array:
    """From -1 .. 1 to places of pixels."""
    factor = _factor(g, size, aligned)
    made = _mul(g, _add(g, x, 1.0), factor)
    return made if aligned else _sub(g, made, 0.5)


def _factor(g: Graph, size: Size, aligned: bool) -> Array:
    """How many pixels a 1 of a grid is."""
    count = g.number(size, _float)
    return _mul(g, _sub(g, count, 1.0) if aligned else count, 0.5)


def _clipped(g: Graph, x: Array, size: Size) -> Array:
    """Within an image; what is no number is 0."""
    positive = g.compare(x, g.number(0.0, _float), "GT")
    low = g.select(positive, x, g.number(0.0, _float))
    return g.binary("minimum", low, _last(g, size))


def _last(g: Graph, size: Size) -> Array:
    return _sub(g, g.number(size, _float), 1.0)


def _reflected(g: Graph, x: Array, size: Size, aligned: bool) -> tuple[Array, Array]:
    """Thrown back at both borders; and 1, or -1 where that turns directions."""
    low = 0.0 if aligned else -0.5
    count = g.number(size, _float)
    span = _mul(g, _last(g, size) if aligned else count, 2.0)
    moved = _sub(g, x, low)
    far = g.unary("abs", moved)
    turns = g.unary("floor", g.binary("divide", far, span))
    extra = _sub(g, far, _mul(g, turns, span))
    back = _sub(g, span, extra)
    made = _add(g, g.binary("minimum", extra, back), low)
    one, less = g.number(1.0, _float), g.number(-1.0, _float)
    negative = g.compare(moved, g.number(0.0, _float), "LT")
    sign = g.select(negative, less, one)
    is_back = g.compare(back, extra, "LT")
    sign = g.select(is_back, g.unary("negate", sign), sign)
    empty = g.compare(span, g.number(0.0, _float), "LE")
    return g.select(empty, g.number(0.0, _float), made), sign


def _placed(
    g: Graph, image: _Image, axis: int, x: Array, backward: bool = False
) -> Array:
    """Where in an image a place is, if that may be outside."""
    size = image.x.dims[axis].size
    if image.padding == _REFLECTION:
        x, _ = _reflected(g, x, size, image.aligned)
    if image.is_solid:
        return _in_solid(g, image, x, size, backward)
    return x if image.padding == _ZEROS else _clipped(g, x, size)


def _in_solid(g: Graph, image: _Image, x: Array, size: Size, backward: bool) -> Array:
    """The same of three dimensions, where what is no number is the last, or outside."""
    if image.padding != _ZEROS:
        is_number = g.compare(x, x, "EQ")
        clipped = _clipped(g, x, size)
        x = g.select(is_number, clipped, x if backward else _last(g, size))
    fits = g.compare(g.unary("abs", x), g.number(2.0**31, _float), "LT")
    return g.select(fits, x, g.number(-100.0, _float))


def _slope(g: Graph, image: _Image, axis: int, x: Array) -> Array:
    """By how much a place in an image moves with the number of a grid, in pixels."""
    size = image.x.dims[axis].size
    factor = _factor(g, size, image.aligned)
    if image.padding == _ZEROS:
        return factor
    if image.padding == _REFLECTION:
        x, sign = _reflected(g, x, size, image.aligned)
        factor = _mul(g, sign, factor)
    inside = both(
        g,
        g.compare(x, g.number(0.0, _float), "GT"),
        g.compare(x, _last(g, size), "LT"),
    )
    return g.select(inside, factor, g.number(0.0, _float))


def _all(g: Graph, found: Sequence[Array]) -> Array:
    return reduce(lambda x, y: both(g, x, y), found)


def _valid(g: Graph, image: _Image, at: Sequence[Array]) -> Array:
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
    g: Graph, image: _Image, at: Sequence[Array], valid: Array
) -> indexing.Places:
    """Pixels at whole places, of which those outside are replaced by the first."""
    zero = g.number(0.0, _float)
    own = [g.convert(g.select(valid, x, zero), torch.int32) for x in at]
    number = g.iota(own[0].dims, 0, torch.int32)
    axes = (0, *range(2, image.x.ndim))
    return indexing.places(g, axes, (number, *own))


def _read(g: Graph, image: _Image, at: Sequence[Array]) -> Array:
    """Pixels at whole places, channels last; 0 outside."""
    valid = _valid(g, image, at)
    made = indexing.read(g, image.x, _pixels(g, image, at, valid), 0)
    where = g.insert_ones(valid, (valid.ndim,))
    return g.select(where, made, g.number(0.0, _float))


def _written(
    g: Graph, made: Array, image: _Image, at: Sequence[Array], values: Array
) -> Array:
    """With values, channels last, added to pixels at whole places."""
    valid = _valid(g, image, at)
    where = _pixels(g, image, at, valid)
    outside = g.number(-1, torch.int32)
    own = (g.select(valid, where.indices[0], outside), *where.indices[1:])
    where = indexing.places(g, where.axes, own)
    return indexing.write(g, made, where, values, 0, "add")


# -- corners ---------------------------------------------------------------------------
class _Corner(NamedTuple):
    """A pixel beside a place.

    Attributes:
        at: its own place.
        weights: how much it counts along each dimension.
        signs: whether that rises or falls with the place.
    """

    at: list[Array]
    weights: list[Array]
    signs: list[float]


def _corners(g: Graph, places: Sequence[Array]) -> Iterator[_Corner]:
    lows = [g.unary("floor", x) for x in places]
    rests = [_sub(g, x, low) for x, low in zip(places, lows)]
    for number in range(1 << len(places)):
        bits = [number >> (len(places) - 1 - i) & 1 for i in range(len(places))]
        yield _Corner(
            [_add(g, low, float(bit)) if bit else low for low, bit in zip(lows, bits)],
            [
                rest if bit else _sub(g, g.number(1.0, _float), rest)
                for rest, bit in zip(rests, bits)
            ],
            [1.0 if bit else -1.0 for bit in bits],
        )


def _product(g: Graph, factors: Sequence[Array]) -> Array:
    return reduce(lambda x, y: g.binary("multiply", x, y), factors)


def _beside_channels(g: Graph, x: Array) -> Array:
    return g.insert_ones(x, (x.ndim,))


# -- forward ---------------------------------------------------------------------------
def _samples(n: int, modes: Sequence[int]) -> Iterator[Sample]:
    sizes = (5, 4, 3)[:n]
    x = torch.linspace(-3, 9, 2 * 2 * torch.Size(sizes).numel()).cos()
    x = x.reshape(2, 2, *sizes)
    grid = torch.linspace(-40, 50, 2 * torch.Size((3, 4, 2)[:n]).numel() * n).sin()
    grid = 1.6 * grid.reshape(2, *(3, 4, 2)[:n], n)
    for mode in modes:
        for padding in (_ZEROS, _BORDER, _REFLECTION):
            yield (x, grid, mode, padding, bool((mode + padding) % 2)), {}


def _image(g: Graph, x: Array, grid: Array, padding: int, aligned: bool) -> _Image:
    if x.dtype != _float or grid.dtype != _float:
        raise Unsupported(f"reads {x.dtype} at places of {grid.dtype}")
    axes = range(2, x.ndim)
    g.require_prefix(x, "reads an image with padding inside", axes)
    return _Image(x, padding, aligned)


def _sampled(
    g: Graph, input: Array, grid: Array, mode: int, padding: int, aligned: bool
) -> Array:
    if moves.is_nothing(g, g.result.sizes):
        return moves.nothing(g)
    image = _image(g, input, grid, padding, aligned)
    given = [
        _in_pixels(g, x, image.x.dims[2 + i].size, aligned)
        for i, x in enumerate(_coordinates(g, grid))
    ]
    if mode == _CUBIC:
        made = _cubic(g, image, given)
    else:
        places = [_placed(g, image, 2 + i, x) for i, x in enumerate(given)]
        if mode == _NEAREST:
            made = _read(g, image, [g.unary("round-nearest-even", x) for x in places])
        else:
            made = _between(g, image, places)
    return g.moved(made, made.ndim - 1, 1)


def _between(g: Graph, image: _Image, places: Sequence[Array]) -> Array:
    parts = [
        g.binary(
            "multiply",
            _read(g, image, corner.at),
            _beside_channels(g, _product(g, corner.weights[::-1])),
        )
        for corner in _corners(g, places)
    ]
    return reduce(lambda x, y: g.binary("add", x, y), parts)


_A = -0.75


def _cubic_weights(g: Graph, t: Array) -> list[Array]:
    """Of four pixels one after the other, of which the place is behind the second."""

    def near(x: Array) -> Array:
        made = _sub(g, _mul(g, x, _A + 2), _A + 3)
        return _add(g, _mul(g, _mul(g, made, x), x), 1.0)

    def far(x: Array) -> Array:
        made = _sub(g, _mul(g, x, _A), 5 * _A)
        return _sub(g, _mul(g, _add(g, _mul(g, made, x), 8 * _A), x), 4 * _A)

    rest = _sub(g, g.number(1.0, _float), t)
    return [far(_add(g, t, 1.0)), near(t), near(rest), far(_add(g, rest, 1.0))]


def _cubic(g: Graph, image: _Image, given: Sequence[Array]) -> Array:
    lows = [g.unary("floor", x) for x in given]
    weights = [_cubic_weights(g, _sub(g, x, low)) for x, low in zip(given, lows)]
    rows = []
    for i in range(4):
        y = _placed(g, image, 2, _add(g, lows[0], float(i - 1)))
        parts = []
        for j in range(4):
            x = _placed(g, image, 3, _add(g, lows[1], float(j - 1)))
            own = _beside_channels(g, weights[1][j])
            parts.append(g.binary("multiply", _read(g, image, [y, x]), own))
        row = reduce(lambda x, y: g.binary("add", x, y), parts)
        rows.append(g.binary("multiply", row, _beside_channels(g, weights[0][i])))
    return reduce(lambda x, y: g.binary("add", x, y), rows)


@lowering(
    "grid_sampler_2d",
    rounding=16,
    samples=lambda: _samples(2, (_LINEAR, _NEAREST, _CUBIC)),
)
@lowering(
    "grid_sampler_3d", rounding=16, samples=lambda: _samples(3, (_LINEAR, _NEAREST))
)
def grid_sampler(
    g: Graph,
    input: Array,
    grid: Array,
    interpolation_mode: int,
    padding_mode: int,
    align_corners: bool,
) -> Array:
    return _sampled(g, input, grid, interpolation_mode, padding_mode, align_corners)


# -- backward --------------------------------------------------------------------------
def _gradients(n: int) -> Iterator[Sample]:
    op = (torch.ops.aten.grid_sampler_2d, torch.ops.aten.grid_sampler_3d)[n - 2]
    for args, _ in _samples(n, (_LINEAR, _NEAREST)):
        yield (op(*args).cos(), *args, [True, True]), {}


@lowering("grid_sampler_2d_backward", rounding=16, samples=lambda: _gradients(2))
@lowering("grid_sampler_3d_backward", rounding=16, samples=lambda: _gradients(3))
def grid_sampler_backward(
    g: Graph,
    grad_output: Array,
    input: Array,
    grid: Array,
    interpolation_mode: int,
    padding_mode: int,
    align_corners: bool,
    output_mask: Sequence[bool],
) -> tuple[Array | None, ...]:
    if interpolation_mode == _CUBIC:
        raise Unsupported("has the gradient of a cubic interpolation")
    of_input = g.full(input.dims, 0, input.dtype)
    of_grid = g.full(grid.dims, 0, grid.dtype)
    if not any(moves.is_nothing(g, x.sizes) for x in (grad_output, input)):
        image = _image(g, input, grid, padding_mode, align_corners)
        grad = g.moved(grad_output, 1, grad_output.ndim - 1)
        of_input, of_grid = _both_gradients(
            g, image, grid, grad, interpolation_mode == _NEAREST, (of_input, of_grid)
        )
    return of_input if output_mask[0] else None, of_grid


def _both_gradients(
    g: Graph,
    image: _Image,
    grid: Array,
    grad: Array,
    is_nearest: bool,
    zeros: tuple[Array, Array],
) -> tuple[Array, Array]:
    made, of_grid = zeros
    given = [
        _in_pixels(g, x, image.x.dims[2 + i].size, image.aligned)
        for i, x in enumerate(_coordinates(g, grid))
    ]
    places = [_placed(g, image, 2 + i, x, True) for i, x in enumerate(given)]
    if is_nearest:
        at = [g.unary("round-nearest-even", x) for x in places]
        return _written(g, made, image, at, grad), of_grid
    moved: list[Array | None] = [None] * len(places)
    for corner in _corners(g, places):
        weight = _beside_channels(g, _product(g, corner.weights[::-1]))
        values = g.binary("multiply", grad, weight)
        made = _written(g, made, image, corner.at, values)
        pixel = g.binary("multiply", _read(g, image, corner.at), grad)
        along = g.sum(pixel, (pixel.ndim - 1,))
        if image.is_solid:  # where the CPU leaves out what is outside
            valid = _valid(g, image, corner.at)
            along = g.select(valid, along, g.number(0.0, _float))
        for i, sign in enumerate(corner.signs):
            others = [w for j, w in enumerate(corner.weights) if j != i]
            part = _mul(g, g.binary("multiply", along, _product(g, others)), sign)
            before = moved[i]
            moved[i] = part if before is None else g.binary("add", before, part)
    parts = []
    for i, x in reversed(list(enumerate(given))):
        own = moved[i]
        assert own is not None
        slope = _slope(g, image, 2 + i, x)
        made_ = g.binary("multiply", own, slope)
        parts.append(g.insert_ones(made_, (made_.ndim,)))
    return made, moves.concatenated(g, parts, parts[0].ndim - 1)
