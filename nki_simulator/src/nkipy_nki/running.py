"""A run of a kernel: instructions are made, checked, carried out and kept.

The kernel that runs is found by a context variable, so that threads, nested kernels and
the cores of one logical core do not meet.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from operator import index
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from nkipy.chips import Chip
from nkipy_nki.arguments import Arguments
from nkipy_nki.checking import Sound, check
from nkipy_nki.errors import NkiError, NkiValidationError, add_calls, add_line
from nkipy_nki.executing import counts_of, execute, run_loop
from nkipy_nki.findings import Findings
from nkipy_nki.machine import Machine
from nkipy_nki.memory import Memory
from nkipy_nki.modes import dependency
from nkipy_nki.program import (
    NOWHERE,
    Allocation,
    CalledLine,
    Edge,
    Instruction,
    Line,
    Loop,
    Program,
    Register,
    Step,
)
from nkipy_nki.records import INSTRUCTIONS

if TYPE_CHECKING:
    from nkipy_nki.cores import Core

__all__ = [
    "Run",
    "current",
    "invalid",
    "is_whole_number",
    "is_ours",
    "kernel_line",
    "line_of",
    "refusing",
    "running",
    "telling_caller",
    "telling_lines",
    "whole_number",
]

#: What calls a kernel's function.
_CALL = Arguments.call.__code__
_CURRENT: ContextVar[Run | None] = ContextVar("nkipy_nki_run", default=None)
_OURS = str(Path(__file__).parent) + "/"
#: Kernels that are installed with it.
_KERNELS = _OURS + "reference/"
#: What torch calls functions by that it is kept out of.
_CALLING = "/torch/_dynamo/eval_frame.py"
_NUMPY = str(Path(np.__file__).parent) + "/"
_PYTHON = sysconfig.get_path("stdlib") + "/"


@dataclass(frozen=True)
class Grid:
    """Which program of a grid this is.

    Attributes:
        place: along each dimension.
        shape: how many programs there are along each; empty if there is no grid.
    """

    place: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()

    @property
    def dims(self) -> int:
        return len(self.shape)

    def program_id(self, axis: int) -> int:
        """Where it is along a dimension; 0 without a grid."""
        return self.place[self._axis(axis)] if self.shape else 0

    def num_programs(self, axis: int) -> int:
        """How many there are along a dimension; 1 without a grid."""
        return self.shape[self._axis(axis)] if self.shape else 1

    def _axis(self, axis: int) -> int:
        if not 0 <= axis < self.dims:
            raise invalid(
                f"axis {axis} of a grid of {self.dims} dimensions: {list(self.shape)}"
            )
        return axis


class Run:
    """One core's run of a kernel.

    Args:
        chip: the target.
        findings: where what is found goes.
        memory: the tensors; None if nothing is carried out, only checked and kept.
        grid: which of the programs it is.
        core: which core runs it, of those that run together; None if it runs alone.
    """

    def __init__(
        self,
        chip: Chip,
        findings: Findings,
        memory: Memory | None,
        grid: Grid | None = None,
        core: Core | None = None,
    ) -> None:
        self.chip = chip
        self.core = core
        self.findings = findings
        self.grid = grid or Grid()
        self.program = Program(chip.name, core.core if core else 0)
        self.machine: Machine | None = None
        if memory is not None:
            self.machine = Machine(chip, memory, findings, core)
        self._bodies: list[list[Step]] = [self.program.body]
        #: Loops of Python's ``for`` whose bodies are not made to their end.
        self.open_loops: list[Any] = []
        #: Called with each instruction that is made.
        self.listeners: list[Callable[[Instruction], None]] = []
        #: How many bodies are made that are not carried out.
        self._idle = 0
        self._ordered = 0
        #: The latest instruction that must keep its order.
        self._latest: Instruction | None = None
        #: How many instructions were made, those of loops' bodies once.
        self.made = 0
        #: What stands for the run: its tensors and registers are told by it.
        self.owner = object()
        #: That, and the loops over registers that are made.
        self.scope: tuple[object, ...] = (self.owner,)
        self._sound: Sound = {}
        #: Arguments that cannot be written to, and why.
        self.unwritable: dict[Allocation, str] = {}
        #: Whether new tensors' elements are rounded to their types.
        self.precise = True

    # -- tensors and registers ---------------------------------------------------------
    def allocate(self, **fields: Any) -> Allocation:
        """A new tensor: the fields of an :class:`Allocation` but its `id`."""
        made = Allocation(len(self.program.allocations), owner=self.owner, **fields)
        self.program.allocations.append(made)
        if self.core is not None:
            self.core.allocated(made, self.machine)
        return made

    def register(self, dtype: str = "int32") -> Register:
        """A new register."""
        self.program.registers += 1
        return Register(self.program.registers - 1, dtype, self.owner)

    def require_own(
        self, held: Allocation | Register, what: str, line: Line | None = None
    ) -> None:
        """Refuse what the kernel has kept of another run.

        Args:
            held: what is used.
            what: how it is used, for the message.
            line: of the kernel; None is the one that it is at.

        Raises:
            NkiValidationError: another run made it; or another core.
        """
        if held.owner is self.owner:
            return
        where = f", made at {held.line}," if isinstance(held, Allocation) else ","
        raise NkiValidationError(
            f"{what} is {held}{where} which another run makes: a run of a kernel has "
            f"its arguments, and what it makes itself\n  at {line or kernel_line()}"
        )

    # -- instructions ------------------------------------------------------------------
    @property
    def executes(self) -> Machine | None:
        """The machine, if what is made is carried out at once."""
        return None if self._idle else self.machine

    def add(self, instruction: Instruction) -> None:
        """Check an instruction, carry it out, and keep it."""
        check(instruction, self.chip, self.findings, self._sound)
        if self.unwritable:
            self._require_writeable(instruction)
        machine = self.executes
        if machine is not None:
            execute(machine, instruction)
        self._bodies[-1].append(instruction)
        self.made += 1
        if self._ordered:
            if self._latest is not None:
                instruction.after += (Edge(self._latest, dependency.schedule),)
            self._latest = instruction
        for listen in self.listeners:
            listen(instruction)

    def _require_writeable(self, instruction: Instruction) -> None:
        rules = instruction.record.operands
        for name, view in instruction.views():
            why = self.unwritable.get(view.allocation)
            if why is not None and rules[name].written:
                raise NkiValidationError(
                    f"{instruction.record.name}: {name} is the argument "
                    f"{view.allocation.name}, {why}, or return a new tensor\n"
                    f"  at {instruction.line}"
                )

    def require_no_open_loop(self) -> None:
        """At a kernel's end, no loop's body may have been left before its end.

        Raises:
            NkiValidationError: one was.
        """
        if self.open_loops:
            raise NkiValidationError(
                f"{self.open_loops[-1]}: its body was left before its end, by break or "
                "return, which a loop that is run on the device cannot do"
            )

    @contextmanager
    def in_order(self) -> Iterator[None]:
        """What is made meanwhile keeps its order on all engines."""
        if not self._ordered:
            self._latest = None
        self._ordered += 1
        try:
            yield
        finally:
            self._ordered -= 1

    @contextmanager
    def loop(self, loop: Loop) -> Iterator[None]:
        """What is made meanwhile is the loop's body, and its first iteration.

        The loop is run to its end afterwards.

        Raises:
            NkiValidationError: it is inside of ``no_reorder``.
        """
        if self._ordered:
            raise invalid("a loop over a register is inside of nl.no_reorder")
        if len(self._bodies) > 1:
            self.findings.report(
                "nested-loops",
                "a loop over a register is in another: the compiler may refuse it; let "
                "Python's range unroll one of them",
                loop.line,
            )
        machine = self.executes
        counts, runs = None, False
        if machine is not None:
            counts, runs = _started(loop, machine)
        self._bodies[-1].append(loop)
        self._bodies.append(loop.body)
        scope, self.scope = self.scope, (*self.scope, loop)
        self._idle += not runs
        try:
            yield
        finally:
            self._idle -= not runs
            self.scope = scope
            self._bodies.pop()
        if machine is not None and runs:
            run_loop(machine, loop, counts and counts[1:])


def _started(loop: Loop, machine: Machine) -> tuple[range | None, bool]:
    """Set a loop's counter: what it runs through, and whether the body is run."""
    if loop.bounds is None:
        return None, bool(machine.value(loop.counter))
    counts = counts_of(machine, loop)
    if counts:
        machine.registers[loop.counter.id] = counts[0]
    return counts, bool(counts)


