"""Estimates: how they scale, and that timelines respect what waits for what."""

from __future__ import annotations

import functools
import sys
from collections import defaultdict

import ml_dtypes
import numpy as np
import pytest

from nkipy.core.trace import trace_function
from nkipy.hlo.options import SimulationOptions
from nkipy_emulator.cost_model import TARGETS, CostModelError, Estimate, estimate
from nkipy_emulator.cost_model.types import LANES
from tests.unit.hlo.samples import SAMPLES

BF16 = ml_dtypes.bfloat16


def trace(function, *arguments):
    return trace_function(function, arguments, {}).module


def cost(function, *arguments, **options) -> Estimate:
    return estimate(trace(function, *arguments), launch_ns=0, **options)


def square(size: int, dtype=np.float32) -> np.ndarray:
    return np.zeros((size, size), dtype)


def softmax(x):
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def by_engine(result: Estimate) -> dict[str, list]:
    lanes = defaultdict(list)
    for event in result.events:
        lanes[event.engine].append(event)
    return lanes


@pytest.mark.parametrize("target", TARGETS)
def test_memory_bound_time_is_proportional_to_the_bytes(target):
    small = cost(lambda x: x + 1, np.zeros((8192, 8192), np.float32), target=target)
    large = cost(lambda x: x + 1, np.zeros((16384, 8192), np.float32), target=target)
    assert large.dma_bytes == 2 * small.dma_bytes == 4 * 8192 * 8192 * 4
    assert large.total_ns / small.total_ns == pytest.approx(2, rel=0.001)


@pytest.mark.parametrize("target", TARGETS)
def test_compute_bound_time_is_proportional_to_the_flops(target):
    def time_of(rows):
        lhs = np.zeros((rows, 8192), BF16)
        return cost(np.matmul, lhs, square(8192, BF16), target=target)

    small, large = time_of(8192), time_of(16384)
    assert large.flops == 2 * small.flops == 4 * 8192**3
    assert large.total_ns / small.total_ns == pytest.approx(2, rel=0.03)
    # At most the peak, and not far from it.
    peak = 2 * 128 * 128 * TARGETS[target].tensor_ghz
    assert 0.9 < small.flops / small.total_ns / peak < 1


def test_what_bounds_a_program():
    product = cost(np.matmul, square(8192, BF16), square(8192, BF16))
    busy = product.busy_ns
    assert busy["TensorE"] > 5 * busy["DMA"]
    total = cost(lambda x: x + 1, square(8192))
    assert total.busy_ns["DMA"] > 0.99 * total.total_ns
    assert total.busy_ns["VectorE"] < total.busy_ns["DMA"]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "function", [lambda x: x * 2 + 1, lambda x: x @ x, softmax, np.exp]
)
def test_bfloat16_is_faster_than_float32(function, target):
    half = cost(function, square(4096, BF16), target=target)
    full = cost(function, square(4096), target=target)
    assert 0.2 < half.total_ns / full.total_ns < 0.7


def test_float8_products_are_faster_from_trn2_on():
    def products(dtype, target):
        x = square(4096, dtype)
        return cost(np.matmul, x, x, target=target).busy_ns["TensorE"]

    fp8 = ml_dtypes.float8_e5m2
    assert products(fp8, "trn1") == products(BF16, "trn1")
    # Loading 128 rows takes 32 cycles in both, streaming 4096 columns half as long.
    expected = (32 + 4096 / 2) / (32 + 4096)
    ratio = products(fp8, "trn2") / products(BF16, "trn2")
    assert ratio == pytest.approx(expected, rel=1e-4)


def test_auto_cast_makes_float32_products_as_fast_as_the_type():
    module = trace(np.matmul, square(2048), square(2048))
    numerics = SimulationOptions(auto_cast="matmult", auto_cast_type="bf16")
    exact = estimate(module).busy_ns["TensorE"]
    cast = estimate(module, numerics=numerics).busy_ns["TensorE"]
    narrow = cost(np.matmul, square(2048, BF16), square(2048, BF16))
    assert cast == narrow.busy_ns["TensorE"] < exact / 3


def test_newer_targets_have_more_memory_bandwidth():
    times = [cost(lambda x: x + 1, square(8192), target=t).total_ns for t in TARGETS]
    trn1, inf2, trn2, trn3 = times
    assert trn1 == inf2 > trn2 > trn3


def test_two_cores_as_one_are_twice_as_fast():
    one = cost(np.matmul, square(4096, BF16), square(4096, BF16))
    two = cost(np.matmul, square(4096, BF16), square(4096, BF16), lnc=2)
    assert one.total_ns / two.total_ns == pytest.approx(2, rel=0.01)
    assert two.lnc == 2


