"""Which earlier instructions an instruction must wait for.

Data ask for it: a read waits for writes of the same bytes, a write for reads and writes
of them. Since the instructions of a queue run in order, of each queue the latest such
instruction is enough. The edges of the program ask for more.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from nkipy_nki.accesses import NO_INDICES, Accesses
from nkipy_nki.modes import dependency
from nkipy_nki.program import Instruction
from nkipy_nki.timing.cells import Cell, Space
from nkipy_nki.timing.trace import Trace

__all__ = ["dependencies", "issue_order"]

_AFTER = attrgetter("after")


def dependencies(trace: Trace, queue_of: Sequence[int]) -> list[tuple[int, ...]]:
    """For each step, the places of those that it waits for.

    The step before it in its own queue is left out, unless its result is read.

    Args:
        trace: what was carried out.
        queue_of: the queue of each step, of :func:`queues`.
    """
    steps = trace.steps
    spaces: dict[Any, Space] = {}
    accesses = Accesses().of
    named = any(map(_AFTER, steps))
    places: dict[Instruction, int] = {}
    found: list[tuple[int, ...]] = []
    is_indexed = trace.is_indexed
    for place, step in enumerate(steps):
        queue = queue_of[place]
        waits: dict[int, int] = {}
        touched = []
        indices = trace.indices(place) if is_indexed else NO_INDICES
        for space, rectangle, is_write in accesses(step, indices):
            cells = spaces.get(space)
            if cells is None:
                cells = spaces[space] = Space()
            cell = cells[rectangle]
            touched.append((cell, is_write))
            if is_write or cell.writer >= 0:
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
            _wait_for_edges(step, places, queue_of, waits)
            places[step] = place
        found.append(tuple(waits.values()))
    return found


def _wait_for(
    cell: Cell,
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


def _wait_for_edges(
    step: Instruction,
    places: dict[Instruction, int],
    queue_of: Sequence[int],
    waits: dict[int, int],
) -> None:
    """An instruction waits for those that the kernel says it does."""
    for earlier, kind in step.after:
        place = places.get(earlier, -1)
        if place < 0 or kind is not dependency.runtime:
            continue
        if place > waits.get(queue_of[place], -1):
            waits[queue_of[place]] = place


def issue_order(steps: Sequence[Instruction]) -> dict[int, list[int]]:
    """By place: those of earlier steps that a step must not begin before."""
    if not any(map(_AFTER, steps)):
        return {}
    found: dict[int, list[int]] = {}
    places: dict[Instruction, int] = {}
    for place, step in enumerate(steps):
        for earlier, kind in step.after:
            if kind is dependency.schedule and earlier in places:
                found.setdefault(place, []).append(places[earlier])
        places[step] = place
    return found