def current(what: str = "NKI") -> Run:
    """The run that the caller is part of.

    Raises:
        NkiValidationError: no kernel is running.
    """
    run = _CURRENT.get()
    if run is None:
        raise invalid(
            f"{what} is called outside of a kernel: call it in a function that "
            "nki.jit decorates, or that nki.simulate runs"
        )
    return run


def is_running() -> bool:
    """Whether a kernel is running."""
    return _CURRENT.get() is not None


@contextmanager
def running(run: Run) -> Iterator[Run]:
    """Let `run` be the current one."""
    token = _CURRENT.set(run)
    try:
        yield run
    finally:
        _CURRENT.reset(token)


@lru_cache(maxsize=1024)
def is_ours(file: str) -> bool:
    """Whether a file is of this package, or of a library that calls it: no kernel's."""
    if file.startswith(_KERNELS):
        return False
    if file.startswith((_OURS, "<nki.", _NUMPY)) or file.endswith(_CALLING):
        return True
    return file.startswith(_PYTHON) and "-packages" not in file


def kernel_line() -> Line:
    """The innermost line that is not of this package, with the calls from the kernel
    on if it is one of a function that the kernel called."""
    frame: FrameType | None = sys._getframe(1)
    found: list[str | int] = []  # of each line its file, number and function
    while frame is not None:
        code = frame.f_code
        if code is _CALL and found:
            return _called(tuple(found))
        if not is_ours(code.co_filename):
            found += (code.co_filename, frame.f_lineno, code.co_name)
        frame = frame.f_back
    return _called(tuple(found[:3])) if found else NOWHERE


