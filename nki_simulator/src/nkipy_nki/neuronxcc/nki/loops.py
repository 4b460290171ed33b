"""Loops of the first generation, and what their iterations may not share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nkipy_nki.dtypes import find_dtype
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.iterations import Log
from nkipy_nki.neuronxcc.nki.elementwise import binary
from nkipy_nki.neuronxcc.nki.faults import fault, report
from nkipy_nki.neuronxcc.nki.issuing import issue, require_tile
from nkipy_nki.neuronxcc.nki.lanes import where_for
from nkipy_nki.neuronxcc.nki.state import reducing, settle, state
from nkipy_nki.neuronxcc.nki.tiles import Tile, allocate
from nkipy_nki.operators import find_operation
from nkipy_nki.program import Instruction, Line
from nkipy_nki.regions import MemoryRegion
from nkipy_nki.running import current, invalid, kernel_line, whole_number

__all__ = ["affine_range", "loop_reduce", "sequential_range", "static_range"]


class LoopIndex(int):
    """A number that a loop runs through.

    Attributes:
        loop: the loop.
    """

    loop: Any = None


class _Loop:
    """One run of a loop.

    Attributes:
        sums: what :func:`loop_reduce` has reduced so far, by the place of its call.
    """

    def __init__(self, is_parallel: bool) -> None:
        self.sums: dict[Any, Tile] = {}
        self._log = Log(_report_dependency, where_for) if is_parallel else None

    def listen(self, instruction: Instruction) -> None:
        """Keep what an instruction accesses."""
        if self._log is not None:
            self._log.add(instruction, state().reducing, state().mask)

    def begin(self) -> None:
        """Begin an iteration."""
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


class _Range:
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
        self.numbers = range(*bounds)
        self._is_parallel = is_parallel

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, key: Any) -> Any:
        return self.numbers[key]

    def __repr__(self) -> str:
        return repr(self.numbers)

    def __iter__(self) -> Iterator[int]:
        run = current("nl.affine_range")
        looks = self._is_parallel and run.findings.wants("iteration-race")
        loop = _Loop(looks and len(self.numbers) > 1)
        settle()
        with _running(loop):
            for number in self.numbers:
                loop.begin()
                index = LoopIndex(number)
                index.loop = loop
                yield index
                settle()
            loop.finish()


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
    x: Any, op: Any, loop_indices: Any, dtype: Any = None, mask: Any = None
) -> Tile:
    """Reduce a tile over loops: what is returned has all iterations behind them.

    Args:
        x: a tile.
        op: what reduces, such as ``np.add``.
        loop_indices: the counters of the loops.
        dtype: of the result; if None, that of `x`.
        mask: where `x` counts.

    Raises:
        NkiValidationError: an index is no loop's, or the loop is not run.
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
    frame = sys._getframe(1)
    key = frame.f_code, frame.f_lasti
    held = running[0].sums.get(key)
    if held is not None:
        with reducing(name):
            binary(name, held, tile, held.dtype, mask).put(held)
        return held
    element = tile.dtype if dtype is None else find_dtype(dtype)
    view = tile.elements
    made = Tile(allocate(tuple(tile.tile_shape), element, MemoryRegion.sbuf))
    if mask is not None or tile.valid is not None:
        identity = find_operation(op, "arithmetic").identity
        issue("memset", {"dst": made}, {}, None, value=float(identity or 0.0))
        with reducing(name):
            binary(name, made, tile, element, mask).put(made)
    else:
        issue("tensor_copy", {"dst": made}, {"src": Tile(view)})
    running[0].sums[key] = made
    return made
