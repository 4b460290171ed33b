"""Finds iterations of ``affine_range`` that depend on one another.

Each element of a tensor that existed before an iteration remembers which iteration
wrote it, which read it, and which added to it. Iterations that add by the same
operation, in any order, do not depend on one another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from nkipy_nki.machine import Machine
from nkipy_nki.positions import element_offsets
from nkipy_nki.program import Allocation, Instruction, Line, View
from nkipy_nki.running import current

__all__ = ["Counts", "Iterations", "Log", "report_dependency"]

_NONE, _SEVERAL = -1, -2


class _Access(NamedTuple):
    """An access of an iteration: what it does is "read", "write" or "add"."""

    iteration: int
    view: View
    kind: str
    operation: str
    instruction: Instruction
    operand: str
    mask: Any


#: What tells of two iterations that depend: a text, the line, numbers.
Report = Callable[..., None]


def report_dependency(text: str, line: Line, **details: Any) -> None:
    """Report iterations that depend on one another.

    Raises:
        NkiValidationError: that is an error.
    """
    current().findings.report("iteration-race", text, line, **details)


class Log:
    """What the iterations of a loop access.

    Args:
        report: what tells of two that depend on one another.
        where_for: of a mask and a shape, where an access of that shape is meant.
    """

    def __init__(
        self,
        report: Report = report_dependency,
        where_for: Callable[[Any, tuple[int, ...]], np.ndarray] | None = None,
    ) -> None:
        self._report = report
        self._where_for = where_for
        self._accesses: dict[Allocation, list[_Access]] = {}
        self._iteration = -1
        self._older = 0

    def begin(self, allocations: int) -> None:
        """Begin an iteration, before which there are so many tensors."""
        self._iteration += 1
        self._older = allocations

    def add(
        self, instruction: Instruction, operation: str = "", mask: Any = None
    ) -> None:
        """Keep what an instruction accesses of tensors older than the iteration."""
        rules = instruction.record.operands
        target = instruction.operands.get("dst")
        for name, view in instruction.views():
            if view.allocation.id >= self._older or view.allocation.role == "constant":
                continue
            rule = rules[name]
            adds = bool(operation) and _is_same(view, target)
            kinds = ("add",) if adds else _kinds(rule.read, rule.written)
            for kind in kinds:
                found = self._accesses.setdefault(view.allocation, [])
                found.append(
                    _Access(
                        self._iteration, view, kind, operation, instruction, name, mask
                    )
                )

    def report(self) -> None:
        """Report the first element that two iterations meet at, of each tensor."""
        for allocation, accesses in self._accesses.items():
            if any(access.kind != "read" for access in accesses):
                self._look(allocation, accesses)

    def _look(self, allocation: Allocation, accesses: list[_Access]) -> None:
        sizes = {access.view.dtype.itemsize for access in accesses}
        unit = sizes.pop() if len(sizes) == 1 else 1
        marks = _Marks(allocation.nbytes // unit)
        names: dict[str, int] = {}
        for access in accesses:
            number = names.setdefault(access.operation, len(names) + 1)
            places = self._places(access, unit)
            for kind in _CONFLICTS[access.kind]:
                self._require_apart(allocation, access, kind, marks.by[kind], places)
            if access.kind == "add":
                others = marks.by["add"][places]
                wrong = (others != _NONE) & (others != access.iteration)
                wrong &= marks.operation[places] != number
                if wrong.any():
                    self._tell(allocation, access, "add", int(others[wrong][0]))
                marks.operation[places] = number
            held = marks.by[access.kind]
            before = held[places]
            alone = (before == _NONE) | (before == access.iteration)
            held[places] = np.where(alone, access.iteration, _SEVERAL)

    def _require_apart(
        self,
        allocation: Allocation,
        access: _Access,
        kind: str,
        held: np.ndarray,
        places: np.ndarray,
    ) -> None:
        others = held[places]
        wrong = (others != _NONE) & (others != access.iteration)
        if wrong.any():
            self._tell(allocation, access, kind, int(others[wrong][0]))

    def _tell(
        self, allocation: Allocation, access: _Access, kind: str, other: int
    ) -> None:
        did = {"read": "is read", "write": "is written", "add": "is added to"}
        by = "several iterations" if other == _SEVERAL else f"iteration {other}"
        self._report(
            f"iterations of nl.affine_range depend on one another: {allocation} "
            f"{did[access.kind]} by {access.instruction.record.name} in "
            f"iteration {access.iteration}, and {did[kind]} by {by}; use "
            "nl.sequential_range",
            access.instruction.line,
            iteration=access.iteration,
            other=other,
        )

    def _meant(self, access: _Access) -> Any:
        """Which elements of a view an access is of: all, or those of a mask."""
        if access.mask is not None:
            assert self._where_for is not None
            return self._where_for(access.mask, tuple(access.view.shape))
        operand = access.instruction.operands.get("where")
        if operand is None or access.instruction.record.name != "indexed_copy":
            return ...
        values = current().program.constants[operand.allocation.id].astype(bool)
        return values.reshape(access.view.shape)

    def _places(self, access: _Access, unit: int) -> np.ndarray:
        """Which elements, or bytes, an access is of."""
        view = access.view
        listed = access.instruction.operands.get(f"{access.operand}_at")
        if access.instruction.record.name == "indexed_copy" and listed is not None:
            values = current().program.constants[listed.allocation.id]
            found = values[values >= 0].astype(np.int64)
        elif view.dynamic is not None:
            found = np.arange(view.allocation.nbytes // view.dtype.itemsize)
        else:
            found = element_offsets(view)[self._meant(access)].reshape(-1)
        if view.dtype.itemsize == unit:
            return found
        size = view.dtype.itemsize
        return (found[:, None] * size + np.arange(size)).reshape(-1)


def _kinds(read: bool, written: bool) -> Iterator[str]:
    if read:
        yield "read"
    if written:
        yield "write"


def _is_same(view: View, target: Any) -> bool:
    """Whether a view is of the elements that an instruction adds to."""
    return (
        isinstance(target, View)
        and view.allocation is target.allocation
        and (view.offset, view.shape) == (target.offset, target.shape)
    )


class _Marks:
    """For each byte, or element, which iteration did something; and by what."""

    def __init__(self, count: int) -> None:
        self.by = {kind: np.full(count, _NONE, np.int32) for kind in _CONFLICTS}
        self.operation = np.zeros(count, np.int32)


#: By what an access does, which accesses of other iterations it may not meet.
_CONFLICTS = {
    "read": ("write", "add"),
    "write": ("read", "write", "add"),
    "add": ("read", "write"),
}


# -- a loop of today's language --------------------------------------------------------
class Counts:
    """What a loop runs through, which is looked at as a ``range`` is.

    Args:
        numbers: those.
    """

    def __init__(self, numbers: range) -> None:
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, key: Any) -> Any:
        return self.numbers[key]

    def __repr__(self) -> str:
        return repr(self.numbers)


class Iterations(Counts):
    """What ``nl.affine_range`` runs over if iterations that depend are looked for.

    Products that are added to one tile are not taken to depend on one another.
    """

    def __iter__(self) -> Iterator[int]:
        run, log = current("nl.affine_range"), Log()
        with _observed(run.machine, log):
            for number in self.numbers:
                log.begin(len(run.program.allocations))
                yield number
            log.report()


@contextmanager
def _observed(machine: Machine | None, log: Log) -> Iterator[None]:
    def observe(machine: Machine, made: Instruction) -> None:
        adds = made.attributes.get("accumulate", False) is not False
        log.add(made, "add" if adds else "")

    if machine is None:
        yield
        return
    machine.observers.append(observe)
    try:
        yield
    finally:
        machine.observers.remove(observe)
