"""What all reductions share: axes, dtypes, masks, and where the result goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from operator import index
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import HLOTraceContext, as_hlo_tensor
from nkipy.core.promotion import result_type
from nkipy.core.tensor import NKIPyTensorRef, as_operand, as_tensor, store_out
from nkipy.hlo.builder import HLOBuilder, Value

NO_VALUE: Any = np._NoValue


# -- axes ------------------------------------------------------------------------------
def one_axis(axis: Any, ndim: int) -> int:
    """`axis` counted from the front.

    Raises:
        TypeError: it is not an integer.
        AxisError: it is out of range.
    """
    number = index(axis)
    if not -ndim <= number < ndim:
        raise np.exceptions.AxisError(number, ndim)
    return number + ndim if number < 0 else number


def many_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes that a reduction's ``axis=`` names, in increasing order.

    Raises:
        TypeError: neither None, an integer, nor a tuple of integers.
        AxisError: an axis is out of range.
        ValueError: an axis is named twice.
    """
    if axis is None:
        return tuple(range(ndim))
    if not isinstance(axis, tuple):
        if ndim == 0 and index(axis) in (0, -1):  # NumPy lets this through
            return ()
        return (one_axis(axis, ndim),)
    axes = sorted(one_axis(a, ndim) for a in axis)
    if len(set(axes)) != len(axes):
        raise ValueError("duplicate value in 'axis'")
    return tuple(axes)


def flat_or_axis(b: HLOBuilder, x: Value, axis: Any) -> tuple[Value, int]:
    """`x` and the axis to work along; flattened if `axis` is None or `x` is 0-d."""
    if axis is None:
        return b.reshape(x, (prod(x.shape),)), 0
    if not x.shape:
        x = b.reshape(x, (1,))
    return x, one_axis(axis, x.ndim)


def extent(shape: Sequence[int], axes: Sequence[int]) -> int:
    """How many elements are combined into one by a reduction over `axes`."""
    return prod(shape[a] for a in axes)


def spread(b: HLOBuilder, reduced: Value, shape: Sequence[int], axes: Any) -> Value:
    """`reduced`, which lacks `axes` of `shape`, repeated along them."""
    if reduced.shape == tuple(shape):
        return reduced
    kept = [i for i in range(len(shape)) if i not in axes]
    return b.broadcast_in_dim(reduced, shape, kept)


# -- dtypes ----------------------------------------------------------------------------
def wide(dtype: np.dtype) -> np.dtype:
    """The dtype to accumulate `dtype` in: float32 for the floats below it."""
    return dt.float32 if dt.is_float(dtype) else dtype


def is_low(dtype: np.dtype) -> bool:
    """Whether `dtype` is a float with fewer bits than float32."""
    return dtype.itemsize < 4 and dt.is_float(dtype)


_sum_dtypes: dict[Any, np.dtype] = {}


def sum_dtype(x: np.dtype, dtype: Any, out: Any) -> np.dtype:
    """The dtype in which NumPy's add and multiply reduce `x`, narrowed.

    Small integers and bool become int32 or uint32, unless `dtype` or the dtype of `out`
    says otherwise.

    Raises:
        TypeError: the dtype is not supported.
    """
    if dtype is not None:
        return dt.narrow(dtype)
    key = (x, getattr(out, "dtype", None))
    found = _sum_dtypes.get(key)
    if found is None:
        found = result_type(*key) if key[1] is not None else dt.narrow(_natural(x))
        _sum_dtypes[key] = found
    return found


def _natural(x: np.dtype) -> np.dtype:
    if dt.is_float(x):
        return x
    return np.add.resolve_dtypes((None, x, None), reduction=True)[1]


def mean_dtype(x: np.dtype, dtype: Any) -> np.dtype:
    """The dtype of a mean: float32 for integers and bool, else that of `x`."""
    if dtype is not None:
        return dt.narrow(dtype)
    return x if dt.is_float(x) else dt.float32


# -- masks -----------------------------------------------------------------------------
def mask_for(ctx: HLOTraceContext, where: Any, shape: tuple[int, ...]) -> Value | None:
    """``where=`` at every position of `shape`; None if it selects everything.

    Raises:
        TypeError: it is not boolean.
        ValueError: it does not broadcast to `shape`.
    """
    if where is True or where is NO_VALUE:
        return None
    mask = as_hlo_tensor(ctx, as_operand(where))
    if mask.dtype != dt.bool_:
        raise TypeError(f"where= must be boolean, but received {mask.dtype}")
    return broadcast_argument(ctx, mask, shape, "where=")


