"""Indices of several axes as one, and back."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops._cases import X
from nkipy.core.ops._memory_order import Axes, memory_order
from nkipy.core.ops._registry import Op, supports
from nkipy.core.ops._samples import ErrorSample, Sample, make
from nkipy.core.tensor import NKIPyTensorRef, as_operand

_DIMS = (3, 1, 5)
_MOST = np.iinfo(np.int32).max


def _unravel_samples(dtype: np.dtype) -> Iterator[Sample]:
    flat = make((2, 4), dtype, 0, 14)
    for order in ("C", "F"):
        yield Sample((flat, _DIMS, order), label=f"order {order}")
    yield Sample((flat, 15), label="one axis")
    yield Sample((flat[0, 0], (3, 5)), label="a scalar")
    yield Sample((flat, (200, 300)), label="large axes")
    yield Sample((flat[:0], (3, 5)), label="none")


unravel_index = Op(
    "unravel_index",
    numpy=np.unravel_index,
    dtypes=supports(dt.INTEGERS),
    samples=_unravel_samples,
    errors=(
        ErrorSample((X, (2, 3)), {}, TypeError, "only int indices"),
        ErrorSample((X.astype(int), ()), {}, ValueError, "0d array"),
        ErrorSample((X.astype(int), (1 << 20, 1 << 20)), {}, ValueError, "too large"),
        ErrorSample((X.astype(int), (2, 3), "K"), {}, ValueError, "order"),
    ),
    memory_order="made",
    note="int32; indices are not checked to be within the shape",
)


@unravel_index.composed_impl
def _unravel_index(indices: Any, shape: Any, order: str = "C") -> tuple[Any, ...]:
    """Indices into a flattened array as one array of int32 for each axis.

    Raises:
        ValueError: an array of that shape has more elements than int32 counts.
    """
    flat, dims = _integers(indices), _dims(shape, order)
    given = as_operand(indices)
    flat_order = memory_order(given) if isinstance(given, NKIPyTensorRef) else None
    if not dims:
        raise ValueError("multiple indices are not supported for 0d array")
    found: list[Any] = []
    axes = dims if order == "F" else dims[::-1]
    for size in axes:
        # An empty axis has no index; nothing is divided by zero for it.
        found.append((flat % max(size, 1)).astype(np.int32))
        flat = flat // max(size, 1)
    return _side_by_side(flat_order, found if order == "F" else found[::-1])


def _side_by_side(order: Axes | None, parts: list[Any]) -> tuple[Any, ...]:
    """Views of one array, as NumPy's are, in which each index has all its parts.

    Args:
        order: the axes of each part from the slowest to the fastest, if not in C order.
    """
    axes = range(parts[0].ndim) if order is None else order
    whole = np.stack([part.transpose(*axes) for part in parts], axis=-1)
    back = np.argsort(axes).tolist()
    return tuple(whole[..., i].transpose(*back) for i in range(len(parts)))


def _ravel_samples(dtype: np.dtype) -> Iterator[Sample]:
    inside = tuple(make((2, 4), dtype, 0, n - 1, seed=n) for n in _DIMS)
    for order in ("C", "F"):
        yield Sample((inside, _DIMS), {"order": order}, f"order {order}")
    yield Sample((inside[:1], 3), label="one axis")
    yield Sample((np.stack(inside), _DIMS), label="one array")
    yield Sample(((inside[0], 0, inside[2][0]), _DIMS), label="broadcast")
    anywhere = tuple(make((2, 4), dtype, -9, 9, seed=n) for n in _DIMS)
    for mode in ("wrap", "clip", ("clip", "wrap", "clip")):
        yield Sample((anywhere, _DIMS, mode), label=f"{mode}")


ravel_multi_index = Op(
    "ravel_multi_index",
    numpy=np.ravel_multi_index,
    dtypes=supports(dt.INTEGERS),
    samples=_ravel_samples,
    errors=(
        ErrorSample(((X, X), (2, 3)), {}, TypeError, "only int indices"),
        ErrorSample(((X.astype(int),), (2, 3)), {}, ValueError, "2 arrays"),
        ErrorSample(((X.astype(int),), (9,), "x"), {}, ValueError, "mode"),
        ErrorSample(
            ((X.astype(int),) * 2, (1 << 20,) * 2), {}, ValueError, "too large"
        ),
    ),
    memory_order="own",
    note="int32; with mode='raise', indices are not checked to be within the shape",
)


@ravel_multi_index.composed_impl
def _ravel_multi_index(
    multi_index: Any, dims: Any, mode: Any = "raise", order: str = "C"
) -> Any:
    """Indices of several axes as those into the flattened array, int32.

    Raises:
        ValueError: an array of that shape has more elements than int32 counts.
    """
    sizes = _dims(dims, order)
    modes = (mode,) * len(sizes) if isinstance(mode, str) else tuple(mode)
    if len(modes) != len(sizes) or not set(modes) <= {"raise", "wrap", "clip"}:
        raise ValueError(
            "mode must be 'raise', 'wrap' or 'clip', or one of these for each of "
            f"{len(sizes)} axes, not {mode!r}"
        )
    if len(multi_index) != len(sizes):
        raise ValueError(
            f"multi_index must be {len(sizes)} arrays, one for each axis, not "
            f"{len(multi_index)}"
        )
    total: Any = np.int32(0)
    step = 1
    axes = range(len(sizes)) if order == "F" else reversed(range(len(sizes)))
    for axis in axes:
        index = _integers(multi_index[axis])
        if modes[axis] == "wrap":
            index = index % max(sizes[axis], 1)
        elif modes[axis] == "clip":
            index = np.clip(index, 0, max(sizes[axis] - 1, 0))
        total = total + index.astype(np.int32) * np.int32(step)
        step *= sizes[axis]
    return total


def _integers(indices: Any) -> Any:
    """Indices in a dtype that holds any size of an axis."""
    x = as_operand(indices)
    x = x if hasattr(x, "dtype") else np.asarray(x)
    if not dt.is_integer(x.dtype) and x.dtype.kind not in "iu":
        raise TypeError("only int indices permitted")
    return x if x.dtype == dt.uint32 else x.astype(np.int32)


def _dims(shape: Any, order: Any) -> tuple[int, ...]:
    if order not in ("C", "F"):
        raise ValueError("only 'C' or 'F' order is permitted")
    whole = isinstance(shape, (tuple, list, np.ndarray))
    dims = tuple(map(operator.index, shape if whole else (shape,)))
    if min(dims, default=0) < 0:
        raise ValueError("negative dimensions are not allowed")
    if prod(dims) > _MOST:
        raise ValueError(f"an array of shape {dims} is too large for int32 indices")
    return dims
