"""The figures of a schedule: by engine, by line of the source, by memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from nkipy_nki.capacity import (
    MEMORIES,
    Peak,
    live_ranges,
    peak,
    tiles_of,
    usable_bytes,
    usage_over,
)
from nkipy_nki.engines import Engine
from nkipy_nki.program import Allocation, Line
from nkipy_nki.regions import MemoryRegion
from nkipy_nki.timing.queues import engine_of
from nkipy_nki.timing.scheduling import Schedule
from nkipy_nki.timing.series import thinned

__all__ = ["Figures", "LineTime", "MemoryUse"]


@dataclass
class LineTime:
    """What a line of the kernel's source has to do with the time; in ns.

    Attributes:
        line: the place in the source.
        instructions: how many were carried out.
        busy: how long each engine works for it; transfers' time is that of all DMA
            engines together.
        critical: what it adds to the total: its part of the critical path.
        wait: what waits before that add to the total: of engines for each other, and
            for transfers to start.
    """

    line: Line
    instructions: int = 0
    busy: dict[Engine, float] = field(default_factory=dict)
    critical: float = 0.0
    wait: float = 0.0


@dataclass(frozen=True)
class MemoryUse:
    """How much of a memory on the chip is live.

    Attributes:
        region: which memory.
        usable: bytes of a partition that tiles can have.
        peak: where in the program's order the most is live.
        by_place: from which step on how many bytes of a partition are live.
        by_time: the same by ns of the schedule.
    """

    region: MemoryRegion
    usable: int
    peak: Peak
    by_place: list[tuple[float, int]]
    by_time: list[tuple[float, int]]


class Figures:
    """What a schedule tells; all times are estimates, in ns.

    Args:
        schedule: of :func:`schedule`.
        name: the kernel's.
    """

    def __init__(self, schedule: Schedule, name: str = "kernel") -> None:
        self.schedule = schedule
        self.name = name

    # -- figures -----------------------------------------------------------------------
    @property
    def total(self) -> float:
        """The estimated time."""
        return self.schedule.total

    @property
    def target(self) -> str:
        """The chip's name."""
        return self.schedule.chip.name

    def share(self, engine: Engine) -> float:
        """Of the total, for which part an engine works: from 0 to 1."""
        busy = self.schedule.busy.get(engine, 0.0)
        return busy / self.total if self.total else 0.0

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """How often each instruction was carried out, the most frequent first."""
        names = Counter(step.record.name for step in self.schedule.steps)
        return dict(names.most_common())

    @cached_property
    def engine_counts(self) -> Mapping[Engine, int]:
        """How many instructions each engine carried out."""
        return Counter(map(engine_of, self.schedule.steps))

    @cached_property
    def dma_bytes(self) -> int:
        """How many bytes were transferred."""
        return sum(t.nbytes for t in self.schedule.transfers.values())

    @cached_property
    def lines(self) -> list[LineTime]:
        """What each line of the source has to do with the time, the most first."""
        found: dict[Line, LineTime] = {}
        made = self.schedule
        for place, step in enumerate(made.steps):
            time = found.get(step.line)
            if time is None:
                time = found[step.line] = LineTime(step.line)
            time.instructions += 1
            engine, transfer = engine_of(step), made.transfers.get(place)
            busy = transfer.share if transfer else made.end[place] - made.start[place]
            time.busy[engine] = time.busy.get(engine, 0.0) + busy
        for part in made.critical_path:
            time = found[made.steps[part.place].line]
            time.critical += part.time
            time.wait += part.wait
        return sorted(found.values(), key=lambda t: (-t.critical - t.wait, t.line))

    @cached_property
    def memory(self) -> Mapping[MemoryRegion, MemoryUse]:
        """How much of each memory on the chip is live."""
        steps = self.schedule.steps
        found = live_ranges(steps)
        places = {tile: (life.first, life.last + 1) for tile, life in found.items()}
        times = self._live_times()
        return {
            region: MemoryUse(
                region,
                usable_bytes(region, self.schedule.chip),
                peak(found, region),
                thinned(usage_over(places, region)),
                thinned(usage_over(times, region)),
            )
            for region in MEMORIES
        }

    def _live_times(self) -> dict[Allocation, tuple[float, float]]:
        """From when to when each tile has something to do."""
        made = self.schedule
        times: dict[Allocation, tuple[float, float]] = {}
        for step, start, done in zip(made.steps, made.start, made.done):
            for _, view in tiles_of(step):
                first, last = times.get(view.allocation, (start, done))
                times[view.allocation] = min(first, start), max(last, done)
        return times
