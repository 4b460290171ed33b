"""Carries out instructions and loops on a machine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nkipy_nki.calls import Call
from nkipy_nki.errors import NkiError, NkiValidationError, add_line
from nkipy_nki.machine import Machine
from nkipy_nki.program import Instruction, Loop, Step

__all__ = ["counts_of", "execute", "run_loop", "run_steps"]


def run_steps(machine: Machine, steps: Sequence[Step]) -> None:
    """Run instructions and loops."""
    look = machine.go_on
    if look is not None and not steps:
        look()
    for step in steps:
        if look is not None:
            look()
        if isinstance(step, Loop):
            run_loop(machine, step)
        else:
            execute(machine, step)


def counts_of(machine: Machine, loop: Loop) -> range:
    """What the counter of a loop runs through, as the bounds are when it begins."""
    assert loop.bounds is not None
    lower, upper, step = loop.bounds
    try:
        return range(machine.value(lower), machine.value(upper), step)
    except NkiError as error:
        add_line(error, loop.line)
        raise


def run_loop(machine: Machine, loop: Loop, counts: range | None = None) -> None:
    """Run a loop, for those values of its counter if they are given."""
    number = loop.counter.id
    if loop.bounds is None:
        while machine.value(loop.counter):
            run_steps(machine, loop.body)
        return
    for i in counts_of(machine, loop) if counts is None else counts:
        machine.registers[number] = i
        run_steps(machine, loop.body)


@np.errstate(all="ignore")
def execute(machine: Machine, instruction: Instruction) -> None:
    """Carry out one instruction."""
    try:
        instruction.record.meaning(Call(machine, instruction))
    except NkiError as error:
        add_line(error, instruction.line)
        raise
    except MemoryError as error:
        raise NkiValidationError(
            f"{instruction.record.name}: there is not enough memory here for what "
            f"it computes ({error})\n  at {instruction.line}"
        ) from error
    for observe in machine.observers:
        observe(machine, instruction)
