"""Building blocks of neural networks, each a composition of NumPy's functions.

They work on traced arrays and on NumPy's alike. Floats below 32 bits are computed in
float32 and rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import get_hlo_context
from nkipy.core.ops._cases import A, X, call, cases
from nkipy.core.ops._reduction import is_low
from nkipy.core.ops._registry import Op, supports
from nkipy.core.ops._samples import ErrorSample, Sample, make, special
from nkipy.core.ops.nn.top_k import topk
from nkipy.core.tensor import NKIPyTensorRef, as_operand, as_tensor

__all__ = [
    "erf",
    "gelu",
    "layer_norm",
    "log_softmax",
    "relu",
    "rms_norm",
    "sigmoid",
    "silu",
    "softmax",
    "topk",
]

DTYPES = supports(dt.FLOATS, dt.FP8, dt.int8, dt.int32)
Array = Any


def _work(x: Any) -> tuple[Array, np.dtype]:
    """`x` in a dtype to compute in, and the dtype of the result.

    Raises:
        TypeError: `x` holds no numbers.
    """
    x = as_operand(x)
    if not hasattr(x, "dtype"):
        x = np.asarray(x)
    if x.dtype == np.float64:
        return x, x.dtype
    if not dt.is_float(x.dtype):
        if x.dtype.kind not in "iub":
            raise TypeError(f"unsupported dtype {x.dtype}")
        return x.astype(np.float32), dt.float32
    return x.astype(np.float32) if is_low(x.dtype) else x, x.dtype


def _with(x: Any, *others: Any) -> list[Any]:
    """The other arrays of a call, in the dtype that `x` is computed in; None stays."""
    arrays = []
    for other in map(as_operand, others):
        if other is not None and not hasattr(other, "dtype"):
            other = np.asarray(other)
        arrays.append(None if other is None else other.astype(x.dtype))
    return arrays


# -- what defines the results ----------------------------------------------------------
def _exactly(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` in float64, rounded once to the dtype that its first array has."""

    def reference(x: np.ndarray, *args: Any, **kwargs: Any) -> np.ndarray:
        dtype = x.dtype if dt.is_float(x.dtype) else dt.float32
        wide = [a.astype(np.float64) if isinstance(a, np.ndarray) else a for a in args]
        return np.asarray(function(x.astype(np.float64), *wide, **kwargs)).astype(dtype)

    return reference


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


def _elementwise(function: Callable[..., float]) -> Callable[..., Any]:
    return _exactly(
        np.vectorize(function, otypes=[np.float64], excluded=["approximate"])
    )


def _values(dtype: np.dtype) -> Iterator[Sample]:
    for shape in ((2, 5), (), (0, 3)):
        yield Sample((make(shape, dtype),), label=f"shape{shape}")
    if dt.is_float(dtype):
        wide = special(dtype)
        yield Sample((wide[wide == wide],), label="special")


