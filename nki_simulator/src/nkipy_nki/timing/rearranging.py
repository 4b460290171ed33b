"""The order of a run's instructions that a schedule asks for, where it is another one.

A kernel's ``with_schedule`` may let an instruction come after one that is made later.
It is carried out first nevertheless, and what was carried out is put in the order that
was asked for before times are estimated.
"""

from __future__ import annotations

from collections.abc import Sequence

from nkipy_nki.conflicts import Unordered, in_order, turned
from nkipy_nki.program import Instruction, Loop, Program, Step
from nkipy_nki.timing.trace import Trace

__all__ = ["rearranged"]


def rearranged(program: Program, trace: Trace) -> Trace:
    """A trace in the order that the program's edges ask for.

    Raises:
        ValueError: there is no such order.
    """
    if not _any_turned(program.body):
        return trace
    made = _Rearranging(trace.steps)
    made.run(program.body)
    rest = range(made.at, len(trace.steps))
    return trace.in_order([*made.order, *rest])


def _any_turned(body: Sequence[Step]) -> bool:
    if turned(body):
        return True
    return any(_any_turned(step.body) for step in body if isinstance(step, Loop))


class _Rearranging:
    """Goes through a trace as a program is run.

    Attributes:
        order: the places of the trace's steps, in the order that is asked for.
        at: the place that it has come to.
    """

    def __init__(self, steps: Sequence[Instruction]) -> None:
        self._steps = steps
        self.order: list[int] = []
        self.at = 0

    def run(self, body: Sequence[Step]) -> None:
        """Go through steps once."""
        begin, end = turned(body) or (0, 0)
        parts: list[list[int]] = []
        outer, self.order = self.order, []
        for step in body:
            self._take(step)
            parts.append(self.order)
            self.order = []
        inner = parts[begin:end]
        parts[begin:end] = [inner[i] for i in in_order(body[begin:end])]
        self.order = outer + [place for part in parts for place in part]

    def _take(self, step: Step) -> None:
        if not isinstance(step, Loop):
            if self._is_next({step}):
                self.order.append(self.at)
                self.at += 1
            return
        inside = set(_instructions(step))
        while self._is_next(inside):
            before = self.at
            self.run(step.body)
            if self.at == before:
                raise Unordered(f"what was carried out of the loop at {step.line}")

    def _is_next(self, steps: set[Instruction]) -> bool:
        return self.at < len(self._steps) and self._steps[self.at] in steps


def _instructions(loop: Loop) -> list[Instruction]:
    found: list[Instruction] = []
    for step in loop.body:
        found += _instructions(step) if isinstance(step, Loop) else [step]
    return found
