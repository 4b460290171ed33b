"""Weighted means, covariance and correlation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import HLOTraceContext, as_hlo_tensor, get_hlo_context
from nkipy.core.ops._cases import X
from nkipy.core.ops._dtype_sets import NUMERIC
from nkipy.core.ops._reduction import (
    extent,
    finish,
    many_axes,
    mean_dtype,
    operand,
    rounding_once,
    spread,
)
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import ErrorSample, Sample, make
from nkipy.core.ops._views import duplicate, no_scalar
from nkipy.core.ops.reduce.moments import mean_
from nkipy.core.promotion import float64_type, is_ours, result_type
from nkipy.core.tensor import NKIPyTensorRef, as_operand
from nkipy.hlo.builder import Value


# -- average ---------------------------------------------------------------------------
def _average_samples(dtype: np.dtype) -> Iterator[Sample]:
    x = make((2, 3), dtype)
    for axis in (None, 0, -1, (0, 1)):
        yield Sample((x, axis), {"returned": True}, f"no weights, axis {axis}")
    w = make((2, 3), dtype, 1, 3, seed=1)
    yield Sample((x, None, w), {"returned": True}, "weights of all")
    yield Sample((x, 1, w), {"keepdims": True}, "weights along an axis, keepdims")
    yield Sample((x, 1, w[0]), {"returned": True}, "weights of one axis")
    yield Sample(
        (make((2, 4, 3), dtype), (2, 0), w.T.copy()), {}, "weights of two axes"
    )


average = Op(
    "average",
    numpy=np.average,
    dtypes=NUMERIC,
    samples=_average_samples,
    reference=rounding_once(np.average),
    errors=(
        ErrorSample((X,), {"axis": 2}, np.exceptions.AxisError, "out of bounds"),
        ErrorSample((X,), {"weights": X[0]}, TypeError, "Axis must be specified"),
        ErrorSample((X, 0, X[0]), {}, ValueError, "consistent"),
        ErrorSample((X, 0, [1, -1]), {}, ZeroDivisionError, "sum to zero"),
    ),
    note="traced weights that sum to zero give NaN or infinity, instead of raising",
)


@average.impl("hlo")
def _average(
    a: Any,
    axis: Any = None,
    weights: Any = None,
    returned: bool = False,
    *,
    keepdims: Any = False,
) -> Any:
    """``numpy.average``: float32 for integers.

    Raises:
        ZeroDivisionError: weights that are known while tracing sum to zero.
    """
    ctx = get_hlo_context()
    x = operand(a)
    axes = many_axes(axis, x.ndim)
    if weights is None:
        result = mean_(a, axis, keepdims=keepdims)
        if not returned:
            return result
        n = ctx.full(result.shape, extent(x.shape, axes), result.dtype)
        return result, NKIPyTensorRef._wrap(ctx, n)
    return _weighted(ctx, x, axis, axes, weights, returned, keepdims)


def _weighted(
    ctx: HLOTraceContext,
    x: Value,
    axis: Any,
    axes: tuple[int, ...],
    weights: Any,
    returned: bool,
    keepdims: Any,
) -> Any:
    known = as_operand(weights)
    w = operand(known)
    assert x.dtype is not None
    result = result_type(x.dtype, w.dtype)
    if not is_ours(result):
        own = mean_dtype(x.dtype, None)
        result = own if own == w.dtype else result_type(own, w.dtype)
    result = mean_dtype(result, None)
    w = _align(ctx, ctx.convert(w, dt.float32), x.shape, axis, axes)
    if not isinstance(known, NKIPyTensorRef):
        _check_sums(np.asarray(known), x.shape, axes)
    total = ctx.reduce(w, "add", 0, axes)
    weighted = ctx.multiply(ctx.convert(x, dt.float32), w)
    value = ctx.divide(ctx.reduce(weighted, "add", 0, axes), total)
    mean = finish(ctx, ctx.convert(value, result), x.shape, axes, keepdims)
    if not returned:
        return mean
    return mean, finish(ctx, ctx.convert(total, result), x.shape, axes, keepdims)


def _check_sums(
    weights: np.ndarray, shape: tuple[int, ...], axes: tuple[int, ...]
) -> None:
    """Raise NumPy's ZeroDivisionError where weights that are known sum to zero."""
    total = weights.sum(axes if weights.shape == shape else None)
    if np.any(total == 0):
        raise ZeroDivisionError("Weights sum to zero, can't be normalized")


