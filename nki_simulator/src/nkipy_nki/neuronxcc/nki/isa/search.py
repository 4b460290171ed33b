"""Statistics of partitions, and what is searched and gathered in them."""

from __future__ import annotations

import math
from typing import Any

from nkipy_nki.dtypes import DTYPES
from nkipy_nki.neuronxcc.nki.isa.common import (
    dtype_of,
    known_mask,
    of_rows,
    operand,
    row_mask,
)
from nkipy_nki.neuronxcc.nki.issuing import made
from nkipy_nki.neuronxcc.nki.tiles import Fresh, Tile

__all__ = [
    "bn_aggr",
    "bn_stats",
    "local_gather",
    "max8",
    "nc_find_index8",
    "nc_match_replace8",
]

#: Partitions that a GpSimd core reaches.
_CORE = 16


def bn_stats(data: Any, *, mask: Any = None, dtype: Any = None) -> Fresh:
    """Six numbers of each partition, of which :func:`bn_aggr` makes a mean."""
    return of_rows("bn_stats", operand("bn_stats", "data", data), 6, dtype, mask)


def bn_aggr(data: Any, *, mask: Any = None, dtype: Any = None) -> Fresh:
    """The mean and the variance of what :func:`bn_stats` gave."""
    return of_rows("bn_aggr", operand("bn_aggr", "data", data), 2, dtype, mask)


def max8(*, src: Any, mask: Any = None, dtype: Any = None) -> Fresh:
    """The eight greatest elements of each partition, the greatest first."""
    return of_rows("max8", operand("max8", "src", src), 8, dtype, mask, "src")


def nc_find_index8(
    *, data: Any, vals: Any, mask: Any = None, dtype: Any = None
) -> Fresh:
    """Where each of eight values is found first in its partition, uint32."""
    name = "nc_find_index8"
    tile = operand(name, "data", data)
    ins, rows = (
        {"data": tile, "vals": operand(name, "vals", vals)},
        row_mask(name, mask, tile),
    )
    shape, element = (tile.tile_shape[0], 8), dtype_of(dtype, DTYPES["uint32"])
    over = tuple(tile.tile_shape)
    return made(name, shape, element, ins, rows, over=over, inherits=False)


def nc_match_replace8(
    *,
    data: Any,
    vals: Any,
    imm: float,
    dst_idx: Any = None,
    mask: Any = None,
    dtype: Any = None,
) -> Fresh:
    """A tile in which the first elements equal to eight values are replaced.

    Args:
        data: the tile.
        vals: the values, ``[P, 8]``.
        imm: what replaces them.
        dst_idx: a tile ``[P, 8]`` that gets where they were.
        mask: of the first rows.
        dtype: of the result; if None, that of `data`.
    """
    name = "nc_match_replace8"
    tile = operand(name, "data", data)
    ins = {"data": tile, "vals": operand(name, "vals", vals)}
    rows = row_mask(name, mask, tile)
    outs = {} if dst_idx is None else {"dst_idx": operand(name, "dst_idx", dst_idx)}
    shape, element = tuple(tile.tile_shape), dtype_of(dtype, tile.dtype)
    return made(name, shape, element, ins, rows, outs=outs, inherits=False, imm=imm)


def local_gather(
    src_buffer: Any,
    index: Any,
    num_elem_per_idx: int = 1,
    num_valid_indices: int | None = None,
    *,
    mask: Any = None,
) -> Tile:
    """Elements of each partition, by indices of its group of 16 partitions.

    Args:
        src_buffer: its free dimensions are counted through as one.
        index: uint16; index i of a group is in its partition ``i % 16``, at
            ``i // 16``.
        num_elem_per_idx: how many elements each index takes: a power of 2 up to 32.
        num_valid_indices: how many indices of a group count; if None, all.
        mask: a truth value that is known.

    Returns:
        Of the dtype of `src_buffer`, and of the shape (P, n / 16, 16, e) for n indices
        of e elements; (P, n, e), if n is no multiple of 16.
    """
    name = "local_gather"
    runs = known_mask(name, mask)
    tile = operand(name, "src_buffer", src_buffer)
    indices = operand(name, "index", index)
    count = num_valid_indices
    if count is None:
        count = math.prod(indices.tile_shape[1:]) * _CORE
    found = made(
        name,
        (tile.tile_shape[0], count * num_elem_per_idx),
        tile.dtype,
        {"src_buffer": tile, "index": indices},
        runs,
        inherits=False,
        num_elem_per_idx=num_elem_per_idx,
        num_valid_indices=num_valid_indices,
    )
    groups = (count,) if count % _CORE else (count // _CORE, _CORE)
    return found.reshape((tile.tile_shape[0], *groups, num_elem_per_idx))
