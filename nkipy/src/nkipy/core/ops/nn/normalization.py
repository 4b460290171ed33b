"""Normalisation: softmax, and layers that scale by the mean square or variance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nkipy.core.ops._cases import A, X, call, cases
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import ErrorSample
from nkipy.core.ops.nn._precision import (
    DTYPES,
    in_dtype_of,
    rounded_once,
    working,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


def _softmax_definition(x: np.ndarray, axis: Any = -1) -> np.ndarray:
    powers = np.exp(x - x.max(axis, keepdims=True, initial=-np.inf))
    return powers / powers.sum(axis, keepdims=True)


def _layer_norm_definition(
    x: np.ndarray,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    axis: Any = -1,
) -> np.ndarray:
    scale = np.sqrt(x.var(axis, keepdims=True) + eps)
    result = (x - x.mean(axis, keepdims=True)) / scale
    return result * (1 if weight is None else weight) + (0 if bias is None else bias)


def _rms_norm_definition(
    x: np.ndarray, weight: Any = None, eps: float = 1e-6, axis: Any = -1
) -> np.ndarray:
    result = x / np.sqrt((x**2).mean(axis, keepdims=True) + eps)
    return result if weight is None else result * weight


# -- normalisation ---------------------------------------------------------------------
softmax = Op(
    "softmax",
    dtypes=DTYPES,
    reference=rounded_once(_softmax_definition),
    samples=cases(
        call(A(3, 5)),
        call(A(3, 5), axis=0),
        call(A(2, 3, 4), axis=(0, -1)),
        call(A(0, 5)),
        call(A(2, 3), None),
    ),
    errors=(ErrorSample((X,), {"axis": 2}, error=np.exceptions.AxisError),),
)


@softmax.composed_impl
def _softmax(x: ArrayLike, axis: int | Sequence[int] | None = -1) -> NDArray[Any]:
    """Exponentials along an axis, scaled so that they sum to 1.

    Args:
        x: an array of numbers.
        axis: an axis, several, or None for all.

    Returns:
        An array of the shape and dtype of `x`; float32 for integers. Floats below 32
        bits are computed in float32 and rounded once.

    Raises:
        AxisError: there is no such axis.
        TypeError: `x` holds no numbers.
    """
    wide, dtype = working(x)
    powers = np.exp(wide - np.max(wide, axis=axis, keepdims=True, initial=-np.inf))
    return (powers / np.sum(powers, axis=axis, keepdims=True)).astype(dtype)


log_softmax = Op(
    "log_softmax",
    dtypes=DTYPES,
    reference=rounded_once(lambda x, axis=-1: np.log(_softmax_definition(x, axis))),
    samples=cases(call(A(3, 5)), call(A(3, 5), axis=0), call(A(0, 5))),
    errors=(ErrorSample((X,), {"axis": 2}, error=np.exceptions.AxisError),),
)


@log_softmax.composed_impl
def _log_softmax(x: ArrayLike, axis: int | Sequence[int] | None = -1) -> NDArray[Any]:
    """The logarithm of ``softmax``, exact also where that is almost zero.

    Args:
        x: an array of numbers.
        axis: an axis, several, or None for all.

    Returns:
        An array of the shape and dtype of `x`; float32 for integers.

    Raises:
        AxisError: there is no such axis.
        TypeError: `x` holds no numbers.
    """
    wide, dtype = working(x)
    below = wide - np.max(wide, axis=axis, keepdims=True, initial=-np.inf)
    total = np.sum(np.exp(below), axis=axis, keepdims=True)
    return (below - np.log(total)).astype(dtype)


rms_norm = Op(
    "rms_norm",
    dtypes=DTYPES,
    reference=rounded_once(_rms_norm_definition),
    samples=cases(
        call(A(3, 5)),
        call(A(3, 5), A(5)),
        call(A(2, 3, 5), A(5), eps=0.5),
        call(A(3, 5), axis=0),
    ),
    errors=(ErrorSample((X, np.ones(2, "f4"))),),
)


@rms_norm.composed_impl
def _rms_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    eps: float = 1e-6,
    axis: int | Sequence[int] | None = -1,
) -> NDArray[Any]:
    """An array divided by its root mean square along an axis, times a weight.

    Args:
        x: an array of numbers.
        weight: what broadcasts to `x`, or None.
        eps: what is added to the mean square.
        axis: an axis, several, or None for all.

    Returns:
        An array of the shape and dtype of `x`; float32 for integers. Floats below 32
        bits are computed in float32 and rounded once.

    Raises:
        AxisError: there is no such axis.
        ValueError: `weight` does not broadcast to `x`.
        TypeError: `x` holds no numbers.
    """
    wide, dtype = working(x)
    (factor,) = in_dtype_of(wide, weight)
    result = wide / np.sqrt(np.mean(np.square(wide), axis=axis, keepdims=True) + eps)
    return (result if factor is None else result * factor).astype(dtype)


layer_norm = Op(
    "layer_norm",
    dtypes=DTYPES,
    reference=rounded_once(_layer_norm_definition),
    samples=cases(
        call(A(3, 5)),
        call(A(3, 5), A(5), A(5)),
        call(A(2, 3, 5), None, A(5), eps=0.5),
        call(A(2, 3, 5), axis=(-2, -1)),
    ),
    errors=(ErrorSample((X, np.ones(2, "f4"))),),
)


@layer_norm.composed_impl
def _layer_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    eps: float = 1e-5,
    axis: int | Sequence[int] | None = -1,
) -> NDArray[Any]:
    """An array shifted and scaled to mean 0 and variance 1 along an axis.

    Args:
        x: an array of numbers.
        weight: what the result is multiplied by, or None; it broadcasts to `x`.
        bias: what is added to that, or None; it broadcasts to `x`.
        eps: what is added to the variance.
        axis: an axis, several, or None for all.

    Returns:
        An array of the shape and dtype of `x`; float32 for integers. Floats below 32
        bits are computed in float32 and rounded once.

    Raises:
        AxisError: there is no such axis.
        ValueError: `weight` or `bias` does not broadcast to `x`.
        TypeError: `x` holds no numbers.
    """
    wide, dtype = working(x)
    factor, added = in_dtype_of(wide, weight, bias)
    centred = wide - np.mean(wide, axis=axis, keepdims=True)
    variance = np.mean(np.square(centred), axis=axis, keepdims=True)
    result = centred / np.sqrt(variance + eps)
    result = result if factor is None else result * factor
    return (result if added is None else result + added).astype(dtype)
