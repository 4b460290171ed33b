"""What custom calls are costed as: what their records say."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.custom_calls import (
    AS_LOWERED,
    UNKNOWN_COST,
    AsHLO,
    CustomCall,
    CustomCallError,
    EngineTime,
    EngineTimes,
    Passes,
    View,
    accept,
    emit,
    register,
    unregister,
)
from nkipy.hlo.ir import HLOModule, Shape
from nkipy.hlo.vendor_calls import VENDOR_CALLS
from nkipy_emulator.cost_model import Estimate, estimate
from nkipy_emulator.cost_model.types import ENGINES

F32 = np.dtype(np.float32)
X = Shape(F32, (256, 512))


def record(cost, **parts) -> CustomCall:
    given = {"version": "1", "check": accept, "run": print, "target": "acme.cost"}
    return CustomCall(cost=cost, **(given | parts))


def cost_of(made: CustomCall, *, twice: bool = False, target: str = "trn2") -> Estimate:
    """Of exp(call(x)), or of two calls one after the other."""
    module = HLOModule("m")
    p = module.add_parameter(X.dims, X.dtype, "p")
    b = HLOBuilder(module.entry)
    value = emit(b, made, (p,), X)
    module.set_results(
        emit(b, made, (value,), X) if twice else b.unary("exponential", value)
    )
    register(made)
    try:
        return estimate(module, target, launch_ns=0)
    finally:
        unregister(made.target)


def plain(build) -> Estimate:
    module = HLOModule("m")
    p = module.add_parameter(X.dims, X.dtype, "p")
    b = HLOBuilder(module.entry)
    module.set_results(b.unary("exponential", build(b, p)))
    return estimate(module, launch_ns=0)


def call_time(result: Estimate) -> list[tuple[str, int]]:
    events = (e for e in result.events if e.opcode == "custom-call")
    return [(e.engine, e.duration_ns) for e in events]


@pytest.mark.parametrize("over", ["result", "operand"])
@pytest.mark.parametrize("engine", ["VectorE", "ScalarE", "GpSimd"])
def test_passes_are_as_many_instructions_of_the_engine(engine, over):
    ((one, short),) = call_time(cost_of(record(Passes(engine, 1, over))))
    ((four, long),) = call_time(cost_of(record(Passes(engine, 4, over))))
    assert one == four == engine
    assert long == pytest.approx(4 * short, rel=0.2)


def test_a_view_costs_nothing():
    result = cost_of(record(View()))
    assert call_time(result) == []
    assert result.total_ns == plain(lambda b, x: x).total_ns


def test_an_unknown_cost_is_noted():
    (note,) = cost_of(record(UNKNOWN_COST)).notes
    assert "'acme.cost' is not known: counted as one pass" in note
    assert cost_of(record(Passes("GpSimd", 2))).notes == ()


def twice(call, operands, b):
    return b.multiply(b.add(operands[0], operands[0]), operands[0])


@pytest.mark.parametrize(
    "made", [record(AsHLO(twice)), record(AS_LOWERED, lowering=twice)]
)
def test_as_the_hlo_in_its_place(made):
    result = cost_of(made)
    expected = plain(lambda b, x: twice(None, (x,), b))
    assert result.events == expected.events and result.total_ns == expected.total_ns


def test_as_hlo_of_another_shape_is_an_error():
    def transposed(call, operands, b):
        return b.transpose(operands[0], (1, 0))

    with pytest.raises(CustomCallError, match=r"'acme.cost' has the result f32\[256,5"):
        cost_of(record(AsHLO(transposed)))


TIMES = (
    EngineTime("TensorE", 3000.0, 1000.0, flops=1 << 20),
    EngineTime("DMA", 500.0, 0.0, nbytes=4096),
    EngineTime("TensorE", 1000.0),
    EngineTime("VectorE", 2500.0, 2000.0),
)


def test_times_of_engines_are_placed_as_they_are():
    asked = []

    def of(call, target):
        asked.append((call.opcode, target))
        return TIMES

    result = cost_of(record(EngineTimes(of)), target="trn3")
    assert asked == [("custom-call", "trn3")]
    events = [e for e in result.events if e.opcode == "custom-call"]
    first = min(e.start_ns for e in events)
    placed = {(e.engine, e.start_ns - first, e.duration_ns) for e in events}
    assert placed == {(t.engine, t.start_ns, t.duration_ns) for t in TIMES}
    assert sum(e.flops for e in events) == 1 << 20
    assert sum(e.bytes for e in events if e.engine == "DMA") == 4096
    loaded = next(e for e in result.events if e.opcode == "load")
    assert first >= loaded.start_ns + loaded.duration_ns
    after = next(e for e in result.events if e.opcode == "exponential")
    assert after.start_ns >= first + 4500


def test_a_call_waits_for_the_one_before_it():
    result = cost_of(record(EngineTimes(lambda call, target: TIMES)), twice=True)
    lanes: dict[str, list] = {}
    for e in result.events:
        lanes.setdefault(e.engine, []).append((e.start_ns, e.start_ns + e.duration_ns))
    for spans in lanes.values():
        assert all(a[1] <= b[0] for a, b in zip(spans, spans[1:]))
    starts = [s for s, _ in lanes["VectorE"]]
    assert len(starts) == 2 and starts[1] - starts[0] >= 4500


def test_times_of_one_engine_may_not_overlap():
    times = [EngineTime("TensorE", 10.0), EngineTime("TensorE", 10.0, 5.0)]
    with pytest.raises(CustomCallError, match="'acme.cost'.*TensorE overlap"):
        cost_of(record(EngineTimes(lambda call, target: times)))


@pytest.mark.parametrize("target", VENDOR_CALLS)
def test_the_vendors_targets_have_costs(target):
    cost = VENDOR_CALLS[target].cost
    assert isinstance(cost, View) or cost.engine in ENGINES
