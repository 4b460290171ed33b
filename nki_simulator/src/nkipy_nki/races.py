"""Accesses of cores to a tensor that they share, and which of them nothing orders.

Each core counts its meetings, and learns at a meeting how far the others had come. An
access of another core comes before what a core does if it is not later than that. Two
accesses of one element, of which at least one writes, and of which neither comes before
the other, are a race. Elements are told apart exactly.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nkipy_nki.machine import Call
from nkipy_nki.program import Line, View

if TYPE_CHECKING:
    from nkipy_nki.machine import Machine
    from nkipy_nki.program import Instruction

__all__ = ["Access", "Accesses"]


class _Kind:
    """The reads, or the writes, of one core to one tensor.

    Attributes:
        times: the core's count of meetings at each access.
        lines: where each was.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all accesses."""
        self.times: list[int] = []
        self.lines: list[Line] = []
        self._places: list[_Place] = []
        self._low, self._high = 0, 0
        #: By byte, the number of the last access, from 1 on. Made when it is needed.
        self._last: np.ndarray | None = None
        self._marked = 0

    def add(self, place: _Place, time: int, line: Line) -> None:
        """Add an access."""
        if not self.times:
            self._low, self._high = place.low, place.high
        self._low = min(self._low, place.low)
        self._high = max(self._high, place.high)
        self.times.append(time)
        self.lines.append(line)
        self._places.append(place)

    def first_race(self, place: _Place, known: int) -> int | None:
        """Which access of these meets `place` and is later than `known`."""
        ordered = bisect_right(self.times, known)
        if ordered == len(self.times):
            return None
        if place.low >= self._high or place.high <= self._low:
            return None
        found = place.of(self._marks(place.nbytes))
        late = found[found > ordered]
        return int(late.min()) - 1 if late.size else None

    def _marks(self, nbytes: int) -> np.ndarray:
        if self._last is None:
            self._last = np.zeros(nbytes, np.int32)
        for number in range(self._marked, len(self._places)):
            self._places[number].set(self._last, number + 1)
        self._marked = len(self._places)
        return self._last


class _Place:
    """Which bytes of a tensor an access is of.

    Attributes:
        low: the first one.
        high: one behind the last one.
        nbytes: of the tensor.
    """

    __slots__ = ("_bytes", "_view", "high", "low", "nbytes")

    def __init__(self, access: Access) -> None:
        view = access.view
        size = view.dtype.itemsize
        self.nbytes = view.allocation.nbytes
        self._view: View | None = view
        if view.dynamic is None:
            low, high = view.extent
            self.low, self.high = low * size, high * size
            return
        call = Call(access.machine, access.instruction)
        places, valid = call.places(view, access.name)
        places = np.broadcast_to(places, view.shape)[np.broadcast_to(valid, view.shape)]
        self._view = None
        self._bytes = (places.reshape(-1, 1) * size + np.arange(size)).reshape(-1)
        self.low = int(self._bytes.min(initial=self.nbytes))
        self.high = int(self._bytes.max(initial=-1)) + 1

    def of(self, marks: np.ndarray) -> np.ndarray:
        """The marks of the bytes, of static views in place."""
        view = self._view
        if view is None:
            return marks[self._bytes]
        size = view.dtype.itemsize
        step = marks.itemsize
        shape = (*view.shape, size)
        strides = (*(s * size * step for s in view.strides), step)
        start = view.offset * size * step
        return np.ndarray(shape, marks.dtype, marks, start, strides)

    def set(self, marks: np.ndarray, number: int) -> None:
        if self._view is None:
            marks[self._bytes] = number
        else:
            self.of(marks)[...] = number


class Access(NamedTuple):
    """An access to a tensor that cores share.

    Attributes:
        core: whose it is.
        machine: that carries it out.
        instruction: what accesses.
        name: the operand's.
        view: what is accessed.
        is_write: whether it is written, or read.
    """

    core: Any
    machine: Machine
    instruction: Instruction
    name: str
    view: View
    is_write: bool


class Accesses:
    """The accesses of all cores to one tensor that they share."""

    def __init__(self) -> None:
        #: By core, its reads and its writes.
        self._kinds: dict[Any, tuple[_Kind, _Kind]] = {}

    def note(self, access: Access) -> None:
        """Note an access.

        Raises:
            NkiValidationError: it is a race, and that is an error.
        """
        if not access.view.size:
            return
        place = _Place(access)
        for other, kinds in self._kinds.items():
            if other is not access.core:
                _look(access, place, other, kinds)
        self._add(access, place)

    def _add(self, access: Access, place: _Place) -> None:
        core = access.core
        kinds = self._kinds.setdefault(core, (_Kind(), _Kind()))
        known = min(
            other.clock[core.number]
            for other in core.together.cores
            if other.shared is core.shared
        )
        for kind in kinds:
            if kind.times and kind.times[-1] <= known:
                kind.clear()
        line = access.instruction.line
        kinds[access.is_write].add(place, core.clock[core.number], line)


def _look(
    access: Access, place: _Place, other: Any, kinds: tuple[_Kind, _Kind]
) -> None:
    """Report what an access meets of another core's reads and writes."""
    known = access.core.clock[other.number]
    reads, writes = kinds
    number = writes.first_race(place, known)
    if number is not None:
        _report(access, other, writes.lines[number], "has written")
    elif access.is_write:
        number = reads.first_race(place, known)
        if number is not None:
            _report(access, other, reads.lines[number], "reads")


def _report(access: Access, other: Any, line: Line, what: str) -> None:
    made, instruction = access.view.allocation, access.instruction
    access.machine.findings.report(
        "core-race",
        f"{access.core.name} {'writes' if access.is_write else 'reads'} elements as "
        f"{access.name} that {other.name} {what} at {line}, of {made} made at "
        f"{made.line}, and nothing orders the two: call nisa.core_barrier between them",
        instruction.line,
        instruction.record.name,
        operand=access.name,
        other_file=line.file,
        other_line=line.number,
        other_core=other.name,
    )
