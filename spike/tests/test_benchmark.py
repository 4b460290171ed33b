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


@pytest.mark.parametrize("percent", [0, 12.5, 50, 90, 99, 100])
def test_percentiles(percent):
    times = [3.0, 1.0, 7.0, 2.0, 9.0]
    result = BenchmarkResult.from_durations(times, 0)
    assert result.percentile_ms(percent) == pytest.approx(np.percentile(times, percent))


def test_percentiles_that_there_are_not():
    result = BenchmarkResult.from_durations([1.0], 0)
    for wrong in (-1, 100.5, float("nan")):
        with pytest.raises(ValueError, match="percentile of 1 durations"):
            result.percentile_ms(wrong)
    with pytest.raises(ValueError, match="of 0 durations"):
        BenchmarkResult(1, 1, 1, 0, 1, 0).percentile_ms(50)


@pytest.fixture
def other(fake):
    return SpikeModel.load_from_neff(fake.neff(name="other.neff"))


def test_switching_on_the_device(fake, call, other):
    fake.reset()
    result = call(switch_with=other, warmup_iter=1, benchmark_iter=3)
    # Six executions in each of four rounds, on the host's clock and in the trace.
    assert fake.calls().count("nrt_execute") == 2 * 6 * 4
    device = result.switch.device
    assert result is device.first and result.iterations == 3
    assert device.first.durations_ms == device.second.durations_ms == [1] * 3
    assert device.pair.durations_ms == [1 + 1 + 2 * 2] * 3
    assert device.switch.durations_ms == [2] * 3
    assert not device.switch.estimated
    assert "switch=2.0000ms, p50=2.0000ms, p90=2.0000ms, p99=2.0000ms, " in repr(device)


def test_switching_on_the_host(fake, call, other):
    fake.delay(0.002)
    y = SpikeTensor.from_numpy(np.ones((4, 4), np.float32))
    inputs = {"x": y, "y": y}
    result = call(mode="host", switch_with=other, switch_inputs=inputs)
    host = result.switch.host
    assert result is host.first and result.switch.device is None
    assert 2 <= host.second.min_ms and 4 <= host.pair.min_ms
    rounds = zip(host.first.durations_ms, host.second.durations_ms)
    for one, pair, cost in zip(
        rounds, host.pair.durations_ms, host.switch.durations_ms
    ):
        assert cost == pytest.approx((pair - sum(one)) / 2)


def test_what_cannot_be_switched_with(fake, call, other):
    far = SpikeModel.load_from_neff(fake.neff(name="one.neff"), core_id=1)
    wrong = {"x": SpikeTensor.zeros((4, 4), np.float32)}
    for error, match, options in (
        (TypeError, "switch_with: expected a model, got 'b'", {"switch_with": "b"}),
        (ValueError, "on core 0, .* got one on core 1", {"switch_with": far}),
        (ValueError, "at least 0", {"switch_with": other, "warmup_iter": -1}),
        (ValueError, "Missing input", {"switch_with": other, "switch_inputs": wrong}),
        (TypeError, "expected a model, got None", {"switch_inputs": wrong}),
    ):  # fmt: skip
        with pytest.raises(error, match=match):
            call(**options)
    other.close()
    with pytest.raises(SpikeError, match="unloaded"):
        call(switch_with=other)
    unknown = fake.neff("input x unknown 64 64\noutput y float32 64 4 4", "u.neff")
    with pytest.raises(ValueError, match="switch_inputs: nothing tells the dtype"):
        call(switch_with=SpikeModel.load_from_neff(unknown))


def test_a_model_does_not_switch_with_itself(fake):
    model = SpikeModel.load_from_neff(fake.neff())
    x = SpikeTensor.zeros((4, 4), np.float32)
    with pytest.raises(ValueError, match="another model than .*, with which nothing"):
        model.benchmark({"x": x, "y": x}, switch_with=model)


def test_a_trace_without_switches(fake, call, other, monkeypatch):
    monkeypatch.setattr(
        "spike.switch_benchmark.json.loads", lambda text: {"events": []}
    )
    monkeypatch.setattr(
        "spike.switch_benchmark.device_times",
        lambda *_: BenchmarkResult.from_durations([1.0], 0),
    )
    with pytest.raises(RuntimeError, match="No nrt_model_switch events captured"):
        call(switch_with=other)


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
