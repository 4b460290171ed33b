"""What a benchmark measured, and device times out of system-trace events."""

from __future__ import annotations

import json
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


class DeviceTimes:
    """Collects the executions that a system trace saw."""

    def __init__(self) -> None:
        self.estimated = False
        self._spans: dict[Any, dict[str, list[int]]] = {}

    def add(self, events_json: str) -> None:
        """Take in the events of one fetch."""
        events = json.loads(events_json)["events"] if events_json else []
        for event in events:
            if event.get("event_type") == "nc_exec_running":
                self._add_event(event)

    def _add_event(self, event: dict[str, Any]) -> None:
        data = event["data"]
        self.estimated |= bool(data.get("estimated"))
        span = self._spans.setdefault(event["tracking_id"], {"start": [], "stop": []})
        span[event["phase"]].append(data["nc_timestamp_ns"])

    def durations_ms(self, iterations: int) -> list[float]:
        """The time of each of `iterations` executions.

        A NEFF of several subgraphs makes several events per execution: its time is from
        the first start to the last stop. Raises RuntimeError if events are missing.
        """
        whole = [s for s in self._spans.values() if s["start"] and s["stop"]]
        spans = sorted((min(s["start"]), max(s["stop"])) for s in whole)
        each, rest = divmod(len(spans), iterations)
        if not spans:
            raise RuntimeError(
                "No nc_exec_running events captured: this libnrt traced no execution. "
                "Use mode='host'."
            )
        if not each or rest:
            raise RuntimeError(
                f"expected the events of {iterations} executions, got {len(spans)}: "
                "the trace lost some"
            )
        groups = (spans[i : i + each] for i in range(0, len(spans), each))
        return [_length_ms(group) for group in groups]


def _length_ms(spans: Iterable[tuple[int, int]]) -> float:
    starts, stops = zip(*spans)
    return (max(stops) - min(starts)) / 1e6
