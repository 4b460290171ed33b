"""Arrays that a kernel captured, and whether an argument shares memory with one.

A program has captured arrays as constants, and knows no overlap: of two names for the
same memory, it would go on to read one as it was before a store into the other.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from nkipy.runtime import places
from nkipy.runtime.places import Read

#: So many arrays are asked one by one as fast as an address is found out.
_FEW = 5


class CapturedArray(NamedTuple):
    """Memory that a kernel captured.

    Attributes:
        read: the place where it stands.
        value: an array, or what else lets NumPy read its memory.
        is_unwritten: whether it holds what it did before the trace.
    """

    read: Read
    value: Any
    is_unwritten: Callable[[], bool]

    def shares(self, array: np.ndarray) -> bool:
        """Whether `array` has an element in this memory."""
        mine = _as_array(self.value)
        if mine is None or not np.may_share_memory(mine, array):
            return False
        return np.shares_memory(mine, array)


class CapturedArrays:
    """Finds the captured array that an argument shares memory with.

    Args:
        arrays: what was captured. While it is watched, it stays where it is.
    """

    def __init__(self, arrays: Sequence[CapturedArray]) -> None:
        self._arrays = [a for a in arrays if isinstance(a.value, np.ndarray)]
        #: What may be resized while nobody has an array of it.
        self._others = [a for a in arrays if not isinstance(a.value, np.ndarray)]
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in sorted(_extent(a.value) for a in self._arrays):
            if self._ends and start < self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], end)
            else:
                self._starts.append(start)
                self._ends.append(end)

    def __bool__(self) -> bool:
        return bool(self._arrays or self._others)

    def sharing(self, array: Any) -> str | None:
        """The place of one that `array` shares memory with, in words; None if none."""
        if not isinstance(array, np.ndarray):
            return None  # on the device, where nothing captured lies
        found = self._others
        if len(self._arrays) <= _FEW or self._may_share(array):
            found = self._arrays + self._others
        for captured in found:
            if captured.shares(array):
                return places.describe(captured.read)
        return None

    def _may_share(self, array: np.ndarray) -> bool:
        start, end = _extent(array)
        place = bisect_right(self._ends, start)
        return place < len(self._starts) and self._starts[place] < end


def _extent(array: np.ndarray) -> tuple[int, int]:
    """First address, and the one after the last."""
    start: int = array.__array_interface__["data"][0]
    if array.flags.c_contiguous:
        return start, start + array.nbytes
    if not array.size:
        return start, start
    steps = [(n - 1) * stride for n, stride in zip(array.shape, array.strides)]
    first = start + sum(step for step in steps if step < 0)
    return first, start + sum(step for step in steps if step > 0) + array.itemsize


def _as_array(value: Any) -> np.ndarray | None:
    if isinstance(value, np.ndarray):
        return value
    try:
        return np.frombuffer(value, np.uint8)
    except (BufferError, TypeError, ValueError):  # in pieces, empty, or released
        return None
