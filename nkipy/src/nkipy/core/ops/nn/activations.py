"""Activations: element-wise functions of neural networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import get_hlo_context
from nkipy.core.ops._cases import X
from nkipy.core.ops._registry import Op, supports
from nkipy.core.ops._samples import ErrorSample, Sample, make, special
from nkipy.core.ops.nn._precision import (
    DTYPES,
    rounded_once,
    working,
)
from nkipy.core.tensor import NKIPyTensorRef, as_operand, as_tensor

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def _elementwise(function: Callable[..., float]) -> Callable[..., Any]:
    return rounded_once(
        np.vectorize(function, otypes=[np.float64], excluded=["approximate"])
    )


def _values(dtype: np.dtype) -> Iterator[Sample]:
    for shape in ((2, 5), (), (0, 3)):
        yield Sample((make(shape, dtype),), label=f"shape{shape}")
    if dt.is_float(dtype):
        wide = special(dtype)
        yield Sample((wide[wide == wide],), label="special")


# -- activations -----------------------------------------------------------------------
erf = Op(
    "erf",
    dtypes=DTYPES,
    reference=_elementwise(math.erf),
    samples=_values,
    rtol={dt.float32: 2e-6},
)


@erf.impl("hlo")
def _erf(x: ArrayLike) -> NKIPyTensorRef:
    """The error function, element by element."""
    ctx = get_hlo_context()
    work, dtype = working(x)
    value = ctx.unary("erf", as_tensor(work).backend_tensor)
    return NKIPyTensorRef._wrap(ctx, ctx.convert(value, dtype))


@erf.impl("cpu")
def _erf_untraced(x: Any) -> np.ndarray:
    work, dtype = working(x)
    return np.asarray(_erf_of(work)).astype(dtype)


_erf_of = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid_definition(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


sigmoid = Op(
    "sigmoid",
    dtypes=DTYPES,
    reference=_elementwise(_sigmoid_definition),
    samples=_values,
)


@sigmoid.composed_impl
def _sigmoid(x: ArrayLike) -> NDArray[Any]:
    """``1 / (1 + exp(-x))``, element by element, without overflow."""
    wide, dtype = working(x)
    small = np.exp(-np.abs(wide))  # in (0, 1], whatever the sign
    share = np.where(wide >= 0, np.ones((), wide.dtype), small)
    return (share / (1 + small)).astype(dtype)


def _silu_definition(x: float) -> float:
    return x * _sigmoid_definition(x) if x > -math.inf else -0.0


silu = Op(
    "silu", dtypes=DTYPES, reference=_elementwise(_silu_definition), samples=_values
)


@silu.composed_impl
def _silu(x: ArrayLike) -> NDArray[Any]:
    """``x * sigmoid(x)``, element by element; 0 at minus infinity."""
    wide, dtype = working(x)
    # Beyond -200 the product is below the least float32, and at -inf it would be NaN.
    bounded = np.maximum(wide, -1000.0)
    return (bounded * _sigmoid(bounded)).astype(dtype)


relu = Op(
    "relu",
    dtypes=DTYPES,
    reference=lambda x: np.maximum(x, np.zeros((), x.dtype)),
    samples=_values,
)


@relu.composed_impl
def _relu(x: ArrayLike) -> NDArray[Any]:
    """``max(x, 0)``, element by element, in the dtype of `x`."""
    operand = as_operand(x)
    operand = operand if hasattr(operand, "dtype") else np.asarray(operand)
    return np.maximum(operand, np.zeros((), operand.dtype))


def _gelu_definition(x: float, approximate: str = "none") -> float:
    if math.isinf(x):
        return max(x, 0.0)
    if approximate == "tanh":
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
        return x / (1 + math.exp(-2 * inner)) if inner > -300 else -0.0
    return x * math.erfc(-x / math.sqrt(2)) / 2


def _gelu_values(dtype: np.dtype) -> Iterator[Sample]:
    for sample in _values(dtype):
        yield sample
        yield Sample(sample.args, {"approximate": "tanh"}, label=f"tanh {sample.label}")


gelu = Op(
    "gelu",
    dtypes=supports(dt.float32, dt.float16, dt.bfloat16, dt.int8),
    reference=_elementwise(_gelu_definition),
    samples=_gelu_values,
    errors=(ErrorSample((X,), {"approximate": "sigmoid"}, match="approximate"),),
)


@gelu.composed_impl
def _gelu(x: ArrayLike, approximate: str = "none") -> NDArray[Any]:
    """``x`` times the normal distribution's share below it, element by element.

    Args:
        x: an array.
        approximate: "none" for the error function, "tanh" for the usual approximation.

    Raises:
        ValueError: `approximate` is neither.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"approximate must be 'none' or 'tanh', not {approximate!r}")
    wide, dtype = working(x)
    bounded = np.maximum(wide, -100.0)  # 0 below, and no infinity times zero
    if approximate == "tanh":
        inner = 0.7978845608028654 * (bounded + 0.044715 * bounded * bounded * bounded)
        share = 0.5 * (1 + np.tanh(inner))
    else:
        share = 0.5 * (1 + erf(bounded * 0.7071067811865476))
    return (bounded * share).astype(dtype)
