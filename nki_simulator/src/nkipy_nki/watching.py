"""Looks at a tile as a kernel writes it, and compares it with what is expected.

::

    watch = Watch(name="scores", reference=q @ k.T)
    with watching(watch):
        nki.simulate(kernel)(q, k)
    print(watch.divergence)  # where the values differ first, or None

A machine calls a watch after each instruction; :meth:`Watch.finish` at a run's end.
"""

from __future__ import annotations

import difflib
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import ml_dtypes
import numpy as np

from nkipy_nki.dtypes import DTypeRecord
from nkipy_nki.findings import NkiWarning
from nkipy_nki.positions import element_offsets
from nkipy_nki.program import Allocation, Instruction, Line, View, whole
from nkipy_nki.running import kernel_line

if TYPE_CHECKING:
    from nkipy_nki.machine import Machine

__all__ = ["Divergence", "Watch", "Written", "watched", "watching"]

#: What a tile should hold; or, by the number of the write, what that should write, or
#: None if that is not to be looked at.
Reference: TypeAlias = "np.ndarray | Callable[[int], Any]"
#: So many names a warning has at most.
_MOST_NAMES = 8


@dataclass(frozen=True)
class Written:
    """One write of a watched tile.

    Attributes:
        number: how many writes were before it.
        instruction: what wrote.
        view: what of the tile was written; all of it, if an index of the run said what.
        values: a copy of the elements there, as they are stored.
    """

    number: int
    instruction: Instruction
    view: View
    values: np.ndarray

    @property
    def line(self) -> Line:
        """The kernel's line that wrote."""
        return self.instruction.line


@dataclass(frozen=True)
class Divergence:
    """Where values first differ from what is expected.

    Attributes:
        number: of the write, how many were before it.
        instruction: what wrote.
        tile: what was written.
        position: the first element that differs, in the tile if `reference` has its
            shape, else in what was written.
        got: its value.
        expected: what it should be.
        different: how many of the compared elements differ.
        compared: how many were compared.
        largest: the largest difference.
    """

    number: int
    instruction: Instruction
    tile: Allocation
    position: tuple[int, ...]
    got: float
    expected: float
    different: int
    compared: int
    largest: float

    @property
    def line(self) -> Line:
        """The kernel's line that wrote."""
        return self.instruction.line

    def __str__(self) -> str:
        return (
            f"{self.tile} differs at {list(self.position)}: {self.got!r}, expected "
            f"{self.expected!r} ({self.different} of {self.compared} elements differ, "
            f"by at most {self.largest:g}), after write {self.number} of it, "
            f"{self.instruction.record.name} at {self.line}"
        )


