"""Differences of neighbours, and derivatives of samples."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import HLOTraceContext, as_hlo_tensor, get_hlo_context
from nkipy.core.op_table import OPS
from nkipy.core.ops._cases import A, X, call, cases
from nkipy.core.ops._dtype_sets import NUMERIC
from nkipy.core.ops._reduction import (
    many_axes,
    one_axis,
    operand,
    rounding_once,
)
from nkipy.core.ops._registry import Op, supports
from nkipy.core.ops._samples import ErrorSample, Sample, make
from nkipy.core.ops._views import Shape, Tensor, in_shape
from nkipy.core.ops.transform.joining import concatenate
from nkipy.core.promotion import as_arrays, can_cast, float64_type, is_ours
from nkipy.core.tensor import NKIPyTensorRef, as_operand, as_tensor
from nkipy.hlo.builder import Value

AxisError = np.exceptions.AxisError

_AXIS_ERROR = ErrorSample((X,), {"axis": 2}, np.exceptions.AxisError, "out of bounds")


# -- gradient --------------------------------------------------------------------------
def _gradient_samples(dtype: np.dtype) -> Iterator[Sample]:
    yield Sample((make((5,), dtype),), label="1-D")
    yield Sample((make((2,), dtype),), label="two elements")
    yield Sample((make((3, 4), dtype), 0.5), label="both axes, one spacing")
    yield Sample((make((3, 4), dtype), 0.5, 2), label="both axes, two spacings")
    yield Sample((make((3, 4), dtype),), {"axis": -1, "edge_order": 2}, "edge order 2")
    yield Sample((make((3, 4), dtype),), {"axis": (1,)}, "tuple of one axis")


gradient = Op(
    "gradient",
    numpy=np.gradient,
    dtypes=NUMERIC,
    samples=_gradient_samples,
    reference=rounding_once(np.gradient),
    errors=(
        _AXIS_ERROR,
        ErrorSample((X[:, :1],), {}, ValueError, "too small"),
        ErrorSample((X,), {"edge_order": 3}, ValueError, "order"),
        ErrorSample((X, 1, 2, 3), {}, TypeError, "number of arguments"),
        ErrorSample((X, X[0]), {"axis": 1}, NotImplementedError, "spacing"),
        ErrorSample((X > 0,), {}, TypeError, "boolean"),
    ),
    note="the spacing along an axis is one number",
)


@gradient.impl("hlo")
def _gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """``numpy.gradient`` with a uniform spacing, in float32."""
    ctx = get_hlo_context()
    x = operand(f)
    if x.dtype == dt.bool_:
        raise TypeError("boolean subtract is not supported; convert to a float first")
    if edge_order not in (1, 2):
        raise ValueError("'edge_order' greater than 2 not supported")
    axes = _in_order(axis, x.ndim)
    result = x.dtype if x.dtype == dt.float16 else float64_type(x.dtype)
    spacings = _spacings(ctx, varargs, len(axes))
    x = ctx.convert(x, dt.float32)
    slopes = tuple(
        NKIPyTensorRef._wrap(
            ctx, ctx.convert(_slopes(ctx, x, a, h, edge_order), result)
        )
        for a, h in zip(axes, spacings)
    )
    return slopes[0] if len(slopes) == 1 else slopes


def _in_order(axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes as they were named: the results come in that order."""
    if not isinstance(axis, tuple):
        return many_axes(axis, ndim)
    many_axes(axis, ndim)
    return tuple(one_axis(a, ndim) for a in axis)


def _spacings(ctx: HLOTraceContext, given: tuple[Any, ...], n: int) -> list[Value]:
    if len(given) not in (0, 1, n):
        raise TypeError("invalid number of arguments")
    values = [as_hlo_tensor(ctx, as_operand(h), dt.float32) for h in given or (1.0,)]
    if any(h.shape for h in values):
        raise NotImplementedError(
            "only a uniform spacing, one number per axis, has a lowering"
        )
    return values * n if len(values) == 1 else values


def _slopes(
    ctx: HLOTraceContext, x: Value, axis: int, spacing: Value, edge_order: int
) -> Value:
    size = x.shape[axis]
    if size < edge_order + 1:
        raise ValueError(
            "Shape of array too small to calculate a numerical gradient, at least "
            "(edge_order + 1) elements are required."
        )

    def part(start: int, stop: int) -> Value:
        return ctx.slice_dim(x, axis, start, stop)

    inner = ctx.subtract(part(2, size), part(0, size - 2)) if size > 2 else None
    first = _edge(ctx, [part(i, i + 1) for i in range(edge_order + 1)])
    last = _edge(ctx, [part(size - 1 - i, size - i) for i in range(edge_order + 1)])
    last = ctx.negate(last)
    parts = [first, last]
    if inner is not None:
        parts.insert(1, ctx.multiply(inner, ctx.full_like(inner, 0.5)))
    rise = ctx.concatenate(parts, axis)
    return ctx.divide(rise, ctx.broadcast_to(spacing, rise.shape))


