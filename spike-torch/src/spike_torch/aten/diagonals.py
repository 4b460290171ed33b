"""Diagonals of matrices, and triangles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from spike_torch.aten.record import Sample, lowering
from spike_torch.aten.shapes import calls
from spike_torch.lowering import moves

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Array, Graph
    from spike_torch.lowering.sizes import Size

_GREATEST = 2**31 - 1


def _beyond_diagonal(g: Graph, dims: tuple[moves.Dim, ...]) -> Array:
    """s32: how far each element of matrices is to the right of the main diagonal."""
    rows = g.iota(dims, len(dims) - 2, torch.int32)
    columns = g.iota(dims, len(dims) - 1, torch.int32)
    return g.binary("subtract", columns, rows)


def _offset(g: Graph, offset: Size) -> Array:
    if isinstance(offset, int):
        offset = min(max(offset, -_GREATEST), _GREATEST)
    return g.number(offset, torch.int32)


@lowering("tril")
def tril(g: Graph, self: Array, diagonal: Size = 0) -> Array:
    return _triangle(g, self, diagonal, "LE")


@lowering("triu")
def triu(g: Graph, self: Array, diagonal: Size = 0) -> Array:
    return _triangle(g, self, diagonal, "GE")


def _triangle(g: Graph, self: Array, diagonal: Size, direction: str) -> Array:
    beyond = _beyond_diagonal(g, self.dims[-2:])
    kept = g.compare(beyond, _offset(g, diagonal), direction)
    return g.select(kept, self, g.number(0, self.dtype))


def _last(g: Graph, self: Array, dim1: int, dim2: int) -> Array:
    """The array with two dimensions moved to the end."""
    one, other = g.axis(self, dim1), g.axis(self, dim2)
    order = [a for a in range(self.ndim) if a not in (one, other)]
    return g.transpose(self, [*order, one, other])


@lowering("diagonal_copy", samples=calls((), (1, 1, 2), (-1, 0, -1), (3, 0, 1)))
@lowering("diagonal")
def diagonal(
    g: Graph, self: Array, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Array:
    if moves.is_nothing(g, g.result.sizes):
        return moves.nothing(g)
    x = _last(g, self, dim1, dim2)
    axis = x.ndim - 2
    g.require_prefix(x, "takes a diagonal of merged dimensions", (axis, axis + 1))
    columns = x.dims[-1].padded
    start = offset if offset >= 0 else -offset * columns
    flat = (*(d.padded for d in x.dims[:-2]), x.dims[-2].padded * columns)
    dim = g.dim(g.result.sizes[-1])
    value = g.b.reshape(x.value, flat)
    value = moves.part_of(g, value, axis, start, dim.padded, columns + 1)
    return moves.Array(value, (*x.dims[:-2], dim))


def _on_diagonal(
    g: Graph, src: Array, dims: tuple[moves.Dim, ...], offset: int, other: Array
) -> Array:
    """`other`, of these dimensions, with a diagonal replaced by what is last in `src`.

    `dims` ends with the matrices' two dimensions.
    """
    lines = -2 if offset >= 0 else -1  # along which `src` lies
    g.require_prefix(src, "is put on a diagonal", (src.ndim - 1,))
    value = moves.fitted(g, src.value, src.ndim - 1, dims[lines].padded)
    x = moves.Array(value, (*src.dims[:-1], dims[lines]))
    x = g.insert_ones(x, (x.ndim if lines == -2 else x.ndim - 1,))
    places = _beyond_diagonal(g, dims[-2:])
    at = g.compare(places, _offset(g, offset), "EQ")
    return g.select(at, g.expand(x, dims), other)


@lowering("diag_embed")
def diag_embed(
    g: Graph, self: Array, offset: int = 0, dim1: int = -2, dim2: int = -1
) -> Array:
    rank = self.ndim + 1
    one, other = dim1 % rank, dim2 % rank
    side = g.dim(g.result.sizes[one])
    dims = (*self.dims[:-1], side, side)
    made = _on_diagonal(g, self, dims, offset, g.number(0, self.dtype))
    return _moved_back(g, made, one, other)


def _moved_back(g: Graph, x: Array, one: int, other: int) -> Array:
    """The array whose two last dimensions become these."""
    order = list(range(x.ndim - 2))
    for axis, source in sorted([(one, x.ndim - 2), (other, x.ndim - 1)]):
        order.insert(axis, source)
    return g.transpose(x, order)


def _replaced_diagonals() -> Iterator[Sample]:
    x = torch.arange(24.0).reshape(2, 3, 4)
    yield (x, -torch.ones(4, 2)), {}
    yield (x, -torch.ones(2, 3), 1, 1, 2), {}
    yield (x, -torch.ones(2, 2), -1, -2, -1), {}
    yield (x, -torch.ones(2, 3), 0, 2, 1), {}


@lowering("diagonal_scatter", samples=_replaced_diagonals)
def diagonal_scatter(
    g: Graph, self: Array, src: Array, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Array:
    x = _last(g, self, dim1, dim2)
    made = _on_diagonal(g, g.convert(src, self.dtype), x.dims, offset, x)
    return _moved_back(g, made, g.axis(self, dim1), g.axis(self, dim2))


def _diagonal_gradients() -> Iterator[Sample]:
    for (_, y, *where), _ in _replaced_diagonals():
        yield (y, [2, 3, 4], *(where or (0, 0, 1))), {}


@lowering("diagonal_backward", samples=_diagonal_gradients)
def diagonal_backward(
    g: Graph,
    grad_output: Array,
    input_sizes: Sequence[Size],
    offset: int,
    dim1: int,
    dim2: int,
) -> Array:
    zeros = g.full(g.result.sizes, 0, g.result.dtype)
    return diagonal_scatter(g, zeros, grad_output, offset, dim1, dim2)
