"""A schedule as trace events, which Perfetto and Chrome's tracing show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nkipy_nki.engines import Engine
from nkipy_nki.timing.figures import Figures
from nkipy_nki.timing.labels import NAMES
from nkipy_nki.timing.queues import FIRST_DMA_QUEUE, engine_of

__all__ = ["timeline"]

_ORDER = {engine.value: place for place, engine in enumerate(NAMES)}


def timeline(report: Figures) -> dict[str, Any]:
    """Trace events of a report's schedule: lanes of queues, counters of memories.

    Returns:
        ``traceEvents``, whose times are in microseconds; ``displayTimeUnit``; and in
        ``otherData`` that it is an estimate, the ``kernel`` and the ``target``.
    """
    events = [*_lanes(report), *_steps(report), *_counters(report)]
    return {
        "traceEvents": events,
        "displayTimeUnit": "ns",
        "otherData": {
            "estimate": True,
            "kernel": report.name,
            "target": report.target,
            "total_ns": report.total,
        },
    }


def _lanes(report: Figures) -> Iterator[dict[str, Any]]:
    core = report.schedule.program.core
    name = f"{report.name} on {report.target}, core {core} (estimate)"
    yield _metadata(core, 0, "process_name", name=name)
    for queue in sorted(set(report.schedule.queues)):
        if queue >= FIRST_DMA_QUEUE:
            label, order = f"DMA {queue - FIRST_DMA_QUEUE}", queue
        else:
            label, order = NAMES[Engine(queue)], _ORDER[queue]
        yield _metadata(core, queue, "thread_name", name=f"{label} (estimate)")
        yield _metadata(core, queue, "thread_sort_index", sort_index=order)


def _metadata(core: int, queue: int, kind: str, **args: Any) -> dict[str, Any]:
    return {"ph": "M", "pid": core, "tid": queue, "name": kind, "args": args}


def _steps(report: Figures) -> Iterator[dict[str, Any]]:
    made = report.schedule
    core = made.program.core
    for place, step in enumerate(made.steps):
        args: dict[str, Any] = {"place": place, "line": str(step.line)}
        args["function"] = step.line.function
        if step.name:
            args["name"] = step.name
        if transfer := made.transfers.get(place):
            args["bytes"] = transfer.nbytes
        yield {
            "ph": "X",
            "pid": core,
            "tid": made.queues[place],
            "name": step.record.name,
            "cat": engine_of(step).name,
            "ts": made.start[place] / 1000,
            "dur": (made.end[place] - made.start[place]) / 1000,
            "args": args,
        }


def _counters(report: Figures) -> Iterator[dict[str, Any]]:
    core = report.schedule.program.core
    for region, use in report.memory.items():
        for time, nbytes in use.by_time:
            yield {
                "ph": "C",
                "pid": core,
                "tid": 0,
                "name": f"{region.value.upper()} bytes of a partition",
                "ts": time / 1000,
                "args": {"bytes": nbytes},
            }
