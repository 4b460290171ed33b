"""Parts of tensors, and tensors with a part replaced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from spike_torch.aten.record import Sample, lowering
from spike_torch.aten.shapes import calls
from spike_torch.lowering import moves
from spike_torch.lowering.dims import ONE
from spike_torch.lowering.errors import Unsupported
from spike_torch.lowering.sizes import plain

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Array, Graph
    from spike_torch.lowering.sizes import Size

_SLICES = calls(
    (0,),
    (1, 1),
    (2, -3, -1),
    (2, 1, 100),
    (-1, None, None, 3),
    (1, 5, 9),
    (1, 2, 1),
)


@lowering("slice_copy.Tensor", samples=_SLICES)
@lowering("slice.Tensor", samples=_SLICES)
def slice_(
    g: Graph,
    self: Array,
    dim: int = 0,
    start: Size | None = None,
    end: Size | None = None,
    step: Size = 1,
) -> Array:
    step = _static_step(step)
    axis = g.axis(self, dim)
    size, own = g.result.sizes[axis], self.dims[axis]
    if size == own.size and step == 1:
        return self
    first = moves.bounded(g, start or 0, own.size)
    return moves.part(g, self, axis, first, g.dim(size), step)


def _static_step(step: Size) -> int:
    if not isinstance(step, int):
        raise Unsupported(f"has the step {step}, which depends on sizes")
    return step


@lowering("select_copy.int", samples=calls((0, 1), (1, -1), (-1, 2)))
@lowering("select.int")
def select(g: Graph, self: Array, dim: int, index: Size) -> Array:
    axis = g.axis(self, dim)
    at = moves.wrapped(g, index, self.dims[axis].size)
    return g.drop_ones(moves.part(g, self, axis, at, ONE), (axis,))


@lowering("unbind_copy.int", samples=calls((0,), (-1,)))
@lowering("unbind.int")
def unbind(g: Graph, self: Array, dim: int = 0) -> list[Array]:
    axis = g.axis(self, dim)
    parts = [moves.part(g, self, axis, i, ONE) for i in range(len(g.results))]
    return [g.drop_ones(p, (axis,)) for p in parts]


@lowering("narrow_copy", samples=calls((1, 1, 2), (2, -3, 2)))
def narrow_copy(g: Graph, self: Array, dim: int, start: Size, length: Size) -> Array:
    axis = g.axis(self, dim)
    first = moves.wrapped(g, start, self.dims[axis].size)
    return moves.part(g, self, axis, first, g.dim(length))


_SPLITS = calls((2,), (2, 1), (3, -1))


@lowering("split_copy.Tensor unsafe_split.Tensor", samples=_SPLITS)
@lowering("split.Tensor", samples=_SPLITS)
def split(g: Graph, self: Array, split_size: Size, dim: int = 0) -> list[Array]:
    return _pieces(g, self, g.axis(self, dim))


_SIZES = calls(([1, 1],), ([1, 2], 1), ([1, 0, 3], -1))


@lowering("split_with_sizes_copy unsafe_split_with_sizes", samples=_SIZES)
@lowering("split_with_sizes", samples=_SIZES)
def split_with_sizes(
    g: Graph, self: Array, split_sizes: Sequence[Size], dim: int = 0
) -> list[Array]:
    return _pieces(g, self, g.axis(self, dim))


def _pieces(g: Graph, self: Array, axis: int) -> list[Array]:
    """The parts that the results' sizes give, one after the other."""
    if len(g.results) == 1:
        return [self]
    made, start = [], 0
    for result in g.results:
        size = result.sizes[axis]
        dim = g.dim(size)
        made.append(moves.part(g, self, axis, moves.place(g, start), dim))
        start = plain(start + size)
    return made


def _replaced_slices() -> Iterator[Sample]:
    x, y = torch.arange(24.0).reshape(2, 3, 4), -torch.ones(2, 3, 4)
    yield (x, y), {}
    yield (x, y[:, 1:], 1, 1), {}
    yield (x, y[:, :, :2], -1, None, None, 2), {}
    yield (x, y[:, :, :1], 2, 1, 100, 3), {}
    yield (x, y[:, :2], 1, -2, 9), {}
    yield (x, y[:, :0], 1, 2, 1), {}


@lowering("slice_scatter", samples=_replaced_slices)
def slice_scatter(
    g: Graph,
    self: Array,
    src: Array,
    dim: int = 0,
    start: Size | None = None,
    end: Size | None = None,
    step: Size = 1,
) -> Array:
    axis = g.axis(self, dim)
    src = g.convert(src, self.dtype)
    step = _static_step(step)
    if src.dims[axis].size == self.dims[axis].size and step == 1:
        return g.expand(src, self.dims)
    first = moves.bounded(g, start or 0, self.dims[axis].size)
    return _replaced(g, self, src, axis, first, step)


