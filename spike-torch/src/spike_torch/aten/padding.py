"""Tensors with more around them, or less; and windows of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from spike_torch.aten.record import Sample, lowering
from spike_torch.aten.shapes import calls
from spike_torch.lowering import indexing, moves
from spike_torch.lowering.errors import NeedsExactSize, Unsupported
from spike_torch.lowering.sizes import is_static, plain

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Array, Graph, Number
    from spike_torch.lowering.sizes import Size

#: Of s32 places in a result and the size of what is padded: places in that.
Source = Callable[["Graph", "Array", "Size"], "Array"]


def _sides(g: Graph, pad: Sequence[Size]) -> list[tuple[Size, Size]]:
    """What is added before and after, from the last dimension to the first."""
    flat = [g.sizes.of(n) for n in pad]
    return list(zip(flat[::2], flat[1::2], strict=True))


@lowering("constant_pad_nd")
def constant_pad_nd(
    g: Graph, self: Array, pad: Sequence[Size], value: Number = 0
) -> Array:
    number = g.number(value, self.dtype)
    if moves.is_nothing(g, self.sizes) or moves.is_nothing(g, g.result.sizes):
        return g.expand(number, g.dims(g.result.sizes))
    for back, (low, high) in enumerate(_sides(g, pad)):
        axis = self.ndim - 1 - back
        if low != 0 or high != 0:
            self = _padded(g, self, axis, low, high, value)
    return self


def _padded(
    g: Graph, x: Array, axis: int, low: Size, high: Size, value: Number
) -> Array:
    g.require_prefix(x, "pads a merged dimension", (axis,))
    size = plain(x.dims[axis].size + low + high)
    dim = g.dim(size)
    number = g.number(value, x.dtype).value
    if not is_static(low) or not is_static(high):
        return _padded_by_sizes(g, x, axis, low, dim, value)
    x = g.masked(x, (axis,), value)
    config = [(0, 0, 0)] * x.ndim
    # Of what is cut at the end, the program has padding that was filled as well.
    own, wanted = x.dims[axis].padded, dim.padded
    config[axis] = (int(low), wanted - own - int(low), 0)
    made = g.b.pad(x.value, number, config)
    return moves.Array(made, (*x.dims[:axis], dim, *x.dims[axis + 1 :]))


def _padded_by_sizes(
    g: Graph, x: Array, axis: int, low: Size, dim: moves.Dim, value: Number
) -> Array:
    """Where how much is added depends on sizes, and is not negative."""
    if is_static(low) and low < 0:
        raise NeedsExactSize("cuts and pads by sizes", dim.size)
    x = g.masked(x, (axis,), value)
    dims = (*x.dims[:axis], dim, *x.dims[axis + 1 :])
    empty = g.expand(g.number(value, x.dtype), dims)
    made = moves.put(g, empty.value, x.value, axis, moves.place(g, low))
    return moves.Array(made, dims)


def _reflected(g: Graph, place: Array, size: Size) -> Array:
    """Beyond the ends, as far back from them; the end itself is not repeated."""
    last = g.number(plain(size - 1), torch.int32)
    distance = g.unary("abs", place)
    over = g.binary("subtract", distance, last)
    return g.binary("subtract", last, g.unary("abs", over))


def _nearest(g: Graph, place: Array, size: Size) -> Array:
    """Beyond the ends, those."""
    last = g.number(plain(size - 1), torch.int32)
    least = g.binary("maximum", place, g.number(0, torch.int32))
    return g.binary("minimum", least, last)


def _places(
    g: Graph, dim: moves.Dim, low: Size, source: Source, size: Size
) -> indexing.Array:
    """s32 along a padded dimension: where each element comes from."""
    place = g.iota((dim,), 0, torch.int32)
    before = g.number(low, torch.int32)
    return source(g, g.binary("subtract", place, before), size)


def _surrounded(
    g: Graph, self: Array, padding: Sequence[Size], source: Source
) -> Array:
    if moves.is_nothing(g, g.result.sizes):
        return moves.nothing(g)
    for back, (low, high) in enumerate(_sides(g, padding)):
        axis = self.ndim - 1 - back
        if low == 0 and high == 0:
            continue
        dim = g.dim(g.result.sizes[axis])
        at = _places(g, dim, low, source, self.dims[axis].size)
        self = indexing.read(g, self, indexing.places(g, (axis,), (at,)), axis)
    return self


def _gradient(
    g: Graph, grad: Array, like: Array, padding: Sequence[Size], source: Source
) -> Array:
    """The sum of what was copied from each element."""
    if moves.is_nothing(g, grad.sizes):
        return g.expand(g.number(0, grad.dtype), like.dims)
    dtype = grad.dtype
    grad = g.convert(grad, torch.float32)
    for back, (low, high) in enumerate(_sides(g, padding)):
        axis = like.ndim - 1 - back
        if low == 0 and high == 0:
            continue
        own = like.dims[axis]
        at = _places(g, grad.dims[axis], low, source, own.size)
        zeros = g.full((*grad.dims[:axis], own, *grad.dims[axis + 1 :]), 0, grad.dtype)
        where = indexing.places(g, (axis,), (at,))
        grad = indexing.write(g, zeros, where, grad, axis, "add")
    return g.expand(g.convert(grad, dtype), like.dims)


def _around(rank: int, padding: list[int]) -> Callable[[], Iterator[Sample]]:
    def make() -> Iterator[Sample]:
        x = torch.arange(float(2 * 5**rank)).reshape(2, *([5] * rank))
        yield (x, padding), {}
        yield (x[:1], padding), {}
        yield (x[None], padding[::-1]), {}

    return make


def _around_gradients(rank: int, padding: list[int]) -> Callable[[], Iterator[Sample]]:
    def make() -> Iterator[Sample]:
        for (x, sides), _ in _around(rank, padding)():
            wide = torch.nn.functional.pad(x, sides)
            grad = torch.arange(float(wide.numel())).reshape(wide.shape)
            yield (grad, x, sides), {}

    return make


_LINE, _PLANE, _SPACE = [2, 3], [2, 3, 0, 1], [2, 3, 0, 1, 4, 0]


@lowering("reflection_pad1d", samples=_around(1, _LINE))
@lowering("reflection_pad2d", samples=_around(2, _PLANE))
@lowering("reflection_pad3d", samples=_around(3, _SPACE))
def reflection_pad(g: Graph, self: Array, padding: Sequence[Size]) -> Array:
    return _surrounded(g, self, padding, _reflected)


@lowering("replication_pad1d", samples=_around(1, _LINE))
@lowering("replication_pad2d", samples=_around(2, _PLANE))
@lowering("replication_pad3d", samples=_around(3, _SPACE))
def replication_pad(g: Graph, self: Array, padding: Sequence[Size]) -> Array:
    return _surrounded(g, self, padding, _nearest)


@lowering("reflection_pad1d_backward", samples=_around_gradients(1, _LINE))
@lowering("reflection_pad2d_backward", samples=_around_gradients(2, _PLANE))
@lowering("reflection_pad3d_backward", samples=_around_gradients(3, _SPACE))
def reflection_pad_backward(
    g: Graph, grad_output: Array, self: Array, padding: Sequence[Size]
) -> Array:
    return _gradient(g, grad_output, self, padding, _reflected)


@lowering("replication_pad1d_backward", samples=_around_gradients(1, _LINE))
@lowering("replication_pad2d_backward", samples=_around_gradients(2, _PLANE))
@lowering("replication_pad3d_backward", samples=_around_gradients(3, _SPACE))
def replication_pad_backward(
    g: Graph, grad_output: Array, self: Array, padding: Sequence[Size]
) -> Array:
    return _gradient(g, grad_output, self, padding, _nearest)


def _windows(
    g: Graph, dim: moves.Dim, window: moves.Dim, size: int, step: int
) -> indexing.Array:
    """s32 of two dimensions: places of windows, and in them."""
    dims = (dim, window)
    first = g.binary(
        "multiply", g.iota(dims, 0, torch.int32), g.number(step, torch.int32)
    )
    return g.binary("add", first, g.iota(dims, 1, torch.int32))


_UNFOLDED = calls((2, 2, 1), (-1, 3, 2), (1, 1, 1), (0, 2, 5))


@lowering("unfold_copy", samples=_UNFOLDED)
@lowering("unfold", samples=_UNFOLDED)
def unfold(g: Graph, self: Array, dimension: int, size: int, step: int) -> Array:
    if moves.is_nothing(g, g.result.sizes):
        return moves.nothing(g)
    x = g.with_dims(self, self.dims or (moves.ONE,))
    axis = g.axis(x, dimension)
    if not self.ndim:
        return x
    dim = g.dim(g.result.sizes[axis])
    at = _windows(g, dim, g.dim(size), size, step)
    made = indexing.read(g, x, indexing.places(g, (axis,), (at,)), axis)
    return g.moved(made, axis + 1, made.ndim - 1)


def _window_gradients() -> Iterator[Sample]:
    for dim, size, step in ((2, 2, 1), (-1, 3, 2), (0, 2, 5)):
        made = torch.ones(2, 3, 4).unfold(dim, size, step)
        grad = torch.arange(float(made.numel())).reshape(made.shape)
        yield (grad, [2, 3, 4], dim, size, step), {}


@lowering("unfold_backward", samples=_window_gradients)
def unfold_backward(
    g: Graph,
    grad_in: Array,
    input_sizes: Sequence[Size],
    dim: int,
    size: int,
    step: int,
) -> Array:
    if moves.is_nothing(g, g.result.sizes) or moves.is_nothing(g, grad_in.sizes):
        return moves.nothing(g)
    if not g.result.sizes:
        raise Unsupported("has a gradient of a number without dimensions")
    axis = dim % len(g.result.sizes)
    grad = g.moved(g.convert(grad_in, torch.float32), grad_in.ndim - 1, axis + 1)
    at = _windows(g, grad.dims[axis], grad.dims[axis + 1], size, step)
    own = g.dim(g.result.sizes[axis])
    zeros = g.full((*grad.dims[:axis], own, *grad.dims[axis + 2 :]), 0, torch.float32)
    where = indexing.places(g, (axis,), (at,))
    made = indexing.write(g, zeros, where, grad, axis, "add")
    return g.expand(g.convert(made, g.result.dtype), g.dims(g.result.sizes))
