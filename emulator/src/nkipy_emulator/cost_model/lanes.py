"""The lanes of a timeline: what runs when, given what it waits for."""

from __future__ import annotations

from nkipy_emulator.cost_model.constants import (
    DMA_FIXED_NS,
    Target,
)
from nkipy_emulator.cost_model.types import DMA, LANES, Event, Step

#: Idle times of the DMA lane that are remembered, to be filled by later transfers.
_MAX_GAPS = 16

Interval = tuple[float, float]
Raw = tuple[str, str, str, float, float, int, int, str]
RawStep = tuple[str, str, str, str, str, float, float, int, int]


class Lanes:
    """Engines that work in program order, and a DMA lane that fills its gaps.

    Times are ns since launch. The DMA lane stands for the core's 16 queues together: it
    has their bandwidth, a transfer that is ready early overtakes one that waits, and
    the fixed cost of a transfer is hidden while another one is on the way.
    """

    def __init__(self, target: Target) -> None:
        self.free = dict.fromkeys(LANES, 0.0)
        self.busy = dict.fromkeys(LANES, 0.0)  # without waits for the next tile
        self.raw: list[Raw] = []  # the fields of Event, with times as floats
        self.raw_steps: list[RawStep] = []  # those of Step
        self.end = 0.0
        self._gaps: list[Interval] = []
        self._tile_bytes = target.tile_bytes
        self._slowdown = target.chip.dma_slowdown
        # A copy inside the HBM uses its bandwidth twice.
        self._rates = (
            target.dma_gb_s,
            min(target.dma_gb_s, target.hbm_gb_s),
            min(target.dma_gb_s, target.hbm_gb_s / 2),
        )

    def compute(
        self,
        name: str,
        opcode: str,
        engine: str,
        inputs: Interval,
        duration: float,
        nbytes: int,
        flops: int,
    ) -> Interval:
        """Place an instruction; when its first tile and all of it are there.

        It begins with the first tile. Where tiles come more slowly than it works, it
        is over after the last of them; the engine is free for others meanwhile, so the
        event has the time at work only, in one piece.

        Args:
            inputs: when the first tile of all inputs, and all of them, are there.
            nbytes: size of the result, which decides the number of tiles.
        """
        first, last = inputs
        free = self.free[engine]
        start = free if free > first else first
        tile = duration / (-(-nbytes // self._tile_bytes) or 1)
        end = start + duration
        self.free[engine] = end
        self.busy[engine] += duration
        self.raw.append((name, opcode, engine, start, end, 0, flops, ""))
        if last + tile > end:
            end = last + tile
        if end > self.end:
            self.end = end
        return start + tile, end

    def transfer(
        self,
        name: str,
        opcode: str,
        ready: Interval,
        nbytes: int,
        hbm_ends: int = 1,
        contiguous: int = 0,
    ) -> Interval:
        """Place a transfer; when its first tile and all of it have arrived.

        Of a source that is still being made, it follows so late that it never waits.

        Args:
            ready: when the first tile of the source, and all of it, are there.
            hbm_ends: how many of source and destination are in the HBM.
            contiguous: bytes per descriptor; 0 for enough.
        """
        rate = self._rates[hbm_ends]
        if contiguous:
            rate /= self._slowdown(contiguous)
        duration = nbytes / rate
        tile = duration / (-(-nbytes // self._tile_bytes) or 1)
        start, end = self._slot(max(ready[0], ready[1] + tile - duration), duration)
        self.busy[DMA] += duration
        if end > self.end:
            self.end = end
        self.raw.append((name, opcode, DMA, start, end, nbytes, 0, ""))
        return end - duration + tile, end

    def _slot(self, ready: float, duration: float) -> Interval:
        """Where a transfer goes: the first gap that holds it, else the end."""
        for i, (low, high) in enumerate(self._gaps):
            start = low if low > ready else ready
            end = max(low, ready + DMA_FIXED_NS) + duration
            if end <= high:
                self._gaps[i] = (end, high)
                return start, end
        free = self.free[DMA]
        start = free if free > ready else ready
        end = max(free, ready + DMA_FIXED_NS) + duration
        if start > free:
            self._remember(free, start)
        self.free[DMA] = end
        return start, end

    def _remember(self, low: float, high: float) -> None:
        self._gaps.append((low, high))
        if len(self._gaps) > _MAX_GAPS:
            del self._gaps[0]

    def barrier(self, at: float) -> float:
        """Let no lane be free before `at`, nor before any other; the time of that."""
        now = max(at, self.end)
        self.free = dict.fromkeys(LANES, now)
        self._gaps.clear()
        self.end = now
        return now

    def occupy(
        self,
        engine: str,
        name: str,
        opcode: str,
        span: Interval,
        nbytes: int = 0,
        flops: int = 0,
        groups: str = "",
    ) -> None:
        """Add an event at a given time."""
        self.raw.append((name, opcode, engine, *span, nbytes, flops, groups))
        self.busy[engine] += span[1] - span[0]
        self.end = max(self.end, span[1])

    def extend(self, other: Lanes, shift: float) -> None:
        """Add another timeline's events and steps, `shift` later."""
        self.raw += [
            (e[0], e[1], e[2], e[3] + shift, e[4] + shift, *e[5:]) for e in other.raw
        ]
        self.raw_steps += [
            (*s[:5], s[5] + shift, s[6] + shift, *s[7:]) for s in other.raw_steps
        ]

    def events(self) -> tuple[Event, ...]:
        """What was placed, by start, in whole ns."""
        ordered = sorted(self.raw, key=_start)
        return tuple([_rounded(raw) for raw in ordered])

    def steps(self) -> tuple[Step, ...]:
        """What goes on during events, by start, in whole ns."""
        ordered = sorted(self.raw_steps, key=_step_start)
        return tuple([_rounded_step(raw) for raw in ordered])


def _start(raw: Raw) -> float:
    return raw[3]


def _step_start(raw: RawStep) -> float:
    return raw[5]


def _rounded_step(raw: RawStep) -> Step:
    name, call, engine, lane, source, start, end, nbytes, flops = raw
    begin = round(start)
    duration = round(end) - begin
    return Step(name, call, engine, lane, source, begin, duration, nbytes, flops)


def _rounded(raw: Raw) -> Event:
    name, opcode, engine, start, end, nbytes, flops, groups = raw
    begin = round(start)
    duration = round(end) - begin
    return Event(name, opcode, engine, begin, duration, nbytes, flops, groups)
