"""The bytes of tensors, and which of them were written."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import numpy as np

from nkipy_nki.errors import NkiValidationError
from nkipy_nki.marks import Marks, units_of
from nkipy_nki.positions import elements_in
from nkipy_nki.program import Allocation, View
from nkipy_nki.regions import MemoryRegion

__all__ = ["Memory", "SharedTensor", "Storage"]


class Storage:
    """A tensor's bytes.

    Who writes to the bytes says so to :meth:`mark`, if `written` is not None or the
    tensor is `in_psum`; a product of matrices, to :meth:`mark_product`.

    Bytes of new tiles are what the memory held before. They are set to 0 before they
    can be seen, which is never if all that is read was written.

    Attributes:
        unit: bytes of which `valued` tells together.
        written: which elements were; None if all were.
        in_psum: whether products are accumulated here.
        valued: by unit, whether it was last written by what is no product of matrices;
            None if nothing was, as in most tensors that products are accumulated in.
        derived: what readers made of the elements and may use again; it is emptied when
            they may change.
    """

    __slots__ = (
        *("_data", "_is_clear"),
        *("derived", "in_psum", "unit", "valued", "written"),
    )

    def __init__(
        self,
        data: np.ndarray,
        unit: int,
        is_written: bool,
        in_psum: bool = False,
        is_clear: bool = True,
        pitch: int = 0,
    ) -> None:
        self._data = data
        self._is_clear = is_clear
        self.unit = unit
        self.written = None if is_written else Marks(data.size, unit, pitch)
        self.in_psum = in_psum
        self.valued: np.ndarray | None = None
        self.derived: dict[Any, Any] = {}

    @property
    def nbytes(self) -> int:
        """How many bytes there are."""
        return self._data.size

    @property
    def data(self) -> np.ndarray:
        """The bytes, to be changed; what was never written is 0."""
        if not self._is_clear:
            self._clear()
        if self.derived:
            self.derived = {}
        return self._data

    def let_go(self) -> np.ndarray:
        """The bytes, whatever they are, for another tensor."""
        return self._data

    def elements(self, view: View, offset: int = 0) -> np.ndarray:
        """The elements of a view without a dynamic index, in place, to be changed.

        Those that were never written are 0.

        Args:
            view: what is looked at.
            offset: in elements, added to the view's.

        Raises:
            ValueError, TypeError: it leaves the bytes.
        """
        if not self._is_clear:
            self._clear()
        return self.room(view, offset)

    def room(self, view: View, offset: int = 0) -> np.ndarray:
        """The same, if all of them are going to be written."""
        if self.derived:
            self.derived = {}
        return elements_in(self._data, view, offset, view.dtype.element)

    def written_elements(self, view: View, offset: int = 0) -> np.ndarray:
        """The same, to be read only, if all of them were written."""
        found = elements_in(self._data, view, offset, view.dtype.element)
        found.flags.writeable = False
        return found

    def _clear(self) -> None:
        """Set what was never written to 0."""
        self._is_clear = True
        if self.written is not None:
            written = self.written
            items = self._data.view(f"u{written.unit}")
            np.copyto(items, 0, where=~written.units)

    def marks(self, view: View, offset: int = 0) -> np.ndarray | None:
        """By element of a view, whether it was written; None if all of the tensor was.

        What is returned can be written.
        """
        return None if self.written is None else self.written.of(view, offset)

    def _refine(self, size: int) -> None:
        """Tell of units that are no larger than an element of so many bytes."""
        if size < self.unit:
            if self.valued is not None:
                self.valued = np.repeat(self.valued, self.unit // size)
            self.unit = size

    def mark(
        self, view: View, offset: int = 0, where: np.ndarray | None = None
    ) -> None:
        """Remember that a view was written; if `where` is given, where it is true."""
        if self.in_psum:
            self._value(view, offset, where)
        self._write(view, offset, where)

    def _write(self, view: View, offset: int, where: np.ndarray | None) -> None:
        written = self.written
        if written is None:
            return
        if where is None and self._is_whole(view):
            self.written = None
        elif written.add(view, offset, where):
            self.written = None

    def _is_whole(self, view: View) -> bool:
        """Whether a view is of all elements of the tensor."""
        size = view.size * view.dtype.itemsize
        return size == self._data.size and 0 not in view.strides

    # -- accumulation ------------------------------------------------------------------
    def _value(self, view: View, offset: int, where: np.ndarray | None) -> None:
        if self.valued is None:
            self.valued = np.zeros(self._data.size // self.unit, bool)
        self._refine(view.dtype.itemsize)
        units = units_of(self.valued, self.unit, view, offset)
        units[... if where is None else where] = True

    def mark_product(self, view: View, offset: int = 0) -> None:
        """Remember that a product of matrices was written to a view."""
        if self.valued is not None:
            if self._is_whole(view):
                self.valued = None
            else:
                self._refine(view.dtype.itemsize)
                units_of(self.valued, self.unit, view, offset)[...] = False
        self._write(view, offset, None)

    def has_values(self, view: View, offset: int = 0) -> bool:
        """Whether an element was last written by what is no product of matrices."""
        if self.valued is None:
            return False
        self._refine(view.dtype.itemsize)
        return bool(units_of(self.valued, self.unit, view, offset).any())

    # -- reading -----------------------------------------------------------------------
    def unwritten(self, view: View, offset: int = 0) -> bool:
        """Whether an element of a view was never written."""
        return self.written_of(view, offset) is not True

    def written_of(self, view: View, offset: int = 0) -> bool | np.ndarray:
        """Whether all elements of a view were written, or none; or of each, whether."""
        written = self.written
        return True if written is None else written.written(view, offset)


class SharedTensor:
    """A tensor that several cores have, whose bytes are made when they are needed.

    Attributes:
        allocation: as the first of them made it.
    """

    def __init__(self, allocation: Allocation) -> None:
        self.allocation = allocation
        self._storage: Storage | None = None

    def storage(self) -> Storage:
        """The bytes."""
        if self._storage is None:
            self._storage = _new_storage(self.allocation)
        return self._storage


def _new_storage(allocation: Allocation) -> Storage:
    """A tensor's bytes, which were never written.

    Raises:
        NkiValidationError: this machine has not so many.
    """
    try:
        return _unwritten(allocation, _bytes_for(allocation))
    except MemoryError as error:
        raise NkiValidationError(
            f"there is not enough memory here for {allocation}, which has "
            f"{allocation.nbytes} bytes\n  at {allocation.line}"
        ) from error


def _unwritten(allocation: Allocation, data: np.ndarray) -> Storage:
    in_psum = allocation.region is MemoryRegion.psum
    rows = allocation.shape[0]
    return Storage(
        *(data, allocation.dtype.itemsize, False, in_psum),
        is_clear=_comes_clear(allocation),
        pitch=data.size // rows if rows else 0,
    )


class _Spare(threading.local):
    """Bytes of each thread's tiles that were let go, for tiles to come, of any run.

    The system takes long to give new ones. A collection of garbage may give bytes at
    any time, in the midst of these methods too.
    """

    #: The most bytes that are kept.
    most = 32 << 20

    def __init__(self) -> None:
        #: By size; that which was let go latest is the last.
        self._by_size: OrderedDict[int, list[np.ndarray]] = OrderedDict()
        self._total = 0
        self._is_giving = False

    def take(self, count: int) -> np.ndarray:
        """So many bytes, whatever they are."""
        kept = self._by_size.get(count)
        if not kept:
            return np.empty(count, np.uint8)
        data = kept.pop()
        self._total -= count
        return data

    def give(self, data: np.ndarray) -> None:
        """Keep bytes, and forget those of the size that was let go the longest ago.

        What a collection gives in the midst of it is not kept.
        """
        if self._is_giving:
            return
        self._is_giving = True
        try:
            self._keep(data)
        finally:
            self._is_giving = False

    def _keep(self, data: np.ndarray) -> None:
        count = data.size
        kept = self._by_size.pop(count, None) or []
        if (len(kept) + 1) * count <= self.most:
            kept.append(data)
            self._total += count
        self._by_size[count] = kept
        while self._total > self.most and len(self._by_size) > 1:
            size, forgotten = self._by_size.popitem(last=False)
            self._total -= size * len(forgotten)


_SPARE = _Spare()


def _bytes_for(allocation: Allocation) -> np.ndarray:
    """Those of a new tensor; what is not on the chip the caller may be given."""
    if allocation.region.is_on_chip:
        return _SPARE.take(allocation.nbytes)
    if _comes_clear(allocation):
        return np.zeros(allocation.nbytes, np.uint8)
    return np.empty(allocation.nbytes, np.uint8)


def _comes_clear(allocation: Allocation) -> bool:
    """Whether new bytes are 0: so many take memory only where they are written."""
    return not allocation.region.is_on_chip and allocation.nbytes > _Spare.most


class Memory:
    """The tensors of a run, each made when it is first asked for.

    Attributes:
        releases: whether the bytes of tiles that nobody has any more are let go.
    """

    def __init__(self) -> None:
        self.releases = True
        self._storages: dict[Allocation, Storage] = {}
        self._adopted: dict[Allocation, SharedTensor] = {}
        self._lent: set[Allocation] = set()

    def share(self, allocation: Allocation, array: np.ndarray) -> None:
        """Let a tensor lie where `array`, in C's order, does: it is all written."""
        data = array.reshape(-1).view(np.uint8)
        self._lent.add(allocation)
        self._storages[allocation] = Storage(data, allocation.dtype.itemsize, True)

    def adopt(self, allocation: Allocation, tensor: SharedTensor) -> None:
        """Let a tensor be one that other memories have too."""
        self._adopted[allocation] = tensor

    def storage(self, allocation: Allocation) -> Storage:
        """The bytes of a tensor."""
        found = self._storages.get(allocation)
        if found is None:
            shared = self._adopted.get(allocation)
            if shared is not None:
                found = shared.storage()
            else:
                found = _new_storage(allocation)
            self._storages[allocation] = found
        return found

    def release(self, allocation: Allocation) -> None:
        """Let the bytes of a tile go: nothing will read or write it any more."""
        if not self.releases:
            return
        storage = self._storages.pop(allocation, None)
        if storage is not None:
            _SPARE.give(storage.let_go())

    def values(self, view: View) -> Any:
        """A copy of a view's elements, without a look at whether they were written."""
        return self.storage(view.allocation).elements(view).copy()

    def take(self, view: View) -> Any:
        """A view's elements at the end of a run, not copied if they are a tensor's all.

        That is for one that only this memory has, and each is taken as a whole once.
        """
        made = view.allocation
        if not view.is_whole or made in self._lent or made in self._adopted:
            return self.values(view)
        return self.storage(made).elements(view)
