"""Ops that repeat elements: broadcasting, repeat, tile, resize."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from nkipy.core.ops._cases import A, X, call, cases
from nkipy.core.ops._dtype_sets import ALL
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import ErrorSample
from nkipy.core.ops._static_take import take_static
from nkipy.core.ops._views import Shape, Tensor, as_shape, broadcast_view, no_scalar
from nkipy.core.tensor import as_base, as_operand, as_tensor
from nkipy.hlo.builder import HLOBuilder, Value

AxisError = np.exceptions.AxisError


broadcast_to = Op(
    "broadcast_to",
    numpy=np.broadcast_to,
    dtypes=ALL,
    samples=cases(
        call(A(3, 1), (2, 3, 4)),
        call(A(), 5),
        call(A(1), (0,)),
        call(A(2, 3), (2, 3)),
    ),
    errors=[
        ErrorSample((X, (3, 3)), {}, ValueError, "broadcast"),
        ErrorSample((X, ()), {}, ValueError, "broadcast"),
        ErrorSample((X, (-1, 3)), {}, ValueError, "negative"),
    ],
)


@broadcast_to.impl("hlo")
def _broadcast_to(array: Any, shape: Any, subok: bool = False) -> Any:
    """`array` broadcast to `shape`. A read-only view."""
    dims = as_shape(shape)
    if dims and min(dims) < 0:
        raise ValueError("all elements of broadcast shape must be non-negative")
    return broadcast_view(as_tensor(array), dims)


broadcast_arrays = Op(
    "broadcast_arrays",
    numpy=np.broadcast_arrays,
    shares=True,
    dtypes=ALL,
    samples=cases(call(A(3, 1), A(4), A()), call(A(2), A(2))),
    errors=[ErrorSample((X, X.T), {}, ValueError, "broadcast")],
    note="the arrays returned are read-only; NumPy deprecates writing to them",
)


@broadcast_arrays.impl("hlo")
def _broadcast_arrays(*args: Any, subok: bool = False) -> Any:
    """Each array broadcast to their common shape. Read-only views."""
    tensors = [no_scalar(as_base(a)) for a in args]
    shape = np.broadcast_shapes(*(x.shape for x in tensors))
    return tuple(x if x.shape == shape else broadcast_view(x, shape) for x in tensors)


repeat = Op(
    "repeat",
    numpy=np.repeat,
    memory_order="made",
    dtypes=ALL,
    samples=cases(
        call(A(2, 3), 2),
        call(A(2, 3), 3, axis=1),
        call(A(2, 3), [2, 0, 1], -1),
        call(A(12), [0, 1, 2] * 4),
        call(A(3), [2]),
        call(A(), 2),
        call(A(), 2, 0),
        call(A(), [3], -1),
        call(A(2, 3), 0, 0),
    ),
    errors=[
        ErrorSample((X, -1), {}, ValueError, "negative"),
        ErrorSample((X, [1, 2], 1), {}, ValueError, "one count per element"),
        ErrorSample((X, 1.5), {}, TypeError, "integer"),
        ErrorSample((X, 2, 2), {}, AxisError, "out of bounds"),
        ErrorSample((np.ones(()), 2, 1), {}, AxisError, "out of bounds"),
        ErrorSample((X, np.ones(3, int), 1), {}, NotImplementedError, "static"),
    ],
)


@repeat.impl("hlo")
def _repeat(a: Any, repeats: Any, axis: int | None = None) -> Any:
    """Each element of `a` several times, along `axis` or in its flat order.

    Raises:
        NotImplementedError: `repeats` is traced, on which the shape would depend.
    """
    x = as_tensor(a)
    ctx, value = x._ctx, x.backend_tensor
    if axis is None or not x.shape:  # a 0-d array has an axis 0 here
        value = ctx.reshape(value, (x.size,))
    axis = normalize_axis_index(axis or 0, value.ndim)
    counts = _counts(repeats, value.shape[axis])
    if counts.size == 1:
        return Tensor._wrap(ctx, _repeat_evenly(ctx, value, int(counts[0]), axis))
    indices = np.repeat(np.arange(len(counts)), counts)
    return Tensor._wrap(ctx, take_static(ctx, value, indices, axis))


def _counts(repeats: Any, size: int) -> np.ndarray:
    if isinstance(as_operand(repeats), Tensor):
        raise NotImplementedError(
            "repeats must be static: the result's shape depends on it"
        )
    counts = np.asarray(repeats)
    if counts.dtype.kind not in "iub" and counts.size:
        raise TypeError(
            f"repeats must be an integer, or integers, but is {counts.dtype}"
        )
    counts = counts.astype(np.int64).reshape(-1)
    if counts.size and counts.min() < 0:
        raise ValueError("repeats may not contain negative values")
    if counts.size not in (1, size):
        raise ValueError(
            f"repeats needs one count per element: {counts.size} for {size}"
        )
    return counts


def _repeat_evenly(b: HLOBuilder, x: Value, count: int, axis: int) -> Value:
    if count == 1:
        return x
    before, after = x.shape[: axis + 1], x.shape[axis + 1 :]
    kept = [i if i <= axis else i + 1 for i in range(x.ndim)]
    longer = b.broadcast_in_dim(x, (*before, count, *after), kept)
    return b.reshape(longer, (*before[:-1], before[-1] * count, *after))


tile = Op(
    "tile",
    numpy=np.tile,
    dtypes=ALL,
    samples=cases(
        call(A(2, 3), 2),
        call(A(2, 3), (2, 1)),
        call(A(3), (2, 2)),
        call(A(2, 3, 2), (3,)),
        call(A(), (2, 0)),
        call(A(2, 3), ()),
    ),
    errors=[
        ErrorSample((X, -1), {}, ValueError, "negative"),
        ErrorSample((X, 1.5), {}, TypeError, "integer"),
    ],
)


@tile.impl("hlo")
def _tile(A: Any, reps: Any) -> Any:
    """`A` laid beside itself ``reps[i]`` times along dimension `i`."""
    x = as_tensor(A)
    ctx = x._ctx
    counts = as_shape(reps)
    if counts and min(counts) < 0:
        raise ValueError(f"negative repetitions: {counts}")
    ndim = max(x.ndim, len(counts))
    shape = (1,) * (ndim - x.ndim) + x.shape
    counts = (1,) * (ndim - len(counts)) + counts
    value = ctx.reshape(x.backend_tensor, shape)
    if any(c != 1 for c in counts):
        value = _tile_value(ctx, value, counts)
    return no_scalar(Tensor._wrap(ctx, value))


def _tile_value(b: HLOBuilder, x: Value, counts: Shape) -> Value:
    grid: list[int] = []
    kept: list[int] = []
    for count, d in zip(counts, x.shape):
        if count != 1:
            grid.append(count)
        kept.append(len(grid))
        grid.append(d)
    tiled = b.broadcast_in_dim(x, grid, kept)
    return b.reshape(tiled, [c * d for c, d in zip(counts, x.shape)])


resize = Op(
    "resize",
    numpy=np.resize,
    dtypes=ALL,
    samples=cases(
        call(A(2, 3), (3, 4)),
        call(A(2, 3), 4),
        call(A(2, 3), (3, 2)),
        call(A(0), (2, 2)),
        call(A(3), (0,)),
    ),
    errors=[ErrorSample((X, (3, -1)), {}, ValueError, "non-negative")],
)


@resize.impl("hlo")
def _resize(a: Any, new_shape: Any) -> Any:
    """The elements of `a`, repeated or cut off, in a shape of any size."""
    x = as_tensor(a)
    ctx = x._ctx
    shape = as_shape(new_shape)
    if shape and min(shape) < 0:
        raise ValueError("all elements of `new_shape` must be non-negative")
    size = prod(shape)
    if not x.size or not size:
        return Tensor._wrap(ctx, ctx.full(shape, 0, x.dtype))
    flat = ctx.reshape(x.backend_tensor, (x.size,))
    if size > x.size:
        flat = _tile_value(ctx, flat, (-(-size // x.size),))
    cut = ctx.reshape(ctx.slice_dim(flat, 0, 0, size), shape)
    return no_scalar(Tensor._wrap(ctx, cut))