class Watch:
    """Looks at the tiles of a name or a line.

    Args:
        name: the tile's, as the kernel gave it.
        line: where it is made or written: a number, or a file's end and a number, as in
            ``"attention.py:42"``.
        reference: an array of the tile's shape, or of the shape of what is written; or
            a function that takes the number of the write and gives one, or None to
            leave the write out.
        each: whether each write is compared, or (False) what the tile holds in the end,
            which suits what is accumulated or filled in parts.
        rtol: how far values may be off, as a part of those expected; None for four
            units in the last place of the element type, which of integers is 0.
        atol: the same, added to that.
        on_write: called with each :class:`Written`.
        keep: of how many of the last writes the values are kept.

    Attributes:
        count: how often a watched tile was written.
        writes: the last writes, of type :class:`Written`.
        divergence: the first :class:`Divergence`, or None.

    Raises:
        ValueError: neither a name nor a line is given; or, in a run, the reference has
            another shape than the tile and what is written.
    """

    def __init__(
        self,
        name: str = "",
        line: int | str | None = None,
        reference: Reference | None = None,
        *,
        each: bool = True,
        rtol: float | None = None,
        atol: float = 1e-6,
        on_write: Callable[[Written], None] | None = None,
        keep: int = 1,
    ) -> None:
        if not name and line is None:
            raise ValueError("Watch is given neither the name of a tile nor a line")
        if not each and callable(reference):
            raise ValueError("Watch compares the end with an array, not a function")
        self.name = name
        self._file, self._line = _parsed(line)
        self._reference = reference
        self._each = each
        self._rtol, self._atol = rtol, atol
        self._on_write = on_write
        self._lock = threading.Lock()
        #: What was written last to each tile, for a comparison in the end.
        self._last: dict[Allocation, list[tuple[int, Instruction, View]]] = {}
        #: Names of what was written and is not watched.
        self._unwatched: set[str] = set()
        self.count = 0
        self.writes: deque[Written] = deque(maxlen=keep)
        self.divergence: Divergence | None = None

    # -- what is looked at -------------------------------------------------------------
    def __call__(self, machine: Machine, instruction: Instruction) -> None:
        """Look at what an instruction has written."""
        rules = instruction.record.operands
        for name, view in instruction.views():
            if not rules[name].written:
                continue
            if self._wants(view.allocation, instruction):
                with self._lock:
                    self._note(machine, instruction, view)
            elif not self.count and view.allocation.name:
                self._unwatched.add(view.allocation.name)

    def unseen(self) -> str:
        """What to say if nothing was seen that is watched; "" if something was."""
        if self.count:
            return ""
        names = sorted(self._unwatched)
        close = difflib.get_close_matches(self.name, names, 1)
        found = ", ".join(names[:_MOST_NAMES]) or "no tensor that has a name"
        more = ", ..." if len(names) > _MOST_NAMES else ""
        hint = f"did you mean {close[0]}?" if close else f"written was: {found}{more}"
        return f"{self!r} has seen no write, and compared nothing: {hint}"

    def __repr__(self) -> str:
        given = [repr(self.name)] if self.name else []
        if self._line is not None:
            place = f"{self._file}:{self._line}" if self._file else self._line
            given.append(f"line={place!r}")
        return f"Watch({', '.join(given)})"

    def _wants(self, tile: Allocation, instruction: Instruction) -> bool:
        if self.name and tile.name != self.name:
            return False
        return self._line is None or self._is_at(tile.line, instruction.line)

    def _is_at(self, *lines: Line) -> bool:
        return any(
            line.number == self._line and line.file.endswith(self._file)
            for line in lines
        )

    def _note(self, machine: Machine, instruction: Instruction, view: View) -> None:
        if view.dynamic is not None:
            view = whole(view.allocation)
        values = machine.memory.values(view)
        written = Written(self.count, instruction, view, values)
        self.count += 1
        self.writes.append(written)
        if self._on_write is not None:
            self._on_write(written)
        if self._reference is None or self.divergence is not None:
            return
        if not self._each:
            self._last.setdefault(view.allocation, []).append(
                (written.number, instruction, view)
            )
            return
        reference = self._reference
        expected = reference(written.number) if callable(reference) else reference
        if expected is not None:
            self._compare(written, np.asarray(expected), _written(machine, view))

    # -- comparison --------------------------------------------------------------------
    def finish(self, machine: Machine) -> None:
        """Compare what the tiles hold at the end of a run, if that was asked for."""
        for tile, writes in self._last.items():
            if self.divergence is not None:
                break
            view = whole(tile)
            number, instruction, _ = writes[-1]
            made = Written(number, instruction, view, machine.memory.values(view))
            self._compare(made, np.asarray(self._reference), _written(machine, view))
            self._attribute(writes)
        self._last.clear()

    def _attribute(self, writes: list[tuple[int, Instruction, View]]) -> None:
        """Say of a difference in the end which write it is of."""
        found = self.divergence
        if found is None:
            return
        place = np.ravel_multi_index(found.position, found.tile.shape)
        for number, instruction, view in reversed(writes):
            if (element_offsets(view) == place).any():
                fields = {**vars(found), "number": number, "instruction": instruction}
                self.divergence = Divergence(**fields)
                return

    def _compare(
        self, written: Written, expected: np.ndarray, is_written: np.ndarray
    ) -> None:
        view = written.view
        tile = view.allocation
        places: np.ndarray | None = None
        if expected.shape == tile.shape and view.dtype == tile.dtype:
            places = element_offsets(view)
            expected = expected.reshape(-1)[places]
        elif expected.shape != view.shape:
            raise ValueError(
                f"the reference of Watch has the shape {list(expected.shape)}, {tile} "
                f"has another, and so has what is written, {list(view.shape)}"
            )
        got = written.values.astype(np.float64)
        wanted = expected.astype(np.float64)
        differs = ~_close(got, wanted, self._tolerance(view.dtype), self._atol)
        differs &= is_written
        if not differs.any():
            return
        first = tuple(map(int, np.argwhere(differs)[0]))
        position = first
        if places is not None:
            position = tuple(map(int, np.unravel_index(places[first], tile.shape)))
        with np.errstate(invalid="ignore"):
            largest = np.abs(got - wanted)[differs].max()
        self.divergence = Divergence(
            number=written.number,
            instruction=written.instruction,
            tile=tile,
            position=position,
            got=float(got[first]),
            expected=float(wanted[first]),
            different=int(differs.sum()),
            compared=int(is_written.sum()),
            largest=float(largest),
        )

    def _tolerance(self, dtype: DTypeRecord) -> float:
        if self._rtol is not None:
            return self._rtol
        return 4 * float(ml_dtypes.finfo(dtype.element).eps) if dtype.is_float else 0.0


def _parsed(line: int | str | None) -> tuple[str, int | None]:
    """The end of a file's name, and the number of a line."""
    if line is None or isinstance(line, int):
        return "", line
    file, _, number = line.rpartition(":")
    if not number.isdecimal():
        raise ValueError(f"{line!r} is no line: give a number, or 'file.py:12'")
    return file, int(number)


def _written(machine: Machine, view: View) -> np.ndarray:
    """By element of a view, whether it was ever written."""
    marks = machine.memory.storage(view.allocation).marks(view)
    if marks is None:
        return np.ones(view.shape, bool)
    return np.asarray(marks.reshape(*view.shape, -1).all(-1))


def _close(got: np.ndarray, wanted: np.ndarray, rtol: float, atol: float) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        near = np.abs(got - wanted) <= atol + rtol * np.abs(wanted)
    return np.asarray(near | (got == wanted) | (np.isnan(got) & np.isnan(wanted)))


# -- which watches a run has -----------------------------------------------------------
_WATCHED: ContextVar[tuple[Watch, ...]] = ContextVar("nkipy_nki_watched", default=())


@contextmanager
def watching(*watches: Watch) -> Iterator[None]:
    """Let the runs that begin meanwhile be watched.

    A warning at the end says of each watch that has seen no write.
    """
    token = _WATCHED.set((*_WATCHED.get(), *watches))
    try:
        yield
    finally:
        _WATCHED.reset(token)
    line = kernel_line()
    for text in filter(None, (watch.unseen() for watch in watches)):
        warnings.warn_explicit(NkiWarning(text), None, line.file, line.number or 1)


def watched() -> tuple[Watch, ...]:
    """The watches for a run that begins here."""
    return _WATCHED.get()