def _replaced(
    g: Graph, self: Array, src: Array, axis: int, first: moves.Place, step: int = 1
) -> Array:
    """The array with every `step`-th element along a dimension replaced."""
    reason = "replaces a part of a merged dimension"
    g.require_prefix(self, reason, (axis,))
    g.require_prefix(src, reason, (axis,))
    if moves.is_nothing(g, src.sizes):
        return self
    count = src.dims[axis]
    others = [d for a, d in enumerate(self.dims) if a != axis]
    wide = g.expand(src, (*others[:axis], count, *others[axis:]))
    value = wide.value
    if step > 1:
        config = [(0, 0, 0)] * value.ndim
        config[axis] = (0, 0, step - 1)
        value = g.b.pad(value, g.b.scalar(0, value.dtype), config)
    put = moves.Array(moves.put(g, self.value, value, axis, first), self.dims)
    if step == 1 and not count.is_padded:
        return put
    places = g.iota(self.dims, axis, torch.int32)
    since = g.binary("subtract", places, _scalar(g, first))
    zero = g.number(0, torch.int32)
    inside = g.binary(
        "and",
        g.compare(since, zero, "GE"),
        g.compare(since, g.number(plain(count.size * step), torch.int32), "LT"),
    )
    if step > 1:
        left = g.binary("remainder", since, g.number(step, torch.int32))
        at = g.compare(left, zero, "EQ")
        inside = g.binary("and", inside, at)
    return g.select(inside, put, self)


def _scalar(g: Graph, place: moves.Place) -> Array:
    if isinstance(place, int):
        return g.number(place, torch.int32)
    return moves.Array(place, ())


def _slice_gradients() -> Iterator[Sample]:
    y, end = -torch.ones(2, 3, 4), 2**63 - 1
    yield (y[:, 1:], [2, 3, 4], 1, 1, end, 1), {}
    yield (y[:, :, :2], [2, 3, 4], -1, 0, end, 2), {}
    yield (y[:, :, :1], [2, 3, 4], 2, 1, 100, 3), {}
    yield (y[:, :2], [2, 3, 4], 1, -2, 9, 1), {}
    yield (y[:, :0], [2, 3, 4], 1, 2, 1, 1), {}


@lowering("slice_backward", samples=_slice_gradients)
def slice_backward(
    g: Graph,
    grad_output: Array,
    input_sizes: Sequence[Size],
    dim: int,
    start: Size,
    end: Size,
    step: Size,
) -> Array:
    x = g.full(_dims_beside(g, grad_output, dim), 0, g.result.dtype)
    return slice_scatter(g, x, grad_output, dim, start, end, step)


def _dims_beside(g: Graph, grad: Array, dim: int) -> tuple[moves.Dim, ...]:
    """The result's dimensions: the gradient's own but for one."""
    axis = g.axis(grad, dim)
    dims = list(g.dims(g.result.sizes))
    for a, own in enumerate(grad.dims):
        if a != axis and own.size == dims[a].size:
            dims[a] = own
    return tuple(dims)


def _replaced_selections() -> Iterator[Sample]:
    x = torch.arange(24.0).reshape(2, 3, 4)
    yield (x, -torch.ones(2, 4), 1, -1), {}
    yield (x, -torch.ones(3, 4), 0, 1), {}


@lowering("select_scatter", samples=_replaced_selections)
def select_scatter(g: Graph, self: Array, src: Array, dim: int, index: Size) -> Array:
    axis = g.axis(self, dim)
    at = moves.wrapped(g, index, self.dims[axis].size)
    src = g.insert_ones(g.convert(src, self.dtype), (axis,))
    return _replaced(g, self, src, axis, at)


def _selection_gradients() -> Iterator[Sample]:
    for (_, y, dim, index), _ in _replaced_selections():
        yield (y, [2, 3, 4], dim, index), {}


@lowering("select_backward", samples=_selection_gradients)
def select_backward(
    g: Graph, grad_output: Array, input_sizes: Sequence[Size], dim: int, index: Size
) -> Array:
    axis = dim % len(g.result.sizes)
    grad = g.insert_ones(grad_output, (axis,))
    x = g.full(_dims_beside(g, grad, axis), 0, g.result.dtype)
    return select_scatter(g, x, grad_output, axis, index)
