"""Which instructions a run carried out, in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nkipy_nki.accesses import NO_INDICES, Indices
from nkipy_nki.program import Instruction, Loop, Program, Register, Step
from nkipy_nki.timing.iterations import is_nest

if TYPE_CHECKING:
    from nkipy_nki.machine import Machine

__all__ = ["Sampled", "Trace", "sampled", "unrolled"]


#: As many as the vendor's compiler takes of a kernel whose loops are unrolled.
_MOST = 5_000_000


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
        """Keep an instruction that a machine carried out."""
        self.keep(instruction, machine.registers)

    def keep(self, instruction: Instruction, registers: Indices) -> None:
        """Keep an instruction that was carried out, and what indexed its views."""
        if registers and (needed := self._needed(instruction)):
            known = {n: registers[n] for n in needed if n in registers}
            self._indices[len(self.steps)] = known
        self.steps.append(instruction)

    def _needed(self, instruction: Instruction) -> tuple[int, ...]:
        found = self._registers.get(instruction)
        if found is None:
            found = self._registers[instruction] = _index_registers(instruction)
        return found

    def in_order(self, places: Sequence[int]) -> Trace:
        """The same instructions in another order: their places."""
        made = Trace(self.steps[place] for place in places)
        for new, place in enumerate(places):
            if place in self._indices:
                made._indices[new] = self._indices[place]
        return made

    @property
    def is_indexed(self) -> bool:
        """Whether registers index views of any step."""
        return bool(self._indices)

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


def unrolled(program: Program, most: int | None = None) -> Trace:
    """What a run of a program carries out, if no loop's bounds are only known then.

    Args:
        program: any.
        most: how many instructions and iterations there may be; None is 5,000,000.

    Raises:
        ValueError: a loop's bounds are in registers, or it is a `while` loop; or there
            are more instructions and iterations.
    """
    most = _MOST if most is None else most
    if _count(program.body) > most:
        raise ValueError(
            f"the program has more than {most:,} instructions and iterations"
        )
    made = _Unroller()
    made.run(program.body)
    return made.trace


@dataclass(frozen=True)
class Sampled:
    """Iterations left out of a trace.

    Attributes:
        times: by place of a step, how often what comes from there on is carried out,
            up to the next such place.
        ends: by the place behind iterations, how many of those left out end with a
            barrier besides the work that is in them.
    """

    times: Mapping[int, int] = field(default_factory=dict)
    ends: Mapping[int, int] = field(default_factory=dict)


def sampled(program: Program, most: int) -> tuple[Trace, Sampled]:
    """What a run of a program carries out, of each loop the first iterations only.

    Iterations of a loop do not overlap, so that one is as long as another but for the
    first, which begins beside what is before the loop. The body of a loop whose bounds
    only a run knows counts once.

    Args:
        program: any.
        most: how many instructions there may be; if two iterations of each loop have
            more, one of each is taken, and for all.

    Returns:
        A trace of two iterations at most of each loop, and what was left out.
    """
    made = _Unroller(2)
    if _sampled_count(program.body, 2) > most:
        return Trace(program.instructions()), Sampled()
    made.run(program.body)
    return made.trace, Sampled(made.times, made.ends)


def _sampled_count(steps: Sequence[Step], iterations: int) -> int:
    """How many instructions there are in so many iterations of each loop."""
    return sum(
        iterations * _sampled_count(step.body, iterations)
        if isinstance(step, Loop)
        else 1
        for step in steps
    )


def _count(steps: Sequence[Step]) -> int:
    """How many instructions and iterations of loops there are, without a look at each.

    Raises:
        ValueError: a loop's bounds are not known.
    """
    count = 0
    for step in steps:
        if isinstance(step, Loop):
            count += _length(_values(step)) * (1 + _count(step.body))
        else:
            count += 1
    return count


def _length(values: range) -> int:
    """As `len`, which takes no range of 2**63 and more."""
    return max(0, -((values.start - values.stop) // values.step))


class _Unroller:
    """Goes through a program as a run does whose registers are loops' counters only.

    Args:
        most: how many iterations of a loop; None is all of them. With a number, loops
            may have bounds that are not known: they are gone through once.

    Attributes:
        trace: what is carried out.
        times, ends: with a number of iterations, those of :class:`Sampled`.
    """

    def __init__(self, most: int | None = None) -> None:
        self.trace = Trace()
        self.times: dict[int, int] = {}
        self.ends: dict[int, int] = {}
        self._most = most
        self._factor = 1
        self._registers: dict[int, int] = {}

    def run(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if isinstance(step, Loop):
                self._run_loop(step)
            else:
                self.trace.keep(step, self._registers)

    def _run_loop(self, loop: Loop) -> None:
        if self._most is not None and not _is_known(loop):
            self.run(loop.body)
            if not is_nest(loop):
                self._end()
            return
        values, most = _values(loop), self._most
        count, factor = _length(values), self._factor
        last = count if most is None else min(count, most)
        for number in range(last):
            self._registers[loop.counter.id] = values[number]
            if number == last - 1 and last < count:
                self._begin(factor * (count - number))
            self.run(loop.body)
            if not is_nest(loop):
                self._end()
        self._registers.pop(loop.counter.id, None)
        self._begin(factor)

    def _begin(self, factor: int) -> None:
        if self._most is not None:
            self._factor = self.times[len(self.trace.steps)] = factor

    def _end(self) -> None:
        """End iterations: as many as begin, of which one is in the trace."""
        if self._most is not None:
            place = len(self.trace.steps)
            self.ends[place] = self.ends.get(place, 0) + self._factor - 1


def _is_known(loop: Loop) -> bool:
    return loop.bounds is not None and all(isinstance(b, int) for b in loop.bounds)


def _values(loop: Loop) -> range:
    if loop.bounds is not None:
        lower, upper, step = loop.bounds
        if isinstance(lower, int) and isinstance(upper, int):
            return range(lower, upper, step)
    raise ValueError(
        f"how often the loop at {loop.line} is run is in a register: give the trace of "
        "a run"
    )
