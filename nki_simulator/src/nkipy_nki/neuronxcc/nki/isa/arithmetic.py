"""The vector engine: arithmetic of tiles, reductions and scans."""

from __future__ import annotations

from typing import Any

from nkipy_nki.engines import Engine
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.neuronxcc.nki.faults import fault
from nkipy_nki.neuronxcc.nki.isa.common import (
    dtype_of,
    like,
    operand,
    shaped,
    target,
    vector,
)
from nkipy_nki.neuronxcc.nki.issuing import promoted
from nkipy_nki.neuronxcc.nki.reductions import reduced
from nkipy_nki.neuronxcc.nki.tiles import Fresh, Tile
from nkipy_nki.running import kernel_line

__all__ = [
    "dropout",
    "reciprocal",
    "scalar_tensor_tensor",
    "tensor_partition_reduce",
    "tensor_reduce",
    "tensor_scalar",
    "tensor_scalar_reduce",
    "tensor_tensor",
    "tensor_tensor_scan",
]

_UNKNOWN = Engine.unknown


# -- reductions ------------------------------------------------------------------------
def tensor_reduce(
    op: Any,
    data: Any,
    axis: Any,
    *,
    mask: Any = None,
    dtype: Any = None,
    negate: bool = False,
    keepdims: bool = False,
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
    tile = operand("tensor_reduce", "data", data)
    element = dtype_of(dtype, tile.dtype)
    return reduced(op, tile, axis, element, mask, negate=negate, keepdims=keepdims)


def tensor_partition_reduce(
    op: Any, data: Any, *, mask: Any = None, dtype: Any = None
) -> Tile:
    """Reduce the partitions of a tile, by the GpSimd engine."""
    tile = operand("tensor_partition_reduce", "data", data)
    return reduced(op, tile, 0, dtype_of(dtype, tile.dtype), mask)


# -- element by element ----------------------------------------------------------------
def tensor_tensor(
    data1: Any,
    data2: Any,
    op: Any,
    *,
    dtype: Any = None,
    mask: Any = None,
    engine: Engine = _UNKNOWN,
) -> Fresh:
    """``data1 op data2``, element by element; both have one shape."""
    left = operand("tensor_tensor", "data1", data1)
    right = operand("tensor_tensor", "data2", data2)
    mine, its = tuple(left.tile_shape), tuple(right.tile_shape)
    problem = f"nisa.tensor_tensor: data1 is {left!r} and data2 {right!r}"
    if mine[0] != its[0]:
        raise fault(
            "num_partition_mismatch",
            f"{problem}: they must have as many partitions; broadcast_to repeats one",
        )
    if mine != its:
        raise NkiValidationError(
            f"{problem}: they must have one shape\n  at {kernel_line()}"
        )
    element = dtype_of(dtype, promoted(left, right))
    ins = {"data1": left, "data2": right}
    return like("tensor_tensor", left, element, ins, mask, op=op, engine=engine)


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
) -> Fresh:
    """``r[i] = (data0[i] op0 r[i - 1]) op1 data1[i]``, from `initial` on."""
    name = "tensor_tensor_scan"
    left = operand(name, "data0", data0)
    right = shaped(name, "data1", data1, left)
    first = vector(name, "initial", initial, left)
    ins = {"data0": left, "data1": right, "initial": first}
    told = {"op0": op0, "op1": op1, "reverse0": reverse0, "reverse1": reverse1}
    element = dtype_of(dtype, promoted(left, right))
    return like(name, left, element, ins, mask, **told)


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
) -> Fresh:
    """``(data op0 operand0) op1 operand1``; operands are numbers or vectors [P, 1]."""
    name = "tensor_scalar"
    tile = operand(name, "data", data)
    given = {"operand0": operand0, "operand1": operand1}
    ins = {n: vector(name, n, value, tile) for n, value in given.items()}
    told = {"op0": op0, "op1": op1, "reverse0": reverse0, "reverse1": reverse1}
    return like(name, tile, dtype, {"data": tile, **ins}, mask, engine=engine, **told)


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
) -> Fresh:
    """``(data op0 operand0) op1 operand1``, where the second operand is a tile."""
    name = "scalar_tensor_tensor"
    tile = operand(name, "data", data)
    first = vector(name, "operand0", operand0, tile)
    second = shaped(name, "operand1", operand1, tile)
    ins = {"data": tile, "operand0": first, "operand1": second}
    told = {"op0": op0, "op1": op1, "reverse0": reverse0, "reverse1": reverse1}
    return like(name, tile, dtype, ins, mask, **told)


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
) -> Fresh:
    """``data op0 operand0``, and its reduction over each partition."""
    name = "tensor_scalar_reduce"
    tile = operand(name, "data", data)
    ins = {"data": tile, "operand0": vector(name, "operand0", operand0, tile)}
    outs = target(name, reduce_res, tile)
    told = {"op0": op0, "reduce_op": reduce_op, "reverse0": reverse0}
    return like(name, tile, dtype, ins, mask, outs=outs, **told)


def reciprocal(data: Any, *, dtype: Any = None, mask: Any = None) -> Fresh:
    """``1 / data``, by the vector engine."""
    tile = operand("reciprocal", "data", data)
    return like("reciprocal", tile, dtype, {"data": tile}, mask)


def dropout(data: Any, prob: Any, *, mask: Any = None, dtype: Any = None) -> Fresh:
    """A tile of which elements are set to 0 at random, with a probability."""
    tile = operand("dropout", "data", data)
    ins = {"data": tile, "prob": vector("dropout", "prob", prob, tile)}
    return like("dropout", tile, dtype, ins, mask)
