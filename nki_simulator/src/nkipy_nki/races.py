"""Accesses of cores to a tensor that they share, and which of them nothing orders.

Each core has a vector clock, which advances at each rendezvous and takes over those of
the other members. An access of another core comes before what a core does if the clock
has it. Two accesses of one element, of which at least one writes, and of which neither
comes before the other, are a race. Elements are told apart exactly.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nkipy_nki.calls import Call
from nkipy_nki.positions import elements_in
from nkipy_nki.program import Line, View

if TYPE_CHECKING:
    from nkipy_nki.machine import Machine
    from nkipy_nki.program import Instruction

__all__ = ["SharedAccess", "AccessHistory"]


class _Kind:
    """The reads, or the writes, of one core to one tensor.

    Attributes:
        times: the core's own clock at each access.
        lines: where each was.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all accesses."""
        self.times: list[int] = []
        self.lines: list[Line] = []
        self._footprints: list[_Footprint] = []
        self._low, self._high = 0, 0
        #: Bytes that are marked together: no element that was looked at is of fewer.
        self._unit = 0
        #: By unit, the number of the last access, from 1 on. Made when it is needed.
        self._last: np.ndarray | None = None
        self._marked = 0

    def add(self, footprint: _Footprint, time: int, line: Line) -> None:
        """Add an access."""
        if not self.times:
            self._low, self._high = footprint.low, footprint.high
        self._low = min(self._low, footprint.low)
        self._high = max(self._high, footprint.high)
        self._refine(footprint.size)
        self.times.append(time)
        self.lines.append(line)
        self._footprints.append(footprint)

    def first_race(self, footprint: _Footprint, known: int) -> int | None:
        """Which access of these meets `footprint` and is later than `known`."""
        ordered = bisect_right(self.times, known)
        if ordered == len(self.times):
            return None
        if footprint.low >= self._high or footprint.high <= self._low:
            return None
        self._refine(footprint.size)
        found = footprint.of(self._marks(footprint.nbytes), self._unit)
        late = found[found > ordered]
        return int(late.min()) - 1 if late.size else None

    def _refine(self, size: int) -> None:
        """Mark units that elements of so many bytes are whole ones of."""
        unit = math.gcd(self._unit, size)
        if unit != self._unit:
            self._unit, self._last, self._marked = unit, None, 0

    def _marks(self, nbytes: int) -> np.ndarray:
        if self._last is None:
            self._last = np.zeros(nbytes // self._unit, np.int32)
        for number in range(self._marked, len(self._footprints)):
            self._footprints[number].set(self._last, self._unit, number + 1)
        self._marked = len(self._footprints)
        return self._last


class _Footprint:
    """Which bytes of a tensor an access is of.

    Attributes:
        size: bytes of an element.
        low: the first byte.
        high: one behind the last one.
        nbytes: of the tensor.
    """

    __slots__ = ("_offsets", "_view", "high", "low", "nbytes", "size")

    def __init__(self, access: SharedAccess) -> None:
        view = access.view
        self.size = view.dtype.itemsize
        self.nbytes = view.allocation.nbytes
        self._view = view
        #: Of a view whose elements a tensor moves, where they lie, in elements.
        self._offsets: np.ndarray | None = None
        low, high = view.extent
        if view.dynamic is not None:
            call = Call(access.machine, access.instruction)
            offsets, valid = call.element_offsets(view, access.name)
            offsets = np.broadcast_to(offsets, view.shape)
            self._offsets = offsets[np.broadcast_to(valid, view.shape)]
            low = int(self._offsets.min(initial=self.nbytes))
            high = int(self._offsets.max(initial=-1)) + 1
        self.low, self.high = low * self.size, high * self.size

    def of(self, marks: np.ndarray, unit: int) -> np.ndarray:
        """The marks of its bytes, by `unit` bytes; those of static views in place."""
        per = self.size // unit
        if self._offsets is not None:
            return marks[self._units(per)]
        return elements_in(marks, self._view, per=per)

    def _units(self, per: int) -> np.ndarray:
        assert self._offsets is not None
        return (self._offsets[:, None] * per + np.arange(per)).reshape(-1)

    def set(self, marks: np.ndarray, unit: int, number: int) -> None:
        """Mark its bytes."""
        if self._offsets is not None:
            marks[self._units(self.size // unit)] = number
        else:
            self.of(marks, unit)[...] = number


class SharedAccess(NamedTuple):
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


class AccessHistory:
    """The accesses of all cores to one tensor that they share."""

    def __init__(self) -> None:
        #: By core, its reads and its writes.
        self._kinds: dict[Any, tuple[_Kind, _Kind]] = {}

    def note(self, access: SharedAccess) -> None:
        """Note an access.

        Raises:
            NkiValidationError: it is a race, and that is an error.
        """
        if not access.view.size:
            return
        footprint = _Footprint(access)
        for other, kinds in self._kinds.items():
            if other is not access.core:
                _look(access, footprint, other, kinds)
        self._add(access, footprint)

    def _add(self, access: SharedAccess, footprint: _Footprint) -> None:
        core = access.core
        kinds = self._kinds.setdefault(core, (_Kind(), _Kind()))
        known = min(
            other.clock[core.number]
            for other in core.group.cores
            if other.shared is core.shared
        )
        for kind in kinds:
            if kind.times and kind.times[-1] <= known:
                kind.clear()
        line = access.instruction.line
        kinds[access.is_write].add(footprint, core.clock[core.number], line)


def _look(
    access: SharedAccess, footprint: _Footprint, other: Any, kinds: tuple[_Kind, _Kind]
) -> None:
    """Report what an access meets of another core's reads and writes."""
    known = access.core.clock[other.number]
    reads, writes = kinds
    number = writes.first_race(footprint, known)
    if number is not None:
        _report(access, other, writes.lines[number], "has written")
    elif access.is_write:
        number = reads.first_race(footprint, known)
        if number is not None:
            _report(access, other, reads.lines[number], "reads")


def _report(access: SharedAccess, other: Any, line: Line, what: str) -> None:
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
