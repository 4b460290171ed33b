"""A report on a schedule: text, JSON, a timeline and a page."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from nkipy_nki.capacity import (
    MEMORIES,
    Peak,
    described,
    lifetimes,
    line_fields,
    peak,
    tiles_of,
    usable_bytes,
    usage_over,
)
from nkipy_nki.engines import Engine
from nkipy_nki.program import Allocation, Line
from nkipy_nki.regions import MemoryRegion
from nkipy_nki.timing.dependencies import engine_of
from nkipy_nki.timing.labels import NAMES, shown
from nkipy_nki.timing.page import page
from nkipy_nki.timing.scheduling import Schedule
from nkipy_nki.timing.series import thinned
from nkipy_nki.timing.timeline import timeline

__all__ = ["LineTime", "MemoryUse", "Report"]

#: Of the report as JSON: it grows when a field changes what it means.
VERSION = 1


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


class Report:
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
        found = lifetimes(steps)
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

    # -- forms -------------------------------------------------------------------------
    def as_json(self) -> dict[str, Any]:
        """The report as data.

        Returns:
            A mapping with the fields

            - ``version``: of these fields, a number; ``kernel``, ``target``: names;
            - ``estimate``: True: no time in it was measured;
            - ``total_ns``: the estimated time; ``serial_ns``: that of the same
              instructions one after the other; ``instructions``: how many were carried
              out; ``dma_bytes``: how many bytes were transferred;
            - ``engines``: of each, ``engine``, ``busy_ns``, ``share`` of the total (0
              to 1) and ``instructions``;
            - ``instruction_counts``: by name of the instruction;
            - ``lines``: of each, ``file``, ``line``, ``function``, ``instructions``,
              ``busy_ns`` by engine, ``critical_ns`` and ``wait_ns``: what its
              instructions, and waits before them, add to the total, of which they are
              all;
            - ``memory``: for ``sbuf`` and ``psum``, in bytes of a partition,
              ``usable_bytes``, ``peak_bytes``, ``peak_place`` (a step, counted from 0),
              ``peak_tiles`` (``name``, ``shape``, ``dtype``, ``bytes_per_partition``,
              ``file``, ``line``, ``function``), ``by_place`` and ``by_time``: pairs of
              a step or a time in ns and the bytes that are live from then on.
        """
        made = self.schedule
        return {
            "version": VERSION,
            "kernel": self.name,
            "target": self.target,
            "estimate": True,
            "total_ns": self.total,
            "serial_ns": made.serial,
            "instructions": len(made.steps),
            "dma_bytes": self.dma_bytes,
            "engines": [
                {
                    "engine": engine.name,
                    "busy_ns": busy,
                    "share": self.share(engine),
                    "instructions": self.engine_counts[engine],
                }
                for engine, busy in made.busy.items()
            ],
            "instruction_counts": dict(self.counts),
            "lines": [_line_as_json(time) for time in self.lines],
            "memory": {
                region.value: _memory_as_json(use)
                for region, use in self.memory.items()
            },
        }

    def text(self, lines: int = 10) -> str:
        """The report as text.

        Args:
            lines: of how many lines of the source it tells.
        """
        return "\n".join(_text(self, lines))

    def __str__(self) -> str:
        return self.text()

    def timeline(self) -> dict[str, Any]:
        """The timeline as Perfetto and Chrome's tracing read it: trace events."""
        return timeline(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the timeline, a JSON file that https://ui.perfetto.dev opens."""
        _write(Path(path), json.dumps(self.timeline()))

    def page(self) -> str:
        """The report as one page of HTML that needs nothing else."""
        return page(self)

    def save_page(self, path: str | os.PathLike[str]) -> None:
        """Write the page."""
        _write(Path(path), self.page())


def _write(path: Path, text: str) -> None:
    """Write a file at once, or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _line_as_json(time: LineTime) -> dict[str, Any]:
    return {
        **line_fields(time.line),
        "instructions": time.instructions,
        "busy_ns": {engine.name: busy for engine, busy in time.busy.items()},
        "critical_ns": time.critical,
        "wait_ns": time.wait,
    }


def _memory_as_json(use: MemoryUse) -> dict[str, Any]:
    return {
        "usable_bytes": use.usable,
        "peak_bytes": use.peak.nbytes,
        "peak_place": use.peak.place,
        "peak_tiles": [described(tile) for tile in use.peak.tiles],
        "by_place": [[int(place), nbytes] for place, nbytes in use.by_place],
        "by_time": [[time, nbytes] for time, nbytes in use.by_time],
    }


# -- text ------------------------------------------------------------------------------
def _text(report: Report, lines: int) -> list[str]:
    made = report.schedule
    said = [
        f"{report.name} on {report.target}: {shown(report.total)} (estimate), "
        f"{len(made.steps)} instructions, {report.dma_bytes} bytes transferred",
        "",
        f"  {'engine':8}{'busy':>12}{'share':>9}{'instructions':>14}   (estimate)",
    ]
    for engine, busy in made.busy.items():
        count = report.engine_counts[engine]
        share = report.share(engine)
        said.append(f"  {NAMES[engine]:8}{shown(busy):>12}{share:>9.1%}{count:>14}")
    said += ["", f"  {'total':>12}{'of it waits':>14}   critical path (estimate)"]
    for time in report.lines[:lines]:
        whole = time.critical + time.wait
        said.append(
            f"  {shown(whole):>12}{shown(time.wait):>14}   {time.line} in "
            f"{time.line.function}"
        )
    if len(report.lines) > lines:
        rest = report.lines[lines:]
        whole, wait = sum(t.critical + t.wait for t in rest), sum(t.wait for t in rest)
        said.append(f"  {shown(whole):>12}{shown(wait):>14}   {len(rest)} more lines")
    said += ["", f"  {'memory':8}{'peak':>12}{'usable':>9}   bytes of a partition"]
    for region, use in report.memory.items():
        said.append(f"  {region.value:8}{use.peak.nbytes:>12}{use.usable:>9}")
    return said
