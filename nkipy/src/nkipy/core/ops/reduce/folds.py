"""Reductions by one opcode: sums, products, extremes, truth, and where they lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import HLOTraceContext, as_hlo_tensor, get_hlo_context
from nkipy.core.ops._cases import X
from nkipy.core.ops._dtype_sets import ALL
from nkipy.core.ops._reduction import (
    NO_VALUE,
    extent,
    finish,
    keep_where,
    many_axes,
    mask_for,
    operand,
    rounding_once,
    sum_dtype,
    wide,
)
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import ErrorSample, Sample, make, special
from nkipy.core.tensor import NKIPyTensorRef, as_operand, as_tensor
from nkipy.hlo.builder import HLOBuilder, Value


class Fold(NamedTuple):
    """What combines two elements: an opcode for numbers, one for bool, a neutral."""

    opcode: str
    bool_opcode: str
    neutral: Any

    def start(self, dtype: np.dtype) -> Any:
        """The value that changes nothing when combined with one of `dtype`."""
        return self.neutral(dtype) if callable(self.neutral) else self.neutral

    def opcode_for(self, dtype: np.dtype) -> str:
        return self.bool_opcode if dtype == dt.bool_ else self.opcode

    def over(self, b: HLOBuilder, x: Value, axes: tuple[int, ...]) -> Value:
        """`x` combined over `axes`, in its own dtype."""
        assert x.dtype is not None
        return b.reduce(x, self.opcode_for(x.dtype), self.start(x.dtype), axes)


ADD = Fold("add", "or", 0)
MULTIPLY = Fold("multiply", "and", 1)
MAXIMUM = Fold("maximum", "or", dt.lowest)
MINIMUM = Fold("minimum", "and", dt.highest)

#: Makes an operand of an argument.
Prepare = Callable[[Any], NKIPyTensorRef]


def _with_initial(
    ctx: HLOTraceContext, fold: Fold, value: Value, initial: Any, dtype: np.dtype
) -> Value:
    """`value` combined with ``initial=``, which NumPy converts to `dtype` first.

    Not by the start value of the reduce, which HLO may use any number of times.
    """
    if initial is None or initial is NO_VALUE:
        return value
    start = as_hlo_tensor(ctx, as_operand(initial), dtype)
    if start.shape:
        raise ValueError(f"initial= must be a scalar, but has shape {start.shape}")
    assert value.dtype is not None
    start = ctx.broadcast_to(ctx.convert(start, value.dtype), value.shape)
    return ctx.binary(fold.opcode_for(value.dtype), value, start)


def accumulate(
    fold: Fold,
    a: Any,
    axis: Any,
    dtype: Any,
    out: Any,
    keepdims: Any,
    initial: Any,
    where: Any,
) -> NKIPyTensorRef:
    """A sum or product: NumPy's loop dtype, low-precision floats through float32."""
    ctx = get_hlo_context()
    x = operand(a)
    axes = many_axes(axis, x.ndim)
    assert x.dtype is not None
    loop = sum_dtype(x.dtype, dtype, out)
    mask = mask_for(ctx, where, x.shape)
    value = ctx.convert(ctx.convert(x, loop), wide(loop))
    value = keep_where(ctx, mask, value, fold.neutral)
    value = fold.over(ctx, value, axes)
    value = ctx.convert(_with_initial(ctx, fold, value, initial, loop), loop)
    return finish(ctx, value, x.shape, axes, keepdims, out)


def reduce_extreme(
    fold: Fold, a: Any, axis: Any, out: Any, keepdims: Any, initial: Any, where: Any
) -> NKIPyTensorRef:
    """The largest or smallest element, NaN if there is one."""
    ctx = get_hlo_context()
    x = operand(a)
    axes = many_axes(axis, x.ndim)
    assert x.dtype is not None
    mask = mask_for(ctx, where, x.shape)
    if initial is None or initial is NO_VALUE:
        need_elements(fold, x, axes, mask)
    value = keep_where(ctx, mask, x, fold.start(x.dtype))
    value = fold.over(ctx, value, axes)
    value = _with_initial(ctx, fold, value, initial, x.dtype)
    return finish(ctx, value, x.shape, axes, keepdims, out)


