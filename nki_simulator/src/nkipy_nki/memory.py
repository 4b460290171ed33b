"""The bytes of tensors, and which of them were written."""

from __future__ import annotations

from typing import Any

import numpy as np

from nkipy_nki.program import Allocation, View

__all__ = ["Memory", "Storage"]

_BOOL = np.dtype(bool)


class Storage:
    """A tensor's bytes.

    Attributes:
        data: the bytes.
        written: by unit of `unit` bytes, whether it was; None if all were.
    """

    __slots__ = ("data", "unit", "written")

    def __init__(self, data: np.ndarray, unit: int, is_written: bool) -> None:
        self.data = data
        self.unit = unit
        self.written = None if is_written else np.zeros(data.size // unit, bool)

    def elements(self, view: View, offset: int = 0) -> np.ndarray:
        """The elements of a view without a dynamic index, in place.

        Args:
            view: what is looked at.
            offset: in elements, added to the view's.

        Raises:
            ValueError, TypeError: it leaves the bytes.
        """
        dtype = view.dtype.element
        size = dtype.itemsize
        strides = tuple([s * size for s in view.strides])
        start = (view.offset + offset) * size
        return np.ndarray(view.shape, dtype, self.data, start, strides)

    def marks(self, view: View, offset: int = 0) -> np.ndarray | None:
        """By element of a view, whether it was written; None if all of the tensor was.

        What is returned can be written.
        """
        written = self.written
        if written is None:
            return None
        size, unit = view.dtype.itemsize, self.unit
        if size < unit:
            self._refine(size)
            return self.marks(view, offset)
        per = size // unit
        strides = tuple([s * per for s in view.strides])
        shape = view.shape
        if per > 1:  # several marks for an element
            shape, strides = (*shape, per), (*strides, 1)
        start = (view.offset + offset) * per
        return np.ndarray(shape, _BOOL, self.written, start, strides)

    def _refine(self, unit: int) -> None:
        """Keep marks for smaller units."""
        assert self.written is not None
        self.written = np.repeat(self.written, self.unit // unit)
        self.unit = unit

    def mark(self, view: View, offset: int = 0) -> None:
        """Remember that a view was written."""
        marks = self.marks(view, offset)
        if marks is None:
            return
        if view.size * view.dtype.itemsize == self.data.size and 0 not in view.strides:
            self.written = None
            return
        marks[...] = True
        assert self.written is not None
        if self.written.all():
            self.written = None

    def unwritten(self, view: View, offset: int = 0) -> bool:
        """Whether an element of a view was never written."""
        marks = self.marks(view, offset)
        return marks is not None and not marks.all()


class Memory:
    """The tensors of a run, each made when it is first asked for.

    Args:
        arrays: the bytes of those that are the caller's, by id.
    """

    def __init__(self) -> None:
        self._storages: dict[Allocation, Storage] = {}

    def share(self, allocation: Allocation, array: np.ndarray) -> None:
        """Let a tensor lie where `array`, in C's order, does: it is all written."""
        data = array.reshape(-1).view(np.uint8)
        self._storages[allocation] = Storage(data, allocation.dtype.itemsize, True)

    def adopt(self, allocation: Allocation, other: Memory) -> None:
        """Let a tensor lie where another memory has it."""
        self._storages[allocation] = other.storage(allocation)

    def storage(self, allocation: Allocation) -> Storage:
        """The bytes of a tensor."""
        found = self._storages.get(allocation)
        if found is None:
            data = np.zeros(allocation.nbytes, np.uint8)
            found = Storage(data, allocation.dtype.itemsize, False)
            self._storages[allocation] = found
        return found

    def values(self, view: View) -> Any:
        """A copy of a view's elements, without a look at whether they were written."""
        return self.storage(view.allocation).elements(view).copy()
