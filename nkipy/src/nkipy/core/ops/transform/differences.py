"""Integrals and derivatives of samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import HLOTraceContext, as_hlo_tensor, get_hlo_context
from nkipy.core.ops._reduction import (
    many_axes,
    one_axis,
    operand,
    rounding_once,
    spread,
)
from nkipy.core.ops._registry import Op, supports
from nkipy.core.ops._samples import ErrorSample, Sample, make
from nkipy.core.tensor import NKIPyTensorRef, as_operand
from nkipy.hlo.builder import Value

NUMERIC = supports(dt.FLOATS, dt.FP8, dt.INTEGERS)
_X = make((2, 3), dt.float32)
_AXIS_ERROR = ErrorSample((_X,), {"axis": 2}, np.exceptions.AxisError, "out of bounds")


# -- trapezoid -------------------------------------------------------------------------
def _trapezoid_samples(dtype: np.dtype) -> Iterator[Sample]:
    for shape, axis in (((5,), -1), ((2, 3, 4), 1), ((1,), 0), ((0,), 0)):
        yield Sample((make(shape, dtype),), {"axis": axis}, f"{shape} {axis}")
    yield Sample((make((2, 4), dtype),), {"dx": 0.5}, "dx")
    x = make((4,), dtype, 0, 3, seed=1)
    yield Sample((make((2, 4), dtype), x), label="x")
    yield Sample((make((4, 2), dtype), x), {"axis": 0}, "x along axis 0")
    yield Sample((make((2, 4), dtype), make((2, 4), dtype, 0, 3)), label="x of all")


trapezoid = Op(
    "trapezoid",
    numpy=np.trapezoid,
    dtypes=supports(dt.FLOATS, dt.SIGNED),
    samples=_trapezoid_samples,
    reference=rounding_once(np.trapezoid),
    errors=(_AXIS_ERROR, ErrorSample((_X, _X[0, :2]), {}, ValueError, "shape")),
)


@trapezoid.impl("hlo")
def _trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: Any = -1) -> NKIPyTensorRef:
    """``numpy.trapezoid``, in float32."""
    ctx = get_hlo_context()
    values = operand(y)
    along = one_axis(axis, values.ndim)
    result = _trapezoid_dtype(values, x, dx)
    values = ctx.convert(values, dt.float32)
    pairs = ctx.add(*_neighbours(ctx, values, along))
    width = _widths(ctx, x, dx, pairs.shape, along)
    areas = ctx.multiply(ctx.multiply(pairs, width), ctx.full_like(pairs, 0.5))
    total = ctx.reduce(areas, "add", 0, (along,))
    return NKIPyTensorRef._wrap(ctx, ctx.convert(total, result))


def _trapezoid_dtype(y: Value, x: Any, dx: Any) -> np.dtype:
    own = np.ones(2, y.dtype)
    given = None if x is None else np.ones(2, as_operand(x).dtype)
    width: Any = np.ones((), dx.dtype) if hasattr(dx, "dtype") else dx
    return dt.narrow(np.trapezoid(own, given, width).dtype)


def _neighbours(ctx: HLOTraceContext, x: Value, axis: int) -> tuple[Value, Value]:
    """All but the first element along `axis`, and all but the last."""
    size = x.shape[axis]
    after = ctx.slice_dim(x, axis, min(1, size), size)
    return after, ctx.slice_dim(x, axis, 0, max(size - 1, 0))


def _widths(
    ctx: HLOTraceContext, x: Any, dx: Any, shape: tuple[int, ...], axis: int
) -> Value:
    if x is None:
        width = as_hlo_tensor(ctx, as_operand(dx), dt.float32)
        return ctx.broadcast_to(width, shape)
    places = ctx.convert(operand(x), dt.float32)
    one_row = places.ndim == 1
    places = ctx.subtract(*_neighbours(ctx, places, 0 if one_row else axis))
    if one_row:
        if places.shape != (shape[axis],):
            raise ValueError(
                f"x and y have different shape along axis {axis}: x has intervals "
                f"{places.shape}, y {shape}"
            )
        others = [i for i in range(len(shape)) if i != axis]
        return spread(ctx, places, shape, others)
    if np.broadcast_shapes(places.shape, shape) != shape:
        raise ValueError(f"x of shape {places.shape} does not fit y of shape {shape}")
    return ctx.broadcast_to(places, shape)


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
    dtypes=supports(dt.FLOATS, dt.INTEGERS),
    samples=_gradient_samples,
    reference=rounding_once(np.gradient),
    errors=(
        _AXIS_ERROR,
        ErrorSample((_X[:, :1],), {}, ValueError, "too small"),
        ErrorSample((_X,), {"edge_order": 3}, ValueError, "order"),
        ErrorSample((_X, 1, 2, 3), {}, TypeError, "number of arguments"),
        ErrorSample((_X, _X[0]), {"axis": 1}, NotImplementedError, "spacing"),
        ErrorSample((_X > 0,), {}, TypeError, "boolean"),
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
    result = x.dtype if x.dtype in (dt.float16, dt.float32) else dt.float32
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