def need_elements(
    fold: Fold, x: Value, axes: tuple[int, ...], mask: Value | None
) -> None:
    if mask is not None:
        raise ValueError(
            f"reduction operation '{fold.opcode}' does not have an identity, so to use "
            "a where mask one has to specify 'initial'"
        )
    rest = [d for i, d in enumerate(x.shape) if i not in axes]
    if extent(x.shape, axes) == 0 and 0 not in rest:
        raise ValueError(
            f"zero-size array to reduction operation {fold.opcode} which has no "
            "identity"
        )


# -- samples ---------------------------------------------------------------------------
#: Shapes and axes of which every reduction must be right.
_AXES: tuple[tuple[tuple[int, ...], Any], ...] = (
    ((), None),
    ((), 0),
    ((5,), None),
    ((1, 67), -1),
    ((2, 3, 5), 1),
    ((2, 3, 5), (0, -1)),
    ((2, 3, 5), None),
    ((2, 3), ()),
)
_EMPTY: tuple[tuple[tuple[int, ...], Any], ...] = (((0,), None), ((3, 0, 2), 1))
_UNREDUCED_EMPTY: tuple[tuple[tuple[int, ...], Any], ...] = (((3, 0, 2), (0, 2)),)
_MASK = np.array([[True, False, True], [False, True, True]])


def _samples(
    dtype: np.dtype, low: float, high: float, empty: bool, options: list[dict[str, Any]]
) -> Iterator[Sample]:
    cases = _AXES + _UNREDUCED_EMPTY + (_EMPTY if empty else ())
    for shape, axis in cases:
        x = make(shape, dtype, low, high)
        yield Sample((x,), {"axis": axis}, f"shape{shape} axis {axis}")
    yield Sample((make((2, 3, 5), dtype, low, high),), {"axis": 1, "keepdims": True})
    yield Sample((special(dtype),), label="special")
    for i, kwargs in enumerate(options):
        yield Sample((make((2, 3), dtype, low, high, seed=i),), kwargs, f"option {i}")


def sum_samples(dtype: np.dtype) -> Iterator[Sample]:
    """Few, small elements: order and precision of the accumulation do not matter."""
    one: Any = True if dtype == dt.bool_ else 1
    options = [
        {"axis": 0, "initial": one, "where": _MASK},
        {"axis": 1, "where": np.array([True, False, True]), "keepdims": True},
        {"dtype": "float32"},
        {"dtype": "int16", "axis": 0},
        {"axis": 1, "out": np.zeros(2, np.float32)},
    ]
    yield from _samples(dtype, -2, 2, True, options)


def extreme_samples(dtype: np.dtype) -> Iterator[Sample]:
    """Integer extremes and NaN are in the special values."""
    one: Any = True if dtype == dt.bool_ else 1
    options = [
        {"axis": 0, "initial": one},
        {"axis": 1, "initial": one, "where": _MASK, "keepdims": True},
        {"axis": 0, "out": np.zeros(3, dtype)},
    ]
    yield from _samples(dtype, -100, 100, False, options)
    yield Sample((make((0, 3), dtype),), {"axis": 0, "initial": one}, "empty, initial")


def truth_samples(dtype: np.dtype) -> Iterator[Sample]:
    """Zeros and non-zeros of every kind."""
    yield from _samples(dtype, -1, 1, True, [{"axis": 1, "where": _MASK}])
    yield Sample((make((3, 4), dtype) * np.zeros((), dtype),), {"axis": 0}, "zeros")


_AXIS_ERRORS = (
    ErrorSample((X,), {"axis": 2}, np.exceptions.AxisError, "out of bounds"),
    ErrorSample((X,), {"axis": (0, -3)}, np.exceptions.AxisError, "out of bounds"),
    ErrorSample((X,), {"axis": (1, -1)}, ValueError, "duplicate"),
    ErrorSample((X,), {"axis": [0, 1]}, TypeError, "integer"),
    ErrorSample((X,), {"axis": 1.0}, TypeError, "integer"),
)
_ERRORS = _AXIS_ERRORS + (
    ErrorSample((X,), {"where": np.array([1, 0, 1])}, TypeError, "boolean"),
    ErrorSample((X,), {"where": np.ones((2, 2, 3), bool)}, ValueError, "broadcast"),
)


