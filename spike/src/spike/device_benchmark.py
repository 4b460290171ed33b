"""Times of executions on the device, out of libnrt's system trace."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from spike._spike import PreparedCall, SystemTraceSession
from spike.benchmark import BenchmarkResult

# A trace keeps so many events that this many executions never overflow it.
_FETCH_EVERY = 256

#: libnrt has one trace per process.
TRACE_LOCK = threading.Lock()


def benchmark_on_device(
    call: PreparedCall, core_id: int, warmup: int, iterations: int
) -> BenchmarkResult:
    """Execute, and take the times from a trace of the core.

    Raises RuntimeError if the trace lost executions.
    """
    fetched = []
    with TRACE_LOCK, SystemTraceSession(core_id) as trace:
        for _ in range(warmup):
            call.execute()
        trace.drain_events()
        for done in range(1, iterations + 1):
            call.execute()
            if done % _FETCH_EVERY == 0 or done == iterations:
                fetched.append(trace.fetch_events_json())
    return device_times(fetched, iterations, warmup)


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
