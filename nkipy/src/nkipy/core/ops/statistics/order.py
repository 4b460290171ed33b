"""Order statistics: median, quantiles, and the range."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import HLOTraceContext, get_hlo_context
from nkipy.core.ops._cases import X
from nkipy.core.ops._dtype_sets import NUMERIC
from nkipy.core.ops._reduction import (
    NO_VALUE,
    deliver,
    finish,
    many_axes,
    mean_dtype,
    operand,
    round_unless,
    rounding_once,
)
from nkipy.core.ops._registry import Op, supports
from nkipy.core.ops._samples import ErrorSample, Sample, make
from nkipy.core.ops._static_take import take_static
from nkipy.core.ops.reduce.folds import MAXIMUM, MINIMUM, Fold, need_elements
from nkipy.core.ops.sorting.sorting import sort_along
from nkipy.core.promotion import is_ours, result_type
from nkipy.core.tensor import NKIPyTensorRef, as_operand
from nkipy.hlo.builder import HLOBuilder, Value

_AXIS_ERROR = ErrorSample((X,), {"axis": 2}, np.exceptions.AxisError, "out of bounds")


# -- sorted rows -----------------------------------------------------------------------
def sorted_rows(b: HLOBuilder, x: Value, axes: Sequence[int]) -> Value:
    """`x` with `axes` merged into a last dimension, in order along it."""
    kept = [i for i in range(x.ndim) if i not in axes]
    moved = b.transpose(x, (*kept, *axes))
    rows = [x.shape[i] for i in kept]
    merged = b.reshape(moved, (*rows, prod(x.shape[i] for i in axes)))
    return sort_along(b, (merged,), (), len(rows))[0]


def at(b: HLOBuilder, rows: Value, place: int) -> Value:
    """Element `place` of each row, keeping the last dimension."""
    return b.slice_dim(rows, rows.ndim - 1, place, place + 1)


def nan_where_row_has_one(b: HLOBuilder, rows: Value, result: Value) -> Value:
    """`result`, of any entries per row, NaN where the sorted row ends in it."""
    if not dt.is_float(rows.dtype):
        return result
    last = at(b, rows, rows.shape[-1] - 1)
    bad = b.broadcast_to(b.compare(last, last, "NE"), result.shape)
    return b.select(bad, b.full_like(result, float("nan")), result)


# -- median ----------------------------------------------------------------------------
def median_samples(dtype: np.dtype) -> Iterator[Sample]:
    for shape, axis in (((), None), ((5,), 0), ((2, 6), -1), ((2, 3, 5), (0, 2))):
        yield Sample((make(shape, dtype),), {"axis": axis}, f"{shape} {axis}")
    yield Sample((make((2, 3, 4), dtype),), {"axis": (0, 1), "keepdims": True})
    yield Sample((make((0, 3), dtype),), {"axis": 0}, "empty")
    if dt.is_float(dtype):
        x = np.array([[1, np.nan, 2], [3, np.inf, np.inf]]).astype(dtype)
        yield Sample((x,), {"axis": 1}, "NaN")
        yield Sample((x[:, :2],), {"axis": 1}, "NaN, even")
    yield Sample((make((2, 3), dtype),), {"axis": 0, "out": np.zeros(3, np.float32)})


median = Op(
    "median",
    numpy=np.median,
    dtypes=supports(NUMERIC, dt.bool_),
    samples=median_samples,
    errors=(_AXIS_ERROR, ErrorSample((X,), {"axis": (0, 0)}, ValueError, "dupl")),
    reference=rounding_once(np.median),
)


@median.impl("hlo")
def _median(
    a: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    keepdims: Any = False,
) -> NKIPyTensorRef:
    """``numpy.median``: sorts; float32 for integers; NaN if any element is."""
    ctx = get_hlo_context()
    x = operand(a)
    axes = many_axes(axis, x.ndim)
    assert x.dtype is not None
    rows = sorted_rows(ctx, x, axes)
    middle = _middle(ctx, rows)
    middle = ctx.reshape(middle, middle.shape[:-1])
    value = round_unless(ctx, middle, mean_dtype(x.dtype, None), out)
    return finish(ctx, value, x.shape, axes, bool(keepdims), out)


def _middle(b: HLOBuilder, rows: Value) -> Value:
    """The mean of the one or two elements in the middle of each row, in float32."""
    size = rows.shape[-1]
    if size == 0:
        return b.full((*rows.shape[:-1], 1), float("nan"), dt.float32)
    high = b.convert(at(b, rows, size // 2), dt.float32)
    if size % 2 == 0:
        low = b.convert(at(b, rows, size // 2 - 1), dt.float32)
        high = b.multiply(b.add(low, high), b.full_like(high, 0.5))
    return nan_where_row_has_one(b, rows, high)


# -- quantiles -------------------------------------------------------------------------
def _positions(size: int, q: Any, method: Any) -> np.ndarray:
    """Where the quantiles of `size` sorted elements lie, as fractional indices.

    Every method interpolates between neighbours; so NumPy, asked for the quantiles of
    0, 1, 2, ..., answers with positions, and refuses what it does not know.
    """
    return np.atleast_1d(
        np.quantile(np.arange(size, dtype=np.float64), q, method=method)
    )


def _touched(
    size: int, q: np.ndarray, method: Any, positions: np.ndarray
) -> list[tuple[int, int] | None]:
    """The two neighbours that NumPy interpolates between, for a whole position.

    It multiplies their distance by zero there, which is NaN if one is infinite. None
    for a position that is not whole, or whose element NumPy takes as it is.
    """
    every = np.arange(size)
    found: list[tuple[int, int] | None] = []
    for fraction, position in zip(q, positions):
        place = int(position)
        if place != position or not _is_nan(np.full(size, np.inf), fraction, method):
            found.append(None)
            continue
        after = _is_nan(np.where(every > place, np.inf, 0.0), fraction, method)
        before = _is_nan(np.where(every < place, -np.inf, 0.0), fraction, method)
        found.append((place - before, place + after))
    return found


def _is_nan(data: np.ndarray, q: Any, method: Any) -> int:
    with np.errstate(invalid="ignore"):
        return int(np.isnan(np.quantile(data, q, method=method)))


def _nan_beside_infinities(
    b: HLOBuilder,
    rows: Value,
    result: Value,
    touched: list[tuple[int, int] | None],
) -> Value:
    """`result`, NaN where one of the neighbours of its position is infinite."""
    if not dt.is_float(rows.dtype) or not any(touched):
        return result
    low, high = (
        _is_finite(b, _elements(b, rows, np.array([p[i] if p else 0 for p in touched])))
        for i in (0, 1)
    )
    both = b.binary("and", low, high)
    if not all(touched):
        ignored = b.constant(np.array([pair is None for pair in touched]))
        both = b.binary("or", both, b.broadcast_to(ignored, both.shape))
    return b.select(both, result, b.full_like(result, float("nan")))


def _is_finite(b: HLOBuilder, x: Value) -> Value:
    return b.emit("is-finite", (x,), x.shape, dt.bool_)


def _interpolate(b: HLOBuilder, rows: Value, positions: np.ndarray) -> Value:
    """The elements of `rows` at fractional `positions`: the last dimension."""
    size = rows.shape[-1]
    low = np.minimum(np.floor(positions).astype(int), size - 1)
    high = np.minimum(low + 1, size - 1)
    part = positions - low
    # As NumPy: from the nearer neighbour, so that rounding cannot overshoot it.
    near = np.where(part < 0.5, low, high)
    result = _elements(b, rows, near)
    if not part.any():
        return result
    result = b.convert(result, dt.float32)
    apart = b.subtract(
        b.convert(_elements(b, rows, high), dt.float32),
        b.convert(_elements(b, rows, low), dt.float32),
    )
    weight = np.where(part < 0.5, part, part - 1).astype(np.float32)
    weights = b.broadcast_to(b.constant(weight), apart.shape)
    moved = b.add(result, b.multiply(apart, weights))
    if part.all():
        return moved
    exact = b.broadcast_to(b.constant(part == 0), moved.shape)
    return b.select(exact, result, moved)


def _elements(b: HLOBuilder, rows: Value, places: np.ndarray) -> Value:
    return take_static(b, rows, places, rows.ndim - 1)


def quantile_dtype(function: Any, x: np.dtype, q: Any, method: Any) -> np.dtype:
    """The dtype that `function`, one of NumPy's, gives for data of dtype `x`, narrowed.

    Raises:
        TypeError: NumPy has no quantiles of it (bool).
    """
    if is_ours(x):
        return result_type(x, q if np.isscalar(q) else np.asarray(q))
    return dt.narrow(function(np.zeros(2, x), q, method=method).dtype)


def static_q(q: Any, name: str) -> Any:
    """`q` as something that NumPy can compute with while tracing.

    Raises:
        NotImplementedError: it is traced.
    """
    q = as_operand(q)
    if isinstance(q, NKIPyTensorRef):
        raise NotImplementedError(
            f"{name}= must be known while the kernel is traced; pass Python floats"
        )
    return q


def _quantile(
    function: Any,
    a: Any,
    q: Any,
    axis: Any,
    out: Any,
    method: str,
    keepdims: Any,
    weights: Any,
) -> NKIPyTensorRef:
    if weights is not None:
        raise NotImplementedError(
            "weights= has no lowering; sort by np.argsort and search np.cumsum(weights)"
        )
    ctx = get_hlo_context()
    x = operand(a)
    axes = many_axes(axis, x.ndim)
    assert x.dtype is not None
    q = static_q(q, "q")
    result = quantile_dtype(function, x.dtype, q, method)
    rows = sorted_rows(ctx, x, axes)
    size = rows.shape[-1]
    fractions = np.ravel(q if function is np.quantile else np.true_divide(q, 100))
    positions = _positions(size, fractions, method)
    value = _interpolate(ctx, rows, positions)
    if dt.is_float(x.dtype):
        touched = _touched(size, fractions, method, positions)
        value = _nan_beside_infinities(ctx, rows, value, touched)
    value = ctx.convert(nan_where_row_has_one(ctx, rows, value), result)
    return _arrange(ctx, value, np.shape(q), x.shape, axes, keepdims, out)


def _arrange(
    ctx: HLOTraceContext,
    value: Value,
    q_shape: tuple[int, ...],
    shape: tuple[int, ...],
    axes: tuple[int, ...],
    keepdims: Any,
    out: Any,
) -> NKIPyTensorRef:
    """Quantiles, which are the last dimension of `value`, to the front."""
    value = ctx.transpose(value, (value.ndim - 1, *range(value.ndim - 1)))
    keep = keepdims and keepdims is not NO_VALUE
    rest = [1 if i in axes else d for i, d in enumerate(shape) if keep or i not in axes]
    return deliver(ctx, ctx.reshape(value, (*q_shape, *rest)), out)


def _quantile_samples(scale: int) -> Any:
    def samples(dtype: np.dtype) -> Iterator[Sample]:
        for shape, axis in (((), None), ((5,), 0), ((2, 3, 4), (0, -1))):
            yield Sample((make(shape, dtype), 0.3 * scale), {"axis": axis}, f"{shape}")
        q = [0.0, 0.25 * scale, 1.0 * scale]
        yield Sample((make((2, 7), dtype), q), {"axis": 1, "keepdims": True}, "list")
        q2 = [[0.1 * scale, 0.5 * scale]]
        yield Sample((make((3, 4), dtype), q2), {"axis": 0}, "2-D q")
        for method in _METHODS:
            x = make((2, 6), dtype, seed=1)
            yield Sample((x, 0.37 * scale), {"axis": 1, "method": method}, method)
        if dt.is_float(dtype):
            x = np.array([[1, np.nan, 2], [3, 5, 4]]).astype(dtype)
            yield Sample((x, 0.4 * scale), {"axis": 1}, "NaN")
        if dtype in (dt.float32, dt.float16):
            q = [part * scale for part in (0.0, 0.2, 0.25, 0.5, 0.7, 1.0)]
            for method in _METHODS:
                options = {"axis": 1, "method": method}
                yield Sample((_INFINITE.astype(dtype), q), options, f"inf {method}")

    return samples


_METHODS = (
    "linear lower higher midpoint nearest inverted_cdf hazen weibull "
    "averaged_inverted_cdf median_unbiased"
).split()
_INFINITE = np.array(
    [
        [-np.inf, 1, 2, 3, np.inf],
        [-np.inf, -np.inf, 1, 2, 3],
        [1, 2, np.inf, np.inf, np.inf],
        [-np.inf, -np.inf, -np.inf, np.inf, np.inf],
    ]
)


def _quantile_errors(scale: int) -> tuple[ErrorSample, ...]:
    return (
        ErrorSample((X, 0.5), {"axis": 2}, np.exceptions.AxisError, "out of bounds"),
        ErrorSample((X, 1.5 * scale), {}, ValueError, "range"),
        ErrorSample((X, 0.5), {"method": "guess"}, ValueError, "method"),
        ErrorSample((X > 0, 0.5), {}, TypeError, "boolean"),
        ErrorSample((X, X[0]), {}, NotImplementedError, "traced"),
        ErrorSample((X[:0], 0.5), {"axis": 0}, IndexError, "bounds"),
    )


def _exactly(function: Any) -> Any:
    """The reference for floats that NumPy would round while interpolating."""

    def reference(a: Any, q: Any, **kwargs: Any) -> Any:
        own = function(
            np.ones_like(a, shape=2), q, method=kwargs.get("method", "linear")
        )
        if dt.is_float(a.dtype):
            a = a.astype(np.float64)
        return np.asarray(function(a, q, **kwargs)).astype(own.dtype)

    return reference


quantile = Op(
    "quantile",
    numpy=np.quantile,
    dtypes=NUMERIC,
    samples=_quantile_samples(1),
    errors=_quantile_errors(1),
    reference=_exactly(np.quantile),
    note="q must be static; no weights=",
)
percentile = Op(
    "percentile",
    numpy=np.percentile,
    dtypes=NUMERIC,
    samples=_quantile_samples(100),
    errors=_quantile_errors(100),
    reference=_exactly(np.percentile),
    note="q must be static; no weights=",
)


@quantile.impl("hlo")
def _quantile_impl(
    a: Any,
    q: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: Any = False,
    *,
    weights: Any = None,
) -> NKIPyTensorRef:
    """``numpy.quantile`` by every method; NaN if any element is."""
    return _quantile(np.quantile, a, q, axis, out, method, keepdims, weights)


@percentile.impl("hlo")
def _percentile_impl(
    a: Any,
    q: Any,
    axis: Any = None,
    out: Any = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: Any = False,
    *,
    weights: Any = None,
) -> NKIPyTensorRef:
    """``numpy.percentile`` by every method; NaN if any element is."""
    return _quantile(np.percentile, a, q, axis, out, method, keepdims, weights)


# -- range -----------------------------------------------------------------------------
def _ptp_samples(dtype: np.dtype) -> Iterator[Sample]:
    for shape, axis in (((5,), None), ((), None), ((2, 3, 5), (0, -1)), ((2, 3), 0)):
        yield Sample((make(shape, dtype),), {"axis": axis}, f"{shape} {axis}")
    yield Sample((make((2, 3), dtype),), {"axis": 1, "keepdims": True})
    yield Sample((make((2, 3), dtype),), {"axis": 1, "out": np.zeros(2, dtype)})


ptp = Op(
    "ptp",
    numpy=np.ptp,
    dtypes=NUMERIC,
    samples=_ptp_samples,
    errors=(
        _AXIS_ERROR,
        ErrorSample((X > 0,), {}, TypeError, "boolean"),
        ErrorSample((X[:0],), {"axis": 0}, ValueError, "zero-size"),
    ),
)


@ptp.impl("hlo")
def _ptp(
    a: Any, axis: Any = None, out: Any = None, keepdims: Any = False
) -> NKIPyTensorRef:
    """``numpy.ptp``: the largest less the smallest element."""
    ctx = get_hlo_context()
    x = operand(a)
    if x.dtype == dt.bool_:
        raise TypeError(
            "boolean subtract is not supported; convert to an integer first"
        )
    axes = many_axes(axis, x.ndim)
    folds: tuple[Fold, Fold] = (MAXIMUM, MINIMUM)
    need_elements(MAXIMUM, x, axes, None)
    high, low = (fold.over(ctx, x, axes) for fold in folds)
    return finish(ctx, ctx.subtract(high, low), x.shape, axes, keepdims, out)