def broadcast_argument(
    b: HLOBuilder, x: Value, shape: tuple[int, ...], what: str
) -> Value:
    """`x` broadcast to `shape`. Raises ValueError, naming `what`, if it cannot be."""
    if np.broadcast_shapes(x.shape, shape) != shape:
        raise ValueError(f"{what} of shape {x.shape} does not broadcast to {shape}")
    return b.broadcast_to(x, shape)


def keep_where(b: HLOBuilder, mask: Value | None, x: Value, other: Any) -> Value:
    """`x` where `mask` holds, the scalar `other` elsewhere."""
    return x if mask is None else b.select(mask, x, b.full_like(x, other))


def count(
    ctx: HLOTraceContext, mask: Value | None, shape: Sequence[int], axes: Sequence[int]
) -> Value:
    """How many elements each result combines, in float32, without the `axes`."""
    rest = [d for i, d in enumerate(shape) if i not in axes]
    if mask is None:
        return ctx.full(rest, extent(shape, axes), dt.float32)
    # Counted as integers: float32 could not go past 2**24.
    hits = ctx.reduce(ctx.convert(mask, dt.int32), "add", 0, axes)
    return ctx.convert(hits, dt.float32)


# -- results ---------------------------------------------------------------------------
def finish(
    ctx: HLOTraceContext,
    value: Value,
    shape: tuple[int, ...],
    axes: Sequence[int],
    keepdims: Any = False,
    out: Any = None,
) -> NKIPyTensorRef:
    """The result of a reduction of `shape` over `axes`, stored in `out` if given.

    Raises:
        TypeError: `keepdims` is neither a bool nor an integer.
        ValueError: `out` does not have the shape of the result.
    """
    if keepdims is not NO_VALUE and index(keepdims):  # a number, as NumPy has it
        kept = [1 if i in axes else d for i, d in enumerate(shape)]
        value = ctx.reshape(value, kept)
    return deliver(ctx, value, out)


def round_unless(b: HLOBuilder, value: Value, dtype: np.dtype, out: Any) -> Value:
    """`value` rounded to `dtype`, unless it is about to be rounded to that of `out`."""
    if out is None or out is NO_VALUE or not is_low(dtype):
        return b.convert(value, dtype)
    return value


def deliver(
    ctx: HLOTraceContext, value: Value, out: Any, casting: str = "unsafe"
) -> NKIPyTensorRef:
    """`value` as a tensor, or stored in an `out` of its shape, as reductions do.

    Raises:
        TypeError: `casting` forbids the dtype of `out`.
        ValueError: `out` does not have the shape of the result.
    """
    if isinstance(out, tuple) and len(out) == 1:
        out = out[0]
    if out is None or out is NO_VALUE:
        return NKIPyTensorRef._wrap(ctx, value)
    shape = getattr(out, "shape", None)
    if isinstance(shape, tuple) and shape != value.shape:
        raise ValueError(f"out= has shape {shape}, but the result has {value.shape}")
    return store_out(ctx, value, out, True, casting)


def operand(a: Any) -> Value:
    """The instruction of array-like `a`."""
    return as_tensor(a).backend_tensor


# -- what defines the result -----------------------------------------------------------
def rounding_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, a NumPy reduction, for arrays below float32 computed in float32.

    NumPy rounds after each addition there, or widens in blocks; neither is a
    definition. The dtype is NumPy's own.
    """

    def reference(a: Any, *args: Any, **kwargs: Any) -> Any:
        own = function(a, *args, **kwargs)
        low = a[0] if isinstance(a, tuple) else a
        if not is_low(np.asarray(low).dtype) or "dtype" in kwargs:
            return own
        exact = function(*map(_as_float32, (a, *args)), **kwargs)
        return exact if "out" in kwargs else _cast_like(exact, own)

    return reference


def _as_float32(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_as_float32(v) for v in value)
    low = isinstance(value, np.ndarray) and is_low(value.dtype)
    return value.astype(np.float32) if low else value


def _cast_like(value: Any, model: Any) -> Any:
    if isinstance(model, tuple):
        return tuple(_cast_like(v, m) for v, m in zip(value, model))
    return np.asarray(value).astype(np.asarray(model).dtype)