# -- records ---------------------------------------------------------------------------
_SUM_ERRORS = _ERRORS + (
    ErrorSample((X,), {"axis": 0, "out": np.zeros(2)}, ValueError, "out="),
    ErrorSample((X,), {"dtype": np.complex64}, TypeError, "complex64"),
)


def lower_by_accumulation(op: Op, fold: Fold, prepare: Prepare = as_tensor) -> None:
    """Give `op` the signature of ``numpy.sum`` and a lowering by `fold`.

    Args:
        prepare: what is done to the operand first.
    """

    @op.impl("hlo")
    def lower(
        a: Any,
        axis: Any = None,
        dtype: Any = None,
        out: Any = None,
        keepdims: Any = False,
        initial: Any = None,
        where: Any = True,
    ) -> NKIPyTensorRef:
        value = prepare(a)
        return accumulate(fold, value, axis, dtype, out, keepdims, initial, where)


def lower_by_extreme(op: Op, reduce: Callable[..., NKIPyTensorRef], fold: Fold) -> None:
    """Give `op` the signature of ``numpy.max`` and the lowering `reduce`."""

    @op.impl("hlo")
    def lower(
        a: Any,
        axis: Any = None,
        out: Any = None,
        keepdims: Any = False,
        initial: Any = None,
        where: Any = True,
    ) -> NKIPyTensorRef:
        return reduce(fold, a, axis, out, keepdims, initial, where)


def _sum_op(function: Callable[..., Any], fold: Fold) -> Op:
    op = Op(
        function.__name__,
        numpy=function,
        dtypes=ALL,
        samples=sum_samples,
        errors=_SUM_ERRORS,
        reference=rounding_once(function),
    )
    op.__doc__ = f"``numpy.{op.name}``; bool and small integers combine in 32 bits."
    lower_by_accumulation(op, fold)
    return op


sum_ = _sum_op(np.sum, ADD)
prod = _sum_op(np.prod, MULTIPLY)

_EXTREME_ERRORS = _ERRORS[:5] + (
    ErrorSample((X,), {"where": X > 0}, ValueError, "initial"),
    ErrorSample((np.zeros((0, 3), np.float32),), {"axis": 0}, ValueError, "zero-size"),
    ErrorSample((np.ones((), np.int8),), {"initial": 300}, OverflowError, "bounds"),
    ErrorSample((X,), {"initial": np.zeros(3)}, ValueError, "scalar"),
)


def _extreme_op(name: str, functions: set[Callable[..., Any]], fold: Fold) -> Op:
    op = Op(
        name,
        numpy=sorted(functions, key=lambda f: f.__name__ != name),
        dtypes=ALL,
        samples=extreme_samples,
        errors=_EXTREME_ERRORS,
    )
    op.__doc__ = f"``numpy.{name}``; NaN if any element is."
    lower_by_extreme(op, reduce_extreme, fold)
    return op


# NumPy 2.1 and before have two functions for each.
max_ = _extreme_op("max", {np.max, np.amax}, MAXIMUM)
min_ = _extreme_op("min", {np.min, np.amin}, MINIMUM)


# -- truth -----------------------------------------------------------------------------
def _truth(
    fold: Fold, a: Any, axis: Any, out: Any, keepdims: Any, where: Any
) -> NKIPyTensorRef:
    ctx = get_hlo_context()
    x = operand(a)
    axes = many_axes(axis, x.ndim)
    mask = mask_for(ctx, where, x.shape)
    truth = keep_where(ctx, mask, ctx.convert(x, dt.bool_), fold.neutral)
    value = ctx.reduce(truth, fold.bool_opcode, bool(fold.neutral), axes)
    return finish(ctx, value, x.shape, axes, keepdims, out)


def _truth_op(function: Callable[..., Any], fold: Fold) -> Op:
    op = Op(
        function.__name__,
        numpy=function,
        dtypes=ALL,
        samples=truth_samples,
        errors=_ERRORS,
    )

    @op.impl("hlo")
    def lower(
        a: Any,
        axis: Any = None,
        out: Any = None,
        keepdims: Any = False,
        *,
        where: Any = True,
    ) -> NKIPyTensorRef:
        return _truth(fold, a, axis, out, keepdims, where)

    op.__doc__ = f"``numpy.{op.name}``; NaN counts as true."
    return op


any_ = _truth_op(np.any, ADD)
all_ = _truth_op(np.all, MULTIPLY)
