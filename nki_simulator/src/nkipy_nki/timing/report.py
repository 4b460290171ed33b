"""A report on a schedule: text, JSON, a timeline and a page."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from nkipy_nki.capacity import described, line_fields
from nkipy_nki.timing.figures import Figures, LineTime, MemoryUse
from nkipy_nki.timing.labels import NAMES, shown
from nkipy_nki.timing.page import page
from nkipy_nki.timing.timeline import timeline

__all__ = ["LineTime", "MemoryUse", "Report"]

#: Of the report as JSON: it grows when a field changes what it means.
VERSION = 1


class Report(Figures):
    """What a schedule tells, in forms to read; all times are estimates, in ns.

    Args:
        schedule: of :func:`schedule`.
        name: the kernel's.
    """

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
    """Write a file at once, or not at all.

    Raises:
        OSError: it cannot be written.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "no folder for the file", str(path))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "a folder has the name", str(path))
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