def _edge(ctx: HLOTraceContext, x: list[Value]) -> Value:
    """The rise at ``x[0]``, towards ``x[1]``, by a line or a parabola."""
    if len(x) == 2:
        return ctx.subtract(x[1], x[0])
    terms = [ctx.multiply(v, ctx.full_like(v, c)) for v, c in zip(x, (-1.5, 2.0, -0.5))]
    return ctx.add(ctx.add(terms[0], terms[1]), terms[2])


diff = Op(
    "diff",
    numpy=np.diff,
    dtypes=supports(dt.FLOATS, dt.INTEGERS, dt.bool_),
    samples=cases(
        call(A(6)),
        call(A(3, 4), n=2),
        call(A(3, 4), axis=0, prepend=True),
        call(A(3, 4), 1, -1, A(3, 1), A(3, 2)),
        call(A(2, 3), n=0),
        call(A(2, 3), 5),
        call(A(3), append=A()),
    ),
    errors=[
        ErrorSample((np.ones(()),), {}, ValueError, "at least one dimension"),
        ErrorSample((X, -1), {}, ValueError, "non-negative"),
        ErrorSample((X, 1, 2), {}, AxisError, "out of bounds"),
    ],
)


@diff.impl("hlo")
def _diff(
    a: Any,
    n: int = 1,
    axis: int = -1,
    prepend: Any = np._NoValue,
    append: Any = np._NoValue,
) -> Any:
    """Differences of neighbours along `axis`, taken `n` times; of bools, inequality."""
    x = as_tensor(a)
    if n < 0:
        raise ValueError(f"order must be non-negative but got {n}")
    if not x.ndim:
        raise ValueError("diff requires input that is at least one dimensional")
    if n == 0:
        return x
    axis = normalize_axis_index(axis, x.ndim)
    before, _, after = as_arrays([_given(prepend), x, _given(append)])
    ends = [_end(e, x.shape, axis) for e in (before, after)]
    if any(e is not None for e in ends):
        x = concatenate([e for e in (ends[0], x, ends[1]) if e is not None], axis)
    own = x.dtype
    if is_ours(own) and n > 1:  # rounded once, at the end
        x = x.astype(np.float32)
    difference = OPS["not_equal" if x.dtype == dt.bool_ else "subtract"]
    for _ in range(operator.index(n)):
        size = x.shape[axis]
        later = _section(x, axis, min(1, size), size)
        x = difference(later, _section(x, axis, 0, max(0, size - 1)))
    return x if own == dt.bool_ else x.astype(own, copy=False)


def _section(x: Tensor, axis: int, start: int, stop: int) -> Tensor:
    return Tensor._wrap(x._ctx, x._ctx.slice_dim(x.backend_tensor, axis, start, stop))


def _given(values: Any) -> Any:
    return None if values is np._NoValue else as_operand(values)


def _end(values: Any, shape: Shape, axis: int) -> Any:
    if values is None or np.ndim(values):
        return values
    shape = (*shape[:axis], 1, *shape[axis + 1 :])
    if isinstance(values, Tensor):
        return OPS["broadcast_to"](values, shape)
    return np.broadcast_to(values, shape)  # keeps the dtype that promotion is to see


ediff1d = Op(
    "ediff1d",
    numpy=np.ediff1d,
    dtypes=supports(dt.FLOATS, dt.INTEGERS),
    samples=cases(call(A(6)), call(A(2, 3)), call(A(3), A(2), A(1)), call(A(1))),
    errors=[ErrorSample((X.astype("i4"), X[0]), {}, TypeError, "be compatible")],
)


@ediff1d.impl("hlo")
def _ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    """Differences of neighbours in flat order, between `to_begin` and `to_end`.

    Raises:
        TypeError: what to add cannot be cast to the dtype of `ary`, or that
            is bool.
    """
    x = as_tensor(ary)
    if x.dtype == dt.bool_:
        raise TypeError(
            "booleans cannot be subtracted: use np.diff, which tells where they differ"
        )
    parts = [_diff(in_shape(x, (x.size,)))]
    for position, name, values in ((0, "to_begin", to_begin), (2, "to_end", to_end)):
        if values is None:
            continue
        end = as_tensor(values)
        if not can_cast(end.dtype, x.dtype, "same_kind"):
            raise TypeError(
                f"dtype of `{name}` must be compatible with input `ary` under the "
                "`same_kind` rule."
            )
        end = in_shape(as_tensor(end, x.dtype), (end.size,))
        parts.insert(position, end)
    return concatenate(parts)
