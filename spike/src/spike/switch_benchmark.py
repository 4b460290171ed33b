"""What it costs a core to go from one model to another, and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from time import perf_counter_ns
from typing import Any, Protocol

from neff.tensors import UNKNOWN_DTYPE
from spike._spike import NrtModel, PreparedCall, SystemTraceSession, TensorMetadata
from spike.benchmark import BenchmarkResult, SwitchResult, SwitchTimes
from spike.device_benchmark import TRACE_LOCK, device_times

#: Milliseconds that calls take, one after the other.
_Clock = Callable[..., float]


class Model(Protocol):
    """What a SpikeModel has that is needed here."""

    @property
    def model_ref(self) -> NrtModel: ...
    @property
    def input_tensors_info(self) -> Mapping[str, TensorMetadata]: ...
    @property
    def tensor_class(self) -> Callable[..., Any]: ...
    def _benchmark_call(
        self, inputs: Any, outputs: Any
    ) -> tuple[PreparedCall, Any]: ...


def benchmark_switch(
    first: Model,
    call: PreparedCall,
    second: Model | None,
    inputs: dict[str, Any] | None,
    warmup: int,
    iterations: int,
    mode: str,
) -> BenchmarkResult:
    """The times of `call`, of `first`, alone; its `switch` is that with `second`.

    A round is six executions: each model twice, of which the second is timed, and then
    both in turn.

    Raises:
        TypeError: `second` is no model.
        ValueError: it is `first`, is on another core, or has inputs of unknown dtype.
        SpikeError: it is unloaded.
        RuntimeError: libnrt's trace has no execution, or no switch.
    """
    second = _checked(first, second)
    # Calls keep no tensors: they have to stay until all is over.
    given = _zeros(second) if inputs is None else inputs
    other, _kept = second._benchmark_call(given, None)
    calls = call, other
    host = _rounds(_host_ms, calls, warmup, iterations)
    device = None
    if mode == "device":
        with ExitStack() as stack:
            stack.enter_context(TRACE_LOCK)
            clock = _DeviceClock(first.model_ref.core_id, stack)
            device = _rounds(clock, calls, warmup, iterations)
            clock.require_switches()
            for result in vars(device).values():
                result.estimated = clock.estimated
    alone = (device or host).first
    alone.switch = SwitchResult(host, device)
    return alone


def _checked(first: Model, second: Model | None) -> Model:
    ref, core = getattr(second, "model_ref", None), first.model_ref.core_id
    if second is None or not isinstance(ref, NrtModel):
        raise TypeError(f"switch_with: expected a model, got {second!r}")
    if ref is first.model_ref:
        raise ValueError(
            f"switch_with: expected another model than {second!r}, with which nothing "
            "is switched: load it once more for a copy"
        )
    if ref.core_id != core:
        raise ValueError(
            f"switch_with: expected a model on core {core}, which switches, got one on "
            f"core {ref.core_id}"
        )
    return second


def _zeros(model: Model) -> dict[str, Any]:
    tensors = {}
    for name, info in model.input_tensors_info.items():
        if info.dtype == UNKNOWN_DTYPE:
            raise ValueError(f"switch_inputs: nothing tells the dtype of {name!r}")
        memory = model.model_ref.allocate(info.size, name)
        memory.fill(0)
        make = model.tensor_class
        tensors[name] = make(memory, tuple(info.shape), info.dtype, name)
    return tensors


def _rounds(
    clock: _Clock,
    calls: tuple[PreparedCall, PreparedCall],
    warmup: int,
    iterations: int,
) -> SwitchTimes:
    times: list[tuple[float, float, float]] = []
    for _ in range(warmup + iterations):
        alone = []
        for call in calls:
            call.execute()
            alone.append(clock(call))
        times.append((alone[0], alone[1], clock(*calls)))
    timed = times[warmup:]
    switches = [(pair - one - other) / 2 for one, other, pair in timed]
    columns = (*zip(*timed), switches)
    make = BenchmarkResult.from_durations
    return SwitchTimes(*(make(column, warmup) for column in columns))


def _host_ms(*calls: PreparedCall) -> float:
    start = perf_counter_ns()
    for call in calls:
        call.execute()
    return (perf_counter_ns() - start) / 1e6


class _DeviceClock:
    """What libnrt's trace has of calls: how long the core ran, and was switching."""

    def __init__(self, core_id: int, stack: ExitStack) -> None:
        self.estimated = self._has_switched = False
        self._trace = stack.enter_context(SystemTraceSession(core_id))

    def __call__(self, *calls: PreparedCall) -> float:
        self._trace.drain_events()
        return sum(map(self._one, calls))

    def _one(self, call: PreparedCall) -> float:
        call.execute()
        text = self._trace.fetch_events_json()
        ran = device_times([text], 1, 0)
        self.estimated |= ran.estimated
        return ran.mean_ms + self._switching_ms(text)

    def _switching_ms(self, text: str) -> float:
        total = 0
        for event in json.loads(text)["events"]:
            if event.get("event_type") == "nrt_model_switch":
                sign = -1 if event["phase"] == "start" else 1
                total += sign * event["data"]["nc_timestamp_ns"]
                self._has_switched = True
        return total / 1e6

    def require_switches(self) -> None:
        if not self._has_switched:
            raise RuntimeError(
                "No nrt_model_switch events captured: this libnrt traced no switch. "
                "Use mode='host'."
            )
