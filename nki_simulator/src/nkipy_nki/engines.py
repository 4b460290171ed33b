"""The engines of a core."""

from __future__ import annotations

from enum import Enum

__all__ = ["Engine"]


class Engine(Enum):
    """An engine, by the language's number.

    Each works through a queue of its own, in order.
    """

    unknown = 0
    tensor = 1
    scalar = 2
    gpsimd = 3
    dma = 4
    vector = 5
    #: Registers and branches.
    sync = 6

    #: Members are single objects, and Enum's own hash takes longer than a check.
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"nisa.engine.{self.name}"
