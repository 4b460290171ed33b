"""Functions of a tile that look at all elements of a partition, and dropout."""

from __future__ import annotations

from typing import Any

from nkipy_nki.checking import operand_of
from nkipy_nki.isa.activation import activation
from nkipy_nki.isa.arithmetic import reciprocal, tensor_tensor
from nkipy_nki.isa.broadcasts import tensor_scalar
from nkipy_nki.isa.random import dropout as isa_dropout
from nkipy_nki.language.reductions import max as greatest
from nkipy_nki.language.reductions import sum as total
from nkipy_nki.language.reductions import with_rows
from nkipy_nki.language.tiles import (
    FLOAT32,
    as_tile,
    cast,
    new_tile,
    report_known_issue,
    require_same_shape,
    result_dtype,
)
from nkipy_nki.operators import OPERATIONS
from nkipy_nki.running import invalid
from nkipy_nki.tensors import NkiTensor

__all__ = ["dropout", "rms_norm", "softmax"]

_BROADCASTS = (
    "it fails on hardware, where its operands are not broadcast: take the instructions "
    "of nki.isa that it is made of"
)


def softmax(x: Any, axis: Any = -1, dtype: Any = None) -> NkiTensor:
    """``exp(x - max(x)) / sum(exp(x - max(x)))``, in float32.

    Args:
        x: a tile.
        axis: one or several: the last free dimensions.
        dtype: of the result; if None, that of `x`.

    Returns:
        A new tile in the SBUF.

    Raises:
        NkiValidationError: `x` is no tile, or `axis` names other dimensions.
    """
    tile = as_tile(x, "softmax")
    report_known_issue("softmax", _BROADCASTS)
    powers = new_tile(tile.shape, FLOAT32)
    top = greatest(tile, axis, FLOAT32, keepdims=True)
    with_rows(powers, tile, "subtract", top)
    activation(powers, OPERATIONS["exp"], powers)
    share = total(powers, axis, FLOAT32, keepdims=True)
    reciprocal(share, share)
    made = new_tile(tile.shape, result_dtype(dtype, tile))
    with_rows(made, powers, "multiply", share)
    return made


def rms_norm(
    x: Any,
    w: Any,
    axis: Any,
    n: int,
    epsilon: float = 1e-06,
    dtype: Any = None,
    compute_dtype: Any = None,
) -> NkiTensor:
    """``x / sqrt(sum(x * x) / n + epsilon) * w``.

    Args:
        x: a tile.
        w: a tile of weights, of the same shape.
        axis: one or several: the last free dimensions.
        n: by what the sum of squares is divided.
        epsilon: added before the root.
        dtype: of the result; if None, that of `x`.
        compute_dtype: what is kept between the steps; if None, float32.

    Returns:
        A new tile in the SBUF.

    Raises:
        NkiValidationError: one is no tile, the shapes differ, or `axis` names other
            dimensions.
    """
    tile, weights = as_tile(x, "rms_norm"), as_tile(w, "rms_norm", "w")
    require_same_shape("rms_norm", x=tile, w=weights)
    report_known_issue("rms_norm", _BROADCASTS)
    if not isinstance(n, (int, float)) or not n:
        raise invalid(f"nl.rms_norm: n is {n!r}, and must be a number that is not 0")
    between = result_dtype(compute_dtype or FLOAT32)
    squares = new_tile(tile.shape, between)
    activation(squares, OPERATIONS["square"], tile)
    scale = total(squares, axis, FLOAT32, keepdims=True)
    add, multiply = OPERATIONS["add"], OPERATIONS["multiply"]
    tensor_scalar(scale, scale, multiply, 1 / n, False, add, epsilon)
    activation(scale, OPERATIONS["rsqrt"], scale)
    scaled = new_tile(tile.shape, between)
    with_rows(scaled, tile, "multiply", scale)
    made = new_tile(tile.shape, result_dtype(dtype, tile))
    tensor_tensor(made, scaled, weights, multiply)
    return made


def dropout(x: Any, rate: Any, dtype: Any = None) -> NkiTensor:
    """A tile of which each element is 0 with a probability, and as it was otherwise.

    What is kept is not scaled.

    Args:
        x: a tile.
        rate: the probability: a number, or a tile [P, 1].
        dtype: of the result; if None, that of `x`.

    Returns:
        A new tile in the SBUF.

    Raises:
        NkiValidationError: `x` is no tile, or `rate` none of these.
    """
    tile = as_tile(x, "dropout")
    made = new_tile(tile.shape, tile.dtype)
    isa_dropout(made, tile, operand_of(rate))
    return cast(made, result_dtype(dtype, tile))