def _align(
    ctx: HLOTraceContext,
    w: Value,
    shape: tuple[int, ...],
    axis: Any,
    axes: tuple[int, ...],
) -> Value:
    """Weights in the shape of the data, given for all of it or for `axes` only."""
    if w.shape == shape:
        return w
    if axis is None:
        raise TypeError("Axis must be specified when shapes of a and weights differ.")
    order = [a % len(shape) for a in (axis if isinstance(axis, tuple) else (axis,))]
    if w.shape != tuple(shape[a] for a in order):
        raise ValueError(
            "Shape of weights must be consistent with shape of a along specified axis."
        )
    ascending = sorted(range(len(order)), key=order.__getitem__)
    return ctx.broadcast_in_dim(ctx.transpose(w, ascending), shape, sorted(order))


# -- covariance ------------------------------------------------------------------------
def _cov_samples(dtype: np.dtype) -> Iterator[Sample]:
    x, y = make((3, 7), dtype), make((2, 7), dtype, seed=1)
    yield Sample((x,), label="rows")
    yield Sample((x[0],), label="1-D")
    yield Sample((x[0], y[0]), label="two 1-D")
    yield Sample((x, y), label="x and y")
    yield Sample((x,), {"rowvar": False}, "columns")
    yield Sample((x,), {"bias": True}, "bias")
    yield Sample((x,), {"ddof": 0}, "ddof")
    if dt.is_integer(dtype):
        f = np.array([1, 2, 1, 3, 1, 1, 2], dtype)
        yield Sample((x,), {"fweights": f}, "fweights")
    else:
        w = make((7,), dtype, 1, 2, seed=2)
        yield Sample((x,), {"aweights": w}, "aweights")


def _corrcoef_samples(dtype: np.dtype) -> Iterator[Sample]:
    x, y = make((3, 7), dtype), make((2, 7), dtype, seed=1)
    yield Sample((x,), label="rows")
    yield Sample((x[0], y[0]), label="two 1-D")
    yield Sample((x, y), {"rowvar": True}, "x and y")
    yield Sample((x,), {"rowvar": False}, "columns")
    yield Sample((x[0],), label="1-D")


_CUBE = np.ones((2, 2, 2), np.float32)
_COV_ERRORS = (
    ErrorSample((_CUBE,), {}, ValueError, "2 dimensions"),
    ErrorSample((X, X[:, :2]), {}, ValueError, "observations"),
)
cov = Op(
    "cov",
    numpy=np.cov,
    memory_order="made",
    dtypes=NUMERIC,
    samples=_cov_samples,
    errors=_COV_ERRORS
    + (
        ErrorSample((X,), {"ddof": 0.5}, ValueError, "ddof must be integer"),
        ErrorSample((X,), {"aweights": X}, ValueError, "1-D"),
        ErrorSample((X,), {"aweights": [1, -1, 1]}, ValueError, "negative"),
        ErrorSample((X,), {"fweights": [1, -1, 1]}, ValueError, "negative"),
        ErrorSample((X,), {"fweights": [1, 0.5, 1]}, TypeError, "must be integer"),
    ),
    rtol={dt.float32: 1e-5},
)
corrcoef = Op(
    "corrcoef",
    numpy=np.corrcoef,
    memory_order="made",
    dtypes=NUMERIC,
    samples=_corrcoef_samples,
    errors=_COV_ERRORS,
    rtol={dt.float32: 1e-5},
)


@cov.impl("hlo")
def _cov(
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: Any = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: Any = None,
) -> NKIPyTensorRef:
    """``numpy.cov``, in float32."""
    if ddof is not None and ddof != int(ddof):
        raise ValueError("ddof must be integer")
    ctx = get_hlo_context()
    x = _observations(ctx, m, y, rowvar)
    ddof = (0 if bias else 1) if ddof is None else int(ddof)
    value = _covariance(ctx, x, ddof, fweights, aweights)
    return _result(ctx, value, m, y, dtype)


def _result(
    ctx: HLOTraceContext, value: Value, m: Any, y: Any, dtype: Any
) -> NKIPyTensorRef:
    """A covariance matrix, or the number that the only one of its entries is."""
    if dtype is None:
        dtype = float64_type(*(_dtype_of(v) for v in (m, y) if v is not None))
    value = ctx.convert(value, dt.narrow(dtype))
    kept = [d for d in value.shape if d != 1]
    return no_scalar(NKIPyTensorRef._wrap(ctx, ctx.reshape(value, kept)))


def _dtype_of(variables: Any) -> np.dtype:
    operand = as_operand(variables)
    return operand.dtype if hasattr(operand, "dtype") else np.asarray(operand).dtype


