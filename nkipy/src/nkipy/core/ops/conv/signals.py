"""NumPy's convolutions of two vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import get_hlo_context
from nkipy.core.ops._cases import A, call, cases
from nkipy.core.ops._contract import single_precision
from nkipy.core.ops._registry import Op, supports
from nkipy.core.ops._samples import ErrorSample
from nkipy.core.ops.conv._window import (
    Window,
)
from nkipy.core.ops.conv.spatial import convolution
from nkipy.core.promotion import as_arrays, result_type
from nkipy.core.tensor import NKIPyTensorRef, as_operand, as_tensor

# -- np.convolve, np.correlate ---------------------------------------------------------
_MODES = ("valid", "same", "full")


def _slide(a: Any, v: Any, mode: Any, reverse: bool) -> NKIPyTensorRef:
    """``a`` times ``v`` at each offset. `a` is the longer one."""
    ctx = get_hlo_context()
    x, w = as_tensor(a), as_tensor(v)
    dtype = result_type(x.dtype, w.dtype)
    k = w.size
    low = {"valid": 0, "same": k // 2, "full": k - 1}
    high = {"valid": 0, "same": k - 1 - low["same"], "full": k - 1}
    window = Window((1,), ((low[mode], high[mode]),), (1,), 1)
    x_value, w_value = (
        ctx.reshape(ctx.convert(t.backend_tensor, dtype), (1, 1, t.size))
        for t in (x, w)
    )
    value = convolution(ctx, x_value, w_value, window, reverse)
    value = ctx.reshape(value, (value.shape[-1],))
    return NKIPyTensorRef._wrap(ctx, ctx.convert(value, dtype))


def _vectors(a: Any, v: Any) -> tuple[NKIPyTensorRef, NKIPyTensorRef]:
    x, w = as_arrays([as_operand(a), as_operand(v)])
    return _vector(x, "a"), _vector(w, "v")


def _vector(value: Any, name: str) -> NKIPyTensorRef:
    x = as_tensor(value)
    if x.ndim > 1:
        raise ValueError(f"{name} must be one-dimensional, but has shape {x.shape}")
    if x.size == 0:
        raise ValueError(f"{name} cannot be empty")
    return x


def _mode(mode: Any) -> str:
    if mode not in _MODES:
        raise ValueError(f"mode must be one of {', '.join(_MODES)}; received {mode!r}")
    return mode


_VECTORS = (
    (A(7), A(3)),
    (A(7), A(4)),
    (A(3), A(6)),
    (A(4), A(4)),
    (A(5), A(1)),
)


_VECTOR_ERRORS = (
    ErrorSample((np.ones((2, 2), "f4"), np.ones(2, "f4")), match="one-dimensional"),
    ErrorSample((np.ones(2, "f4"), np.ones(0, "f4")), match="empty"),
    ErrorSample((np.ones(2, "f4"), np.ones(2, "f4")), {"mode": "sum"}, match="mode"),
)


_VECTOR_CALLS = cases(*(call(a, v, mode=m) for a, v in _VECTORS for m in _MODES))


convolve = Op(
    "convolve",
    numpy=np.convolve,
    dtypes=supports(dt.FLOATS, dt.FP8, dt.INTEGERS, dt.bool_),
    reference=single_precision(np.convolve),
    samples=_VECTOR_CALLS,
    errors=_VECTOR_ERRORS,
)


@convolve.impl("hlo")
def _convolve(a: Any, v: Any, mode: str = "full") -> NKIPyTensorRef:
    x, w = _vectors(a, v)
    if w.size > x.size:
        x, w = w, x
    return _slide(x, w, _mode(mode), reverse=True)


correlate = Op(
    "correlate",
    numpy=np.correlate,
    dtypes=supports(dt.FLOATS, dt.FP8, dt.INTEGERS, dt.bool_),
    reference=single_precision(np.correlate),
    samples=_VECTOR_CALLS,
    errors=_VECTOR_ERRORS
    + (
        ErrorSample((np.ones(2, "f4"), np.float32(1)), match="scalar"),
        ErrorSample((2.0, np.ones(2, "f4")), match="scalar"),
    ),
)


@correlate.impl("hlo")
def _correlate(a: Any, v: Any, mode: str = "valid") -> NKIPyTensorRef:
    """``numpy.correlate``, which unlike ``numpy.convolve`` takes no scalars.

    Raises:
        ValueError: an argument has not one dimension, is empty, or `mode` is unknown.
    """
    for name, value in (("a", a), ("v", v)):
        if np.ndim(value) == 0:
            raise ValueError(
                f"{name} must be one-dimensional, but is a scalar; use np.convolve"
            )
    x, w = _vectors(a, v)
    if w.size <= x.size:
        return _slide(x, w, _mode(mode), reverse=False)
    turned = _slide(w, x, _mode(mode), reverse=False)
    ctx = turned._ctx
    return NKIPyTensorRef._wrap(ctx, ctx.reverse(turned.backend_tensor, (0,)))
