"""Mean, variance and standard deviation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import HLOTraceContext, get_hlo_context
from nkipy.core.ops._cases import X
from nkipy.core.ops._dtype_sets import ALL
from nkipy.core.ops._reduction import (
    NO_VALUE,
    broadcast_argument,
    count,
    finish,
    keep_where,
    many_axes,
    mask_for,
    mean_dtype,
    operand,
    round_unless,
    rounding_once,
    spread,
    wide,
)
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import ErrorSample, Sample, make
from nkipy.core.promotion import is_ours, result_type
from nkipy.core.tensor import NKIPyTensorRef, as_operand
from nkipy.hlo.builder import Value

_SHAPES: tuple[tuple[tuple[int, ...], Any], ...] = (
    ((), None),
    ((5,), None),
    ((1, 67), -1),
    ((2, 3, 5), (0, -1)),
    ((3, 0, 2), 1),
    ((3, 0, 2), (0, 2)),
)
_MASK = np.array([[True, False, True], [False, True, True]])


def _samples(dtype: np.dtype, options: list[dict[str, Any]]) -> Iterator[Sample]:
    for shape, axis in _SHAPES:
        x = make(shape, dtype, -3, 3)
        yield Sample((x,), {"axis": axis}, f"shape{shape} axis {axis}")
    yield Sample((make((2, 3, 5), dtype),), {"axis": 1, "keepdims": True})
    if dt.is_float(dtype):
        yield Sample((np.array([1, np.nan, 2]).astype(dtype),), label="NaN")
    for i, kwargs in enumerate(options):
        yield Sample((make((2, 3), dtype, seed=i),), kwargs, f"option {i}")


def mean_samples(dtype: np.dtype) -> Iterator[Sample]:
    """Masks, an integer dtype (which truncates), an integer out."""
    options: list[dict[str, Any]] = [
        {"axis": 1, "where": _MASK},
        {"where": _MASK, "keepdims": True},
        {"axis": 1, "where": np.array([False])},
        {"axis": 0, "dtype": "float32"},
        {"axis": 1, "dtype": "int32"},
        {"axis": 1, "dtype": "bool"},
        {"axis": 0, "out": np.zeros(3, np.float32)},
    ]
    yield from _samples(dtype, options)


def var_samples(dtype: np.dtype) -> Iterator[Sample]:
    """Degrees of freedom down to none, masks, a given mean."""
    mean = np.ones((2, 1), dtype if dt.is_float(dtype) else np.float32)
    options: list[dict[str, Any]] = [
        {"axis": 0, "ddof": 1},
        {"axis": 1, "ddof": 0.5},
        {"axis": 0, "ddof": 2},
        {"axis": 1, "correction": 1},
        {"axis": 1, "where": _MASK, "ddof": 1},
        {"axis": 1, "mean": mean, "keepdims": True},
        {"axis": 0, "dtype": "float32"},
        {"axis": 0, "out": np.zeros(3, np.float32)},
    ]
    yield from _samples(dtype, options)


_ERRORS = (
    ErrorSample((X,), {"axis": -3}, np.exceptions.AxisError, "out of bounds"),
    ErrorSample((X,), {"axis": (0, 0)}, ValueError, "duplicate"),
    ErrorSample((X,), {"axis": 0, "out": np.zeros(2)}, ValueError, "out="),
    ErrorSample((X,), {"dtype": "complex64"}, TypeError, "complex64"),
)
_VAR_ERRORS = _ERRORS + (
    ErrorSample((X,), {"ddof": 1, "correction": 1}, ValueError, "simultaneously"),
    ErrorSample((X,), {"dtype": "int32"}, NotImplementedError, "astype"),
    ErrorSample((X,), {"mean": np.zeros((3, 3))}, ValueError, "broadcast"),
)


def mean_of(
    ctx: HLOTraceContext, x: Value, axes: tuple[int, ...], mask: Value | None = None
) -> Value:
    """The mean of float32 `x` over `axes`, in float32; NaN over no elements."""
    total = ctx.reduce(keep_where(ctx, mask, x, 0), "add", 0, axes)
    return ctx.divide(total, count(ctx, mask, x.shape, axes))


def var_of(
    ctx: HLOTraceContext,
    x: Value,
    axes: tuple[int, ...],
    ddof: Any = 0,
    mask: Value | None = None,
    mean: Value | None = None,
) -> Value:
    """The variance of float32 `x` over `axes`, in two passes, in float32.

    `mean`, if given, has the shape of `x`.
    """
    if mean is None:
        mean = spread(ctx, mean_of(ctx, x, axes, mask), x.shape, axes)
    apart = ctx.subtract(x, mean)
    squares = keep_where(ctx, mask, ctx.multiply(apart, apart), 0)
    total = ctx.reduce(squares, "add", 0, axes)
    return ctx.divide(total, degrees(ctx, count(ctx, mask, x.shape, axes), ddof))


def degrees(ctx: HLOTraceContext, n: Value, ddof: Any) -> Value:
    """`n` less `ddof` degrees of freedom, but not below zero."""
    if not isinstance(ddof, NKIPyTensorRef) and ddof == 0:
        return n
    lost = ctx.convert(operand(ddof), dt.float32)
    less = ctx.subtract(n, ctx.broadcast_to(lost, n.shape))
    return ctx.maximum(less, ctx.full_like(less, 0))


# -- records ---------------------------------------------------------------------------
mean_ = Op(
    "mean",
    numpy=np.mean,
    dtypes=ALL,
    samples=mean_samples,
    errors=_ERRORS,
    reference=rounding_once(np.mean),
)


@mean_.impl("hlo")
def _mean(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    *,
    where: Any = True,
) -> NKIPyTensorRef:
    """``numpy.mean``: float32 for integers; narrower floats are summed in float32."""
    ctx = get_hlo_context()
    x = operand(a)
    axes = many_axes(axis, x.ndim)
    assert x.dtype is not None
    loop = mean_dtype(x.dtype, dtype)
    mask = mask_for(ctx, where, x.shape)
    value = ctx.convert(ctx.convert(x, loop), wide(loop))
    value = keep_where(ctx, mask, value, 0)
    n = count(ctx, mask, x.shape, axes)
    if dt.is_float(loop):
        value = ctx.divide(ctx.reduce(value, "add", 0, axes), n)
    else:
        value = _whole_mean(ctx, value, n, axes)
    value = round_unless(ctx, value, loop, out)
    return finish(ctx, value, x.shape, axes, keepdims, out)


def _whole_mean(
    ctx: HLOTraceContext, x: Value, n: Value, axes: tuple[int, ...]
) -> Value:
    """The mean of integers or bool `x` in their own dtype; 0 over no elements.

    NumPy divides in float64, then truncates; so does HLO's divide, which on the CPU
    ends the process where the divisor is zero.
    """
    if x.dtype == dt.bool_:  # any sum over n is truthy, but for zero
        return ctx.reduce(x, "or", False, axes)
    total = ctx.reduce(x, "add", 0, axes)
    wider = x.dtype if x.dtype.itemsize == 4 else dt.int32  # n may exceed int8
    divisor = ctx.convert(ctx.maximum(n, ctx.full_like(n, 1)), wider)
    return ctx.convert(ctx.divide(ctx.convert(total, wider), divisor), x.dtype)


def lower_by_variance(op: Op, lower: Callable[..., NKIPyTensorRef]) -> None:
    """Give `op` the signature of ``numpy.var``.

    Args:
        lower: takes a, axis, dtype, out, ddof, keepdims, where and mean.
    """

    @op.impl("hlo")
    def implementation(
        a: Any,
        axis: Any = None,
        dtype: Any = None,
        out: Any = None,
        ddof: Any = 0,
        keepdims: Any = False,
        *,
        where: Any = True,
        mean: Any = NO_VALUE,
        correction: Any = NO_VALUE,
    ) -> NKIPyTensorRef:
        if correction is not NO_VALUE:
            if ddof != 0:
                raise ValueError(
                    "ddof and correction can't be provided simultaneously."
                )
            ddof = correction
        return lower(a, axis, dtype, out, ddof, keepdims, where, mean)


def _spread_dtype(x: np.dtype, dtype: Any, mean: Any) -> np.dtype:
    """The dtype of a variance of `x`, from which a given mean is subtracted."""
    own = mean_dtype(x, dtype)
    if dtype is not None or mean is NO_VALUE:
        return own
    mean = as_operand(mean)
    common = result_type(x, mean)
    return common if is_ours(common) else result_type(own, mean)


def _spread(
    a: Any,
    axis: Any,
    dtype: Any,
    out: Any,
    ddof: Any,
    keepdims: Any,
    where: Any,
    mean: Any,
    *,
    root: bool,
) -> NKIPyTensorRef:
    """The variance in float32, or its root, rounded at the end."""
    ctx = get_hlo_context()
    x = operand(a)
    axes = many_axes(axis, x.ndim)
    assert x.dtype is not None
    result = _spread_dtype(x.dtype, dtype, mean)
    if not dt.is_float(result):
        raise NotImplementedError(
            f"dtype={result.name} would round at each step; use dtype=np.float32 and "
            "astype"
        )
    mask = mask_for(ctx, where, x.shape)
    given = None
    if mean is not NO_VALUE:
        given = ctx.convert(operand(mean), dt.float32)
        given = broadcast_argument(ctx, given, x.shape, "mean=")
    value = var_of(ctx, ctx.convert(x, dt.float32), axes, ddof, mask, given)
    value = ctx.unary("sqrt", value) if root else value
    value = round_unless(ctx, value, result, out)
    return finish(ctx, value, x.shape, axes, keepdims, out)


def _spread_op(function: Callable[..., Any], root: bool) -> Op:
    op = Op(
        function.__name__,
        numpy=function,
        dtypes=ALL,
        samples=var_samples,
        errors=_VAR_ERRORS,
        reference=rounding_once(function),
        note="dtype= must be a float",
    )
    lower_by_variance(op, partial(_spread, root=root))
    op.__doc__ = f"``numpy.{op.name}``, in two passes in float32."
    return op


var_ = _spread_op(np.var, root=False)
std_ = _spread_op(np.std, root=True)