def _observations(ctx: HLOTraceContext, m: Any, y: Any, rowvar: bool) -> Value:
    """One variable per row, in float32: those of `m`, then those of `y`."""
    x = _variables(ctx, m, "m", rowvar)
    if y is None:
        return x
    other = _variables(ctx, y, "y", rowvar)
    if other.shape[1] != x.shape[1]:
        raise ValueError(
            f"m and y have {x.shape[1]} and {other.shape[1]} observations: they must "
            "have as many"
        )
    return ctx.concatenate([x, other], 0)


def _variables(ctx: HLOTraceContext, m: Any, name: str, rowvar: bool) -> Value:
    x = ctx.convert(operand(m), dt.float32)
    if x.ndim > 2:
        raise ValueError(f"{name} has more than 2 dimensions")
    if x.ndim < 2:
        return ctx.reshape(x, (1, extent(x.shape, range(x.ndim))))
    return x if rowvar or x.shape[0] == 1 else ctx.transpose(x, (1, 0))


def _covariance(
    ctx: HLOTraceContext, x: Value, ddof: int, fweights: Any, aweights: Any
) -> Value:
    w = _weights(ctx, fweights, aweights, x.shape[1])
    if w is None:
        total = ctx.scalar(float(x.shape[1]), dt.float32)
        weighted = x
    else:
        total = ctx.reduce(w, "add", 0, (0,))
        weighted = ctx.multiply(x, ctx.broadcast_to(w, x.shape))
    sums = ctx.reduce(weighted, "add", 0, (1,))
    mean = ctx.divide(sums, ctx.broadcast_to(total, sums.shape))
    apart = ctx.subtract(x, spread(ctx, mean, x.shape, (1,)))
    scaled = apart if w is None else ctx.multiply(apart, ctx.broadcast_to(w, x.shape))
    products = ctx.dot(apart, scaled, ((1,), (1,)))
    factor = _degrees(ctx, total, w, aweights, ddof)
    return ctx.divide(products, ctx.broadcast_to(factor, products.shape))


def _check_weights(name: str, given: Any) -> None:
    """Raise as NumPy does; what is traced may have any value."""
    if isinstance(given, NKIPyTensorRef):
        return
    if name == "fweights" and np.any(np.rint(given) != given):
        raise TypeError(f"fweights must be integer, but are {given}")
    if np.any(np.less(given, 0)):
        raise ValueError(f"{name} cannot be negative, but are {given}")


def _weights(
    ctx: HLOTraceContext, fweights: Any, aweights: Any, size: int
) -> Value | None:
    product = None
    for name, given in (("fweights", fweights), ("aweights", aweights)):
        if given is None:
            continue
        given = as_operand(given)
        _check_weights(name, given)
        w = as_hlo_tensor(ctx, given, dt.float32)
        if w.shape != (size,):
            raise ValueError(f"{name} must be 1-D, one for each of {size} observations")
        product = w if product is None else ctx.multiply(product, w)
    return product


def _degrees(
    ctx: HLOTraceContext, total: Value, w: Value | None, aweights: Any, ddof: int
) -> Value:
    """What the sum of products is divided by, not below zero."""
    lost = ctx.scalar(float(ddof), dt.float32)
    if aweights is not None and w is not None:
        a = as_hlo_tensor(ctx, as_operand(aweights), dt.float32)
        squares = ctx.reduce(ctx.multiply(w, a), "add", 0, (0,))
        lost = ctx.multiply(lost, ctx.divide(squares, total))
    return ctx.maximum(ctx.subtract(total, lost), ctx.scalar(0.0, dt.float32))


@corrcoef.impl("hlo")
def _corrcoef(
    x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None
) -> NKIPyTensorRef:
    """``numpy.corrcoef``, in float32."""
    ctx = get_hlo_context()
    c = _covariance(ctx, _observations(ctx, x, y, rowvar), 1, None, None)
    diagonal = ctx.compare(ctx.iota(c.shape, 0), ctx.iota(c.shape, 1), "EQ")
    entries = ctx.select(diagonal, c, ctx.full_like(c, 0))
    deviation = ctx.unary("sqrt", ctx.reduce(entries, "add", 0, (1,)))
    for axis in (1, 0):
        c = ctx.divide(c, spread(ctx, deviation, c.shape, (axis,)))
    c = ctx.clamp(ctx.full_like(c, -1), c, ctx.full_like(c, 1))
    return duplicate(_result(ctx, c, x, y, dtype))
