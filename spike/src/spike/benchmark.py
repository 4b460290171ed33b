"""What a benchmark measured, and device times out of system-trace events."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean, pstdev
from typing import Any


@dataclass
class BenchmarkResult:
    """Times of executions in milliseconds; `estimated` if a model of the device made
    them up, and no device measured them. The standard deviation is the population's."""

    mean_ms: float
    min_ms: float
    max_ms: float
    std_dev_ms: float
    iterations: int
    warmup_iterations: int
    durations_ms: list[float] = field(default_factory=list)
    estimated: bool = False

    @classmethod
    def from_durations(
        cls,
        durations_ms: Sequence[float],
        warmup_iterations: int,
        estimated: bool = False,
    ) -> BenchmarkResult:
        """Summarise at least one duration."""
        return cls(
            fmean(durations_ms),
            min(durations_ms),
            max(durations_ms),
            pstdev(durations_ms),
            len(durations_ms),
            warmup_iterations,
            list(durations_ms),
            estimated,
        )

    def __repr__(self) -> str:
        return (
            f"BenchmarkResult(mean={self.mean_ms:.4f}ms, min={self.min_ms:.4f}ms, "
            f"max={self.max_ms:.4f}ms, std_dev={self.std_dev_ms:.4f}ms, "
            f"iterations={self.iterations}, "
            f"warmup_iterations={self.warmup_iterations}"
            f"{', estimated' if self.estimated else ''})"
        )


def device_times(
    fetched: Iterable[str], iterations: int, warmup_iterations: int
) -> BenchmarkResult:
    """The times of `iterations` executions, by a system trace fetched in pieces.

    A NEFF of several subgraphs makes several events per execution: its time is from
    the first start to the last stop. Raises RuntimeError if events are missing.
    """
    starts: dict[Any, list[int]] = defaultdict(list)
    stops: dict[Any, list[int]] = defaultdict(list)
    estimated = False
    for event in (e for text in fetched if text for e in json.loads(text)["events"]):
        if event.get("event_type") == "nc_exec_running":
            times = starts if event["phase"] == "start" else stops
            times[event["tracking_id"]].append(event["data"]["nc_timestamp_ns"])
            estimated |= bool(event["data"].get("estimated"))
    spans = sorted((min(starts[i]), max(stops[i])) for i in starts if i in stops)
    if not spans:
        raise RuntimeError(
            "No nc_exec_running events captured: this libnrt traced no execution. "
            "Use mode='host'."
        )
    each, rest = divmod(len(spans), iterations)
    if not each or rest:
        raise RuntimeError(
            f"expected the events of {iterations} executions, got {len(spans)}: "
            "the trace lost some"
        )
    groups = (spans[i : i + each] for i in range(0, len(spans), each))
    durations = [(max(stop for _, stop in g) - g[0][0]) / 1e6 for g in groups]
    return BenchmarkResult.from_durations(durations, warmup_iterations, estimated)
