"""Where values lie among sorted ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from spike_torch.aten.record import lowering
from spike_torch.lowering import indexing, moves
from spike_torch.lowering.arrays import Array
from spike_torch.lowering.errors import Unsupported

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Graph


@lowering("searchsorted.Tensor", samples="searchsorted")
def searchsorted(
    g: Graph,
    sorted_sequence: Array,
    self: Array,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Array | None = None,
) -> Array:
    if sorter is not None:
        raise Unsupported("searches by an order beside the sequence")
    if sorted_sequence.dtype != self.dtype:
        raise Unsupported(f"searches {self.dtype} among {sorted_sequence.dtype}")
    if moves.is_nothing(g, self.sizes):
        return moves.nothing(g)
    if sorted_sequence.ndim != 1:  # of each value in the row beside it
        g.require_same(sorted_sequence.dims[:-1], self.dims[:-1])
    is_right = right or side == "right"
    return g.convert(_places(g, sorted_sequence, self, is_right), g.result.dtype)


@lowering("bucketize.Tensor", samples="bucketize")
def bucketize(
    g: Graph,
    self: Array,
    boundaries: Array,
    *,
    out_int32: bool = False,
    right: bool = False,
) -> Array:
    return searchsorted(g, boundaries, self, right=right)


def _places(g: Graph, rows: Array, values: Array, right: bool) -> Array:
    """int32: how many elements of a row come before each value, as torch counts them.

    Its binary search step by step: the same places where NaN is in the row, or it is
    not in order.
    """
    g.require_prefix(rows, "searches a dimension of several parts", [rows.ndim - 1])
    low = g.full(values.dims, 0, torch.int32)
    high = g.expand(g.number(rows.dims[-1].size, torch.int32), values.dims)
    taken = _taken if rows.ndim == 1 else _taken_beside
    for _ in range(rows.value.shape[-1].bit_length()):
        is_open = g.compare(low, high, "LT")
        span = g.binary("subtract", high, low)
        half = g.binary("divide", span, g.number(2, torch.int32))
        middle = g.binary("add", low, half)
        element = taken(g, rows, middle)
        comes_after = g.compare(element, values, "GT" if right else "GE")
        after = g.binary("add", middle, g.number(1, torch.int32))
        moved_low = g.select(comes_after, low, after)
        moved_high = g.select(comes_after, middle, high)
        low = g.select(is_open, moved_low, low)
        high = g.select(is_open, moved_high, high)
    return low


def _taken(g: Graph, row: Array, places: Array) -> Array:
    """Elements at places, of which those past the end read the last one."""
    indices = g.b.reshape(places.value, (*places.value.shape, 1))
    value = g.b.gather(
        row.value,
        indices,
        offset_dims=(),
        collapsed_slice_dims=(0,),
        start_index_map=(0,),
        slice_sizes=(1,),
    )
    return Array(value, places.dims)


def _taken_beside(g: Graph, rows: Array, places: Array) -> Array:
    """Of each place, the element in the row that is beside it; of those past the end,
    any."""
    at = indexing.all_places(g, rows.dims, rows.ndim - 1, places)
    return indexing.read_flat(g, rows, at)
