"""Images read at places that a grid says, and the gradients of that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

import torch

from spike_torch.aten.grid_places import (
    BORDER,
    REFLECTION,
    ZEROS,
    Image,
    add,
    added_at,
    coordinates,
    in_pixels,
    is_inside,
    multiply,
    placed,
    read_at,
    slope_of,
    subtract,
)
from spike_torch.aten.record import Sample, lowering
from spike_torch.lowering import moves
from spike_torch.lowering.errors import Unsupported

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Array, Graph

_LINEAR, _NEAREST, _CUBIC = range(3)
_float = torch.float32


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
    rests = [subtract(g, x, low) for x, low in zip(places, lows)]
    for number in range(1 << len(places)):
        bits = [number >> (len(places) - 1 - i) & 1 for i in range(len(places))]
        yield _Corner(
            [add(g, low, float(bit)) if bit else low for low, bit in zip(lows, bits)],
            [
                rest if bit else subtract(g, g.number(1.0, _float), rest)
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
        for padding in (ZEROS, BORDER, REFLECTION):
            yield (x, grid, mode, padding, bool((mode + padding) % 2)), {}


def _image(g: Graph, x: Array, grid: Array, padding: int, aligned: bool) -> Image:
    if x.dtype != _float or grid.dtype != _float:
        raise Unsupported(f"reads {x.dtype} at places of {grid.dtype}")
    axes = range(2, x.ndim)
    g.require_prefix(x, "reads an image with padding inside", axes)
    return Image(x, padding, aligned)


def _sampled(
    g: Graph, input: Array, grid: Array, mode: int, padding: int, aligned: bool
) -> Array:
    if moves.is_nothing(g, g.result.sizes):
        return moves.nothing(g)
    image = _image(g, input, grid, padding, aligned)
    given = [
        in_pixels(g, x, image.x.dims[2 + i].size, aligned)
        for i, x in enumerate(coordinates(g, grid))
    ]
    if mode == _CUBIC:
        made = _cubic(g, image, given)
    else:
        places = [placed(g, image, 2 + i, x) for i, x in enumerate(given)]
        if mode == _NEAREST:
            made = read_at(g, image, [g.unary("round-nearest-even", x) for x in places])
        else:
            made = _between(g, image, places)
    return g.moved(made, made.ndim - 1, 1)


def _between(g: Graph, image: Image, places: Sequence[Array]) -> Array:
    parts = [
        g.binary(
            "multiply",
            read_at(g, image, corner.at),
            _beside_channels(g, _product(g, corner.weights[::-1])),
        )
        for corner in _corners(g, places)
    ]
    return reduce(lambda x, y: g.binary("add", x, y), parts)


_A = -0.75


def _cubic_weights(g: Graph, t: Array) -> list[Array]:
    """Of four pixels one after the other, of which the place is behind the second."""

    def near(x: Array) -> Array:
        made = subtract(g, multiply(g, x, _A + 2), _A + 3)
        return add(g, multiply(g, multiply(g, made, x), x), 1.0)

    def far(x: Array) -> Array:
        made = subtract(g, multiply(g, x, _A), 5 * _A)
        return subtract(g, multiply(g, add(g, multiply(g, made, x), 8 * _A), x), 4 * _A)

    rest = subtract(g, g.number(1.0, _float), t)
    return [far(add(g, t, 1.0)), near(t), near(rest), far(add(g, rest, 1.0))]


def _cubic(g: Graph, image: Image, given: Sequence[Array]) -> Array:
    lows = [g.unary("floor", x) for x in given]
    weights = [_cubic_weights(g, subtract(g, x, low)) for x, low in zip(given, lows)]
    rows = []
    for i in range(4):
        y = placed(g, image, 2, add(g, lows[0], float(i - 1)))
        parts = []
        for j in range(4):
            x = placed(g, image, 3, add(g, lows[1], float(j - 1)))
            own = _beside_channels(g, weights[1][j])
            parts.append(g.binary("multiply", read_at(g, image, [y, x]), own))
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
    image: Image,
    grid: Array,
    grad: Array,
    is_nearest: bool,
    zeros: tuple[Array, Array],
) -> tuple[Array, Array]:
    made, of_grid = zeros
    given = [
        in_pixels(g, x, image.x.dims[2 + i].size, image.aligned)
        for i, x in enumerate(coordinates(g, grid))
    ]
    places = [placed(g, image, 2 + i, x, True) for i, x in enumerate(given)]
    if is_nearest:
        at = [g.unary("round-nearest-even", x) for x in places]
        return added_at(g, made, image, at, grad), of_grid
    moved: list[Array | None] = [None] * len(places)
    for corner in _corners(g, places):
        weight = _beside_channels(g, _product(g, corner.weights[::-1]))
        values = g.binary("multiply", grad, weight)
        made = added_at(g, made, image, corner.at, values)
        pixel = g.binary("multiply", read_at(g, image, corner.at), grad)
        along = g.sum(pixel, (pixel.ndim - 1,))
        if image.is_solid:  # where the CPU leaves out what is outside
            valid = is_inside(g, image, corner.at)
            along = g.select(valid, along, g.number(0.0, _float))
        for i, sign in enumerate(corner.signs):
            others = [w for j, w in enumerate(corner.weights) if j != i]
            part = multiply(g, g.binary("multiply", along, _product(g, others)), sign)
            before = moved[i]
            moved[i] = part if before is None else g.binary("add", before, part)
    parts = []
    for i, x in reversed(list(enumerate(given))):
        own = moved[i]
        assert own is not None
        slope = slope_of(g, image, 2 + i, x)
        made_ = g.binary("multiply", own, slope)
        parts.append(g.insert_ones(made_, (made_.ndim,)))
    return made, moves.concatenated(g, parts, parts[0].ndim - 1)
