"""Loops of the first generation, and what their iterations may not share."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from nkipy_nki.dtypes import find_dtype
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.iterations import Counts, Log
from nkipy_nki.neuronxcc.nki.elementwise import binary
from nkipy_nki.neuronxcc.nki.faults import fault, report
from nkipy_nki.neuronxcc.nki.issuing import issue, require_tile
from nkipy_nki.neuronxcc.nki.lanes import where_for
from nkipy_nki.neuronxcc.nki.state import reducing, settle, state
from nkipy_nki.neuronxcc.nki.tiles import Tile, allocate
from nkipy_nki.operators import find_operation
from nkipy_nki.program import Instruction, Line
from nkipy_nki.regions import MemoryRegion
from nkipy_nki.running import (
    current,
    invalid,
    is_ours,
    kernel_line,
    whole_number,
)

__all__ = ["affine_range", "loop_reduce", "sequential_range", "static_range"]


class LoopIndex(int):
    """A number that a loop runs through.

    Attributes:
        loop: the loop.
    """

    loop: Any = None


class _Loop:
    """One run of a loop.

    Args:
        is_parallel: whether its iterations may not depend on each other.
        number: how many runs of it were before in the iteration that it is in.

    Attributes:
        number: the same.
        index: the counter's value.
        sums: what :func:`loop_reduce` has reduced so far: see :func:`_key`.
    """

    def __init__(self, is_parallel: bool, number: int) -> None:
        self.number = number
        self.index = 0
        self.sums: dict[Any, Tile] = {}
        self._log = Log(_report_dependency, where_for) if is_parallel else None
        self._met: Counter[Any] = Counter()

    def meet(self, place: Any) -> int:
        """How often a place was come to before, in this iteration."""
        self._met[place] += 1
        return self._met[place] - 1

    def listen(self, instruction: Instruction) -> None:
        """Keep what an instruction accesses."""
        if self._log is not None:
            self._log.add(instruction, state().reducing, state().mask)

    def begin(self, index: int) -> None:
        """Begin an iteration."""
        self.index = index
        self._met.clear()
        if self._log is not None:
            self._log.begin(len(current().program.allocations))

    def finish(self) -> None:
        """Report iterations that depend on one another."""
        settle()
        if self._log is not None:
            self._log.report()


def _report_dependency(text: str, line: Line, **details: Any) -> None:
    name = "unexpected_output_dependencies"
    report("iteration-race", name, text, at=line, **details)


class _Range(Counts):
    """What a loop runs over, once or several times."""

    def __init__(self, name: str, args: tuple[Any, ...], is_parallel: bool) -> None:
        for given in args:
            if isinstance(given, Tile):
                raise fault(
                    "dynamic_control_flow_not_supported",
                    f"nl.{name} takes numbers, and not {given!r}",
                )
        if not 1 <= len(args) <= 3:
            raise invalid(f"nl.{name} takes 1 to 3 bounds, not {len(args)}")
        bounds = [whole_number(given, f"nl.{name}: a bound") for given in args]
        super().__init__(range(*bounds))
        self._is_parallel = is_parallel

    def __iter__(self) -> Iterator[int]:
        run = current("nl.affine_range")
        looks = self._is_parallel and run.findings.wants("iteration-race")
        around = state().loops[-1:]
        before = around[0].meet(_place()) if around else 0
        loop = _Loop(looks and len(self.numbers) > 1, before)
        settle()
        with _running(loop):
            for number in self.numbers:
                loop.begin(number)
                index = LoopIndex(number)
                index.loop = loop
                yield index
                settle()
            loop.finish()


def _place() -> tuple[Any, ...]:
    """Where a kernel is: the calls that it is in."""
    frame, found = sys._getframe(2), []
    while frame is not None and not is_ours(frame.f_code.co_filename):
        found.append((frame.f_code, frame.f_lasti))
        frame = frame.f_back  # type: ignore[assignment]
    return tuple(found)


def _key(reduced: list[Any], place: Any) -> tuple[Any, ...]:
    """Which sum a call of :func:`loop_reduce` adds to.

    There is one for each place, for each iteration of the loops within the first that
    is reduced over, but for those that are reduced over too. What Python's own loops
    repeat is told apart by how often it was come to in an iteration.

    Args:
        reduced: the loops that are reduced over.
        place: of the call.
    """
    loops = state().loops
    within = loops[loops.index(reduced[0]) + 1 :]
    kept = [(loop.number, None if loop in reduced else loop.index) for loop in within]
    return place, loops[-1].meet(place), *kept


@contextmanager
def _running(loop: _Loop) -> Iterator[None]:
    found, listeners = state(), current().listeners
    found.loops.append(loop)
    listeners.append(loop.listen)
    try:
        yield
    finally:
        found.loops.remove(loop)
        listeners.remove(loop.listen)


def affine_range(*args: Any, **hints: Any) -> Any:
    """A loop whose iterations do not depend on one another, and may run in any order.

    What reduces over it, by ``+=`` and the like or by :func:`loop_reduce`, may.

    Raises:
        NkiValidationError: at its end, that they do: the finding ``iteration-race``.
    """
    return _Range("affine_range", args, True)


def sequential_range(*args: Any, **hints: Any) -> Any:
    """A loop whose iterations run one after the other."""
    return _Range("sequential_range", args, False)


def static_range(*args: Any) -> Any:
    """A loop that is unrolled when the kernel is compiled."""
    return _Range("static_range", args, False)


def loop_reduce(
    x: Any, op: Any, loop_indices: Any, *, dtype: Any = None, mask: Any = None
) -> Tile:
    """Reduce a tile over loops: what is returned has all iterations behind them.

    Args:
        x: a tile.
        op: what reduces, such as ``np.add``.
        loop_indices: the counters of the loops.
        dtype: of the result; if None, that of `x`.
        mask: where `x` counts.

    Raises:
        NkiValidationError: an index is no loop's, or the loop is not run; or elements
            do not count, and no number leaves the others as they are with `op`.
    """
    tile = require_tile(x, "nl.loop_reduce: x")
    given = loop_indices if isinstance(loop_indices, (tuple, list)) else [loop_indices]
    loops = [getattr(index, "loop", None) for index in given]
    running = [loop for loop in state().loops if loop in loops]
    if not loops or None in loops or not running:
        raise NkiValidationError(
            f"nl.loop_reduce: loop_indices are {given!r}, and must be the counters of "
            f"loops that are run\n  at {kernel_line()}"
        )
    name = find_operation(op, "arithmetic").name
    key = _key(running, _place())
    held = running[0].sums.get(key)
    if held is not None:
        with reducing(name):
            binary(name, held, tile, held.dtype, mask).put(held)
        return held
    element = tile.dtype if dtype is None else find_dtype(dtype)
    view = tile.elements
    made = Tile(allocate(tuple(tile.tile_shape), element, MemoryRegion.sbuf))
    if mask is not None or tile.valid is not None:
        issue("memset", {"dst": made}, {}, None, value=_beginning(op))
        with reducing(name):
            binary(name, made, tile, element, mask).put(made)
    else:
        issue("tensor_copy", {"dst": made}, {"src": Tile(view)})
    running[0].sums[key] = made
    return made


def _beginning(op: Any) -> float:
    """What is there before the first element that counts, which it leaves as it is."""
    operation = find_operation(op, "arithmetic")
    identity, probe = operation.identity, np.float32(3)
    if identity is None or operation(np.float32(identity), probe) != probe:
        raise NkiValidationError(
            f"nl.loop_reduce: op is {operation!r}, which no number begins with, and a "
            f"mask leaves elements out: give all elements\n  at {kernel_line()}"
        )
    return float(identity)