@lru_cache(maxsize=4096)
def _called(found: tuple[Any, ...]) -> Line:
    """A line with those that lead to it, of files, numbers and functions in turn.

    Instructions of a loop are issued from the same lines again and again.
    """
    line, *callers = [Line(*found[i : i + 3]) for i in range(0, len(found), 3)]
    return CalledLine.of(line, callers) if callers else line


def line_of(at: TracebackType | None) -> Line:
    """The innermost line of a traceback that is not of this package."""
    lines: list[Line] = []
    is_called = False
    while at is not None:
        code = at.tb_frame.f_code
        if code is _CALL:
            lines, is_called = [], True
        elif not is_ours(code.co_filename):
            lines.append(Line(code.co_filename, at.tb_lineno, code.co_name))
        at = at.tb_next
    if not lines:
        return NOWHERE
    line, *callers = reversed(lines)
    return CalledLine.of(line, callers if is_called else [])


@contextmanager
def telling_lines() -> Iterator[None]:
    """Let each error of a kernel say in which of its lines it was made."""
    try:
        yield
    except NkiError as error:
        line = line_of(error.__traceback__)
        if line is not NOWHERE:
            add_line(error, line)
            add_calls(error, line)
        raise
    except TypeError as error:
        # Python finds wrong arguments at the call, before an instruction looks at any.
        name, _, problem = str(error).partition("() ")
        if name in INSTRUCTIONS and problem.startswith(("got ", "missing ", "takes ")):
            line = line_of(error.__traceback__)
            add_line(error, line)
            add_calls(error, line)
        raise


@contextmanager
def telling_caller(*others: type[Exception]) -> Iterator[None]:
    """Let each error of a kernel's arguments say in which line it is called.

    Args:
        others: beside the language's errors, of which classes they are.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, (NkiError, *others)):
            add_line(error, kernel_line())
        raise


@contextmanager
def refusing(findings: Findings) -> Iterator[None]:
    """Let findings have each error of a run that is not one of them yet.

    Its line is that of the kernel, or else the one that calls it.
    """
    try:
        yield
    except NkiError as error:
        if getattr(error, "finding", None) is None:
            line = line_of(error.__traceback__)
            findings.refuse(error, kernel_line() if line is NOWHERE else line)
        raise


def whole_number(value: Any, what: str) -> int:
    """A whole number that a kernel gives.

    Raises:
        NkiValidationError: it is none, or only the run knows it.
    """
    why = ", whose value only the run knows" if hasattr(value, "register") else ""
    if not why:
        with suppress(TypeError):
            return index(value)
    raise invalid(f"{what} is {value!r}{why}, and must be a whole number")


def is_whole_number(value: Any) -> bool:
    """Whether something is a whole number, and of an array its only element."""
    with suppress(TypeError):
        index(value)
        return True
    return False


def invalid(text: str) -> NkiValidationError:
    """The error that says what a kernel does wrong, and in which of its lines."""
    return NkiValidationError(f"{text}\n  at {kernel_line()}")
