"""Reductions that pass over NaN."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import HLOTraceContext, as_hlo_tensor, get_hlo_context
from nkipy.core.ops._cases import X
from nkipy.core.ops._dtype_sets import ALL
from nkipy.core.ops._reduction import (
    NO_VALUE,
    finish,
    many_axes,
    mask_for,
    operand,
    rounding_once,
    spread,
)
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import ErrorSample, Sample, make
from nkipy.core.ops.reduce.extremes import arg_extreme, lower_by_place
from nkipy.core.ops.reduce.folds import (
    ADD,
    MAXIMUM,
    MINIMUM,
    MULTIPLY,
    Fold,
    lower_by_accumulation,
    lower_by_extreme,
    need_elements,
    reduce_extreme,
)
from nkipy.core.ops.reduce.moments import lower_by_variance, mean_, std_, var_
from nkipy.core.ops.reduce.scan import lower_by_scan
from nkipy.core.tensor import NKIPyTensorRef, as_operand
from nkipy.hlo.builder import HLOBuilder, Value


# -- lowering --------------------------------------------------------------------------
def is_nan(b: HLOBuilder, x: Value) -> Value | None:
    """Where `x` is NaN; None if its dtype has none."""
    return b.compare(x, x, "NE") if dt.is_float(x.dtype) else None


def without_nan(b: HLOBuilder, x: Value, fill: Any) -> Value:
    """`x` with the scalar `fill` in place of NaN."""
    bad = is_nan(b, x)
    return x if bad is None else b.select(bad, b.full_like(x, fill), x)


def _cleaned(a: Any, fill: Any) -> NKIPyTensorRef:
    ctx = get_hlo_context()
    return NKIPyTensorRef._wrap(ctx, without_nan(ctx, operand(a), fill))


def _numbers(ctx: HLOTraceContext, x: Value, where: Any) -> Any:
    """``where=`` without the places where `x` is NaN."""
    bad = is_nan(ctx, x)
    mask = mask_for(ctx, where, x.shape)
    if bad is None:
        return where
    good = ctx.not_(bad)
    good = good if mask is None else ctx.and_(good, mask)
    return NKIPyTensorRef._wrap(ctx, good)


def _extreme(
    fold: Fold, a: Any, axis: Any, out: Any, keepdims: Any, initial: Any, where: Any
) -> NKIPyTensorRef:
    ctx = get_hlo_context()
    x = operand(a)
    bad = is_nan(ctx, x)
    if bad is None or not (initial is None or initial is NO_VALUE):
        clean = _cleaned(a, fold.start(x.dtype))
        return reduce_extreme(fold, clean, axis, out, keepdims, initial, where)
    axes = many_axes(axis, x.ndim)
    need_elements(fold, x, axes, mask_for(ctx, where, x.shape))
    value = fold.over(ctx, without_nan(ctx, x, fold.start(x.dtype)), axes)
    nothing = ctx.reduce(bad, "and", True, axes)
    value = ctx.select(nothing, ctx.full_like(value, float("nan")), value)
    return finish(ctx, value, x.shape, axes, keepdims, out)


# -- samples ---------------------------------------------------------------------------
def holey(shape: tuple[int, ...], dtype: np.dtype, seed: int = 0) -> np.ndarray:
    """Small random values; NaN at every third place if `dtype` has it."""
    x = make(shape, dtype, -2, 2, seed)
    if dt.is_float(dtype) and x.ndim:
        x.reshape(-1)[::3] = np.nan
    return x


def nan_samples(dtype: np.dtype) -> Iterator[Sample]:
    """Of any reduction: axes, NaN among numbers, and NaN alone."""
    for shape, axis in (((5,), None), ((2, 3, 4), 1), ((2, 3, 4), (0, -1)), ((), None)):
        yield Sample((holey(shape, dtype),), {"axis": axis}, f"{shape} {axis}")
    yield Sample((holey((2, 4), dtype),), {"axis": 1, "keepdims": True}, "keepdims")
    yield Sample((holey((2, 3), dtype),), {"axis": 0}, "all NaN in places")


def _where_samples(dtype: np.dtype) -> Iterator[Sample]:
    yield from nan_samples(dtype)
    mask = np.array([True, False, True, True])
    yield Sample((holey((2, 4), dtype),), {"axis": 1, "where": mask}, "where")


def _extreme_samples(dtype: np.dtype) -> Iterator[Sample]:
    yield from nan_samples(dtype)
    one: Any = True if dtype == dt.bool_ else 1
    mask = np.array([True, False, True, True])
    kwargs = {"axis": 1, "initial": one, "where": mask}
    yield Sample((holey((2, 4), dtype),), kwargs, "where")


def _scan_samples(dtype: np.dtype) -> Iterator[Sample]:
    for shape, axis in (((5,), None), ((2, 3, 4), 1), ((), None)):
        yield Sample((holey(shape, dtype),), {"axis": axis}, f"{shape} {axis}")


def _arg_samples(dtype: np.dtype) -> Iterator[Sample]:
    for shape, axis in (((5,), None), ((2, 3, 4), 1)):
        yield Sample((holey(shape, dtype),), {"axis": axis}, f"{shape} {axis}")
    yield Sample((holey((2, 4), dtype),), {"axis": 1, "keepdims": True}, "keepdims")


def _var_samples(dtype: np.dtype) -> Iterator[Sample]:
    yield from _where_samples(dtype)
    for ddof in (1, 2, 3):
        yield Sample((holey((2, 4), dtype),), {"axis": 1, "ddof": ddof}, f"ddof {ddof}")


_ERRORS = (ErrorSample((X,), {"axis": 2}, np.exceptions.AxisError, "out of bounds"),)
_EMPTY = (ErrorSample((X[:0],), {"axis": 0}, ValueError, "zero-size"),)


def nan_record(
    function: Callable[..., Any],
    samples: Any,
    errors: Any = _ERRORS,
    note: str = "",
    dtypes: Any = ALL,
) -> Op:
    """The record of a function of NumPy's that passes over NaN."""
    return Op(
        function.__name__,
        numpy=function,
        dtypes=dtypes,
        samples=samples,
        errors=errors,
        reference=rounding_once(function),
        note=note,
    )


