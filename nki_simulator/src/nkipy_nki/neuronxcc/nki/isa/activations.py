"""The scalar engine: activation functions."""

from __future__ import annotations

import math
from typing import Any

from nkipy_nki.dtypes import DTYPES
from nkipy_nki.isa.names import reduce_cmd
from nkipy_nki.neuronxcc.nki.faults import fault
from nkipy_nki.neuronxcc.nki.isa.common import like, operand, target, vector
from nkipy_nki.neuronxcc.nki.tiles import Fresh, Tile

__all__ = ["activation", "activation_reduce"]


def _ins(name: str, tile: Tile, bias: Any, scale: Any) -> dict[str, Any]:
    """The data, what it is multiplied by, and what is added."""
    if isinstance(scale, Tile) and scale.dtype is not DTYPES["float32"]:
        raise fault(
            "activation_scale_invalid_type",
            f"nisa.{name}: scale is {scale!r}, and must be a number or a float32 "
            "vector",
        )
    if isinstance(scale, Tile) and math.prod(scale.tile_shape[1:]) != 1:
        raise fault(
            "activation_scale_scalar_or_vector",
            f"nisa.{name}: scale is {scale!r}, and must be a number or a vector [P, 1]",
        )
    if isinstance(bias, Tile) and not bias.dtype.is_float:
        raise fault(
            "activation_bias_invalid_type",
            f"nisa.{name}: bias is {bias!r}, and must be of float32, float16 or "
            "bfloat16",
        )
    given = {"bias": bias, "scale": scale}
    found = {n: vector(name, n, value, tile) for n, value in given.items()}
    return {"data": tile, **found}


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
    name = "activation"
    tile = operand(name, "data", data)
    ins, outs = _ins(name, tile, bias, scale), target(name, reduce_res, tile)
    told = {"op": op, "reduce_op": reduce_op, "reduce_cmd": reduce_cmd}
    return like(name, tile, dtype, ins, mask, outs=outs, **told)


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
) -> Fresh:
    """The same as :func:`activation`, and its sum over each partition."""
    name = "activation_reduce"
    tile = operand(name, "data", data)
    result = operand(name, "reduce_res", reduce_res)
    ins, outs = _ins(name, tile, bias, scale), target(name, result, tile)
    return like(name, tile, dtype, ins, mask, outs=outs, op=op, reduce_op=reduce_op)
