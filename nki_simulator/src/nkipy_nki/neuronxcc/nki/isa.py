"""``neuronxcc.nki.isa``: instructions that return what they compute.

Each is an instruction of today's ``nki.isa``, of which it has the record, with the
first generation's signature: no destination, ``dtype=`` and ``mask=`` instead.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nkipy_nki.dtypes import DTYPES, DTypeRecord, find_dtype
from nkipy_nki.engines import Engine
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.isa.names import dge_mode as dge_mode
from nkipy_nki.isa.names import engine as engine
from nkipy_nki.isa.names import get_nc_version as get_nc_version
from nkipy_nki.isa.names import gpsimd_engine as gpsimd_engine
from nkipy_nki.isa.names import nc_version as nc_version
from nkipy_nki.isa.names import oob_mode as oob_mode
from nkipy_nki.isa.names import reduce_cmd as reduce_cmd
from nkipy_nki.isa.names import scalar_engine as scalar_engine
from nkipy_nki.isa.names import tensor_engine as tensor_engine
from nkipy_nki.isa.names import unknown_engine as unknown_engine
from nkipy_nki.isa.names import vector_engine as vector_engine
from nkipy_nki.language.tiles import as_number
from nkipy_nki.neuronxcc.nki.faults import fault
from nkipy_nki.neuronxcc.nki.indices import Grid, Mask, as_mask
from nkipy_nki.neuronxcc.nki.issuing import (
    SBUF,
    fill,
    issue,
    made,
    on_chip,
    promoted,
    require_tile,
)
from nkipy_nki.neuronxcc.nki.moving import product, transposed
from nkipy_nki.neuronxcc.nki.reductions import reduced
from nkipy_nki.neuronxcc.nki.state import settle
from nkipy_nki.neuronxcc.nki.tiles import Fresh, Tile, allocate, stretched
from nkipy_nki.running import kernel_line, whole_number

_UNKNOWN = Engine.unknown
_FLOAT32 = DTYPES["float32"]


def _element(dtype: Any, default: DTypeRecord) -> DTypeRecord:
    return default if dtype is None else find_dtype(dtype)


def _like(
    name: str, tile: Tile, dtype: Any, ins: dict[str, Any], mask: Any, **others: Any
) -> Fresh:
    """An instruction whose result has the shape of an operand."""
    shape, element = tuple(tile.tile_shape), _element(dtype, tile.dtype)
    return made(name, shape, element, ins, mask, blocks=tile.blocks, **others)


def _vector(given: Any, tile: Tile, what: str) -> Any:
    """A number, or a tile ``[P, 1]``, of as many dimensions as another."""
    number = as_number(given)
    if number is not None or given is None:
        return number
    column = on_chip(given, what)
    if math.prod(column.tile_shape[1:]) != 1:
        raise NkiValidationError(
            f"{what} is {column!r}, and must be a number or a tile [P, 1]"
            f"\n  at {kernel_line()}"
        )
    if len(column.tile_shape) == len(tile.tile_shape):
        return column
    return column.reshape((column.tile_shape[0], *(1,) * (len(tile.tile_shape) - 1)))


# -- tensor engine ---------------------------------------------------------------------
def nc_matmul(
    stationary: Any,
    moving: Any,
    *,
    is_stationary_onezero: bool = False,
    is_moving_onezero: bool = False,
    is_transpose: bool = False,
    tile_position: tuple[int, ...] = (),
    tile_size: tuple[int, ...] = (),
    mask: Any = None,
    **others: Any,
) -> Fresh:
    """``stationary.T @ moving``, float32 in the PSUM; ``+=`` there accumulates it.

    Args:
        stationary: (K, M) in the SBUF.
        moving: (K, N) in the SBUF.
        is_stationary_onezero: whether it has ones and zeros only.
        is_moving_onezero: the same of `moving`.
        is_transpose: whether it transposes.
        tile_position: of the processing elements, where it begins.
        tile_size: of them, how many it takes.
        mask: a truth value that is known: whether it is carried out.
    """
    return product(
        on_chip(stationary, "nisa.nc_matmul: stationary"),
        on_chip(moving, "nisa.nc_matmul: moving"),
        mask,
        is_stationary_onezero=is_stationary_onezero,
        is_moving_onezero=is_moving_onezero,
        is_transpose=is_transpose,
        tile_position=tuple(tile_position),
        tile_size=tuple(tile_size),
    )


def nc_transpose(
    data: Any, *, mask: Any = None, dtype: Any = None, engine: Engine = _UNKNOWN
) -> Fresh:
    """Rows and columns exchanged: in the PSUM by TensorE, else in the SBUF."""
    return transposed(on_chip(data, "nisa.nc_transpose: data"), engine, dtype, mask)


# -- scalar engine ---------------------------------------------------------------------
def _scale_and_bias(tile: Tile, bias: Any, scale: Any) -> dict[str, Any]:
    """What the data is multiplied by, and what is added."""
    what = "nisa.activation"
    if isinstance(scale, Tile) and scale.dtype is not _FLOAT32:
        raise fault(
            "activation_scale_invalid_type",
            f"{what}: scale is {scale!r}, and must be a number or a float32 vector",
        )
    if isinstance(scale, Tile) and math.prod(scale.tile_shape[1:]) != 1:
        raise fault(
            "activation_scale_scalar_or_vector",
            f"{what}: scale is {scale!r}, and must be a number or a vector [P, 1]",
        )
    if isinstance(bias, Tile) and not bias.dtype.is_float:
        raise fault(
            "activation_bias_invalid_type",
            f"{what}: bias is {bias!r}, and must be of float32, float16 or bfloat16",
        )
    return {
        "data": tile,
        "bias": _vector(bias, tile, f"{what}: bias"),
        "scale": _vector(scale, tile, f"{what}: scale"),
    }


def activation(
    op: Any,
    data: Any,
    *,
    bias: Any = None,
    scale: Any = 1.0,
    reduce_op: Any = None,
    reduce_res: Any = None,
    reduce_cmd: reduce_cmd = reduce_cmd.idle,
    mask: Any = None,
    dtype: Any = None,
    **others: Any,
) -> Fresh:
    """``op(data * scale + bias)``, by the scalar engine.

    Args:
        op: an activation function.
        data: a tile.
        bias: a vector ``[P, 1]``, or None.
        scale: a number, or a vector of float32.
        reduce_op: what the registers reduce by: add.
        reduce_res: a tile ``[P, 1]`` that gets what they hold.
        reduce_cmd: what is done with the registers.
        mask: where it is computed.
        dtype: of the result; if None, that of `data`.
    """
    tile = on_chip(data, "nisa.activation: data")
    outs = {} if reduce_res is None else {"reduce_res": _target(reduce_res, tile)}
    return _like(
        "activation",
        tile,
        dtype,
        _scale_and_bias(tile, bias, scale),
        mask,
        outs=outs,
        op=op,
        reduce_op=reduce_op,
        reduce_cmd=reduce_cmd,
    )


def _target(given: Any, tile: Tile) -> Tile:
    """A tile that a reduction is written to."""
    target = on_chip(given, "reduce_res")
    if isinstance(target, Fresh):
        target.settle()
    found: Tile = _vector(target, tile, "reduce_res")
    return found


def activation_reduce(
    op: Any,
    data: Any,
    *,
    reduce_op: Any,
    reduce_res: Any,
    bias: Any = None,
    scale: Any = 1.0,
    mask: Any = None,
    dtype: Any = None,
    **others: Any,
) -> Fresh:
    """The same as :func:`activation`, and its sum over each partition."""
    tile = on_chip(data, "nisa.activation_reduce: data")
    return _like(
        "activation_reduce",
        tile,
        dtype,
        _scale_and_bias(tile, bias, scale),
        mask,
        outs={"reduce_res": _target(reduce_res, tile)},
        op=op,
        reduce_op=reduce_op,
    )


# -- vector engine ---------------------------------------------------------------------
def tensor_reduce(
    op: Any,
    data: Any,
    axis: Any,
    *,
    mask: Any = None,
    dtype: Any = None,
    negate: bool = False,
    keepdims: bool = False,
    **others: Any,
) -> Tile:
    """Reduce free dimensions of a tile.

    Args:
        op: what reduces, such as ``np.add``.
        data: a tile.
        axis: one or several free dimensions.
        mask: which elements count.
        dtype: of the result; if None, that of `data`.
        negate: whether the sign of the result is changed.
        keepdims: whether reduced dimensions stay, with one element.
    """
    tile = on_chip(data, "nisa.tensor_reduce: data")
    element = _element(dtype, tile.dtype)
    return reduced(op, tile, axis, element, mask, negate=negate, keepdims=keepdims)


def tensor_partition_reduce(
    op: Any, data: Any, *, mask: Any = None, dtype: Any = None, **others: Any
) -> Tile:
    """Reduce the partitions of a tile, by the GpSimd engine."""
    tile = on_chip(data, "nisa.tensor_partition_reduce: data")
    return reduced(op, tile, 0, _element(dtype, tile.dtype), mask)


def tensor_tensor(
    data1: Any,
    data2: Any,
    op: Any,
    *,
    dtype: Any = None,
    mask: Any = None,
    engine: Engine = _UNKNOWN,
    **others: Any,
) -> Fresh:
    """``data1 op data2``, element by element; both have one shape."""
    left = on_chip(data1, "nisa.tensor_tensor: data1")
    right = on_chip(data2, "nisa.tensor_tensor: data2")
    shape = tuple(left.tile_shape)
    if tuple(right.tile_shape) != shape:
        raise NkiValidationError(
            f"nisa.tensor_tensor: data1 is {left!r} and data2 {right!r}: they must "
            f"have one shape\n  at {kernel_line()}"
        )
    element = _element(dtype, promoted(left, right))
    ins = {"data1": left, "data2": right}
    return _like("tensor_tensor", left, element, ins, mask, op=op, engine=engine)


def tensor_tensor_scan(
    data0: Any,
    data1: Any,
    initial: Any,
    op0: Any,
    op1: Any,
    reverse0: bool = False,
    reverse1: bool = False,
    *,
    dtype: Any = None,
    mask: Any = None,
    **others: Any,
) -> Fresh:
    """``r[i] = (data0[i] op0 r[i - 1]) op1 data1[i]``, from `initial` on."""
    left = on_chip(data0, "nisa.tensor_tensor_scan: data0")
    right = on_chip(data1, "nisa.tensor_tensor_scan: data1")
    shape = tuple(left.tile_shape)
    right = right if tuple(right.tile_shape) == shape else stretched(right, shape)
    ins = {
        "data0": left,
        "data1": right,
        "initial": _vector(initial, left, "nisa.tensor_tensor_scan: initial"),
    }
    others = {"op0": op0, "op1": op1, "reverse0": reverse0, "reverse1": reverse1}
    element = _element(dtype, promoted(left, right))
    return _like("tensor_tensor_scan", left, element, ins, mask, **others)


def tensor_scalar(
    data: Any,
    op0: Any,
    operand0: Any,
    reverse0: bool = False,
    op1: Any = None,
    operand1: Any = None,
    reverse1: bool = False,
    *,
    dtype: Any = None,
    mask: Any = None,
    engine: Engine = _UNKNOWN,
    **others: Any,
) -> Fresh:
    """``(data op0 operand0) op1 operand1``; operands are numbers or vectors [P, 1]."""
    tile = on_chip(data, "nisa.tensor_scalar: data")
    ins = {
        "data": tile,
        "operand0": _vector(operand0, tile, "nisa.tensor_scalar: operand0"),
        "operand1": _vector(operand1, tile, "nisa.tensor_scalar: operand1"),
    }
    return _like(
        "tensor_scalar",
        tile,
        dtype,
        ins,
        mask,
        op0=op0,
        op1=op1,
        reverse0=reverse0,
        reverse1=reverse1,
        engine=engine,
    )


def scalar_tensor_tensor(
    *,
    data: Any,
    op0: Any,
    operand0: Any,
    op1: Any,
    operand1: Any,
    reverse0: bool = False,
    reverse1: bool = False,
    dtype: Any = None,
    mask: Any = None,
    **others: Any,
) -> Fresh:
    """``(data op0 operand0) op1 operand1``, where the second operand is a tile."""
    tile = on_chip(data, "nisa.scalar_tensor_tensor: data")
    second = on_chip(operand1, "nisa.scalar_tensor_tensor: operand1")
    shape = tuple(tile.tile_shape)
    ins = {
        "data": tile,
        "operand0": _vector(operand0, tile, "nisa.scalar_tensor_tensor: operand0"),
        "operand1": second
        if tuple(second.tile_shape) == shape
        else stretched(second, shape),
    }
    return _like(
        "scalar_tensor_tensor",
        tile,
        dtype,
        ins,
        mask,
        op0=op0,
        op1=op1,
        reverse0=reverse0,
        reverse1=reverse1,
    )


def tensor_scalar_reduce(
    *,
    data: Any,
    op0: Any,
    operand0: Any,
    reduce_op: Any,
    reduce_res: Any,
    reverse0: bool = False,
    dtype: Any = None,
    mask: Any = None,
    **others: Any,
) -> Fresh:
    """``data op0 operand0``, and its reduction over each partition."""
    tile = on_chip(data, "nisa.tensor_scalar_reduce: data")
    ins = {
        "data": tile,
        "operand0": _vector(operand0, tile, "nisa.tensor_scalar_reduce: operand0"),
    }
    return _like(
        "tensor_scalar_reduce",
        tile,
        dtype,
        ins,
        mask,
        outs={"reduce_res": _target(reduce_res, tile)},
        op0=op0,
        reduce_op=reduce_op,
        reverse0=reverse0,
    )


def tensor_copy(
    src: Any,
    *,
    mask: Any = None,
    dtype: Any = None,
    engine: Engine = _UNKNOWN,
    **others: Any,
) -> Fresh:
    """A copy of a tile, in the SBUF."""
    tile = on_chip(src, "nisa.tensor_copy: src")
    return _like("tensor_copy", tile, dtype, {"src": tile}, mask, engine=engine)


def tensor_copy_predicated(
    *,
    src: Any,
    dst: Any,
    predicate: Any,
    mask: Any = None,
    reverse_pred: bool = False,
    **others: Any,
) -> None:
    """Copy elements of `src` to `dst` where a predicate is not 0."""
    target = on_chip(dst, "nisa.tensor_copy_predicated: dst")
    shape = tuple(target.tile_shape)
    number = as_number(src)
    source = number if number is not None else stretched(on_chip(src, "src"), shape)
    chosen = on_chip(predicate, "nisa.tensor_copy_predicated: predicate")
    ins = {"src": source, "predicate": stretched(chosen, shape)}
    wanted = None if mask is None else as_mask(mask).broadcast(shape)
    issue(
        "tensor_copy_predicated",
        {"dst": target},
        ins,
        wanted,
        reverse_pred=reverse_pred,
    )


def reciprocal(
    data: Any, *, dtype: Any = None, mask: Any = None, **others: Any
) -> Fresh:
    """``1 / data``, by the vector engine."""
    tile = on_chip(data, "nisa.reciprocal: data")
    return _like("reciprocal", tile, dtype, {"data": tile}, mask)


def _sizes(shape: Any) -> tuple[int, ...]:
    given = shape if isinstance(shape, (tuple, list)) else (shape,)
    return tuple(whole_number(n, f"a size of the shape {shape!r}") for n in given)


def memset(
    shape: Any,
    value: Any,
    dtype: Any,
    *,
    mask: Any = None,
    engine: Engine = _UNKNOWN,
    **others: Any,
) -> Tile:
    """A new tile in the SBUF of one number."""
    settle()
    element = find_dtype(dtype)
    tile = Tile(allocate(_sizes(shape), element, SBUF))
    fill(tile, value, mask)
    if mask is not None:
        tile.valid = as_mask(mask).broadcast(tuple(tile.tile_shape))
    return tile


def dropout(
    data: Any, prob: Any, *, mask: Any = None, dtype: Any = None, **others: Any
) -> Fresh:
    """A tile of which elements are set to 0 at random."""
    tile = on_chip(data, "nisa.dropout: data")
    ins = {"data": tile, "prob": _vector(prob, tile, "nisa.dropout: prob")}
    return _like("dropout", tile, dtype, ins, mask)


def bn_stats(data: Any, *, mask: Any = None, dtype: Any = None, **others: Any) -> Fresh:
    """Six numbers of each partition, of which :func:`bn_aggr` makes a mean."""
    tile = on_chip(data, "nisa.bn_stats: data")
    return _of_rows("bn_stats", tile, 6, dtype, mask)


def bn_aggr(data: Any, *, mask: Any = None, dtype: Any = None, **others: Any) -> Fresh:
    """The mean and the variance of what :func:`bn_stats` gave."""
    tile = on_chip(data, "nisa.bn_aggr: data")
    return _of_rows("bn_aggr", tile, 2, dtype, mask)


def _of_rows(
    name: str,
    tile: Tile,
    columns: int,
    dtype: Any,
    mask: Any,
    operand: str = "data",
) -> Fresh:
    """An instruction that gives some numbers for each partition."""
    _require_whole(mask, name)
    shape = tile.tile_shape[0], columns
    element = _element(dtype, tile.dtype)
    return made(name, shape, element, {operand: tile}, None, inherits=False)


def max8(*, src: Any, mask: Any = None, dtype: Any = None, **others: Any) -> Fresh:
    """The eight greatest elements of each partition, the greatest first."""
    return _of_rows("max8", on_chip(src, "nisa.max8: src"), 8, dtype, mask, "src")


# -- search and choice -----------------------------------------------------------------
def nc_find_index8(
    *, data: Any, vals: Any, mask: Any = None, dtype: Any = None, **others: Any
) -> Fresh:
    """Where each of eight values is found first in its partition, uint32."""
    tile = on_chip(data, "nisa.nc_find_index8: data")
    _require_whole(mask, "nc_find_index8")
    ins = {"data": tile, "vals": on_chip(vals, "nisa.nc_find_index8: vals")}
    element = _element(dtype, DTYPES["uint32"])
    shape = tile.tile_shape[0], 8
    return made("nc_find_index8", shape, element, ins, inherits=False)


def nc_match_replace8(
    *,
    data: Any,
    vals: Any,
    imm: float,
    dst_idx: Any = None,
    mask: Any = None,
    dtype: Any = None,
    **others: Any,
) -> Fresh:
    """A tile in which the first elements equal to eight values are replaced."""
    tile = on_chip(data, "nisa.nc_match_replace8: data")
    _require_whole(mask, "nc_match_replace8")
    ins = {"data": tile, "vals": on_chip(vals, "nisa.nc_match_replace8: vals")}
    outs = {} if dst_idx is None else {"dst_idx": on_chip(dst_idx, "dst_idx")}
    shape, element = tuple(tile.tile_shape), _element(dtype, tile.dtype)
    return made(
        "nc_match_replace8", shape, element, ins, outs=outs, inherits=False, imm=imm
    )


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
    on_false_value: float = float(np.finfo(np.float32).min),
    mask: Any = None,
    dtype: Any = None,
    **others: Any,
) -> Fresh:
    """Elements of a tile whose free index is within two bounds, else a number."""
    tile = on_chip(on_true_tile, "nisa.range_select: on_true_tile")
    _require_whole(mask, "range_select")
    ins = {
        "on_true_tile": tile,
        "bound0": _vector(bound0, tile, "nisa.range_select: bound0"),
        "bound1": _vector(bound1, tile, "nisa.range_select: bound1"),
    }
    outs = {} if reduce_res is None else {"reduce_res": _target(reduce_res, tile)}
    return _like(
        "range_select",
        tile,
        dtype,
        ins,
        None,
        outs=outs,
        comp_op0=comp_op0,
        comp_op1=comp_op1,
        reduce_cmd=reduce_cmd,
        reduce_op=reduce_op,
        range_start=range_start,
        on_false_value=on_false_value,
    )


def nc_stream_shuffle(
    src: Any, dst: Any, shuffle_mask: Any, *, mask: Any = None, **others: Any
) -> None:
    """Copy partitions of `src` to `dst` in another order within each 32."""
    _require_whole(mask, "nc_stream_shuffle")
    issue(
        "nc_stream_shuffle",
        {"dst": on_chip(dst, "nisa.nc_stream_shuffle: dst")},
        {"src": on_chip(src, "nisa.nc_stream_shuffle: src")},
        shuffle_mask=list(shuffle_mask),
    )


def _require_whole(mask: Any, name: str) -> None:
    """An instruction that takes no mask that leaves elements out."""
    if mask is not None and not as_mask(mask).is_full:
        raise fault(
            "unsupported_expression_in_mask",
            f"nisa.{name} takes no mask that leaves elements out: give it a part of "
            "the tile",
        )


# -- patterns --------------------------------------------------------------------------
def _pattern(grid: Grid, what: str) -> tuple[list[list[int]], int, int]:
    """The pattern of an affine grid, its step by partition, its offset.

    Raises:
        NkiValidationError: it is not affine.
    """
    if grid.steps is None:
        raise NkiValidationError(
            f"{what} is of indices that are not affine\n  at {kernel_line()}"
        )
    pairs = zip(grid.steps[1:], grid.shape[1:])
    return [[step, count] for step, count in pairs], grid.steps[0], grid.offset


def iota(expr: Any, dtype: Any, *, mask: Any = None, **others: Any) -> Fresh:
    """A tile of what indices of ``nl.arange`` are."""
    if not isinstance(expr, Grid) or len(expr.shape) < 2:
        raise NkiValidationError(
            f"nisa.iota: expr is {expr!r}, and must be of nl.arange, of two dimensions "
            f"or more\n  at {kernel_line()}"
        )
    pattern, step, offset = _pattern(expr, "nisa.iota: expr")
    _require_whole(mask, "iota")
    return made(
        "iota",
        expr.shape,
        find_dtype(dtype),
        {},
        pattern=pattern,
        offset=offset,
        channel_multiplier=step,
    )


def affine_select(
    pred: Any,
    on_true_tile: Any,
    on_false_value: Any,
    *,
    mask: Any = None,
    dtype: Any = None,
    **others: Any,
) -> Fresh:
    """Elements of a tile where a comparison of indices holds, else a number."""
    tile = on_chip(on_true_tile, "nisa.affine_select: on_true_tile")
    found = pred.comparison if isinstance(pred, Mask) else None
    if found is None:
        raise NkiValidationError(
            f"nisa.affine_select: pred is {pred!r}, and must be one comparison of "
            f"indices that are affine\n  at {kernel_line()}"
        )
    _require_whole(mask, "affine_select")
    grid, compare = found
    pattern, step, offset = _pattern(
        grid.broadcast(tuple(tile.tile_shape)), "nisa.affine_select: pred"
    )
    return _like(
        "affine_select",
        tile,
        dtype,
        {"on_true_tile": tile},
        None,
        pattern=pattern,
        channel_multiplier=step,
        on_false_value=float(on_false_value),
        cmp_op=compare,
        offset=offset,
    )


# -- transfers -------------------------------------------------------------------------
def dma_copy(*, dst: Any, src: Any, mask: Any = None, **others: Any) -> None:
    """Copy elements by DMA."""
    target = require_tile(dst, "nisa.dma_copy: dst")
    source = require_tile(src, "nisa.dma_copy: src")
    if others.get("dst_rmw_op") is not None:
        raise NkiValidationError(
            f"nisa.dma_copy: dst_rmw_op is not supported\n  at {kernel_line()}"
        )
    shape = tuple(target.tile_shape)
    wanted = None if mask is None else as_mask(mask).broadcast(shape)
    if tuple(source.tile_shape) != shape:
        raise NkiValidationError(
            f"nisa.dma_copy: src is {source!r} and dst {target!r}\n  at {kernel_line()}"
        )
    issue("dma_copy", {"dst": target}, {"src": source}, wanted)


_PRIVATE = "it is the compiler's own, and has no documented meaning"


def __getattr__(name: str) -> Any:
    if name.startswith("_tiled_offloaded"):
        raise NkiValidationError(f"nisa.{name} is refused: {_PRIVATE}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
