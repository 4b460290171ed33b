"""Runs a kernel's program again, without the kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from itertools import cycle
from typing import TypeAlias

import numpy as np

from nkipy.chips import find_chip
from nkipy_nki.capacity import tiles_of
from nkipy_nki.cores import Core, CoreGroup, run_cores
from nkipy_nki.errors import NkiError, NkiProgramError, NkiValidationError
from nkipy_nki.executing import run_steps
from nkipy_nki.findings import Findings
from nkipy_nki.machine import Machine
from nkipy_nki.memory import Memory
from nkipy_nki.program import Allocation, Loop, Program, Step, View
from nkipy_nki.results import require_written

__all__ = ["Show", "replay", "run_in"]

#: Called with a rank, the name of what it prints, and the values.
Show: TypeAlias = Callable[[int, str, np.ndarray], None]


def replay(
    programs: Sequence[Program],
    arrays: Sequence[np.ndarray],
    findings: Findings | None = None,
    order: Sequence[int] | None = None,
) -> list[np.ndarray]:
    """Run the programs of a kernel's cores.

    Args:
        programs: one for each core.
        arrays: the inputs, in C's order, in the order of the kernel's parameters. What
            the kernel writes to them is written there.
        findings: where what is found goes.
        order: in which the cores take turns; None is the order of the programs.

    Returns:
        What the kernel returned, as the first core has it.

    Raises:
        NkiProgramError: the arrays do not fit, or the programs each other.
        NkiValidationError: what only values show is found, such as an index out of
            bounds.
    """
    (views,) = run_in(programs, [arrays], findings or Findings(), order)
    with _refusing():
        return [view.copy() for view in views]


def run_in(
    programs: Sequence[Program],
    ranks: Sequence[Sequence[np.ndarray]],
    findings: Findings,
    order: Sequence[int] | None = None,
    show: Show | None = None,
    go_on: Callable[[], None] | None = None,
) -> list[list[np.ndarray]]:
    """Run the programs of a kernel's cores on several ranks, or on one.

    Args:
        programs: one for each core of a rank.
        ranks: the inputs of each, as :func:`replay` takes them.
        findings: where what is found goes.
        order: in which all cores take turns; those of rank 0 come first.
        show: called with what ``device_print`` prints, at once.
        go_on: called before each step; what it raises, a TimeoutError, ends the run.

    Returns:
        What each rank returns: it lies in the memory of the run, or in the inputs'.

    Raises:
        NkiProgramError, NkiValidationError: as of :func:`replay`.
    """
    cores: Sequence[Core | None] = (None,)
    if len(programs) * len(ranks) > 1:
        cores = CoreGroup(len(programs), len(ranks), order=order).cores
    machines: list[Machine] = []
    for rank, arrays in enumerate(ranks):
        for program in programs:
            core = cores[len(machines)]
            with _refusing():
                machine = _machine(program, arrays, findings, core)
            machine.show = show and partial(show, rank)
            machine.go_on = go_on
            machines.append(machine)
    calls = [
        partial(_run, machine, program)
        for machine, program in zip(machines, cycle(programs))
    ]
    run_cores(cores[0], calls)
    with _refusing():
        return [
            _results(machine.memory, programs[0].outputs, findings)
            for machine in machines[:: len(programs)]
        ]


def _results(
    memory: Memory, outputs: Sequence[View], findings: Findings
) -> list[np.ndarray]:
    for view in outputs:
        require_written(memory, view, findings)
    return [memory.storage(v.allocation).elements(v) for v in outputs]


def _run(machine: Machine, program: Program) -> None:
    with _refusing():
        _run_steps(machine, program)


@contextmanager
def _refusing() -> Iterator[None]:
    """Let what goes wrong be an error of the program, whose bytes may be anybody's."""
    try:
        yield
    except (NkiError, TimeoutError):
        raise
    except MemoryError as error:
        raise NkiProgramError(
            f"the program needs more memory than there is{_told(error)}"
        ) from error
    except Exception as error:
        raise NkiProgramError(f"the program cannot be run: {error!r}") from error


def _told(error: MemoryError) -> str:
    return f": {error}" if str(error) else ""


def _run_steps(machine: Machine, program: Program) -> None:
    """Run a program's steps; a tile's bytes go after the last one that has it."""
    ends = _ends(program)
    for place, step in enumerate(program.body):
        run_steps(machine, [step])
        for made in ends.get(place, ()):
            machine.memory.release(made)


@lru_cache(maxsize=32)  # programs are run again and again
def _ends(program: Program) -> dict[int, list[Allocation]]:
    """By the place of a step: the tiles that no later one has."""
    last: dict[Allocation, int] = {}
    for place, step in enumerate(program.body):
        for made in _tiles(step):
            last[made] = place
    ends: dict[int, list[Allocation]] = {}
    for made, place in last.items():
        ends.setdefault(place, []).append(made)
    return ends


def _tiles(step: Step) -> Iterator[Allocation]:
    """The tiles that a step has."""
    if isinstance(step, Loop):
        for inner in step.body:
            yield from _tiles(inner)
        return
    for _, view in tiles_of(step):
        yield view.allocation


def _machine(
    program: Program,
    arrays: Sequence[np.ndarray],
    findings: Findings,
    core: Core | None,
) -> Machine:
    chip = find_chip(program.chip)
    if chip is None:
        raise NkiProgramError(f"no chip is called {program.chip!r}")
    machine = Machine(chip, Memory(), findings, core)
    _take_shared(program, core, machine)
    _take_arrays(program, arrays, machine.memory)
    for number, values in program.constants.items():
        machine.memory.share(program.allocations[number], np.array(values))
    return machine


def _take_shared(program: Program, core: Core | None, machine: Machine) -> None:
    """Let tensors in ``shared_hbm`` be those of the other cores."""
    if core is None:
        return
    try:
        for made in program.allocations:
            core.allocated(made, machine)
    except NkiValidationError as error:
        raise NkiProgramError(f"the cores' programs do not fit: {error}") from error


def _take_arrays(
    program: Program, arrays: Sequence[np.ndarray], memory: Memory
) -> None:
    if len(arrays) != len(program.inputs):
        raise NkiProgramError(
            f"the kernel has {len(program.inputs)} inputs, and {len(arrays)} are given"
        )
    for number, array in zip(program.inputs, arrays):
        made = program.allocations[number]
        if array.shape != made.shape or array.dtype != made.dtype.element:
            raise NkiProgramError(
                f"the input {made} is given {list(array.shape)} of {array.dtype}"
            )
        if not array.flags.c_contiguous:
            raise NkiProgramError(f"the input {made} is not in C's order")
        memory.share(made, array)
