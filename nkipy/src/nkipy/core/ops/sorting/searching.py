"""Where values lie among sorted ones: searchsorted, digitize, histogram."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import HLOTraceContext, as_hlo_tensor, get_hlo_context
from nkipy.core.ops._cases import X
from nkipy.core.ops._dtype_sets import ALL
from nkipy.core.ops._lower import fill, is_negative
from nkipy.core.ops._reduction import operand
from nkipy.core.ops._registry import Op, supports
from nkipy.core.ops._samples import ErrorSample, Sample, make, special
from nkipy.core.ops.sorting.sorting import precedes
from nkipy.core.promotion import is_ours, result_type
from nkipy.core.tensor import NKIPyTensorRef, as_operand
from nkipy.hlo.builder import HLOBuilder, Value


# -- lowering --------------------------------------------------------------------------
def insertion_points(b: HLOBuilder, row: Value, values: Value, right: bool) -> Value:
    """How many elements of sorted 1-D `row` come before each of `values`; int32.

    A binary search, unrolled: five instructions for each bit of the row's length.

    Args:
        row: 1-D and in NumPy's order, of the dtype of `values`.
        values: any shape.
        right: count elements that are equal, too.
    """
    size = row.shape[0]
    found = b.full(values.shape, 0, dt.int32)
    if size == 0:
        return found
    # Positions past the end read the last element, and are cut off afterwards: they are
    # reached only if all elements come before the value.
    step = 1 << (size.bit_length() - 1)
    while step:
        probe = b.add(found, b.full_like(found, step - 1))
        inside = b.minimum(probe, b.full_like(probe, size - 1))
        element = _take(b, row, inside)
        before = (
            b.not_(precedes(b, values, element))
            if right
            else precedes(b, element, values)
        )
        found = b.select(before, b.add(found, b.full_like(found, step)), found)
        step >>= 1
    return b.minimum(found, b.full_like(found, size))


def _take(b: HLOBuilder, row: Value, places: Value) -> Value:
    indices = b.reshape(places, (*places.shape, 1))
    return b.gather(
        row,
        indices,
        offset_dims=(),
        collapsed_slice_dims=(0,),
        start_index_map=(0,),
        slice_sizes=(1,),
    )


def _common(ctx: HLOTraceContext, a: Any, v: Any) -> tuple[Value, Value]:
    """Both in the dtype in which NumPy compares them; int32 and uint32 as they are."""
    a, v = as_operand(a), as_operand(v)
    dtype = result_type(a, v)
    if isinstance(a, (int, float)):
        raise ValueError("object of too small depth for desired array")
    if is_ours(dtype):  # in which integers would lose digits
        dtype = dt.float32
    dtypes = [_beside(dtype, getattr(x, "dtype", dtype)) for x in (a, v)]
    return as_hlo_tensor(ctx, a, dtypes[0]), as_hlo_tensor(ctx, v, dtypes[1])


def _beside(common: np.dtype, own: np.dtype) -> np.dtype:
    """The common dtype, or uint32 of what int32 does not hold."""
    return own if own == dt.uint32 and common == dt.int32 else common


def _count(b: HLOBuilder, row: Value, values: Value, right: bool) -> Value:
    """:func:`insertion_points`, also of int32 among uint32 and the reverse."""
    if row.dtype == values.dtype:
        return insertion_points(b, row, values, right)
    assert row.dtype is not None
    found = insertion_points(b, row, b.convert(values, row.dtype), right)
    # What the row's dtype does not hold lies before, or after, all of the row.
    outside = is_negative(b, b.convert(values, dt.int32))
    return fill(b, outside, 0 if row.dtype == dt.uint32 else row.shape[0], found)


def _one_dimensional(x: Value, name: str) -> None:
    if x.ndim != 1:
        raise ValueError(f"{name} must be 1-D, but has shape {x.shape}")


# -- searchsorted ----------------------------------------------------------------------
_SIGNED = np.array([-(2**31), -1, 0, 3, 2**31 - 1], np.int32)
_LARGE = np.array([0, 3, 2**31 - 1, 2**31, 2**32 - 1], np.uint32)


def _search_samples(dtype: np.dtype) -> Iterator[Sample]:
    # Sorted as float32: ml_dtypes does not put NaN last.
    row = np.sort(make((13,), dtype, -3, 3).astype(np.float32)).astype(dtype)
    values = make((2, 5), dtype, -4, 4, seed=1)
    for side in ("left", "right"):
        yield Sample((row, values), {"side": side}, side)
        yield Sample((row, row), {"side": side}, f"itself, {side}")
        yield Sample((row[:8], make((), dtype)), {"side": side}, f"scalar, {side}")
        yield Sample((row[:0], values), {"side": side}, f"empty, {side}")
        if dt.is_float(dtype):
            ends = np.sort(special(dtype).astype(np.float32)).astype(dtype)
            yield Sample((ends, ends), {"side": side}, f"special, {side}")
    yield Sample((row, values[:0]), label="no values")
    if dt.is_integer(dtype):
        for value in (2**33, -(2**33)):
            yield Sample((row, value), label=f"{value}")
    if dtype == dt.int32:
        for side in ("left", "right"):
            yield Sample((_SIGNED, _LARGE, side), label=f"large uint32, {side}")
            yield Sample((_LARGE, _SIGNED, side), label=f"in large uint32, {side}")
    order = np.argsort(-make((6,), dt.float32), kind="stable")
    row = np.empty(6, dtype)
    row[order] = np.sort(make((6,), dtype, 0, 3).astype(np.float32)).astype(dtype)
    yield Sample((row, values, "left", order.astype(np.int32)), label="sorter")


def _search_reference(a: Any, v: Any, side: Any = "left", sorter: Any = None) -> Any:
    if dt.is_float(a.dtype):  # exact, and in an order that knows NaN
        a, v = a.astype(np.float32), v.astype(np.float32)
    return np.searchsorted(a, v, side, sorter)


searchsorted = Op(
    "searchsorted",
    numpy=np.searchsorted,
    dtypes=ALL,
    samples=_search_samples,
    reference=_search_reference,
    errors=(
        ErrorSample((X, X), {}, ValueError, "1-D"),
        ErrorSample((X[0], X), {"side": "middle"}, ValueError, "side"),
        ErrorSample((X[0], X), {"sorter": np.zeros(2, int)}, ValueError, "sorter"),
        ErrorSample((X[0], X), {"sorter": X[0]}, TypeError, "sorter"),
    ),
)


@searchsorted.impl("hlo")
def _searchsorted(
    a: Any, v: Any, side: str = "left", sorter: Any = None
) -> NKIPyTensorRef:
    """``numpy.searchsorted``, as int32: a binary search per value."""
    if side not in ("left", "right"):
        raise ValueError(f"search side must be 'left' or 'right' (got {side!r})")
    ctx = get_hlo_context()
    a, v = as_operand(a), as_operand(v)
    known = _beyond(v, getattr(a, "dtype", None))
    row, values = _common(ctx, a, v if known is None else 0)
    _one_dimensional(row, "a")
    if known is not None:
        place = row.shape[0] if known else 0
        return NKIPyTensorRef._wrap(ctx, ctx.full((), place, dt.int32))
    if sorter is not None:
        row = _take(ctx, row, _check_sorter(operand(sorter), row.shape))
    return NKIPyTensorRef._wrap(ctx, _count(ctx, row, values, side == "right"))


def _beyond(v: Any, dtype: Any) -> bool | None:
    """Whether a Python integer lies above all of `dtype`; None if among them."""
    if type(v) is not int or dtype is None or not dt.is_integer(dtype):
        return None
    info = np.iinfo(dtype)
    return None if info.min <= v <= info.max else v > info.max


def _check_sorter(sorter: Value, shape: tuple[int, ...]) -> Value:
    if sorter.dtype is None or not dt.is_integer(sorter.dtype):
        raise TypeError("sorter must only contain integers")
    if sorter.shape != shape:
        raise ValueError(f"sorter has shape {sorter.shape}, but a has {shape}")
    return sorter


# -- digitize --------------------------------------------------------------------------
def _digitize_samples(dtype: np.dtype) -> Iterator[Sample]:
    bins = np.array([0, 1, 1, 3]).astype(dtype)
    if dtype == dt.bool_:
        bins = np.array([False, True])
    x = make((2, 5), dtype, -1, 4)
    for right in (False, True):
        yield Sample((x, bins), {"right": right}, f"right {right}")
        yield Sample((x, bins[::-1].copy()), {"right": right}, f"falling {right}")
    yield Sample((x, bins[:1]), label="one bin")
    if dtype == dt.int32:
        for right in (False, True):
            yield Sample((_SIGNED, _LARGE, right), label=f"in large uint32, {right}")
            falling = _SIGNED[::-1].copy()
            yield Sample((_LARGE, falling, right), label=f"large uint32, {right}")


digitize = Op(
    "digitize",
    numpy=np.digitize,
    dtypes=supports(dt.FLOATS, dt.INTEGERS, dt.bool_),
    samples=_digitize_samples,
    errors=(ErrorSample((X, X), {}, ValueError, "1-D"),),
    note="bins are not checked to be monotonic",
)


@digitize.impl("hlo")
def _digitize(x: Any, bins: Any, right: bool = False) -> NKIPyTensorRef:
    """``numpy.digitize``, as int32; bins rise or fall."""
    ctx = get_hlo_context()
    row, values = _common(ctx, bins, x)
    _one_dimensional(row, "bins")
    size = row.shape[0]
    if size < 2:
        found = _count(ctx, row, values, not right)
        return NKIPyTensorRef._wrap(ctx, found)
    first = ctx.reshape(ctx.slice_dim(row, 0, 0, 1), ())
    last = ctx.reshape(ctx.slice_dim(row, 0, size - 1, size), ())
    falls = precedes(ctx, last, first)
    rising = ctx.select(ctx.broadcast_to(falls, row.shape), ctx.reverse(row, (0,)), row)
    # As NumPy has it: the mirrored row is searched from the same side.
    found = _count(ctx, rising, values, not right)
    mirrored = ctx.subtract(ctx.full_like(found, size), found)
    falls = ctx.broadcast_to(falls, found.shape)
    return NKIPyTensorRef._wrap(ctx, ctx.select(falls, mirrored, found))
