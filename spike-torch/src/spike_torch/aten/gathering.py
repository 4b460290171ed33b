"""Elements at places that indices say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from spike_torch.aten.record import Sample, lowering
from spike_torch.lowering import indexing, moves
from spike_torch.lowering.errors import Unsupported

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Array, Graph
    from spike_torch.lowering.sizes import Size


@lowering("gather", checks_values=True)
def gather(
    g: Graph, self: Array, dim: int, index: Array, *, sparse_grad: bool = False
) -> Array:
    if moves.is_nothing(g, index.sizes):
        return moves.nothing(g)
    if not self.ndim:
        return g.expand(self, index.dims)
    axis = g.axis(self, dim)
    index = g.with_dims(index, index.dims or (moves.ONE,))
    at = indexing.indices(g, index, self.dims[axis].size, wraps=False)
    place = indexing.all_places(g, self.dims, axis, at)
    return g.reshape(indexing.read_flat(g, self, place), g.result.sizes)


@lowering("index_select", checks_values=True)
def index_select(g: Graph, self: Array, dim: int, index: Array) -> Array:
    if moves.is_nothing(g, g.result.sizes):
        return moves.nothing(g)
    if not self.ndim:
        return self
    axis = g.axis(self, dim)
    index = g.with_dims(index, index.dims or (moves.ONE,))
    at = indexing.indices(g, index, self.dims[axis].size, wraps=False)
    return indexing.read(g, self, indexing.places(g, (axis,), (at,)), axis)


@lowering("take", checks_values=True)
def take(g: Graph, self: Array, index: Array) -> Array:
    if moves.is_nothing(g, g.result.sizes):
        return moves.nothing(g)
    x = moves.flattened(g, self)
    at = indexing.indices(g, index, x.dims[0].size)
    place = indexing.all_flat_places(g, x.dims[0], at)
    return indexing.read_flat(g, x, place)


def indexed_dimensions(
    g: Graph, self: Array, given: Sequence[Array | None]
) -> tuple[indexing.Places, int]:
    """The places that indices of some dimensions say, and where theirs are in a result.

    Raises:
        Unsupported: there are booleans, whose number of true ones is the result's size.
    """
    axes, found = [], []
    for axis, index in enumerate(given):
        if index is None:
            continue
        if index.dtype in (torch.bool, torch.uint8):
            raise Unsupported(
                f"has indices of {index.dtype}, whose result has any size"
            )
        axes.append(axis)
        found.append(indexing.indices(g, index, self.dims[axis].size))
    if not axes:
        raise Unsupported("has no indices")
    adjacent = axes[-1] - axes[0] == len(axes) - 1
    return indexing.places(g, axes, found), axes[0] if adjacent else 0


def _indices() -> Iterator[Sample]:
    x = torch.arange(24.0).reshape(2, 3, 4)
    one, two = torch.tensor([1, -2, 0, 1]), torch.tensor([[0], [-1]])
    yield (x, [one.clamp(-2, 1)]), {}
    yield (x, [None, one]), {}
    yield (x, [None, two, one]), {}
    yield (x, [two, None, one]), {}
    yield (x, [None, None, one.to(torch.int32)]), {}
    yield (x, [torch.tensor(1), torch.tensor(-1)]), {}
    yield (x, [two, one, one]), {}


@lowering("_unsafe_index.Tensor", checks_values=True, samples=_indices)
@lowering("index.Tensor", checks_values=True, samples=_indices)
def index(g: Graph, self: Array, indices: Sequence[Array | None]) -> Array:
    at, first = indexed_dimensions(g, self, indices)
    if moves.is_nothing(g, g.result.sizes):
        return moves.nothing(g)
    return indexing.read(g, self, at, first)


def rows(*extra: Any) -> Callable[[], Iterator[Sample]]:
    """A table of numbers, and indices of its rows."""

    def make() -> Iterator[Sample]:
        table = torch.arange(15.0).reshape(5, 3)
        yield (table, torch.tensor([[0, 4], [2, 2]]), *extra), {}
        yield (table, torch.tensor(3, dtype=torch.int32), *extra), {}
        yield (table, torch.zeros(0, dtype=torch.int64), *extra), {}

    return make


@lowering("embedding", checks_values=True, samples=rows(1))
def embedding(
    g: Graph,
    weight: Array,
    indices: Array,
    padding_idx: Size = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Array:
    if moves.is_nothing(g, g.result.sizes):
        return moves.nothing(g)
    at = indexing.indices(g, indices, weight.dims[0].size, wraps=False)
    return indexing.read_rows(g, weight, at)


def _row_gradients() -> Iterator[Sample]:
    at = torch.tensor([[0, 4, 2], [2, 2, 0]])
    grad = torch.arange(18.0).reshape(2, 3, 3)
    yield (grad, at, 5, -1, False), {}
    yield (grad, at, 5, 2, False), {}
    yield (grad, at, 6, 4, True), {}
    yield (grad[0, 0], torch.tensor(1), 5, -1, False), {}


@lowering("embedding_dense_backward", checks_values=True, samples=_row_gradients)
def embedding_dense_backward(
    g: Graph,
    grad_output: Array,
    indices: Array,
    num_weights: Size,
    padding_idx: Size,
    scale_grad_by_freq: bool,
) -> Array:
    dims = (g.dim(g.result.sizes[0]), grad_output.dims[-1])
    zeros = g.full(dims, 0, torch.float32)
    if moves.is_nothing(g, indices.sizes) or moves.is_nothing(g, g.result.sizes):
        return moves.nothing(g)
    at = indexing.indices(g, indices, dims[0].size, wraps=False)
    if padding_idx != -1:
        skipped = g.compare(at, g.number(padding_idx, torch.int32), "EQ")
        at = g.select(skipped, g.number(-1, torch.int32), at)
    grad = g.convert(grad_output, torch.float32)
    where = indexing.places(g, (0,), (at,))
    if scale_grad_by_freq:
        ones = g.full(where.dims, 1, torch.float32)
        counts = g.full(dims[:1], 0, torch.float32)
        counts = indexing.write(g, counts, where, ones, 0, "add")
        each = g.insert_ones(indexing.read(g, counts, where, 0), (len(where.dims),))
        grad = g.binary("divide", grad, each)
    made = indexing.write(g, zeros, where, grad, 0, "add")
    return g.convert(made, g.result.dtype)


def _masks() -> Iterator[Sample]:
    grad = torch.arange(12.0).reshape(3, 4) - 5
    yield (grad, grad % 3 == 0, [2, 3]), {}
    yield (grad, torch.tensor([True, False, False, True]), [7]), {}


@lowering("masked_scatter_backward", samples=_masks)
def masked_scatter_backward(
    g: Graph, grad_output: Array, mask: Array, sizes: Sequence[Size]
) -> Array:
    """What a mask takes, one after the other, and zeros."""
    made = g.full(g.result.sizes, 0, grad_output.dtype)
    if moves.is_nothing(g, made.sizes) or moves.is_nothing(g, grad_output.sizes):
        return made
    grad, mask = g.broadcast(grad_output, mask)
    chosen = g.masked(moves.flattened(g, mask), (0,), False)
    count = moves.running_sum(g, g.convert(chosen, torch.int32))
    less = g.number(-1, torch.int32)
    at = g.select(chosen, g.binary("add", count, less), less)
    place = indexing.all_flat_places(g, moves.flattened(g, made).dims[0], at)
    values = moves.flattened(g, grad)
    return indexing.write_flat(g, made, place, values, "assign")
