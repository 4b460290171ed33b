"""Integrals of samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import HLOTraceContext, get_hlo_context
from nkipy.core.op_table import OPS
from nkipy.core.ops._cases import X
from nkipy.core.ops._dtype_sets import ALL
from nkipy.core.ops._reduction import (
    one_axis,
    operand,
    rounding_once,
)
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import ErrorSample, Sample, make
from nkipy.core.promotion import common_dtype, is_ours, kind_of, result_type
from nkipy.core.tensor import NKIPyTensorRef, as_operand, as_tensor
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
    if dt.is_integer(dtype):
        largest = np.full(3, np.iinfo(dtype).max, dtype)
        yield Sample((largest,), label="sums wrap")
    if dtype == dt.int32:
        heights = np.array([1, -2, -3], np.int32)  # no sum cancels in float32
        large = np.array([0, 2**31, 2**31 + 2**30], np.uint32)
        yield Sample((heights, large), label="large uint32 x")
        yield Sample((large, heights), label="large uint32")


trapezoid = Op(
    "trapezoid",
    numpy=np.trapezoid,
    dtypes=ALL,
    samples=_trapezoid_samples,
    reference=rounding_once(np.trapezoid),
    errors=(_AXIS_ERROR, ErrorSample((X, X[0, :2]), {}, ValueError, "shape")),
)


@trapezoid.impl("hlo")
def _trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: Any = -1) -> NKIPyTensorRef:
    """``numpy.trapezoid``, in float32; integers are added before they are halved."""
    ctx = get_hlo_context()
    values = operand(y)
    along = one_axis(axis, values.ndim)
    result = _trapezoid_dtype(values, x, dx)
    pairs = OPS["add"](*_neighbours(_exact(ctx, values), along))
    width = _widths(ctx, x, dx, pairs.shape, along)
    if _beyond_int32(width, pairs):
        width, pairs = as_tensor(width, dt.float32), as_tensor(pairs, dt.float32)
    areas = as_tensor(OPS["multiply"](width, pairs), dt.float32).backend_tensor
    areas = ctx.multiply(areas, ctx.full_like(areas, 0.5))
    total = ctx.reduce(areas, "add", 0, (along,))
    return NKIPyTensorRef._wrap(ctx, ctx.convert(total, result))


def _exact(ctx: HLOTraceContext, x: Value) -> NKIPyTensorRef:
    """Floats in float32; integers and bool as they are, whose sums NumPy wraps."""
    exact = ctx.convert(x, dt.float32) if dt.is_float(x.dtype) else x
    return NKIPyTensorRef._wrap(ctx, exact)


def _beyond_int32(*factors: Any) -> bool:
    """Whether NumPy multiplies them in int64 as one is uint32, the other signed."""
    is_mixed = dt.uint32 in [kind_of(factor) for factor in factors]
    return is_mixed and result_type(*factors) == dt.int32


def _trapezoid_dtype(y: Value, x: Any, dx: Any) -> np.dtype:
    kinds = [kind_of(as_operand(v)) for v in (y, x, dx) if v is not None]
    if any(map(is_ours, kinds)):
        return common_dtype(*kinds)
    own = np.ones(2, y.dtype)
    given = None if x is None else np.ones(2, as_operand(x).dtype)
    width: Any = np.ones((), dx.dtype) if hasattr(dx, "dtype") else dx
    return dt.narrow(np.trapezoid(own, given, width).dtype)


def _neighbours(x: NKIPyTensorRef, axis: int) -> tuple[Any, Any]:
    """All but the first element along `axis`, and all but the last."""
    before = (slice(None),) * axis
    return x[(*before, slice(1, None))], x[(*before, slice(None, -1))]


def _widths(
    ctx: HLOTraceContext, x: Any, dx: Any, shape: tuple[int, ...], axis: int
) -> Any:
    """The widths of the intervals, which broadcast to `shape`."""
    if x is None:
        return as_operand(dx)
    places = _exact(ctx, operand(x))
    if places.ndim != 1:
        widths = OPS["diff"](places, axis=axis)
        if np.broadcast_shapes(widths.shape, shape) != shape:
            raise ValueError(
                f"x of shape {widths.shape} does not fit y of shape {shape}"
            )
        return widths
    widths = OPS["diff"](places)
    if widths.shape != (shape[axis],):
        raise ValueError(
            f"x and y have different shape along axis {axis}: x has intervals "
            f"{widths.shape}, y {shape}"
        )
    return OPS["reshape"](widths, (-1,) + (1,) * (len(shape) - 1 - axis))
