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
from nkipy_nki.accesses import Accesses, Rectangle
from nkipy_nki.engines import Engine
from nkipy_nki.program import Instruction
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

    Transfers are assigned to the DMA queues round robin.
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
        rectangle: the bytes.
        writer: the place of its latest write, or -1.
        readers: the latest reads since, by queue.
        near: the other cells that overlap it.
        inner: those of them that are wholly in it.
    """

    __slots__ = ("inner", "near", "readers", "rectangle", "writer")

    def __init__(self, rectangle: Rectangle) -> None:
        self.rectangle = rectangle
        self.writer = -1
        self.readers: dict[int, int] = {}
        self.near: tuple[_Cell, ...] = ()
        self.inner: tuple[_Cell, ...] = ()

    def meet(self, other: _Cell) -> None:
        """Remember that another cell overlaps."""
        self.near += (other,)
        if _holds(self.rectangle, other.rectangle):
            self.inner += (other,)

    def write(self, place: int) -> None:
        """What was written in it before no longer is there, and nor are its readers."""
        for inner in self.inner:
            inner.writer = -1
            inner.readers.clear()
        self.writer = place
        if self.readers:
            self.readers.clear()


def _holds(outer: Rectangle, inner: Rectangle) -> bool:
    return (
        outer[0] <= inner[0]
        and inner[1] <= outer[1]
        and outer[2] <= inner[2]
        and inner[3] <= outer[3]
    )


class _Space(dict[Rectangle, _Cell]):
    """The cells of an allocation, or of a memory, by rectangle."""

    __slots__ = ("_bounds", "_list")

    def __init__(self) -> None:
        self._list: list[_Cell] = []
        #: Of many cells, the rectangles.
        self._bounds: np.ndarray | None = None

    def __missing__(self, rectangle: Rectangle) -> _Cell:
        made = self[rectangle] = _Cell(rectangle)
        if self._list:
            for other in self._overlapping(rectangle):
                made.meet(other)
                other.meet(made)
        self._list.append(made)
        if self._bounds is not None or len(self._list) == _MANY:
            self._extend(rectangle)
        return made

    def _extend(self, rectangle: Rectangle) -> None:
        count = len(self._list)
        if self._bounds is None:
            self._bounds = np.empty((4, 4 * _MANY), np.int64)
            self._bounds[:, :count] = np.transpose([c.rectangle for c in self._list])
            return
        if count > self._bounds.shape[1]:
            self._bounds = np.concatenate([self._bounds, self._bounds], axis=1)
        self._bounds[:, count - 1] = rectangle

    def _overlapping(self, rectangle: Rectangle) -> list[_Cell]:
        top, bottom, left, right = rectangle
        cells = self._list
        if self._bounds is not None:
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
    steps = trace.steps
    spaces: dict[Any, _Space] = {}
    accesses = Accesses().of
    named = any(step.after for step in steps)
    places: dict[Instruction, int] = {}
    found: list[tuple[int, ...]] = []
    for place, step in enumerate(steps):
        queue = queue_of[place]
        waits: dict[int, int] = {}
        touched = []
        for space, rectangle, is_write in accesses(step, trace.indices(place)):
            cells = spaces.get(space)
            if cells is None:
                cells = spaces[space] = _Space()
            cell = cells[rectangle]
            touched.append((cell, is_write))
            _wait_for(cell, is_write, queue, queue_of, waits)
            if cell.near:
                for other in cell.near:
                    _wait_for(other, is_write, queue, queue_of, waits)
        for cell, is_write in touched:
            if is_write:
                cell.write(place)
            else:
                cell.readers[queue] = place
        if named:
            _wait_for_named(step, places, queue_of, waits)
            places[step] = place
        found.append(tuple(waits.values()))
    return found


def _wait_for(
    cell: _Cell,
    is_write: bool,
    queue: int,
    queue_of: Sequence[int],
    waits: dict[int, int],
) -> None:
    """An access waits for the writes of a cell; a write for its reads too.

    Of its own queue, only a read has to wait: for the result.
    """
    writer = cell.writer
    if writer >= 0:
        its_queue = queue_of[writer]
        if its_queue != queue or not is_write:
            if writer > waits.get(its_queue, -1):
                waits[its_queue] = writer
    if is_write:
        for its_queue, reader in cell.readers.items():
            if its_queue != queue and reader > waits.get(its_queue, -1):
                waits[its_queue] = reader


def _wait_for_named(
    step: Instruction,
    places: dict[Instruction, int],
    queue_of: Sequence[int],
    waits: dict[int, int],
) -> None:
    """An instruction waits for those that the kernel named."""
    for earlier in step.after:
        place = places.get(earlier, -1)
        if place >= 0 and place > waits.get(queue_of[place], -1):
            waits[queue_of[place]] = place
