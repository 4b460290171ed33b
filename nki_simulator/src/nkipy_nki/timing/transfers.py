"""How long a transfer takes, and when the DMA engines are free for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from nkipy.chips import Chip
from nkipy_nki.program import Instruction, View
from nkipy_nki.regions import MemoryRegion

__all__ = ["ReservationTable", "Transfer", "Transfers"]

#: Partitions that one DMA engine serves (nki-dma-bandwidth-guide: 128 over 16 engines).
PARTITIONS_OF_AN_ENGINE = 8
_ENDLESS = 1 << 62


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


class Transfers:
    """Tells how long transfers take; what it works out again and again it keeps."""

    def __init__(self, chip: Chip) -> None:
        self._chip = chip
        self._sides: dict[Any, _Side] = {}
        self._transfers: dict[Any, Transfer] = {}

    def of(self, instruction: Instruction, factor: float) -> Transfer:
        """How long a transfer takes once it has begun.

        Args:
            instruction: of the DMA.
            factor: how many times as long as a plain copy it takes: its record's cost.
        """
        rules = instruction.record.operands
        sides: list[tuple[bool, _Side]] = []
        for name, operand in instruction.operands.items():
            if isinstance(operand, View):
                sides.append((rules[name].written, self._side(operand)))
            elif isinstance(operand, tuple):
                sides += [(rules[name].written, self._side(v)) for v in operand]
        key = factor, *sides
        found = self._transfers.get(key)
        if found is None:
            found = self._transfers[key] = _transfer(sides, factor, self._chip)
        transfer_ns = instruction.record.transfer_ns
        if transfer_ns is None:
            return found
        duration = transfer_ns(instruction, self._chip, found.duration)
        return found._replace(duration=duration)

    def _side(self, view: View) -> _Side:
        region = view.allocation.region
        is_on_chip = region is MemoryRegion.sbuf or region is MemoryRegion.psum
        key = view.shape, view.strides, view.dtype.device_itemsize, is_on_chip
        found = self._sides.get(key)
        if found is None:
            found = self._sides[key] = _side(*key)
        return found


class _Side(NamedTuple):
    """Of one side of a transfer: bytes, contiguous bytes, DMA engines that serve it."""

    nbytes: int
    run: int
    engines: int


def _transfer(
    sides: Sequence[tuple[bool, _Side]], factor: float, chip: Chip
) -> Transfer:
    """How long a transfer takes, by its sides, and whether they are written."""
    written = sum(side.nbytes for is_written, side in sides if is_written)
    read = sum(side.nbytes for is_written, side in sides if not is_written)
    nbytes = max(read, written)
    if not nbytes:
        return Transfer(0, 0.0, 0.0)
    run = min(side.run for _, side in sides)
    pieces = -(-nbytes // min(run, chip.dma_saturating_bytes))
    engines = min(chip.dma_engines, pieces, *(s.engines for _, s in sides))
    alone = factor * nbytes * chip.dma_slowdown(run) / chip.dma_engine_gb_s
    return Transfer(nbytes, alone / max(engines, 1), alone / chip.dma_engines)


def _side(
    shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int, is_on_chip: bool
) -> _Side:
    run, first = 1, int(is_on_chip)
    for count, stride in zip(shape[first:][::-1], strides[first:][::-1]):
        if count != 1 and stride != run:
            break
        run *= count
    engines = -(-shape[0] // PARTITIONS_OF_AN_ENGINE) if is_on_chip else _ENDLESS
    return _Side(math.prod(shape) * itemsize, max(run, 1) * itemsize, engines)


class ReservationTable:
    """When the DMA engines work: all at one transfer at a time, first come first."""

    def __init__(self) -> None:
        #: When they work: stretches, in order.
        self.starts: list[float] = []
        self.ends: list[float] = []
        #: The transfer that they were reserved for last.
        self._last = -1

    def reserve(
        self, ready: float, share: float, place: int
    ) -> tuple[float, float, int]:
        """Reserve the engines for a while.

        Args:
            ready: from when on, in ns; no earlier than in the call before.
            share: for how long, more than 0.
            place: the transfer's.

        Returns:
            When it begins and ends, and the place of the transfer whose end it waited
            for, or -1.
        """
        ends, waited = self.ends, -1
        if ends and ends[-1] >= ready:
            ready, waited = ends[-1], self._last
            ends[-1] += share
        else:
            self.starts.append(ready)
            ends.append(ready + share)
        self._last = place
        return ready, ends[-1], waited
