"""Times, and traces that they come from."""

from __future__ import annotations

import json

import numpy as np
import pytest

import spike
from spike import (
    BenchmarkResult,
    SpikeError,
    SpikeModel,
    SpikeTensor,
    SystemTraceSession,
)
from spike.device_benchmark import device_times


@pytest.fixture
def call(fake):
    model = SpikeModel.load_from_neff(fake.neff())
    x = SpikeTensor.zeros((4, 4), np.float32)
    return lambda **options: model.benchmark({"x": x, "y": x}, **options)


def test_result():
    result = BenchmarkResult.from_durations([1.0, 2.0, 3.0, 6.0], 5)
    assert (result.mean_ms, result.min_ms, result.max_ms) == (3, 1, 6)
    assert result.std_dev_ms == pytest.approx(3.5**0.5)
    assert repr(result) == (
        "BenchmarkResult(mean=3.0000ms, min=1.0000ms, max=6.0000ms, std_dev=1.8708ms, "
        "iterations=4, warmup_iterations=5)"
    )
    estimate = BenchmarkResult.from_durations([1], 0, estimated=True)
    assert repr(estimate).endswith("warmup_iterations=0, estimated)")


def test_host(fake, call):
    fake.delay(0.002)
    result = call(mode="host", warmup_iter=1, benchmark_iter=3)
    assert 2 <= result.min_ms <= result.mean_ms <= result.max_ms < 100
    assert (result.iterations, len(result.durations_ms)) == (3, 3)
    assert fake.calls().count("nrt_execute") == 4


@pytest.mark.parametrize("events", [1, 2])
def test_device(fake, call, events):
    """Two events per execution, as with two subgraphs, are still one execution."""
    fake.set_events(events)
    result = call(warmup_iter=2, benchmark_iter=4)
    assert result.durations_ms == [1 + 10 * (events - 1)] * 4
    assert (result.iterations, result.warmup_iterations) == (4, 2)
    assert not result.estimated


def test_more_executions_than_a_trace_holds(fake, call):
    assert call(warmup_iter=0, benchmark_iter=600).iterations == 600
    assert fake.calls().count("nrt_sys_trace_fetch_events") == 4


def test_bad_arguments(call):
    with pytest.raises(ValueError, match="Invalid benchmark mode 'z'. Use 'device' or"):
        call(mode="z")
    for wrong in ({"benchmark_iter": 0}, {"warmup_iter": -1}):
        with pytest.raises(ValueError, match="must be at least"):
            call(**wrong)


def event(phase: str, number: int, time: int, **data: object) -> dict:
    data["nc_timestamp_ns"] = time
    common = {"event_type": "nc_exec_running", "tracking_id": number}
    return {**common, "phase": phase, "data": data}


def test_events_that_are_missing(fake, call):
    fake.set_events(0)
    with pytest.raises(RuntimeError, match="No nc_exec_running events captured"):
        call()
    events = [event("start", 1, 10), event("stop", 1, 20), event("start", 2, 30)]
    fetched = ["", json.dumps({"events": [*events, {"event_type": "nrt_execute"}]})]
    assert device_times(fetched, 1, 0).durations_ms == [1e-5]
    with pytest.raises(RuntimeError, match="the events of 2 executions, got 1"):
        device_times(fetched, 2, 0)


def test_estimates_are_labelled():
    events = [event("start", 1, 10, estimated=True), event("stop", 1, 20)]
    result = device_times([json.dumps({"events": events})], 1, 3)
    assert result.estimated and result.warmup_iterations == 3


def test_sessions(fake):
    spike.get_spike_singleton()
    fake.reset()
    with SystemTraceSession(core_id=1) as session:
        assert [c for c in fake.calls() if "capture" in c] == [
            "capture off",
            "capture on",
        ]
        with pytest.raises(SpikeError, match="another session is running"):
            SystemTraceSession()
        assert json.loads(session.fetch_events_json()) == {"events": []}
    session.stop()
    assert fake.calls().count("nrt_sys_trace_stop") == 1
    with pytest.raises(
        SpikeError, match="Cannot fetch events: sys trace is not started"
    ):
        session.fetch_events_json()
    with pytest.raises(
        SpikeError, match="Cannot drain events: sys trace is not started"
    ):
        session.drain_events()
    SystemTraceSession().stop()


def test_a_session_opens_the_runtime_and_ends_with_it(fake):
    session = SystemTraceSession()
    spike.get_spike_singleton().close()
    session.stop()
    assert fake.calls()[-1] == "nrt_close"
    SystemTraceSession().stop()
