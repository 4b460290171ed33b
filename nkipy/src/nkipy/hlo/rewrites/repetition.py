"""Finds where a program does again what it has done before.

Two kinds of loops are made of that, and each says what counts as the same:
:mod:`nkipy.hlo.rewrites.repeated_steps` has steps, each of what the one before has
made; the emulator has equal layers, each with parameters of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple

from nkipy.hlo.ir import HLOInstruction

Value = HLOInstruction

#: Equal instructions in a row, by which the same is taken to begin anew.
_WINDOW = 8


class Run(NamedTuple):
    """Each value from `start` to `end` is like the one `period` before it."""

    start: int
    end: int
    period: int


class ValueRow:
    """Values in the order in which they are made, by their positions.

    Attributes:
        values: these.
        position: of each.
        keys: of each a number, the same for those that are alike.
        last_read: of each value, and of what else these read, the last position that
            does; one more than there are for results.
    """

    def __init__(
        self,
        values: Sequence[Value],
        results: Iterable[Value],
        key: Callable[[int, Value], Hashable],
    ) -> None:
        """A row.

        Args:
            values: in their order.
            results: what is read behind all of them.
            key: what is the same for values that are alike, by position and value.
        """
        self.values = values
        self.position = {inst: i for i, inst in enumerate(values)}
        numbers: dict[Hashable, int] = {}
        self.keys = [
            numbers.setdefault(key(i, inst), len(numbers))
            for i, inst in enumerate(values)
        ]
        self.last_read: dict[Value, int] = {}
        for i, inst in enumerate(values):
            for operand in inst.operands:
                self.last_read[operand] = i
        self.last_read.update(dict.fromkeys(results, len(values)))

    def again(self) -> Iterator[Run]:
        """Where a few values are like others before: like the last that are so."""
        last: dict[tuple[int, ...], int] = {}
        for end in range(_WINDOW, len(self.keys) + 1):
            window = tuple(self.keys[end - _WINDOW : end])
            before = last.get(window)
            last[window] = end
            if before is not None:
                yield Run(end - _WINDOW, end, end - before)
