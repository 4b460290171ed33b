"""Reads by index arrays: take, take_along_axis, compress, extract."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import get_hlo_context
from nkipy.core.ops._reduction import deliver
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import ErrorSample, Sample, make
from nkipy.core.ops.indexing._along_axis import AlongAxis
from nkipy.core.ops.indexing._bounds import bounded
from nkipy.core.ops.indexing.items import getitem
from nkipy.core.tensor import NKIPyTensorRef, as_operand, as_tensor

_X = np.zeros((3, 4), np.float32)
_NOTE = "a traced index out of range takes the nearest element instead of raising."


def normalize_axis(axis: Any, ndim: int) -> int:
    """`axis` counted from the front. Raises AxisError out of range, TypeError if it
    is not an integer."""
    index = operator.index(axis)
    if not -ndim <= index < ndim:
        raise np.exceptions.AxisError(index, ndim)
    return index % ndim


# -- take ------------------------------------------------------------------------------
def _take_samples(dtype: np.dtype) -> Iterator[Sample]:
    x = make((3, 4, 5), dtype)
    rows = np.array([[0, -1], [2, 1]], np.int32)
    yield Sample((x, rows), label="flat")
    yield Sample((x, [5, 0, -7]), label="flat, static")
    for axis in (0, 1, -1):
        yield Sample((x, rows), {"axis": axis}, label=f"axis {axis}")
        yield Sample((x, [2, 0, 1, 1], axis), label=f"static, axis {axis}")
    yield Sample((x, 2, 1), label="integer")
    yield Sample((x, 9, 1), {"mode": "clip"}, label="integer, clip")
    yield Sample((x, -9), {"mode": "wrap"}, label="integer, wrap")
    yield Sample((x, np.array(1, np.int16), 1), label="0-d")
    yield Sample((x, rows * 7), {"axis": 1, "mode": "wrap"}, label="wrap")
    yield Sample((x, rows * 7), {"axis": 1, "mode": "clip"}, label="clip")
    yield Sample((x, [-9, 9]), {"axis": 1, "mode": "wrap"}, label="static wrap")
    yield Sample((x, [-9, 9]), {"axis": 1, "mode": "clip"}, label="static clip")
    yield Sample((x, rows, 2, np.zeros((3, 4, 2, 2), dtype)), label="out")
    yield Sample((make((), dtype), [0, 0]), label="0-d array")
    yield Sample((make((0, 3), dtype), [0, 2], 1), label="zero-size")


take = Op(
    "take",
    numpy=np.take,
    memory_order="made",
    dtypes=dt.SUPPORTED,
    samples=_take_samples,
    errors=(
        ErrorSample((_X, [0], 2), {}, np.exceptions.AxisError, "out of bounds"),
        ErrorSample((_X, [0, 3], 0), {}, IndexError, "out of bounds"),
        ErrorSample((_X, np.zeros(2)), {}, TypeError, "integer"),
        ErrorSample((_X, [0]), {"mode": "bounce"}, ValueError, "mode"),
        ErrorSample((_X, [0]), {"out": np.zeros(9, "f4")}, ValueError, "out= has"),
        ErrorSample((_X, [0]), {"axis": 1.5}, TypeError, "integer"),
        ErrorSample((_X, [0]), {"axis": "1"}, TypeError, "integer"),
    ),
    note=_NOTE,
)


@take.impl("hlo")
def _take(
    a: Any, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise"
) -> NKIPyTensorRef:
    """Elements along an axis, or of the flattened array.

    Raises:
        AxisError: the axis is out of range.
        IndexError: a static index is out of range.
        TypeError: the indices are not integers.
    """
    ctx = get_hlo_context()
    a = as_tensor(a)
    if axis is None or not a.ndim:
        if axis is not None:
            normalize_axis(axis, 1)
        a = NKIPyTensorRef._wrap(ctx, ctx.reshape(a.backend_tensor, (a.size,)))
        axis = 0
    axis = normalize_axis(axis, a.ndim)
    index: Any = bounded(ctx, indices, a.shape[axis], mode, wraps=False)
    if not isinstance(index, np.ndarray):
        index = NKIPyTensorRef._wrap(ctx, index)
    taken = getitem(a, (slice(None),) * axis + (index,))
    if out is None:
        return NKIPyTensorRef._wrap(ctx, taken.backend_tensor)
    return deliver(ctx, taken.backend_tensor, out, "same_kind")


# -- take_along_axis -------------------------------------------------------------------
def _along_samples(dtype: np.dtype) -> Iterator[Sample]:
    x = make((3, 4, 5), dtype)
    for axis in (0, 1, -1):
        shape = [3, 4, 5]
        shape[axis] = 6
        index = make(shape, dt.int32, -3, 2, seed=3)
        yield Sample((x, index, axis), label=f"axis {axis}")
        yield Sample((x, index.tolist()), {"axis": axis}, label=f"static {axis}")
    yield Sample((x, make((1, 2, 5), dt.int32, 0, 3), 1), label="broadcast index")
    yield Sample((x, make((1, 1, 2), dt.int8, 0, 3)), label="default axis")
    yield Sample(
        (x[:, :1], make((3, 2, 4), dt.int32, 0, 4), 2), label="broadcast array"
    )
    yield Sample((x, np.array([7, -1, 0], np.int32), None), label="flat")


def _static_indices_reference(arr: Any, indices: Any, axis: Any = -1) -> Any:
    return np.take_along_axis(arr, np.asarray(indices), axis)


take_along_axis = Op(
    "take_along_axis",
    numpy=np.take_along_axis,
    dtypes=dt.SUPPORTED,
    samples=_along_samples,
    reference=_static_indices_reference,
    errors=(
        ErrorSample(
            (_X, np.zeros((1, 1, 1), np.int32), 0), {}, ValueError, "same number"
        ),
        ErrorSample((_X, np.zeros((1, 4)), 0), {}, IndexError, "integer array"),
        ErrorSample((_X, np.zeros((2, 4), np.int32), 1), {}, IndexError, "broadcast"),
        ErrorSample((_X, [[0, 0, 0, 3]], 0), {}, IndexError, "out of bounds"),
    ),
    note=_NOTE,
)


@take_along_axis.impl("hlo")
def _take_along_axis(arr: Any, indices: Any, axis: Any = -1) -> NKIPyTensorRef:
    """``arr`` at `indices` along an axis, the other axes matched.

    Raises:
        ValueError: the ranks differ.
        IndexError: the indices are not integers, do not broadcast, or are out of range.
        AxisError: the axis is out of range.
    """
    ctx = get_hlo_context()
    arr = as_tensor(arr)
    value = arr.backend_tensor
    if axis is None:
        value, axis = ctx.reshape(value, (arr.size,)), 0
    along = AlongAxis(ctx, value.shape, indices, axis)
    return NKIPyTensorRef._wrap(ctx, along.read(ctx, value))


@take_along_axis.modelling
def _along_modelled(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return tuple(map(as_operand, args)), {k: as_operand(v) for k, v in kwargs.items()}


# -- conditions that are static --------------------------------------------------------
def _compress_samples(dtype: np.dtype) -> Iterator[Sample]:
    x = make((3, 4), dtype)
    yield Sample(([True, False, True], x, 0), label="rows")
    yield Sample(([0, 1, 1], x, 1), label="short")
    yield Sample(([True, False, True, True], x), label="flat")


compress = Op(
    "compress",
    numpy=np.compress,
    memory_order="made",
    dtypes=(dt.float32, dt.int8, dt.bool_),
    samples=_compress_samples,
    errors=(
        ErrorSample((np.ones(3, bool), _X, 0), {}, NotImplementedError, "np.where"),
        ErrorSample(([True] * 4, _X, 0), {}, IndexError, "out of bounds"),
        ErrorSample(([True], _X, 0.5), {}, TypeError, "integer"),
        ErrorSample(([True], _X, 0, np.zeros((2, 4))), {}, ValueError, "out= has"),
    ),
    note="the condition must be static: it decides the result's shape.",
)


def _static_condition(condition: Any) -> np.ndarray:
    condition = as_operand(condition)
    if isinstance(condition, NKIPyTensorRef):
        raise NotImplementedError(
            "the number of elements that a traced condition selects is not known while "
            "tracing; keep the shape with np.where(condition, x, other)"
        )
    return np.asarray(condition)


@compress.impl("hlo")
def _compress(
    condition: Any, a: Any, axis: Any = None, out: Any = None
) -> NKIPyTensorRef:
    """The slices along an axis where a static condition holds.

    Raises:
        NotImplementedError: the condition is traced.
    """
    static = _static_condition(condition)
    if static.ndim != 1:
        raise ValueError("condition must be a 1-d array")
    return take(a, np.flatnonzero(static), axis, out)


def _extract_samples(dtype: np.dtype) -> Iterator[Sample]:
    x = make((2, 3), dtype)
    yield Sample(([[True, False, True], [False, False, True]], x), label="2-d")


extract = Op(
    "extract",
    numpy=np.extract,
    dtypes=(dt.float32, dt.int8, dt.bool_),
    samples=_extract_samples,
    errors=(ErrorSample((np.ones((3, 4)), _X), {}, NotImplementedError, "np.where"),),
    note="the condition must be static: it decides the result's shape.",
)


@extract.impl("hlo")
def _extract(condition: Any, arr: Any) -> NKIPyTensorRef:
    """The elements of the flattened array where a static condition holds.

    Raises:
        NotImplementedError: the condition is traced.
    """
    return take(arr, np.flatnonzero(_static_condition(condition)))
