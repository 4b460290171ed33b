"""One instruction as it is carried out: what its meaning sees of a core."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nkipy_nki.dtypes import DTYPES, narrow, widen
from nkipy_nki.engines import Engine
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.geometry import start_problem
from nkipy_nki.machine import Machine
from nkipy_nki.memory import Storage
from nkipy_nki.positions import along, element_offsets
from nkipy_nki.program import Dynamic, Instruction, Register, View

__all__ = ["Call"]

_FLOAT32 = DTYPES["float32"]


class Call:
    """One instruction as it is carried out: its operands are read and written here.

    Attributes:
        machine: the core.
        instruction: what is carried out.
        operands: the instruction's.
        attributes: the instruction's.
    """

    __slots__ = ("attributes", "instruction", "machine", "operands")

    def __init__(self, machine: Machine, instruction: Instruction) -> None:
        self.machine = machine
        self.instruction = instruction
        self.operands = instruction.operands
        self.attributes = instruction.attributes

    # -- reading -----------------------------------------------------------------------
    def raw(self, name: str) -> np.ndarray:
        """An operand's elements as they are stored. They must not be changed.

        Raises:
            NkiValidationError: one was never written, or an index is out of bounds.
        """
        return self.elements(self.operands[name], name)

    def read(self, name: str) -> np.ndarray:
        """An operand's values in float32, in which engines compute."""
        view = self.operands[name]
        return widen(self.elements(view, name), view.dtype)

    def flat(self, name: str) -> np.ndarray:
        """The same, of shape (partitions, elements of a partition)."""
        values = self.read(name)
        return values.reshape(values.shape[0], -1)

    def number(self, name: str) -> Any:
        """An operand that is a number, a register or one element for each partition.

        Returns:
            A float32, or an array of shape (partitions, 1).
        """
        operand = self.operands[name]
        if isinstance(operand, View):
            return self.read(name).reshape(operand.shape[0], -1)
        if isinstance(operand, Register):
            return np.float32(self.machine.value(operand))
        return np.float32(operand)

    def elements(self, view: View, name: str = "") -> np.ndarray:
        """The elements of any view, which must have been written."""
        storage = self.machine.memory.storage(view.allocation)
        shift = 0 if view.dynamic is None else self._shift(view, storage, name)
        if shift is None:
            return self._gather(view, name)
        if storage.written is not None and storage.unwritten(view, shift):
            written = self._looked_at_again(
                view, lambda: _written(storage, view, shift), name
            )
            if not written.all():
                self._report_unwritten(view, written, name)
            return storage.elements(view, shift)
        return storage.written_elements(view, shift)

    def _gather(self, view: View, name: str) -> np.ndarray:
        offsets, valid = self.element_offsets(view, name)
        if not valid.all():
            self.report_out_of_bounds(view, offsets, valid, name)
            offsets = np.where(valid, offsets, 0)
        return self.elements_at(view, offsets, name)

    def elements_at(self, view: View, places: np.ndarray, name: str) -> np.ndarray:
        """The elements at positions in a view's tensor, which must have been written.

        Args:
            view: of the tensor, whose dtype is read.
            places: in elements of that dtype, in bounds.
            name: the operand's.
        """
        storage = self.machine.memory.storage(view.allocation)
        whole = _all_elements(view)
        if storage.written is not None:
            taken = self._looked_at_again(
                view, lambda: _written(storage, whole, 0)[places], name
            )
            if not taken.all():
                self._report_unwritten(view, taken, name)
        return storage.elements(whole)[places]

    def _looked_at_again(
        self, view: View, look: Callable[[], np.ndarray], name: str
    ) -> np.ndarray:
        """Whether elements were written, after other cores had time to.

        What one of them has written meanwhile is reported as a race: only the order in
        which cores take turns makes it a read of what was never written.

        Args:
            view: what is read.
            look: tells of each element whether it was written.
            name: the operand's.
        """
        written, machine = look(), self.machine
        core = machine.core
        if core is None or not machine.findings.wants("uninitialized-read"):
            return written
        count = np.count_nonzero(written)  # what was looked at may change in place
        if count == written.size or not core.let_others_write(view):
            return written
        again = look()
        if np.count_nonzero(again) > count:
            core.access(machine, self.instruction, name, view, is_write=False)
        return again

    # -- writing -----------------------------------------------------------------------
    def write(self, name: str, values: np.ndarray) -> None:
        """Round float32 values to an operand's dtype and store them there."""
        view = self.operands[name]
        self.store(name, narrow(np.asarray(values), view.dtype))

    def destination(self, name: str) -> np.ndarray | None:
        """An operand's elements where they lie, for a result in float32.

        What computes into them calls :meth:`mark` afterwards.

        Returns:
            None if they are of another dtype, or lie where only the run knows.
        """
        view = self.operands[name]
        if view.dtype is not _FLOAT32 or view.dynamic is not None:
            return None
        return self.machine.memory.storage(view.allocation).room(view)

    def mark(self, name: str) -> None:
        """Remember that the elements were written that `destination` gave."""
        view = self.operands[name]
        storage = self.machine.memory.storage(view.allocation)
        if storage.written is not None or storage.in_psum:
            storage.mark(view)

    def store(self, name: str, elements: np.ndarray) -> None:
        """Store elements of the operand's dtype, in any shape of as many elements."""
        view = self.operands[name]
        if elements.shape != view.shape:
            elements = np.reshape(elements, view.shape)
        storage = self.machine.memory.storage(view.allocation)
        shift = 0 if view.dynamic is None else self._shift(view, storage, name)
        if shift is None:
            self._scatter(view, elements, name)
            return
        storage.room(view, shift)[...] = elements
        if storage.written is not None or storage.in_psum:
            storage.mark(view, shift)

    def store_where(self, name: str, elements: Any, where: np.ndarray) -> None:
        """Store elements where `where` is true; the others stay as they are.

        Args:
            name: the operand's.
            elements: of its dtype, of a shape that broadcasts to its own.
            where: booleans, of a shape that broadcasts to it as well.
        """
        view = self.operands[name]
        where = np.broadcast_to(where, view.shape)
        storage = self.machine.memory.storage(view.allocation)
        shift = 0 if view.dynamic is None else self._shift(view, storage, name)
        if shift is None:
            offsets, valid = self.element_offsets(view, name)
            if not valid[where].all():
                self.report_out_of_bounds(view, offsets, valid | ~where, name)
            where = where & valid
            self.require_apart(view, offsets, name, where)
            elements = np.broadcast_to(elements, view.shape)
            self.store_at(view, offsets[where], elements[where])
            return
        np.copyto(storage.elements(view, shift), elements, where=where)
        if storage.written is not None or storage.in_psum:
            storage.mark(view, shift, where)

    def store_part(self, view: View, elements: np.ndarray) -> None:
        """Store elements in a view without an index, such as a part of an operand."""
        storage = self.machine.memory.storage(view.allocation)
        storage.room(view)[...] = elements
        if storage.written is not None or storage.in_psum:
            storage.mark(view)

    def store_at(self, view: View, places: np.ndarray, elements: np.ndarray) -> None:
        """Store elements at positions in a view's tensor.

        Args:
            view: of the tensor, whose dtype is written.
            places: in elements of that dtype, in bounds.
            elements: one for each.
        """
        storage = self.machine.memory.storage(view.allocation)
        whole = _all_elements(view)
        storage.elements(whole)[places] = elements
        if storage.written is not None or storage.in_psum:
            where = np.zeros(whole.shape, bool)
            where[places] = True
            storage.mark(whole, 0, where)

    def storage(self, name: str) -> tuple[Storage, int]:
        """Where an operand's elements are, to be changed there.

        Returns:
            The storage, and how many elements a dynamic index adds to the offset.

        Raises:
            NkiValidationError: the index is out of bounds, or moves elements
                differently.
        """
        view = self.operands[name]
        storage = self.machine.memory.storage(view.allocation)
        if view.dynamic is None:
            return storage, 0
        shift = self._shift(view, storage, name)
        if shift is None:
            offsets, valid = self.element_offsets(view, name)
            if not valid.all():
                self.report_out_of_bounds(view, offsets, valid, name)
            raise NkiValidationError(
                f"{self.instruction.record.name}: {name} has an index for which "
                f"nothing is done\n  at {self.instruction.line}"
            )
        return storage, shift

    def _scatter(self, view: View, elements: np.ndarray, name: str) -> None:
        offsets, valid = self.element_offsets(view, name)
        if not valid.all():
            self.report_out_of_bounds(view, offsets, valid, name)
            offsets, elements = offsets[valid], elements[valid]
        self.require_apart(view, offsets, name)
        self.store_at(view, offsets, elements)

    # -- dynamic indices ---------------------------------------------------------------
    def _shift(self, view: View, storage: Storage, name: str) -> int | None:
        """How far all elements of a view are moved.

        Returns:
            Elements of its dtype; None if they are moved differently, or one would be
            out of bounds.
        """
        dynamic = view.dynamic
        if dynamic is None or not dynamic.is_scalar:
            return None
        shift = 0
        for link in dynamic.chain():
            index = int(self._index(link).reshape(()))
            if not 0 <= index < link.limit:
                return None
            shift += index * link.step
        low, high = view.extent
        size = storage.nbytes // view.dtype.itemsize
        if not (0 <= low + shift and high + shift <= size):
            return None
        self._require_aligned(view, view.offset + shift, name)
        return shift

    def _require_aligned(self, view: View, begin: int, name: str) -> None:
        """Report a view that begins at a partition where engines do not.

        Args:
            view: any.
            begin: its first element, with what the run adds, in elements.
            name: the operand's.
        """
        rule = self.instruction.record.operands.get(name)
        if rule is None or not rule.aligned or not view.region.is_on_chip:
            return
        first = begin // (view.partition_step or 1)
        if problem := start_problem(first, view.shape[0]):
            self.report("wrong-operand", f"{name} {problem}", operand=name)

    def _index(self, dynamic: Dynamic) -> np.ndarray:
        """What a register, or the elements of a view, say."""
        if isinstance(dynamic.index, Register):
            return np.asarray(self.machine.value(dynamic.index), np.int64)
        return np.asarray(self.elements(dynamic.index, "an index")).astype(np.int64)

    def element_offsets(
        self, view: View, name: str = ""
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where each element of a view with a dynamic index lies in its tensor.

        Returns:
            Positions in elements of the view's dtype, of the view's shape; and whether
            each is in bounds.
        """
        assert view.dynamic is not None
        offsets = element_offsets(view)
        valid: Any = True
        for link in view.dynamic.chain():
            index = self._spread(link, view)
            offsets = offsets + index * link.step
            valid = valid & (index >= 0) & (index < link.limit)
        limit = view.allocation.nbytes // view.dtype.itemsize
        valid = np.asarray(valid & (offsets >= 0) & (offsets < limit))
        if valid.all() and offsets.size:
            self._require_aligned(view, int(offsets.flat[0]), name)
        return offsets, valid

    def _spread(self, dynamic: Dynamic, view: View) -> np.ndarray:
        """An index, of a shape that is broadcast to the view's."""
        index = self._index(dynamic)
        if dynamic.interleaved:
            return self._interleaved(index, view.shape)
        if dynamic.axis is None:
            return index.reshape(())
        count = view.shape[dynamic.axis]
        in_order = index.reshape(index.shape[0], -1).T.reshape(-1)[:count]
        return along(in_order, dynamic.axis, len(view.shape))

    def _interleaved(self, index: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """The indices of each partition, interleaved over groups in a tile.

        Index i of the partitions of group g lies at ``[g * n + i % n, i // n]`` of a
        tile, where n is 16, and 32 for the tensor engine.
        """
        group = 32 if self.instruction.engine is Engine.tensor else 16
        i = np.arange(shape[1])
        rows = np.arange(shape[0])[:, None] // group * group + i % group
        rows_needed, columns_needed = int(rows.max()) + 1, int(i[-1]) // group + 1
        if rows_needed > index.shape[0] or columns_needed > index.shape[1]:
            self.report(
                "out-of-bounds",
                f"indirect takes {shape[1]} indices for {shape[0]} partitions from a "
                f"tile of shape {list(index.shape)}: interleaved over groups of "
                f"{group}, they are in {[rows_needed, columns_needed]}",
            )
            return np.full(shape, -1)
        return index[rows, i // group]

    # -- findings ----------------------------------------------------------------------
    def report(self, kind: str, message: str, **details: Any) -> None:
        """Report a finding at this instruction."""
        name = self.instruction.record.name
        line = self.instruction.line
        self.machine.findings.report(kind, message, line, name, **details)

    def _report_unwritten(self, view: View, marks: np.ndarray, name: str) -> None:
        first = tuple(map(int, np.argwhere(~marks)[0]))
        missing = int(marks.size - marks.sum())
        self.report(
            "uninitialized-read",
            f"{name} reads {missing} of {marks.size} elements that were never written, "
            f"the first at {list(first)} of {list(view.shape)}, of {view.allocation} "
            f"made at {view.allocation.line}",
            operand=name,
            missing=missing,
            position=list(first),
        )

    def require_apart(
        self,
        view: View,
        places: np.ndarray,
        name: str,
        chosen: np.ndarray | None = None,
    ) -> None:
        """Report elements that are written to one place by indices.

        Args:
            view: the operand.
            places: where its elements lie in its tensor, in elements.
            name: the operand's.
            chosen: of the same shape, which of them are written; None is all.
        """
        if not self.machine.findings.wants("scattered-twice"):
            return
        numbers = (
            np.arange(places.size) if chosen is None else chosen.ravel().nonzero()[0]
        )
        where = places.reshape(-1)[numbers]
        times = np.zeros(view.allocation.nbytes // view.dtype.itemsize, bool)
        times[where] = True
        extra = where.size - int(np.count_nonzero(times))
        if not extra:
            return
        kept = np.ones(where.size, bool)
        kept[np.unique(where, return_index=True)[1]] = False
        first = numbers[kept.argmax()]
        position = [int(i) for i in np.unravel_index(first, places.shape)]
        self.report(
            "scattered-twice",
            f"{name} writes {extra} of {where.size} elements to places that others "
            f"are written to as well, the first at {position}; which of them stays is "
            "not defined: let indices differ, or add with nisa.dma_compute and "
            "unique_indices=False",
            operand=name,
            count=extra,
            position=position,
        )

    def report_out_of_bounds(
        self, view: View, places: np.ndarray, valid: np.ndarray, name: str
    ) -> None:
        """Report the first element of a view that is out of bounds."""
        position = tuple(map(int, np.argwhere(~valid)[0]))
        made = view.allocation
        value, extent, is_start = self._beyond(view, position)
        if extent is None:
            value, extent = int(places[position]), made.nbytes // view.dtype.itemsize
            where = f" is element {value}, and there are {extent}"
        elif is_start:
            where = f" starts at index {value}, and may start at 0 to {extent - 1}"
        else:
            where = f" is index {value}, and there are {extent}"
        self.report(
            "out-of-bounds",
            f"{name} at {list(position)} of {list(view.shape)}{where}, in {made} made "
            f"at {made.line}",
            operand=name,
            value=value,
            position=list(position),
            extent=extent,
        )

    def _beyond(
        self, view: View, position: tuple[int, ...]
    ) -> tuple[int, int | None, bool]:
        """The index at a position that is out of bounds, and how many there may be.

        Returns:
            Those, and whether it is where the whole view starts.
        """
        assert view.dynamic is not None
        for link in view.dynamic.chain():
            index = np.broadcast_to(self._spread(link, view), view.shape)[position]
            if not 0 <= index < link.limit:
                is_start = link.axis is None and not link.interleaved
                return int(index), link.limit, is_start
        return 0, None, False


def _written(storage: Storage, view: View, shift: int) -> np.ndarray:
    """By element of a view, whether it was written."""
    return np.broadcast_to(storage.written_of(view, shift), view.shape)


def _all_elements(view: View) -> View:
    """A tensor's elements, in one dimension, of a view's dtype."""
    count = view.allocation.nbytes // view.dtype.itemsize
    return View(view.allocation, view.dtype, 0, (count,), (1,))