# -- sums and products -----------------------------------------------------------------
nansum = nan_record(np.nansum, _where_samples)
nanprod = nan_record(np.nanprod, _where_samples)
nancumsum = nan_record(np.nancumsum, _scan_samples)
nancumprod = nan_record(np.nancumprod, _scan_samples)
for _op, _lower_by, _fold in (
    (nansum, lower_by_accumulation, ADD),
    (nanprod, lower_by_accumulation, MULTIPLY),
    (nancumsum, lower_by_scan, ADD),
    (nancumprod, lower_by_scan, MULTIPLY),
):
    _lower_by(_op, _fold, partial(_cleaned, fill=_fold.neutral))
    _op.__doc__ = f"``numpy.{_op.name}``: NaN counts as {_fold.neutral}."


# -- extremes --------------------------------------------------------------------------
_ALL_NAN = "index 0 where all are NaN: NumPy raises, which needs values"
nanmax = nan_record(np.nanmax, _extreme_samples, _ERRORS + _EMPTY)
nanmin = nan_record(np.nanmin, _extreme_samples, _ERRORS + _EMPTY)
nanargmax = nan_record(np.nanargmax, _arg_samples, _ERRORS, _ALL_NAN)
nanargmin = nan_record(np.nanargmin, _arg_samples, _ERRORS, _ALL_NAN)


for _op, _fold in ((nanmax, MAXIMUM), (nanmin, MINIMUM)):
    lower_by_extreme(_op, _extreme, _fold)
    _op.__doc__ = f"``numpy.{_op.name}``: NaN only where all are."


def _place(b: HLOBuilder, x: Value, axis: int, fold: Fold) -> Value:
    return arg_extreme(b, fold, without_nan(b, x, fold.start(x.dtype)), axis)


for _op, _fold in ((nanargmax, MAXIMUM), (nanargmin, MINIMUM)):
    lower_by_place(_op, partial(_place, fold=_fold))
    _op.__doc__ = f"``numpy.{_op.name}``, as int32."


# -- moments ---------------------------------------------------------------------------
nanmean = nan_record(np.nanmean, _where_samples)
nanvar = nan_record(np.nanvar, _var_samples)
nanstd = nan_record(np.nanstd, _var_samples)


@nanmean.impl("hlo")
def _nanmean(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    *,
    where: Any = True,
) -> NKIPyTensorRef:
    """``numpy.nanmean``: NaN only where all are."""
    ctx = get_hlo_context()
    good = _numbers(ctx, operand(a), where)
    return mean_(a, axis, dtype, out, keepdims, where=good)


def _spread(
    op: Op,
    a: Any,
    axis: Any,
    dtype: Any,
    out: Any,
    ddof: Any,
    keepdims: Any,
    where: Any,
    mean: Any,
) -> NKIPyTensorRef:
    """`op` (var or std) of the numbers; NaN, not infinity, if they are too few."""
    ctx = get_hlo_context()
    x = operand(a)
    options = {"out": out, "keepdims": keepdims, "mean": mean}
    if not dt.is_float(x.dtype):
        return op(a, axis, dtype, ddof=ddof, where=where, **options)
    good = _numbers(ctx, x, where)
    axes = many_axes(axis, x.ndim)
    numbers = ctx.reduce(ctx.convert(good.backend_tensor, dt.int32), "add", 0, axes)
    few = ctx.compare(
        ctx.convert(numbers, dt.float32),
        ctx.broadcast_to(
            as_hlo_tensor(ctx, as_operand(ddof), dt.float32), numbers.shape
        ),
        "LE",
    )
    # The variance of a NaN is one, without a detour around out=.
    poison = spread(ctx, few, x.shape, axes)
    x = ctx.select(poison, ctx.full_like(x, float("nan")), x)
    good = NKIPyTensorRef._wrap(ctx, ctx.or_(good.backend_tensor, poison))
    poisoned = NKIPyTensorRef._wrap(ctx, x)
    own = (
        x.dtype if dtype is None else dtype
    )  # a given mean does not count, as in NumPy
    return op(poisoned, axis, own, ddof=ddof, where=good, **options)


for _op, _of_numbers in ((nanvar, var_), (nanstd, std_)):
    lower_by_variance(_op, partial(_spread, _of_numbers))
    _op.__doc__ = f"``numpy.{_op.name}``: NaN of no more numbers than `ddof`."
