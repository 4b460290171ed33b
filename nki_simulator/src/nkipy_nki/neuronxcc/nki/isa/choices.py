"""Patterns of indices, and elements that are chosen by them or by a predicate."""

from __future__ import annotations

from typing import Any

import numpy as np

from nkipy_nki.dtypes import find_dtype
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.isa.names import reduce_cmd
from nkipy_nki.neuronxcc.nki.indices import Grid, Mask
from nkipy_nki.neuronxcc.nki.isa.common import (
    dtype_of,
    like,
    operand,
    predicate_of,
    row_mask,
    shaped,
    target,
    vector,
)
from nkipy_nki.neuronxcc.nki.issuing import issue, made
from nkipy_nki.neuronxcc.nki.tiles import Fresh
from nkipy_nki.running import kernel_line

__all__ = ["affine_select", "iota", "range_select", "select_reduce", "sequence_bounds"]

_LOWEST = float(np.finfo(np.float32).min)


# -- patterns --------------------------------------------------------------------------
def _pattern(grid: Grid, what: str) -> dict[str, Any]:
    """The pattern of an affine grid, its step by partition, its offset.

    Raises:
        NkiValidationError: it is not affine, or has a part that only the run knows.
    """
    if grid.steps is None or grid.shift is not None:
        raise NkiValidationError(
            f"{what} is of indices that are not affine\n  at {kernel_line()}"
        )
    pairs = zip(grid.steps[1:], grid.shape[1:])
    return {
        "pattern": [[step, count] for step, count in pairs],
        "offset": grid.offset,
        "channel_multiplier": grid.steps[0],
    }


def iota(expr: Any, dtype: Any, *, mask: Any = None) -> Fresh:
    """A tile of what indices of ``nl.arange`` are.

    Args:
        expr: affine indices, of two dimensions or more.
        dtype: of the tile.
        mask: where it is made.
    """
    if not isinstance(expr, Grid) or len(expr.shape) < 2:
        raise NkiValidationError(
            f"nisa.iota: expr is {expr!r}, and must be of nl.arange, of two dimensions "
            f"or more\n  at {kernel_line()}"
        )
    told = _pattern(expr, "nisa.iota: expr")
    return made("iota", expr.shape, find_dtype(dtype), {}, mask, **told)


def affine_select(
    pred: Any,
    on_true_tile: Any,
    on_false_value: Any,
    *,
    mask: Any = None,
    dtype: Any = None,
) -> Fresh:
    """Elements of a tile where a comparison of indices holds, else a number.

    Args:
        pred: one comparison of affine indices.
        on_true_tile: the tile.
        on_false_value: the number.
        mask: where it is computed.
        dtype: of the result; if None, that of the tile.
    """
    name = "affine_select"
    tile = operand(name, "on_true_tile", on_true_tile)
    found = pred.comparison if isinstance(pred, Mask) else None
    if found is None:
        raise NkiValidationError(
            f"nisa.affine_select: pred is {pred!r}, and must be one comparison of "
            f"indices that are affine\n  at {kernel_line()}"
        )
    grid, compare = found
    shape = tuple(tile.tile_shape)
    told = _pattern(grid.broadcast(shape), "nisa.affine_select: pred")
    told |= {"cmp_op": compare, "on_false_value": float(on_false_value)}
    return like(name, tile, dtype, {"on_true_tile": tile}, mask, **told)


def sequence_bounds(*, segment_ids: Any, dtype: Any = None) -> Fresh:
    """Where the segment of each element begins and ends.

    Args:
        segment_ids: ``[1, n]``, float32 or int32; 0 is padding.
        dtype: of the result, float32 or int32; if None, that of `segment_ids`.

    Returns:
        ``[1, 2, n]``: beginnings, then ends.
    """
    name = "sequence_bounds"
    tile = operand(name, "segment_ids", segment_ids)
    shape = tile.tile_shape[0], 2, *tile.tile_shape[1:]
    element = dtype_of(dtype, tile.dtype)
    return made(name, shape, element, {"segment_ids": tile}, inherits=False)


# -- choices ---------------------------------------------------------------------------
def range_select(
    *,
    on_true_tile: Any,
    comp_op0: Any,
    comp_op1: Any,
    bound0: Any,
    bound1: Any,
    reduce_cmd: reduce_cmd = reduce_cmd.reset_reduce,
    reduce_res: Any = None,
    reduce_op: Any = "maximum",
    range_start: int = 0,
    on_false_value: float = _LOWEST,
    mask: Any = None,
    dtype: Any = None,
) -> Fresh:
    """Elements of a tile whose free index is within two bounds, else a number."""
    name = "range_select"
    tile = operand(name, "on_true_tile", on_true_tile)
    rows = row_mask(name, mask, tile)
    given = {"bound0": bound0, "bound1": bound1}
    ins = {n: vector(name, n, value, tile) for n, value in given.items()}
    told = {
        "comp_op0": comp_op0,
        "comp_op1": comp_op1,
        "reduce_cmd": reduce_cmd,
        "reduce_op": reduce_op,
        "range_start": range_start,
        "on_false_value": on_false_value,
    }
    outs = target(name, reduce_res, tile)
    ins["on_true_tile"] = tile
    return like(name, tile, dtype, ins, rows, outs=outs, **told)


def select_reduce(
    *,
    dst: Any,
    predicate: Any,
    on_true: Any,
    on_false: Any,
    reduce_res: Any = None,
    reduce_cmd: reduce_cmd = reduce_cmd.idle,
    reduce_op: Any = "maximum",
    reverse_pred: bool = False,
    mask: Any = None,
    dtype: Any = None,
) -> None:
    """Write elements of a tile, or a number, by a predicate; and the greatest of them.

    Args:
        dst: what is written.
        predicate: whole numbers of 8 or 16 bits; what is not 0 is true.
        on_true: a tile.
        on_false: a number, or a tile ``[P, 1]``.
        reduce_res: a tile ``[P, 1]`` that gets what the registers hold.
        reduce_cmd: what is done with those.
        reduce_op: the maximum.
        reverse_pred: whether 0 is true.
        mask: of the first rows.
        dtype: that of `dst`.
    """
    name = "select_reduce"
    written = operand(name, "dst", dst)
    if dtype_of(dtype, written.dtype) != written.dtype:
        raise NkiValidationError(
            f"nisa.select_reduce: dtype is {dtype}, and dst {written!r}"
            f"\n  at {kernel_line()}"
        )
    tile = shaped(name, "on_true", on_true, written)
    ins = {
        "predicate": predicate_of(name, predicate, written),
        "on_true": tile,
        "on_false": vector(name, "on_false", on_false, tile),
    }
    issue(
        name,
        {"dst": written, **target(name, reduce_res, tile)},
        ins,
        row_mask(name, mask, written),
        reduce_cmd=reduce_cmd,
        reduce_op=reduce_op,
        reverse_pred=reverse_pred,
    )
