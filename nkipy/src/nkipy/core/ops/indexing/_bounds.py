"""What NumPy's ``mode=`` does with indices out of range."""

from __future__ import annotations

from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops.indexing._basic import as_int32, wrap_negative
from nkipy.core.tensor import NKIPyTensorRef, as_operand
from nkipy.hlo.builder import HLOBuilder, Value


def integer_indices(indices: Any) -> np.ndarray | Value:
    """`indices` as a static int64 array, or an integer instruction.

    Raises:
        TypeError: they are not integers.
    """
    indices = as_operand(indices)
    if isinstance(indices, NKIPyTensorRef):
        value = indices.backend_tensor
        _check_integer(value.dtype)
        return value
    array = np.asarray(indices)
    if not array.size:
        return array.astype(np.int64)
    _check_integer(array.dtype)
    return array.astype(np.int64)


def _check_integer(dtype: Any) -> None:
    if not (dt.is_integer(dtype) or dtype == dt.bool_):
        raise TypeError(f"indices must be integer arrays, but received {dtype}")


def bounded(
    b: HLOBuilder, indices: Any, size: int, mode: str, wraps: bool = True
) -> np.ndarray | Value:
    """`indices` (static or traced) into an axis of `size`, with `mode` applied.

    Args:
        wraps: whether mode "raise" counts traced negative ones from the end. Who uses
            them as an index leaves that to the index, or it would be done twice.

    Raises:
        IndexError: mode "raise", and a static index is out of range.
        TypeError: they are not integers.
        ValueError: the mode is unknown.
    """
    found = integer_indices(indices)
    if isinstance(found, np.ndarray):
        return _static_mode(found, size, mode)
    return apply_mode(b, found, size, mode, wraps)


def _static_mode(array: np.ndarray, size: int, mode: str) -> np.ndarray:
    _check_mode(mode)
    if mode == "wrap":
        return np.asarray(array % max(size, 1))  # NumPy makes scalars of 0-d arrays
    if mode == "clip":
        return np.asarray(np.clip(array, 0, max(size - 1, 0)))
    if array.size and not (-size <= array.min() and array.max() < size):
        wrong = array[(array < -size) | (array >= size)].flat[0]
        raise IndexError(f"index {wrong} is out of bounds for an axis of size {size}")
    return np.where(array < 0, array + size, array)


def apply_mode(
    b: HLOBuilder, index: Value, size: int, mode: str, wraps: bool = True
) -> Value:
    """A traced index with `mode` applied, as int32.

    Args:
        wraps: whether mode "raise" counts negative indices from the end.
    """
    _check_mode(mode)
    _check_integer(index.dtype)
    if mode == "raise":
        return wrap_negative(b, index, size) if wraps else as_int32(b, index)
    if index.dtype != dt.uint32:  # a large one would be negative in int32
        index = b.convert(index, dt.int32)
    if mode == "clip":
        first, last = b.full_like(index, 0), b.full_like(index, max(size - 1, 0))
        return b.convert(b.clamp(first, index, last), dt.int32)
    rest = b.binary("remainder", index, b.full_like(index, max(size, 1)))
    return wrap_negative(b, rest, size)


def _check_mode(mode: str) -> None:
    if mode not in ("raise", "wrap", "clip"):
        raise ValueError(
            f"mode must be 'raise', 'wrap' or 'clip', but received {mode!r}"
        )
