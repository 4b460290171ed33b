"""Arrays in a device's memory: copies of them here, and what goes back there.

They speak the device-array protocol of spike: ``__spike_array__()`` says where an array
lies, or is None where it is on no device. Nothing of spike's is needed to ask.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

__all__ = ["answer_of", "made_beside", "overlap", "store", "values_at"]


def answer_of(value: Any) -> Any:
    """Where an array lies on a device; None if it is on none."""
    describe = getattr(type(value), "__spike_array__", None)
    return None if describe is None else describe(value)


def _size(answer: Any) -> int:
    """Bytes from the first element's first to the last element's last."""
    if 0 in answer.shape:
        return 0
    steps = sum((n - 1) * step for n, step in zip(answer.shape, answer.strides))
    return int(steps) + int(answer.dtype.itemsize)


def _copied(answer: Any) -> tuple[np.ndarray, np.ndarray]:
    """The bytes that an array lies in, copied, and the array in them."""
    size = _size(answer)
    data = np.empty(size, np.uint8)
    if not size:
        return data, np.empty(answer.shape, answer.dtype)
    answer.tensor.read_into(data, answer.offset, size)
    # Strides are of whole elements, and so is the size.
    return data, as_strided(data.view(answer.dtype), answer.shape, answer.strides)


def values_at(answer: Any) -> np.ndarray:
    """A copy of an array on a device, with the strides that it has there."""
    return _copied(answer)[1]


def store(given: Any, values: np.ndarray) -> None:
    """Let an array on a device have these values, if it has others."""
    answer: Any = answer_of(given)
    data, there = _copied(answer)
    if there.tobytes() == values.tobytes():
        return
    there[...] = values
    answer.tensor.write(data, answer.offset)
    written = getattr(given, "__spike_written__", None)
    if written is not None:
        written()


def overlap(one: Any, other: Any) -> bool:
    """Whether two arrays on devices may have bytes in common."""
    if one.core_id != other.core_id:
        return False
    (a, b), (c, d) = ((x.tensor.va + x.offset, _size(x)) for x in (one, other))
    return bool(a < c + d and c < a + b)


def made_beside(given: Any, values: np.ndarray) -> Any:
    """An array with these values where `given` is; None if its class makes none."""
    make = getattr(given, "__spike_empty__", None)
    if make is None or answer_of(given) is None:
        return None
    made = make(values.shape, values.dtype)
    if values.size:
        answer: Any = answer_of(made)
        answer.tensor.write(np.ascontiguousarray(values), answer.offset)
    return made