# -- normalisation ---------------------------------------------------------------------
softmax = Op(
    "softmax",
    dtypes=DTYPES,
    reference=_exactly(_softmax_definition),
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
def _softmax(x: Any, axis: Any = -1) -> Any:
    """Exponentials along `axis` (an int, a tuple, or None for all), which sum to 1."""
    x, dtype = _work(x)
    powers = np.exp(x - np.max(x, axis=axis, keepdims=True, initial=-np.inf))
    return (powers / np.sum(powers, axis=axis, keepdims=True)).astype(dtype)


log_softmax = Op(
    "log_softmax",
    dtypes=DTYPES,
    reference=_exactly(lambda x, axis=-1: np.log(_softmax_definition(x, axis))),
    samples=cases(call(A(3, 5)), call(A(3, 5), axis=0), call(A(0, 5))),
    errors=(ErrorSample((X,), {"axis": 2}, error=np.exceptions.AxisError),),
)


@log_softmax.composed_impl
def _log_softmax(x: Any, axis: Any = -1) -> Any:
    """The logarithm of ``softmax``, exact also where that is almost zero."""
    x, dtype = _work(x)
    below = x - np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    total = np.sum(np.exp(below), axis=axis, keepdims=True)
    return (below - np.log(total)).astype(dtype)


rms_norm = Op(
    "rms_norm",
    dtypes=DTYPES,
    reference=_exactly(_rms_norm_definition),
    samples=cases(
        call(A(3, 5)),
        call(A(3, 5), A(5)),
        call(A(2, 3, 5), A(5), eps=0.5),
        call(A(3, 5), axis=0),
    ),
    errors=(ErrorSample((X, np.ones(2, "f4"))),),
)


@rms_norm.composed_impl
def _rms_norm(x: Any, weight: Any = None, eps: float = 1e-6, axis: Any = -1) -> Any:
    """`x` divided by its root mean square along `axis`, times `weight`."""
    x, dtype = _work(x)
    (weight,) = _with(x, weight)
    result = x / np.sqrt(np.mean(np.square(x), axis=axis, keepdims=True) + eps)
    return (result if weight is None else result * weight).astype(dtype)


layer_norm = Op(
    "layer_norm",
    dtypes=DTYPES,
    reference=_exactly(_layer_norm_definition),
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
    x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5, axis: Any = -1
) -> Any:
    """`x` shifted and scaled to mean 0 and variance 1 along `axis`; weight and bias."""
    x, dtype = _work(x)
    weight, bias = _with(x, weight, bias)
    centred = x - np.mean(x, axis=axis, keepdims=True)
    variance = np.mean(np.square(centred), axis=axis, keepdims=True)
    result = centred / np.sqrt(variance + eps)
    result = result if weight is None else result * weight
    return (result if bias is None else result + bias).astype(dtype)


# -- activations -----------------------------------------------------------------------
erf = Op(
    "erf",
    dtypes=DTYPES,
    reference=_elementwise(math.erf),
    samples=_values,
    rtol={dt.float32: 2e-6},
)


@erf.impl("hlo")
def _erf(x: Any) -> NKIPyTensorRef:
    """The error function, element by element."""
    ctx = get_hlo_context()
    work, dtype = _work(x)
    value = ctx.unary("erf", as_tensor(work).backend_tensor)
    return NKIPyTensorRef._wrap(ctx, ctx.convert(value, dtype))


@erf.impl("cpu")
def _erf_untraced(x: Any) -> np.ndarray:
    work, dtype = _work(x)
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
def _sigmoid(x: Any) -> Any:
    """``1 / (1 + exp(-x))``, without overflow."""
    x, dtype = _work(x)
    small = np.exp(-np.abs(x))  # in (0, 1], whatever the sign
    return (np.where(x >= 0, np.ones((), x.dtype), small) / (1 + small)).astype(dtype)


def _silu_definition(x: float) -> float:
    return x * _sigmoid_definition(x) if x > -math.inf else -0.0


silu = Op(
    "silu", dtypes=DTYPES, reference=_elementwise(_silu_definition), samples=_values
)


@silu.composed_impl
def _silu(x: Any) -> Any:
    """``x * sigmoid(x)``; 0 at minus infinity."""
    x, dtype = _work(x)
    # Beyond -200 the product is below the least float32, and at -inf it would be NaN.
    bounded = np.maximum(x, -1000.0)
    return (bounded * _sigmoid(bounded)).astype(dtype)


relu = Op(
    "relu",
    dtypes=DTYPES,
    reference=lambda x: np.maximum(x, np.zeros((), x.dtype)),
    samples=_values,
)


@relu.composed_impl
def _relu(x: Any) -> Any:
    """``max(x, 0)``, in the dtype of `x`."""
    x = as_operand(x)
    x = x if hasattr(x, "dtype") else np.asarray(x)
    return np.maximum(x, np.zeros((), x.dtype))


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
def _gelu(x: Any, approximate: str = "none") -> Any:
    """``x`` times the normal distribution's share below it.

    Args:
        x: an array.
        approximate: "none" for the error function, "tanh" for the usual approximation.

    Raises:
        ValueError: `approximate` is neither.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"approximate must be 'none' or 'tanh', not {approximate!r}")
    x, dtype = _work(x)
    bounded = np.maximum(x, -100.0)  # 0 below, and no infinity times zero
    if approximate == "tanh":
        inner = 0.7978845608028654 * (bounded + 0.044715 * bounded * bounded * bounded)
        share = 0.5 * (1 + np.tanh(inner))
    else:
        share = 0.5 * (1 + erf(bounded * 0.7071067811865476))
    return (bounded * share).astype(dtype)
