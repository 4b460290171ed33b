"""Edges between instructions: which one comes before another, beside what data ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nkipy_nki.modes import Named

if TYPE_CHECKING:
    from nkipy_nki.program import Instruction

__all__ = ["Edge", "dependency"]


class dependency(Named):
    """How an instruction comes after another."""

    #: It begins when the other one is done, on any engine: a semaphore is waited for.
    runtime = "runtime"
    #: It is issued after the other one. On another engine it may run beside it.
    schedule = "schedule"


class Edge(NamedTuple):
    """What an instruction comes after.

    Attributes:
        producer: the other instruction.
        kind: how.
    """

    producer: Instruction
    kind: dependency
