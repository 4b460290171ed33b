"""Whether an array still holds what it did, at the least cost.

To compare a large array with a copy is to read two; with a digest, one; and where the
system notes writes to memory, none.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Protocol

import numpy as np

from nkipy.hlo.instruction import has_fixed_memory

#: Bytes of an array that is worth a digest, and words that are compared at once.
_LARGE, _PIECE = 1 << 20, 1 << 16
#: The first write to a page that is watched takes longer. So an array is watched that
#: has been read so often and was unchanged, and no more often than that.
_READS_BEFORE, _MOST_WATCHES = 3, 3

#: ``digest(array, keys)`` of a C-contiguous array.
Digest = Callable[[np.ndarray, bytes], bytes]


class _Watched(Protocol):
    works: bool

    def holds(self) -> bool: ...


#: ``watch(address, nbytes)`` of whole pages: whether they are written to from then on,
#: if that can be noticed (``works``).
Watch = Callable[[int, int], _Watched]


class Unwritten:
    """Whether an array holds what it did when this was made.

    A copy of it is kept, or a digest by which an engine tells large arrays apart. An
    array of Python's bytes is not looked into: nobody can write to it.
    """

    def __init__(self, array: np.ndarray) -> None:
        self._array, self._layout = array, layout_of(array)
        self._kept: Any = None
        if not has_fixed_memory(array):
            self._kept = _copy(array)
        self._digest: Digest | None = None
        self._keys = b""
        self._pages: _Pages | None = None

    def __call__(self) -> bool:
        array = self._array
        now = layout_of(array) if array.dtype.names else _layout_of(array)
        if now != self._layout:
            return False
        if self._digest is not None:
            return self._has_digest(self._digest)
        if isinstance(self._kept, np.ndarray):
            return _are_equal(self._kept, _bytes_of(array))
        # An array in one piece is a buffer itself.
        is_whole = array.flags.c_contiguous
        return self._kept is None or self._kept == (
            array if is_whole else _bytes_of(array)
        )

    def _has_digest(self, digest: Digest) -> bool:
        pages = self._pages
        if pages is None:
            return digest(self._array, self._keys) == self._kept
        if pages.hold():
            return True
        watched = pages.watch()  # first: what is written later is noticed
        holds = digest(self._array, self._keys) == self._kept
        if holds and watched is not None:
            pages.watched = watched
        return holds

    def keep_digest(self, digest: Digest, keys: bytes, watch: Watch) -> None:
        """Have a digest in the place of the copy, if that is large.

        What memory has a digest need not be read until the next write to it, if that
        can be noticed.
        """
        if isinstance(self._kept, np.ndarray) and self._array.flags.c_contiguous:
            self._pages = _Pages(self._array, self._kept, watch)
            self._kept, self._keys = digest(self._kept, keys), keys
            self._digest = digest


class _Pages:
    """The whole pages of a large array, which can be watched, and the bytes around.

    Args:
        array: C-contiguous.
        kept: the bytes that it should hold.
        watch: see :data:`Watch`.

    Attributes:
        watched: what has noticed no write since they held these.
    """

    def __init__(self, array: np.ndarray, kept: np.ndarray, watch: Watch) -> None:
        self._array, self._watch = array, watch
        self._address = _address(array)
        first = -self._address % mmap.PAGESIZE
        end = array.nbytes - (self._address + array.nbytes) % mmap.PAGESIZE
        self._range = self._address + first, end - first
        self._ends = slice(0, first), slice(end, array.nbytes)
        self._kept = [kept[end].tobytes() for end in self._ends]
        self._reads, self._left = 0, _MOST_WATCHES
        self.watched: _Watched | None = None

    def hold(self) -> bool:
        """Whether the array holds these bytes, for certain; False is not to know."""
        watched = self.watched
        if watched is None or _address(self._array) != self._address:
            return False
        if not watched.holds():
            return False
        flat = _bytes_of(self._array)
        return all(flat[end] == kept for end, kept in zip(self._ends, self._kept))

    def watch(self) -> _Watched | None:
        """Watch from now on; None where it is of no use."""
        self.watched = None
        self._reads += 1
        if self._reads <= _READS_BEFORE:
            return None
        if not self._left or _address(self._array) != self._address:
            return None
        self._left -= 1
        watched = self._watch(*self._range)
        if not watched.works:
            self._left = 0
            return None
        return watched


def _address(array: np.ndarray) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _copy(array: np.ndarray) -> Any:
    """The bytes of an array, of a large one in memory of large pages."""
    flat = _bytes_of(array)
    if len(flat) < _LARGE:
        return bytearray(flat)  # which compares with any buffer as C's memcmp does
    return np.frombuffer(flat, np.uint8).copy()


def _are_equal(kept: np.ndarray, now: memoryview) -> bool:
    """Whether two large arrays of as many bytes are the same, piece by piece."""
    mine, other = kept, np.frombuffer(now, np.uint8)
    whole = len(mine) // 8 * 8
    pieces: list[tuple[np.ndarray, np.ndarray]] = [(mine[whole:], other[whole:])]
    words, others = mine[:whole].view(np.uint64), other[:whole].view(np.uint64)
    for i in range(0, len(words), _PIECE):
        pieces.append((words[i : i + _PIECE], others[i : i + _PIECE]))
    return all(np.array_equal(x, y) for x, y in pieces)


_layout_of = attrgetter("shape", "strides", "dtype", "flags.num")


def layout_of(array: np.ndarray) -> Any:
    """All that can be set of an array without its elements being written."""
    fields = array.dtype.names and fields_of(array.dtype)  # can be renamed in place
    return (_layout_of(array), fields) if fields else _layout_of(array)


def fields_of(dtype: np.dtype) -> Any:
    """The names of a structured dtype's fields, and of those within them."""
    fields: Any = dtype.fields or {}
    return dtype.names, [fields_of(field[0].base) for field in fields.values()]


def _bytes_of(array: np.ndarray) -> memoryview:
    """What the array holds, in C order; not copied if it lies so."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
