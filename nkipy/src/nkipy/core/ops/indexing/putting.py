"""Stores into existing arrays: put, place, putmask and their relatives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import HLOTraceContext, as_hlo_tensor, get_hlo_context
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import ErrorSample, Sample, make
from nkipy.core.ops.indexing._along_axis import AlongAxis
from nkipy.core.ops.indexing._bounds import bounded
from nkipy.core.ops.indexing.items import broadcast_value, setitem, store_value
from nkipy.core.promotion import can_cast
from nkipy.core.tensor import NKIPyTensorRef, as_operand, as_tensor
from nkipy.hlo.builder import Value

_X = np.zeros((3, 4), np.float32)
_NOTE = "a traced index out of range is not stored, instead of raising."


def one(dtype: np.dtype) -> Any:
    return True if dtype == dt.bool_ else 1


def destination(a: Any) -> NKIPyTensorRef:
    if not isinstance(a, NKIPyTensorRef):
        raise TypeError(
            "the destination must be a traced array: a parameter, the result of an op, "
            f"or an array made inside the kernel, but received {type(a).__name__}"
        )
    return as_tensor(a)


def _flat_copy(ctx: HLOTraceContext, a: NKIPyTensorRef) -> NKIPyTensorRef:
    return NKIPyTensorRef._wrap(ctx, ctx.reshape(a.backend_tensor, (a.size,)))


def _store_flat(ctx: HLOTraceContext, a: NKIPyTensorRef, flat: NKIPyTensorRef) -> None:
    a._assign(ctx.reshape(flat.backend_tensor, a.shape))


def _cycled(ctx: HLOTraceContext, values: Any, count: int, dtype: np.dtype) -> Value:
    """`values`, flattened, repeated or cut to `count` elements of `dtype`."""
    value = store_value(ctx, values, dtype)
    size = int(np.prod(value.shape))
    if size == 1:
        return ctx.broadcast_to(ctx.reshape(value, ()), (count,))
    value = ctx.reshape(value, (size,))
    if size < count:
        times = -(-count // size)
        value = ctx.broadcast_in_dim(value, (times, size), (1,))
        value = ctx.reshape(value, (times * size,))
    return ctx.slice(value, (0,), (count,))


#: What the device has instead of dtypes of 64 bits stands for those too.
_STANDS_FOR = {
    dt.float32: np.dtype(np.float64),
    dt.int32: np.dtype(np.int64),
    dt.uint32: np.dtype(np.uint64),
}


def _check_safe(values: Any, dtype: np.dtype) -> None:
    """Raise TypeError for an array that putmask and place do not cast to `dtype`.

    Scalars may have any value, as in NumPy.
    """
    operand = as_operand(values)
    if isinstance(operand, NKIPyTensorRef):
        is_array = bool(operand.shape) or operand._is_zero_d_array()
    else:
        is_array = isinstance(operand, np.ndarray)
    if not is_array:
        return
    own = operand.dtype
    if not can_cast(dt.narrow(own), _STANDS_FOR.get(dtype, dtype), "safe"):
        raise TypeError(
            f"Cannot cast array data from {own.name} to {dtype.name} according to the "
            "rule 'safe'"
        )


# -- put -------------------------------------------------------------------------------
def _put_samples(dtype: np.dtype) -> Iterator[Sample]:
    index = np.array([[0, -1], [5, 2]], np.int32)
    yield Sample(
        (make((3, 4), dtype), index, make((4,), dtype, seed=1)), label="traced"
    )
    yield Sample((make((3, 4), dtype), [1, 1, 7], make((3,), dtype)), label="twice")
    yield Sample((make((3, 4), dtype), [1, 5, 7], make((2,), dtype)), label="cycled")
    yield Sample((make((3, 4), dtype), 3, one(dtype)), label="scalar")
    yield Sample((make((3, 4), dtype), index * 6, one(dtype), "wrap"), label="wrap")
    yield Sample((make((3, 4), dtype), [-9, 99], one(dtype)), {"mode": "clip"})
    yield Sample((make((3, 4), dtype), 99, one(dtype)), {"mode": "clip"}, "one, clip")
    yield Sample((make((3, 4), dtype), -9, one(dtype)), {"mode": "wrap"}, "one, wrap")


put = Op(
    "put",
    numpy=np.put,
    writes=("a",),
    dtypes=dt.SUPPORTED,
    samples=_put_samples,
    errors=(
        ErrorSample((_X, [12], 1), {}, IndexError, "out of bounds"),
        ErrorSample((_X, np.zeros(2), 1), {}, TypeError, "integer"),
    ),
    note=_NOTE,
)


@put.impl("hlo")
def _put(a: Any, ind: Any, v: Any, mode: str = "raise") -> None:
    """``a.flat[ind] = v``, with `v` repeated as necessary.

    Raises:
        IndexError: a static index is out of range.
        TypeError: the indices are not integers.
    """
    ctx = get_hlo_context()
    a = destination(a)
    index = bounded(ctx, ind, a.size, mode, wraps=False)
    count = int(np.prod(index.shape))
    if not count or np.size(v) == 0:
        return
    if isinstance(index, np.ndarray):
        entry: Any = index.ravel()
    else:
        entry = NKIPyTensorRef._wrap(ctx, ctx.reshape(index, (count,)))
    flat = _flat_copy(ctx, a)
    setitem(flat, entry, NKIPyTensorRef._wrap(ctx, _cycled(ctx, v, count, a.dtype)))
    _store_flat(ctx, a, flat)


# -- put_along_axis --------------------------------------------------------------------
def _along_samples(dtype: np.dtype) -> Iterator[Sample]:
    for axis in (0, 1):
        shape = [3, 4]
        shape[axis] = 2
        rows = np.array([[2, 0, 1, 2], [0, -1, 2, 1]], np.int32)
        index = rows if axis == 0 else np.array([[1, 3], [-1, 0], [2, 0]], np.int8)
        values = make(shape, dtype, seed=1)
        yield Sample((make((3, 4), dtype), index, values, axis), label=f"axis {axis}")
        yield Sample((make((3, 4), dtype), index, one(dtype), axis), label="scalar")
        yield Sample((make((3, 4), dtype), index, values[:1, :1], axis), label="value")
    first = np.array([[2, 0]], np.int32)
    row = make((3, 2), dtype, seed=1)
    yield Sample((make((3, 4), dtype), first, row, 1), label="broadcast index")
    yield Sample((make((3, 4), dtype), [[1, 1, 1]] * 3, row[:, :1], 1), label="static")
    yield Sample((make((3, 4), dtype), first[0], row[0], None), label="flat")


def _along_reference(arr: Any, indices: Any, values: Any, axis: Any) -> None:
    np.put_along_axis(arr, np.asarray(indices), values, axis)


put_along_axis = Op(
    "put_along_axis",
    numpy=np.put_along_axis,
    writes=("arr",),
    dtypes=dt.SUPPORTED,
    samples=_along_samples,
    reference=_along_reference,
    errors=(
        ErrorSample((_X, np.zeros(1, int), 1, 0), {}, ValueError, "same number"),
        ErrorSample((_X, np.zeros((1, 1)), 1, 0), {}, IndexError, "integer array"),
        ErrorSample((_X, [[0]], np.ones(3), 1), {}, ValueError, "broadcast"),
        ErrorSample((_X, [[4]], 1, 1), {}, IndexError, "out of bounds"),
    ),
    note=_NOTE,
)


@put_along_axis.impl("hlo")
def _put_along_axis(arr: Any, indices: Any, values: Any, axis: Any = -1) -> None:
    """Store `values` at `indices` along an axis, the other axes matched.

    Raises:
        ValueError: the ranks differ, or the values do not broadcast.
        IndexError: the indices are not integers, do not broadcast, or are out of range.
    """
    ctx = get_hlo_context()
    arr = destination(arr)
    x = arr.backend_tensor
    if axis is None:
        x, axis = ctx.reshape(x, (arr.size,)), 0
    along = AlongAxis(ctx, x.shape, indices, axis)
    stored = broadcast_value(ctx, store_value(ctx, values, arr.dtype), along.shape)
    arr._assign(ctx.reshape(along.write(ctx, x, stored), arr.shape))


# -- by mask ---------------------------------------------------------------------------
def _mask_samples(dtype: np.dtype) -> Iterator[Sample]:
    mask = make((3, 4), dt.bool_)
    yield Sample((make((3, 4), dtype), mask, one(dtype)), label="scalar")
    yield Sample(
        (make((3, 4), dtype), mask.tolist(), make((1,), dtype)), label="static"
    )


def _putmask_samples(dtype: np.dtype) -> Iterator[Sample]:
    yield from _mask_samples(dtype)
    mask = make((3, 4), dt.int32, 0, 1)
    yield Sample((make((3, 4), dtype), mask, make((3, 4), dtype, seed=1)), label="full")
    yield Sample((make((3, 4), dtype), mask, make((5,), dtype, seed=1)), label="cycled")


putmask = Op(
    "putmask",
    numpy=np.putmask,
    writes=("a",),
    dtypes=dt.SUPPORTED,
    samples=_putmask_samples,
    errors=(ErrorSample((_X, np.ones(3, bool), 1), {}, ValueError, "same size"),),
)


@putmask.impl("hlo")
def _putmask(a: Any, mask: Any, values: Any) -> None:
    """``a.flat[i] = values[i % values.size]`` wherever the mask holds.

    Raises:
        TypeError: the values are an array whose dtype cannot be cast safely.
        ValueError: the mask has another size.
    """
    ctx = get_hlo_context()
    a = destination(a)
    _check_safe(values, a.dtype)
    where = _flat_mask(ctx, a, mask, "putmask")
    if np.size(values) == 0:
        return
    flat = _flat_copy(ctx, a)
    new = _cycled(ctx, values, a.size, a.dtype)
    flat._assign(ctx.select(where, new, flat.backend_tensor))
    _store_flat(ctx, a, flat)


def _flat_mask(ctx: HLOTraceContext, a: NKIPyTensorRef, mask: Any, op: str) -> Value:
    where = as_hlo_tensor(ctx, as_operand(mask), dt.bool_)
    if int(np.prod(where.shape)) != a.size:
        raise ValueError(f"{op}: mask and data must be the same size")
    return ctx.reshape(where, (a.size,))


def _place_samples(dtype: np.dtype) -> Iterator[Sample]:
    yield from _mask_samples(dtype)
    mask = make((3, 4), dt.bool_).tolist()
    yield Sample((make((3, 4), dtype), mask, make((2,), dtype, seed=1)), label="cycled")


place = Op(
    "place",
    numpy=np.place,
    writes=("arr",),
    dtypes=dt.SUPPORTED,
    samples=_place_samples,
    errors=(
        ErrorSample(
            (_X, np.ones((3, 4), bool), np.ones(2)), {}, NotImplementedError, "np.where"
        ),
        ErrorSample((_X, [True] * 3, 1), {}, ValueError, "same size"),
    ),
)


@place.impl("hlo")
def _place(arr: Any, mask: Any, vals: Any) -> None:
    """Store `vals`, one after the other, where the mask holds.

    Raises:
        NotImplementedError: the mask is traced and there are several values.
        TypeError: the values are an array whose dtype cannot be cast safely.
        ValueError: the mask has another size, or there are no values.
    """
    a = destination(arr)
    mask = as_operand(mask)
    if np.size(vals) == 0:
        raise ValueError("Cannot insert from an empty array!")
    _check_safe(vals, a.dtype)
    if np.size(vals) == 1:
        _putmask(a, mask, vals)
        return
    if isinstance(mask, NKIPyTensorRef):
        raise NotImplementedError(
            "which value goes where depends on the traced mask; give one value for "
            "each element, with a[...] = np.where(mask, values, a)"
        )
    static = np.asarray(mask, bool)
    if static.size != a.size:
        raise ValueError("place: mask and data must be the same size")
    _put(a, np.flatnonzero(static), vals)


# -- fill_diagonal ---------------------------------------------------------------------
def _diagonal_samples(dtype: np.dtype) -> Iterator[Sample]:
    for shape in ((4, 4), (5, 3), (3, 5), (3, 3, 3)):
        yield Sample((make(shape, dtype), one(dtype)), label=f"{shape}")
    yield Sample((make((4, 4), dtype), make((4,), dtype, seed=1)), label="values")
    yield Sample((make((7, 3), dtype), make((2,), dtype), True), label="wrap")


fill_diagonal = Op(
    "fill_diagonal",
    numpy=np.fill_diagonal,
    writes=("a",),
    dtypes=dt.SUPPORTED,
    samples=_diagonal_samples,
    errors=(
        ErrorSample((np.zeros(3, np.float32), 1), {}, ValueError, "at least 2-d"),
        ErrorSample((np.zeros((2, 2, 3)), 1), {}, ValueError, "equal length"),
    ),
)


@fill_diagonal.impl("hlo")
def _fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    """Store `val`, repeated as necessary, on the main diagonal.

    Raises:
        ValueError: fewer than two axes; more than two of unequal length.
    """
    ctx = get_hlo_context()
    a = destination(a)
    if a.ndim < 2:
        raise ValueError("array must be at least 2-d")
    if a.ndim > 2 and len(set(a.shape)) != 1:
        raise ValueError("All dimensions of input must be of equal length")
    step = 1 + sum(int(np.prod(a.shape[i + 1 :])) for i in range(a.ndim - 1))
    end = a.size
    if a.ndim == 2 and not wrap:
        end = min(a.size, a.shape[1] * a.shape[1])
    count = len(range(0, end, step))
    flat = _flat_copy(ctx, a)
    values = NKIPyTensorRef._wrap(ctx, _cycled(ctx, val, count, a.dtype))
    setitem(flat, slice(0, end, step), values)
    _store_flat(ctx, a, flat)
