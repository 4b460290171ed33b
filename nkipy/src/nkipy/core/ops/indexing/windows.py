"""Reads and stores of windows of an array that return a new one, as HLO has them.

NumPy says the same with ``a[index]`` and ``a[index] = value``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import index as as_int
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import HLOTraceContext, get_hlo_context
from nkipy.core.ops._reduction import one_axis
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import ErrorSample, Sample, make
from nkipy.core.ops.indexing.items import setitem, store_value
from nkipy.core.tensor import NKIPyTensorRef, as_operand, as_tensor
from nkipy.hlo.builder import Value

_X = np.zeros((3, 4), np.float32)


def _window(
    shape: tuple[int, ...], starts: Any, limits: Any, strides: Any = None
) -> tuple[slice, ...]:
    """The window as an index. Raises ValueError where it is not within `shape`."""
    strides = (1,) * len(shape) if strides is None else strides
    rows = [tuple(map(as_int, row)) for row in (starts, limits, strides)]
    if any(len(row) != len(shape) for row in rows):
        raise ValueError(
            f"an array of {len(shape)} dimensions takes as many start indices, limit "
            f"indices and strides, but received {[len(row) for row in rows]}"
        )
    for axis, (size, start, limit, stride) in enumerate(zip(shape, *rows)):
        if not 0 <= start <= limit <= size or stride < 1:
            raise ValueError(
                f"axis {axis} of size {size} has no window from {start} to {limit} in "
                f"steps of {stride}"
            )
    return tuple(map(slice, *rows))


def _stored(x: np.ndarray, index: Any, value: Any) -> np.ndarray:
    """A copy of `x` with ``x[index] = value``."""
    made = np.array(x)
    made[index] = value
    return made


def _stored_traced(x: Any, index: Any, value: Any) -> NKIPyTensorRef:
    made = NKIPyTensorRef._wrap(get_hlo_context(), as_tensor(x).backend_tensor)
    setitem(made, index, value)
    return made


# -- static_slice ----------------------------------------------------------------------
def _slice_samples(dtype: np.dtype) -> Iterator[Sample]:
    x = make((4, 7), dtype)
    yield Sample((x, (1, 0), (3, 7)))
    yield Sample((x, [0, 2], [4, 7], [2, 3]), label="strided")
    yield Sample((x, (4, 0), (4, 7)), label="empty")
    yield Sample((make((), dtype), (), ()), label="0-d")


static_slice = Op(
    "static_slice",
    dtypes=dt.SUPPORTED,
    samples=_slice_samples,
    reference=lambda x, *rows: x[tuple(map(slice, *rows))],
    memory_order="made",
    errors=(
        ErrorSample((_X, (0, 0), (3, 5)), match="axis 1 of size 4 has no window"),
        ErrorSample((_X, (-1, 0), (3, 4)), match="no window from -1"),
        ErrorSample((_X, (0, 0), (3, 4), (1, 0)), match="steps of 0"),
        ErrorSample((_X, (0,), (3,)), match="as many start indices"),
        ErrorSample((_X, (0, 0), (3, 1.5)), error=TypeError),
    ),
)


@static_slice.impl("hlo")
def _static_slice(
    x: Any,
    start_indices: Sequence[int],
    limit_indices: Sequence[int],
    strides: Sequence[int] | None = None,
) -> NKIPyTensorRef:
    """``x[start:limit:stride, ...]`` as a new array.

    Args:
        x: an array.
        start_indices, limit_indices: of each axis, ``0 <= start <= limit <= size``.
        strides: of each axis, positive; 1 by default.

    Raises:
        ValueError: the window is not within the array.
    """
    ctx = get_hlo_context()
    x = as_tensor(x)
    window = _window(x.shape, start_indices, limit_indices, strides)
    rows = zip(*((w.start, w.stop, w.step) for w in window)) if window else ((),) * 3
    return NKIPyTensorRef._wrap(ctx, ctx.slice(x.backend_tensor, *map(tuple, rows)))


@static_slice.impl("cpu")
def _static_slice_untraced(
    x: Any, start_indices: Any, limit_indices: Any, strides: Any = None
) -> np.ndarray:
    x = np.asarray(x)
    return x[_window(x.shape, start_indices, limit_indices, strides)].copy()


# -- dynamic_update_slice --------------------------------------------------------------
def _update_samples(dtype: np.dtype) -> Iterator[Sample]:
    x, part = make((4, 7), dtype), make((2, 3), dtype, seed=1)
    yield Sample((x, part, (1, 4)), label="static")
    for start in ((1, 2), (-3, 5), (99, 0)):
        traced = [np.array(s, np.int32) for s in start]
        yield Sample((x, part, traced), label=f"traced{start}")
    mixed = [np.array(2**32 - 1, np.uint32), 0]
    yield Sample((x, part, mixed), label="mixed")
    yield Sample((x, make((0, 3), dtype), (4, 4)), label="empty")
    yield Sample((make((), dtype), make((), dtype, seed=1), ()), label="0-d")


def _updated(x: np.ndarray, update: Any, start_indices: Any) -> np.ndarray:
    """By NumPy alone."""
    update = np.asarray(update)
    starts = [
        min(max(int(start), 0), size - extent)
        for start, size, extent in zip(start_indices, x.shape, update.shape)
    ]
    window = tuple(slice(s, s + extent) for s, extent in zip(starts, update.shape))
    return _stored(x, window, update)


dynamic_update_slice = Op(
    "dynamic_update_slice",
    dtypes=dt.SUPPORTED,
    samples=_update_samples,
    reference=_updated,
    errors=(
        ErrorSample((_X, _X, (0, 1)), match="does not fit"),
        ErrorSample((_X, _X[:1], (-1, 0)), match="does not fit"),
        ErrorSample((_X, _X[0], (0, 0)), match="as many dimensions"),
        ErrorSample((_X, _X, (0,)), match="as many start indices"),
        ErrorSample((_X, np.zeros((3, 5), np.float32), (0, 0)), match="larger"),
        ErrorSample((_X, _X, (0, np.array(0.5, np.float32))), error=TypeError),
    ),
    note="traced start indices out of range are moved into it, as HLO does",
)


@dynamic_update_slice.impl("hlo")
def _dynamic_update_slice(
    x: Any, update: Any, start_indices: Sequence[Any]
) -> NKIPyTensorRef:
    """A copy of `x` in which `update` stands from the start indices on.

    Args:
        x: an array.
        update: an array of as many dimensions, none of them larger; it is converted to
            the dtype of `x`.
        start_indices: of each axis an integer, which may be traced. A traced one that
            is out of range is moved into it, so that all of `update` is stored.

    Raises:
        ValueError: shapes or numbers of indices do not agree, or `update` does not fit
            where a static index puts it.
        TypeError: an index is no integer.
    """
    ctx = get_hlo_context()
    x = as_tensor(x)
    value = store_value(ctx, update, x.dtype)
    starts = tuple(start_indices)
    _check_update(x.shape, value.shape, starts)
    room = [size - extent for size, extent in zip(x.shape, value.shape)]
    operands = [_start(ctx, start, most) for start, most in zip(starts, room)]
    made = ctx.dynamic_update_slice(x.backend_tensor, value, operands)
    return NKIPyTensorRef._wrap(ctx, made)


@dynamic_update_slice.impl("cpu")
def _dynamic_update_slice_untraced(
    x: Any, update: Any, start_indices: Any
) -> np.ndarray:
    x, update = np.asarray(x), np.asarray(update)
    starts = tuple(start_indices)
    _check_update(x.shape, update.shape, starts)
    return _updated(x, update, list(map(as_int, starts)))


def _check_update(
    shape: tuple[int, ...], extents: tuple[int, ...], starts: tuple[Any, ...]
) -> None:
    if len(extents) != len(shape):
        raise ValueError(
            f"the update needs as many dimensions as the array, {len(shape)}, but has "
            f"{len(extents)}"
        )
    if len(starts) != len(shape):
        raise ValueError(
            f"an array of {len(shape)} dimensions takes as many start indices, but "
            f"received {len(starts)}"
        )
    for axis, (size, extent, start) in enumerate(zip(shape, extents, starts)):
        if extent > size:
            raise ValueError(f"axis {axis} of the update is larger: {extent} > {size}")
        if isinstance(start, (int, np.integer)) and not 0 <= start <= size - extent:
            raise ValueError(
                f"an update of {extent} does not fit at {start} of axis {axis}, which "
                f"has size {size}"
            )


def _start(ctx: HLOTraceContext, start: Any, most: int) -> Value:
    """A start index as an int32 scalar from 0 to `most`."""
    if isinstance(start, (int, np.integer)):
        return ctx.scalar(int(start), dt.int32)
    tensor = as_tensor(start)
    if tensor.shape or not dt.is_integer(tensor.dtype):
        raise TypeError(
            "a start index is an integer, or a traced one of no dimensions, but "
            f"received {tensor.dtype.name}{list(tensor.shape)}"
        )
    value = tensor.backend_tensor
    if value.dtype.itemsize < 4:
        value = ctx.convert(value, dt.int32)
    # Before it becomes int32, where some uint32 are negative.
    low, high = (ctx.scalar(bound, value.dtype) for bound in (0, most))
    return ctx.convert(ctx.clamp(low, value, high), dt.int32)


# -- scatter_strided -------------------------------------------------------------------
def _strided_samples(dtype: np.dtype) -> Iterator[Sample]:
    x = make((5, 7), dtype)
    rows = ((0, 1), (5, 7), (2, 3))
    yield Sample((x, make((3, 2), dtype, seed=1), *rows))
    yield Sample((x, make((2,), dtype, seed=1), *rows), label="broadcast")
    yield Sample((x, make((3, 0), dtype), (0, 2), (5, 2), (2, 1)), label="empty")
    yield Sample((x, make((2, 7), dtype, seed=1), (3, 0), (5, 7)), label="whole")


scatter_strided = Op(
    "scatter_strided",
    dtypes=dt.SUPPORTED,
    samples=_strided_samples,
    reference=lambda x, updates, *rows: _stored(x, tuple(map(slice, *rows)), updates),
    errors=(
        ErrorSample((_X, _X, (0, 0), (3, 5)), match="axis 1 of size 4 has no window"),
        ErrorSample((_X, _X, (0, 0), (3, 4), (2, 2)), match="broadcast"),
    ),
)


@scatter_strided.impl("hlo")
def _scatter_strided(
    x: Any,
    updates: Any,
    start_indices: Sequence[int],
    limit_indices: Sequence[int],
    strides: Sequence[int] | None = None,
) -> NKIPyTensorRef:
    """A copy of `x` with ``x[start:limit:stride, ...] = updates``.

    Args:
        x: an array.
        updates: what is stored, converted to the dtype of `x` and broadcast.
        start_indices, limit_indices: of each axis, ``0 <= start <= limit <= size``.
        strides: of each axis, positive; 1 by default.

    Raises:
        ValueError: the window is not within the array, or `updates` do not broadcast
            to its shape.
    """
    shape = as_tensor(x).shape
    window = _window(shape, start_indices, limit_indices, strides)
    return _stored_traced(x, window, updates)


@scatter_strided.modelling
def _scatter_strided_modelled(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    x = scatter_strided.bound(args, kwargs).arguments["x"]
    nowhere = (0,) * as_tensor(x).ndim
    return (x, 0, nowhere, nowhere), {}


@scatter_strided.impl("cpu")
def _scatter_strided_untraced(
    x: Any, updates: Any, start_indices: Any, limit_indices: Any, strides: Any = None
) -> np.ndarray:
    x = np.asarray(x)
    window = _window(x.shape, start_indices, limit_indices, strides)
    return _stored(x, window, updates)


# -- scatter_along_axis ----------------------------------------------------------------
def _axis_samples(dtype: np.dtype) -> Iterator[Sample]:
    x = make((4, 5, 3), dtype)
    index = np.array([3, 0, -4], np.int32)
    yield Sample((x, index, make((3, 5, 3), dtype, seed=1)), label="first axis")
    yield Sample((x, index, make((4, 3, 3), dtype, seed=1), 1), label="middle axis")
    last = np.array([2, -3], np.int32)
    yield Sample((x, last, make((2,), dtype, seed=1)), {"axis": -1}, label="last axis")
    yield Sample((x, [1, 1, 2], make((3, 5, 3), dtype, seed=1)), label="static, twice")
    yield Sample((x, index[0], make((4, 3), dtype, seed=1), 1), label="0-d")
    pairs = np.array([[0, 1], [2, 3]], np.uint8)
    yield Sample((x, pairs, make((2, 2, 5, 3), dtype, seed=1)), label="2-d")


def _stored_along(x: np.ndarray, indices: Any, updates: Any, axis: int = 0) -> Any:
    return _stored(x, (slice(None),) * (axis % x.ndim) + (indices,), updates)


scatter_along_axis = Op(
    "scatter_along_axis",
    dtypes=dt.SUPPORTED,
    samples=_axis_samples,
    reference=_stored_along,
    errors=(
        ErrorSample((_X, [3], _X[:1]), error=IndexError),
        ErrorSample((_X, [0], _X[:1]), {"axis": 2}, error=np.exceptions.AxisError),
        ErrorSample((_X, [True, False, True], 1), error=TypeError, match="integers"),
        ErrorSample((_X, np.zeros(2, np.float32), 1), error=TypeError),
        ErrorSample((_X, [0, 1], np.zeros((3, 4), np.float32)), match="broadcast"),
    ),
    note=setitem.note,
)


@scatter_along_axis.impl("hlo")
def _scatter_along_axis(
    x: Any, indices: Any, updates: Any, axis: int = 0
) -> NKIPyTensorRef:
    """A copy of `x` with ``x[:, indices] = updates``, the indices being of one axis.

    Args:
        x: an array.
        indices: integers, in any shape; negative ones count from the end.
        updates: what is stored, converted to the dtype of `x` and broadcast to its
            shape with that of `indices` in the place of `axis`.
        axis: the axis.

    Raises:
        AxisError: there is no such axis.
        IndexError: a static index is out of range. A traced one is not stored.
        TypeError: the indices are no integers.
        ValueError: `updates` do not broadcast.
    """
    axis = one_axis(axis, as_tensor(x).ndim)
    return _stored_traced(x, _along(axis, indices), updates)


@scatter_along_axis.impl("cpu")
def _scatter_along_axis_untraced(
    x: Any, indices: Any, updates: Any, axis: int = 0
) -> np.ndarray:
    x = np.asarray(x)
    return _stored(x, _along(one_axis(axis, x.ndim), indices), updates)


def _along(axis: int, indices: Any) -> tuple[Any, ...]:
    operand = as_operand(indices)
    dtype = operand.dtype if hasattr(operand, "dtype") else np.asarray(operand).dtype
    if not dt.is_integer(dt.narrow(dtype)):
        raise TypeError(f"the indices have to be integers, but are {dtype.name}")
    return (slice(None),) * axis + (indices,)
