"""Which instructions a run carried out, in order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from nkipy_nki.accesses import NO_INDICES, Indices
from nkipy_nki.program import Instruction, Loop, Program, Register, Step

if TYPE_CHECKING:
    from nkipy_nki.machine import Machine

__all__ = ["Trace", "unrolled"]


class Trace:
    """Instructions in the order in which they were carried out, loops' as often.

    It is an observer of a machine. Of instructions whose views have a register for an
    index, the register's value is kept too.

    Attributes:
        steps: the instructions.
    """

    def __init__(self, steps: Iterable[Instruction] = ()) -> None:
        self.steps: list[Instruction] = list(steps)
        self._indices: dict[int, Indices] = {}
        self._registers: dict[Instruction, tuple[int, ...]] = {}

    def __call__(self, machine: Machine, instruction: Instruction) -> None:
        """Keep an instruction that was carried out."""
        registers = machine.registers
        if registers and (needed := self._needed(instruction)):
            self._indices[len(self.steps)] = {
                n: registers[n] for n in needed if n in registers
            }
        self.steps.append(instruction)

    def _needed(self, instruction: Instruction) -> tuple[int, ...]:
        found = self._registers.get(instruction)
        if found is None:
            found = self._registers[instruction] = _index_registers(instruction)
        return found

    def indices(self, place: int) -> Indices:
        """What the registers that index views of a step held."""
        return self._indices.get(place, NO_INDICES)


def _index_registers(instruction: Instruction) -> tuple[int, ...]:
    """The registers that index its views, and that it does not itself set."""
    rules = instruction.record.operands
    written = {
        operand.id
        for name, operand in instruction.operands.items()
        if isinstance(operand, Register) and rules[name].written
    }
    dynamic = [view.dynamic for _, view in instruction.views() if view.dynamic]
    indices = [link.index for first in dynamic for link in first.chain()]
    found = {index.id for index in indices if isinstance(index, Register)}
    return tuple(found - written)


def unrolled(program: Program) -> Trace:
    """What a run of a program carries out, if no loop's bounds are only known then.

    Raises:
        ValueError: a loop's bounds are in registers, or it is a `while` loop.
    """
    trace = Trace()
    _unroll(program.body, {}, trace)
    return trace


def _unroll(steps: Sequence[Step], registers: dict[int, int], trace: Trace) -> None:
    for step in steps:
        if not isinstance(step, Loop):
            needed = trace._needed(step)
            known = {n: registers[n] for n in needed if n in registers}
            if known:
                trace._indices[len(trace.steps)] = known
            trace.steps.append(step)
            continue
        for value in _values(step):
            registers[step.counter.id] = value
            _unroll(step.body, registers, trace)
        registers.pop(step.counter.id, None)


def _values(loop: Loop) -> range:
    if loop.bounds is not None:
        lower, upper, step = loop.bounds
        if isinstance(lower, int) and isinstance(upper, int):
            return range(lower, upper, step)
    raise ValueError(
        f"how often the loop at {loop.line} is run is in a register: give the trace of "
        "a run"
    )
