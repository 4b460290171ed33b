"""Integrals of samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import HLOTraceContext, as_hlo_tensor, get_hlo_context
from nkipy.core.ops._cases import X
from nkipy.core.ops._reduction import (
    one_axis,
    operand,
    rounding_once,
    spread,
)
from nkipy.core.ops._registry import Op, supports
from nkipy.core.ops._samples import ErrorSample, Sample, make
from nkipy.core.promotion import common_dtype, is_ours, kind_of
from nkipy.core.tensor import NKIPyTensorRef, as_operand
from nkipy.hlo.builder import Value

_AXIS_ERROR = ErrorSample((X,), {"axis": 2}, np.exceptions.AxisError, "out of bounds")


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
    dtypes=supports(dt.FLOATS, dt.FP8, dt.SIGNED),
    samples=_trapezoid_samples,
    reference=rounding_once(np.trapezoid),
    errors=(_AXIS_ERROR, ErrorSample((X, X[0, :2]), {}, ValueError, "shape")),
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
    kinds = [kind_of(as_operand(v)) for v in (y, x, dx) if v is not None]
    if any(map(is_ours, kinds)):
        return common_dtype(*kinds)
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
