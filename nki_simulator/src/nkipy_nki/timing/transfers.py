"""How long a transfer takes, and when the DMA engines are free for it."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import NamedTuple

from nkipy.chips import Chip
from nkipy_nki.program import Instruction, View

__all__ = ["Pipe", "Transfer", "transfer_of"]

#: Partitions that one DMA engine serves (nki-dma-bandwidth-guide: 128 over 16 engines).
PARTITIONS_OF_AN_ENGINE = 8


class Transfer(NamedTuple):
    """How long a transfer takes.

    Attributes:
        nbytes: what is read or what is written, whichever is more.
        duration: ns from its first byte to its last.
        share: ns of all DMA engines together that it takes.
    """

    nbytes: int
    duration: float
    share: float


def transfer_of(instruction: Instruction, chip: Chip, factor: float) -> Transfer:
    """How long a transfer takes once it has begun.

    Args:
        instruction: of the DMA.
        chip: the target.
        factor: how many times as long as a plain copy it takes: its record's cost.
    """
    totals = {True: 0, False: 0}
    run, engines = 1 << 62, chip.dma_engines
    rules = instruction.record.operands
    for name, view in instruction.views():
        nbytes = view.size * view.dtype.itemsize
        totals[rules[name].written] += nbytes
        run = min(run, _contiguous_bytes(view))
        if view.region.is_on_chip:
            engines = min(engines, -(-view.partitions // PARTITIONS_OF_AN_ENGINE))
    nbytes = max(totals.values())
    if not nbytes:
        return Transfer(0, 0.0, 0.0)
    engines = max(1, min(engines, -(-nbytes // chip.dma_half_rate_bytes)))
    rate = chip.dma_engine_gb_s * run / (run + chip.dma_half_rate_bytes)
    alone = factor * nbytes / rate
    return Transfer(nbytes, alone / engines, alone / chip.dma_engines)


def _contiguous_bytes(view: View) -> int:
    """Bytes that lie beside one another; on the chip, in one partition."""
    size = 1
    first = 1 if view.region.is_on_chip else 0
    for axis in range(len(view.shape) - 1, first - 1, -1):
        if view.shape[axis] != 1 and view.strides[axis] != size:
            break
        size *= view.shape[axis]
    return max(size, 1) * view.dtype.itemsize


class Pipe:
    """The DMA engines together, as one after the other has them.

    A transfer takes the first gap that is long enough, so one that waits for its data
    does not keep back others that are ready.
    """

    def __init__(self) -> None:
        self._starts: list[float] = []
        self._ends: list[float] = []
        #: Of each stretch, the transfer at its end.
        self._last: list[int] = []

    def place(self, ready: float, share: float, place: int) -> tuple[float, int]:
        """Take the engines for a while.

        Args:
            ready: from when on, in ns.
            share: for how long.
            place: the transfer's.

        Returns:
            When it begins, and the place of the transfer that it waited for, or -1.
        """
        start, waited = ready, -1
        at = bisect_right(self._ends, start)
        while at < len(self._starts) and self._starts[at] < start + share:
            start, waited = self._ends[at], self._last[at]
            at += 1
        self._insert(at, start, start + share, place)
        return start, waited

    def _insert(self, at: int, start: float, end: float, place: int) -> None:
        if at and self._ends[at - 1] == start:
            self._ends[at - 1], self._last[at - 1] = end, place
        else:
            self._starts.insert(at, start)
            self._ends.insert(at, end)
            self._last.insert(at, place)

    @property
    def end(self) -> float:
        """When the last transfer has had them."""
        return self._ends[-1] if self._ends else math.nan
