"""Which instructions cannot change places, and the order of steps that edges turn.

Two instructions conflict if one writes what the other reads or writes, or if both
change what is no operand: an engine's reduce registers or random bits, or what other
cores see.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush

import numpy as np

from nkipy_nki.accesses import Access, Accesses
from nkipy_nki.engines import Engine
from nkipy_nki.positions import elements_in
from nkipy_nki.program import Instruction, Loop, Register, Step, View

__all__ = ["MOST_INSTRUCTIONS", "Unordered", "in_order", "turned"]

#: So many instructions may lie between two whose order an edge turns around.
MOST_INSTRUCTIONS = 1024


class Unordered(ValueError):
    """Steps that no order can have: each must come after the other."""


def turned(body: Sequence[Step]) -> tuple[int, int] | None:
    """Where the steps begin and end whose order edges turn around; None if none do."""
    if not any(step.after for step in body if isinstance(step, Instruction)):
        return None
    places = {step: place for place, step in enumerate(body)}
    begins, ends = [], []
    for place, step in enumerate(body):
        for edge in step.after if isinstance(step, Instruction) else ():
            if places.get(edge.producer, -1) > place:
                begins.append(place)
                ends.append(places[edge.producer] + 1)
    return (min(begins), max(ends)) if begins else None


def in_order(steps: Sequence[Step]) -> list[int]:
    """The places of steps in an order that data and edges allow: the nearest to theirs.

    Raises:
        Unordered: there is none, or there are too many instructions.
    """
    before = _before(steps)
    after: list[list[int]] = [[] for _ in steps]
    for place, earlier in enumerate(before):
        for other in earlier:
            after[other].append(place)
    ready = [place for place, earlier in enumerate(before) if not earlier]
    heapify(ready)
    found: list[int] = []
    while ready:
        place = heappop(ready)
        found.append(place)
        for later in after[place]:
            before[later].discard(place)
            if not before[later]:
                heappush(ready, later)
    if len(found) < len(steps):
        raise Unordered("that needs what it does, or keeps its order for others")
    return found


def _before(steps: Sequence[Step]) -> list[set[int]]:
    """For each step, those that must come before it."""
    inside = [list(_instructions(step)) for step in steps]
    count = sum(map(len, inside))
    if count > MOST_INSTRUCTIONS:
        raise Unordered(
            f"{count} instructions lie between, and {MOST_INSTRUCTIONS} may"
        )
    places = {made: i for i, group in enumerate(inside) for made in group}
    before: list[set[int]] = []
    finder = _Conflicts()
    for place, group in enumerate(inside):
        found = {
            places[edge.producer]
            for made in group
            for edge in made.after
            if edge.producer in places
        }
        for earlier in range(place):
            if any(finder.are(x, y) for x in inside[earlier] for y in group):
                found.add(earlier)
        before.append(found - {place})
    return before


def _instructions(step: Step) -> Iterator[Instruction]:
    if isinstance(step, Loop):
        for inner in step.body:
            yield from _instructions(inner)
    else:
        yield step


class _Conflicts:
    """Tells whether instructions conflict."""

    def __init__(self) -> None:
        self._finder = Accesses()
        self._known: dict[Instruction, list[Access]] = {}

    def _of(self, step: Instruction) -> list[Access]:
        found = self._known.get(step)
        if found is None:
            found = self._known[step] = self._finder.of(step)
        return found

    def are(self, first: Instruction, second: Instruction) -> bool:
        """Whether two instructions do."""
        if _change_the_same(first, second):
            return True
        mine = self._of(first)
        for space, theirs, is_write in self._of(second):
            for its_space, its, its_write in mine:
                if (
                    (is_write or its_write)
                    and space == its_space
                    and its[0] < theirs[1]
                    and theirs[0] < its[1]
                    and its[2] < theirs[3]
                    and theirs[2] < its[3]
                ):
                    return _share_elements(first, second)
        return False


def _change_the_same(first: Instruction, second: Instruction) -> bool:
    mine, theirs = _changed(first), _changed(second)
    return mine == theirs != "" and (mine == "others" or first.engine is second.engine)


def _changed(step: Instruction) -> str:
    """What an instruction changes that is no operand of it."""
    chapter = step.record.module.removeprefix("nkipy_nki.")
    if chapter.startswith(("collectives", "isa.cores", "language.printing")):
        return "others"
    if chapter == "isa.random":
        return "random bits"
    if Engine.dma in step.record.engines:
        return ""
    names = step.record.signature.parameters
    return "registers" if any(name.startswith("reduce_") for name in names) else ""


def _share_elements(first: Instruction, second: Instruction) -> bool:
    """Whether instructions whose rectangles overlap have an element in common."""
    if not (_is_plain(first) and _is_plain(second)):
        return True
    return any(
        _overlap(view, other)
        for name, view in first.views()
        for its_name, other in second.views()
        if first.record.operands[name].written
        or second.record.operands[its_name].written
    )


def _is_plain(step: Instruction) -> bool:
    """Whether its operands are views, at no address of the kernel's and no index."""
    return all(
        view.dynamic is None and view.allocation.address is None
        for _, view in step.views()
    ) and not any(isinstance(o, Register) for o in step.operands.values())


def _overlap(view: View, other: View) -> bool:
    if view.allocation is not other.allocation or not view.size or not other.size:
        return False
    marks = np.zeros(view.allocation.nbytes, bool)
    elements_in(marks, view, per=view.dtype.itemsize)[...] = True
    return bool(elements_in(marks, other, per=other.dtype.itemsize).any())
