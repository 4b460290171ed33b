"""Which earlier instructions an instruction must wait for.

Data ask for it: a read waits for writes of the same bytes, a write for reads and writes
of them. Since the instructions of a queue run in order, of each queue the latest such
instruction is enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nkipy.chips import Chip
from nkipy_nki.engines import Engine
from nkipy_nki.program import Instruction
from nkipy_nki.timing.accesses import Access, Rectangle, accesses
from nkipy_nki.timing.trace import Trace

__all__ = ["dependencies", "engine_of", "queues"]

#: Numbers of the DMA queues begin here, behind those of engines.
FIRST_DMA_QUEUE = 16
#: From so many rectangles on, they are compared by NumPy.
_MANY = 24


def engine_of(instruction: Instruction) -> Engine:
    """The engine that carries an instruction out."""
    engine = instruction.engine
    return engine if engine.value else instruction.record.engines[0]


def queues(steps: Sequence[Instruction], chip: Chip) -> list[int]:
    """The queue of each instruction: its engine's number, or a DMA queue's.

    Transfers are dealt to the DMA queues in turn.
    """
    dma, transfers, found = Engine.dma, 0, []
    for step in steps:
        engine = engine_of(step)
        if engine is dma:
            found.append(FIRST_DMA_QUEUE + transfers % chip.dma_engines)
            transfers += 1
        else:
            found.append(engine.value)
    return found


class _Cell:
    """A rectangle that was accessed, as such.

    Attributes:
        writer: the place of its latest write, or -1.
        readers: the latest reads since, by queue.
        others: cells that overlap it, and are not wholly in it.
        inner: cells that are wholly in it, itself among them.
    """

    __slots__ = ("inner", "others", "readers", "rectangle", "writer")

    def __init__(self, rectangle: Rectangle) -> None:
        self.rectangle = rectangle
        self.writer = -1
        self.readers: dict[int, int] = {}
        self.others: list[_Cell] = []
        self.inner: list[_Cell] = [self]

    def meet(self, other: _Cell) -> None:
        """Remember that another cell overlaps."""
        mine, its = self.rectangle, other.rectangle
        self._add(other, _holds(mine, its))
        other._add(self, _holds(its, mine))

    def _add(self, other: _Cell, is_inner: bool) -> None:
        (self.inner if is_inner else self.others).append(other)


def _holds(outer: Rectangle, inner: Rectangle) -> bool:
    return (
        outer[0] <= inner[0]
        and inner[1] <= outer[1]
        and outer[2] <= inner[2]
        and inner[3] <= outer[3]
    )


class _Space:
    """The cells of an allocation, or of a memory."""

    __slots__ = ("_bounds", "_cells", "_list")

    def __init__(self) -> None:
        self._cells: dict[Rectangle, _Cell] = {}
        self._list: list[_Cell] = []
        self._bounds = np.empty((4, _MANY * 2), np.int64)

    def cell(self, rectangle: Rectangle) -> _Cell:
        found = self._cells.get(rectangle)
        if found is None:
            found = _Cell(rectangle)
            for other in self._overlapping(rectangle):
                found.meet(other)
            self._keep(found)
        return found

    def _keep(self, cell: _Cell) -> None:
        count = len(self._list)
        if count == self._bounds.shape[1]:
            self._bounds = np.concatenate([self._bounds, self._bounds], axis=1)
        self._bounds[:, count] = cell.rectangle
        self._cells[cell.rectangle] = cell
        self._list.append(cell)

    def _overlapping(self, rectangle: Rectangle) -> list[_Cell]:
        top, bottom, left, right = rectangle
        cells = self._list
        if len(cells) >= _MANY:
            tops, bottoms, lefts, rights = self._bounds[:, : len(cells)]
            hit = (tops < bottom) & (top < bottoms) & (lefts < right) & (left < rights)
            return [cells[i] for i in np.flatnonzero(hit)]
        found = []
        for cell in cells:
            its = cell.rectangle
            if its[0] < bottom and top < its[1] and its[2] < right and left < its[3]:
                found.append(cell)
        return found


def dependencies(trace: Trace, queue_of: Sequence[int]) -> list[tuple[int, ...]]:
    """For each step, the places of those that it waits for.

    The step before it in its own queue is left out, unless its result is read.

    Args:
        trace: what was carried out.
        queue_of: the queue of each step, of :func:`queues`.
    """
    spaces: dict[Any, _Space] = {}
    places: dict[Instruction, int] = {}
    found: list[tuple[int, ...]] = []
    for place, step in enumerate(trace.steps):
        queue = queue_of[place]
        waits: dict[int, int] = {}
        touched = _cells(accesses(step, trace.indices(place)), spaces)
        for cell, is_write in touched:
            (_before_write if is_write else _before_read)(cell, queue, queue_of, waits)
        for cell, is_write in touched:
            if is_write:
                for inner in cell.inner:
                    inner.writer = -1
                    inner.readers.clear()
                cell.writer = place
            else:
                cell.readers[queue] = place
        for earlier in step.after:
            if (at := places.get(earlier)) is not None:
                _wait(waits, queue_of[at], at)
        places[step] = place
        found.append(tuple(waits.values()))
    return found


def _cells(
    made: Sequence[Access], spaces: dict[Any, _Space]
) -> list[tuple[_Cell, bool]]:
    touched = []
    for space, rectangle, is_write in made:
        held = spaces.get(space)
        if held is None:
            held = spaces[space] = _Space()
        touched.append((held.cell(rectangle), is_write))
    return touched


def _wait(waits: dict[int, int], queue: int, place: int) -> None:
    if place > waits.get(queue, -1):
        waits[queue] = place


def _before_read(
    cell: _Cell, queue: int, queue_of: Sequence[int], waits: dict[int, int]
) -> None:
    """A read waits for writes."""
    for others in (cell.inner, cell.others):
        for other in others:
            if other.writer >= 0:
                _wait(waits, queue_of[other.writer], other.writer)


def _before_write(
    cell: _Cell, queue: int, queue_of: Sequence[int], waits: dict[int, int]
) -> None:
    """A write waits for reads and writes of other queues."""
    for others in (cell.inner, cell.others):
        for other in others:
            if other.writer >= 0 and queue_of[other.writer] != queue:
                _wait(waits, queue_of[other.writer], other.writer)
            for its_queue, reader in other.readers.items():
                if its_queue != queue:
                    _wait(waits, its_queue, reader)
