"""Tensors joined to one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from spike_torch.aten.record import Sample, lowering
from spike_torch.lowering import moves

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Array, Graph


@lowering("cat")
def cat(g: Graph, tensors: Sequence[Array], dim: int = 0) -> Array:
    if moves.is_nothing(g, g.result.sizes):
        return moves.nothing(g)
    # Empty ones of one dimension go with everything, as they once did in torch.
    kept = [g.convert(x, g.result.dtype) for x in tensors if x.sizes != (0,)]
    axis = dim % len(g.result.sizes)
    parts = [x for x in kept if x.dims[axis].size != 0]
    return moves.concatenated(g, parts, axis)


@lowering("stack")
def stack(g: Graph, tensors: Sequence[Array], dim: int = 0) -> Array:
    axis = dim % len(g.result.sizes)
    wide = [g.insert_ones(g.convert(x, g.result.dtype), (axis,)) for x in tensors]
    return moves.concatenated(g, wide, axis)


def _blocks() -> Iterator[Sample]:
    x = torch.arange(6.0).reshape(2, 3)
    yield ([x, x[0], torch.tensor(7.0), x.t()],), {}
    yield ([x],), {}


@lowering("block_diag", samples=_blocks, padding="exact")
def block_diag(g: Graph, tensors: Sequence[Array]) -> Array:
    if moves.is_nothing(g, g.result.sizes):
        return moves.nothing(g)
    _, width = g.result.sizes
    rows, before = [], 0
    for x in tensors:
        x = g.insert_ones(g.convert(x, g.result.dtype), range(2 - x.ndim))
        columns = x.dims[1].padded
        zero = g.b.scalar(0, x.hlo_dtype)
        config = ((0, 0, 0), (before, int(width) - before - columns, 0))
        rows.append(g.b.pad(x.value, zero, config))
        before += columns
    dims = g.dims(g.result.sizes)
    return moves.Array(g.b.concatenate(rows, 0), dims)