def test_fusion_keeps_large_intermediates_on_chip():
    x = square(8192)
    one = cost(lambda x: x + 1, x)
    two = cost(lambda x: np.tanh(x + 1), x)
    assert two.dma_bytes == one.dma_bytes == 2 * x.nbytes
    assert two.total_ns < 1.01 * one.total_ns
    # With enough of them, VectorE is what takes the time.
    many = cost(lambda x: np.tanh(x * 2 + 1) - 3, x)
    assert many.dma_bytes == one.dma_bytes
    assert many.busy_ns["VectorE"] < many.total_ns < 1.2 * many.busy_ns["VectorE"]


def test_a_large_value_with_uses_in_two_regions_is_written_and_read_again():
    # exp is summed, and divided by the sum: it has to wait for the sum.
    x = square(8192)
    assert cost(softmax, x).dma_bytes >= 4 * x.nbytes
    small = square(512)
    assert cost(softmax, small).dma_bytes == 2 * small.nbytes


def test_an_update_in_place_moves_the_update_only():
    def append(cache, row):
        cache[7] = row

    def copy(cache, row):
        cache = np.copy(cache)
        cache[7] = row
        return cache

    arguments = np.zeros((4096, 4096), np.float32), np.zeros(4096, np.float32)
    assert cost(append, *arguments).dma_bytes < 4 * 4096 * 4
    assert cost(copy, *arguments).dma_bytes >= 4096 * 4096 * 4


def test_the_launch_is_part_of_the_total(monkeypatch):
    module = trace(lambda x: x + 1, square(128))
    bare = estimate(module, launch_ns=0)
    assert "launch" not in bare.busy_ns
    launched = estimate(module, launch_ns=5000)
    assert launched.total_ns == bare.total_ns + 5000
    assert launched.events[0][:5] == ("launch", "launch", "launch", 0, 5000)
    monkeypatch.setenv("NKIPY_EMULATOR_LAUNCH_NS", "7000")
    assert estimate(module).total_ns == bare.total_ns + 7000
    monkeypatch.setenv("NKIPY_EMULATOR_LAUNCH_NS", "soon")
    with pytest.raises(CostModelError, match="'soon'"):
        estimate(module)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s.label)
def test_timelines_are_consistent(sample):
    module = sample.build()
    result = estimate(module)
    assert result.target == "trn2"
    for engine, events in by_engine(result).items():
        assert engine in LANES
        for event in events:
            assert event.duration_ns >= 0 and event.bytes >= 0 and event.flops >= 0
        for before, after in zip(events, events[1:]):
            # Strictly: viewers drop what overlaps by a nanosecond.
            assert before.start_ns + before.duration_ns <= after.start_ns
    assert result.total_ns >= max(e.start_ns + e.duration_ns for e in result.events)
    assert [e.start_ns for e in result.events] == sorted(
        e.start_ns for e in result.events
    )


def test_dependent_instructions_follow_each_other():
    result = cost(lambda x: np.exp(x @ x) @ x, square(512, BF16))
    first, second = by_engine(result)["TensorE"]
    (exp,) = by_engine(result)["ScalarE"]
    load, store = by_engine(result)["DMA"]
    assert (load.opcode, store.opcode) == ("load", "store")
    assert load.start_ns < first.start_ns <= exp.start_ns
    assert exp.start_ns + exp.duration_ns <= second.start_ns
    assert second.start_ns < store.start_ns


def test_independent_instructions_overlap():
    def both(x, y):
        return np.exp(x), y @ y

    result = cost(both, square(1024), square(1024))
    lanes = by_engine(result)
    (exp,), (dot,) = lanes["ScalarE"], lanes["TensorE"]
    assert dot.start_ns < exp.start_ns + exp.duration_ns or (
        exp.start_ns < dot.start_ns + dot.duration_ns
    )
    assert result.total_ns < sum(result.busy_ns.values())


def test_its_work_grows_in_step_with_the_program():
    """Counted in calls of functions, since clocks differ (see bench_cost_model)."""

    def chain(x, length):
        for _ in range(length):
            x = np.tanh(x) * x + 1
        return x

    short, long = (
        trace(functools.partial(chain, length=length), np.zeros((128, 512), np.float32))
        for length in (100, 1000)
    )
    instructions = len(long.entry.instructions)
    assert _calls(long) < 50 * instructions
    assert _calls(long) < 11 * _calls(short)


def _calls(module) -> int:
    """How many functions, of Python and of C, an estimate calls."""
    count = 0

    def note(frame, event, argument) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        estimate(module)
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("gpu", {}, "one of trn1, inf2, trn2, trn3; received 'gpu'"),
        ("trn1", {"lnc": 2}, "lnc for trn1 is 1 to 1; received 2"),
        ("trn2", {"lnc": 0}, "received 0"),
    ],
)
def test_unknown_targets(target, options, message):
    with pytest.raises(CostModelError, match=message):
        cost(lambda x: x + 1, square(4), target=target, **options)


def test_instances_name_targets():
    module = trace(lambda x: x + 1, square(4))
    assert estimate(module, "trn2u.48xlarge").target == "trn2"
    assert estimate(module, "inf2.xlarge").target == "inf2"
