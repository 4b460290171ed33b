"""A kernel's own instructions in the timeline of the program that it is in."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nkipy.core.trace import trace_function
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOModule
from nkipy.hlo.kernel_languages import TARGET
from nkipy.runtime import DeviceKernel, DeviceTensor
from nkipy_emulator.cost_model import estimate
from nkipy_nki.embedding import ArraySpec, embed, engine_times, times
from nkipy_nki.findings import NkiWarning

X = np.linspace(-2, 2, 128 * 64, dtype=np.float32).reshape(128, 64)


@nki.jit
def product(x, y):
    """x.T @ y, twice that and its exponential."""
    result = nl.ndarray((64, 64), x.dtype, buffer=nl.shared_hbm)
    a, b = (nl.ndarray(t.shape, t.dtype) for t in (x, y))
    nisa.dma_copy(a, x)
    nisa.dma_copy(b, y)  # second load
    sums = nl.ndarray((64, 64), nl.float32, buffer=nl.psum)
    nisa.nc_matmul(sums, a, b, name="all")
    tile = nl.ndarray((64, 64), x.dtype)
    nisa.tensor_scalar(tile, sums, nl.multiply, 2.0)
    nisa.activation(tile, nl.exp, tile)
    nisa.dma_copy(result, tile)
    return result


@nki.jit
def repeated(x):
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    tile = nl.ndarray(x.shape, x.dtype)
    nisa.dma_copy(tile, x)
    for _ in range(1500):
        nisa.tensor_scalar(tile, tile, nl.add, 1.0)
    nisa.dma_copy(result, tile)
    return result


@nki.jit
def halves(x):
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    rows = slice(64 * nl.program_id(0), 64 * nl.program_id(0) + 64)
    tile = nl.ndarray((64, 64), x.dtype)
    nisa.dma_copy(tile, x[rows])
    for _ in range(1 + nl.program_id(0)):
        nisa.tensor_scalar(tile, tile, nl.add, 1.0)
    nisa.dma_copy(result[rows], tile)
    return result


def _program_of(
    outer: int, inner: int, register: bool = False, around: str = "before behind"
) -> bytes:
    """A loop in a loop, with something `around` it, and around both."""

    @nki.jit
    def looped(x):
        result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        tile, other = (nl.ndarray(x.shape, x.dtype) for _ in range(2))
        nisa.dma_copy(tile, x)

        def inside(_):
            nisa.tensor_scalar(tile, tile, nl.add, 1.0)
            nisa.activation(other, nl.exp, tile)

        def outside(_):
            if "before" in around:
                nisa.dma_copy(other, x)
            nl.fori_loop(0, nisa.register_alloc(3) if register else inner, inside)
            if "behind" in around:
                nisa.tensor_tensor(tile, tile, other, nl.add)

        nl.fori_loop(0, outer, outside)
        nisa.dma_copy(result, tile)
        return result

    with warnings.catch_warnings():  # of loops in loops
        warnings.simplefilter("ignore", NkiWarning)
        return embed(looped, (ArraySpec(X.shape, X.dtype),), {}, "trn2").program


def _sums(program: bytes) -> dict[str, list[float]]:
    """By engine: its last end, how long it works, its instructions and bytes."""
    sums: dict[str, list[float]] = {}
    for work in engine_times(program):
        found = sums.setdefault(work.engine, [0.0, 0.0, 0.0, 0.0])
        found[0] = max(found[0], work.end)
        shown = sum("iterations" not in step.name for step in work.steps)
        for i, one in enumerate((work.end - work.start, shown + work.hidden), 1):
            found[i] += one
        found[3] += work.nbytes
    return sums


@pytest.mark.parametrize("around", ["before behind", "before", "behind", "nothing"])
@pytest.mark.parametrize(("outer", "inner"), [(1, 9), (2, 5), (7, 1), (6, 2), (5, 7)])
def test_iterations_that_are_left_out_are_extrapolated(
    outer, inner, around, monkeypatch
):
    """As if all had been estimated, which those of few are."""
    program = _program_of(outer, inner, around=around)
    full = _sums(program)
    engine_times.cache_clear()
    monkeypatch.setattr(times, "_MOST_UNROLLED", 1)
    short = _sums(program)
    engine_times.cache_clear()
    assert short.keys() == full.keys()
    for engine, (_, *sums) in full.items():
        assert short[engine][1:] == pytest.approx(sums, rel=1e-9)
    ends = (max(end for end, *_ in sums.values()) for sums in (short, full))
    assert next(ends) == pytest.approx(next(ends), rel=1e-9)


def test_a_loop_of_many_iterations_is_told_as_such():
    program = _program_of(1000, 2000)
    found = engine_times(program)
    steps = [step for work in found for step in work.steps]
    names = {step.name for step in steps if "extrapolated" in step.name}
    assert "1,998 more iterations (extrapolated)" in names
    vector = sum(w.end - w.start for w in found if w.engine == "VectorE")
    assert 1000 * 2000 * 64 / 0.96 < vector < 1.1 * 1000 * 2000 * 64 / 0.96 + 1e6
    cost = estimate(_module_of(program), "trn2")
    (note,) = (note for note in cost.notes if "not shown" in note)
    assert "the time of the others is extrapolated" in note
    assert_nested(cost)


def test_a_loop_of_unknown_bounds_counts_once_in_one_of_many_iterations():
    found = engine_times(_program_of(1000, 3, register=True))
    vector = sum(
        work.hidden + sum("iterations" not in step.name for step in work.steps)
        for work in found
        if work.engine == "VectorE"
    )
    assert vector == 2 * 1000


def _module_of(program: bytes):
    module = HLOModule("kernel")
    x = module.add_parameter(X.shape, X.dtype, "x")
    attributes = {"custom_call_target": TARGET, "backend_config": program}
    b = HLOBuilder(module.entry)
    made = b.emit("custom-call", (x,), X.shape, X.dtype, attributes)
    module.set_results(made, ["output0"])
    return module


def estimated(kernel, *arrays, lnc=1):
    return estimate(trace_function(kernel, arrays, {}).module, "trn2", lnc=lnc)


def line_of(kernel, text: str) -> str:
    code = kernel.func.__code__
    with open(code.co_filename) as file:
        lines = list(enumerate(file, 1))[code.co_firstlineno - 1 :]
    return f"{code.co_filename}:{next(n for n, line in lines if text in line)}"


def assert_nested(cost) -> None:
    """Steps lie within the events of their engine and call, and lanes have no two."""
    spans: dict = {}
    for event in cost.events:
        span = event.start_ns, event.start_ns + event.duration_ns
        spans.setdefault((event.engine, event.name), []).append(span)
    ends: dict = {}
    for step in cost.steps:
        start, end = step.start_ns, step.start_ns + step.duration_ns
        inside = spans[step.engine, step.call]
        assert any(low <= start and end <= high for low, high in inside)
        lane = step.engine, step.lane
        assert ends.get(lane, 0) <= start
        ends[lane] = end


def test_steps_have_the_kernels_names_engines_and_lines():
    cost = estimated(lambda x, y: product(x + y, y) * 2, X, X)
    assert [(step.name, step.engine) for step in cost.steps] == [
        ("dma_copy", "DMA"),
        ("dma_copy", "DMA"),
        ("nc_matmul all", "TensorE"),
        ("tensor_scalar", "VectorE"),
        ("activation", "ScalarE"),
        ("dma_copy", "DMA"),
    ]
    assert cost.steps[1].source == line_of(product, "# second load")
    assert cost.steps[2].flops == 2 * 128 * 64 * 64
    assert cost.steps[0].bytes == X.nbytes
    assert_nested(cost)
    (call,) = {step.call for step in cost.steps}
    events = [event for event in cost.events if event.name == call]
    assert sum(event.flops for event in events) == 2 * 128 * 64 * 64
    assert sum(event.bytes for event in events) == 2 * X.nbytes + 64 * 64 * 4
    assert cost.to_dict()["steps"][2]["name"] == "nc_matmul all"


def test_a_kernels_own_schedule_is_what_the_timeline_has():
    ran = nki.simulate(product).run(X, X)
    alone = ran.report().schedule
    cost = estimated(lambda x, y: product(x, y) * 2, X, X)
    first = min(step.start_ns for step in cost.steps) - alone.start[0]
    times = [(s.start_ns - first, s.duration_ns) for s in cost.steps]
    expected = zip(alone.start, alone.end)
    for (start, duration), (begin, end) in zip(times, expected, strict=True):
        assert start == pytest.approx(begin, abs=1)
        assert duration == pytest.approx(end - begin, abs=1)


def test_many_instructions_are_summed_up_and_it_is_said():
    cost = estimated(lambda x: repeated(x) + 1, X)
    assert len(cost.steps) == 1000
    (note,) = (note for note in cost.notes if "not shown" in note)
    assert "502 more instructions of the kernel" in note
    spec = ArraySpec(X.shape, X.dtype)
    found = engine_times(embed(repeated, (spec,), {}, "trn2").program)
    shown = sum(len(work.steps) for work in found)
    assert (shown, sum(work.hidden for work in found)) == (1000, 502)
    assert_nested(cost)
    alone = nki.simulate(repeated).run(X).report().schedule
    assert max(work.end for work in found) == pytest.approx(alone.total, rel=0.01)


def test_each_of_two_cores_has_lanes():
    cost = estimated(lambda x: halves[2](x) + 1, X, lnc=2)
    lanes = [step.lane for step in cost.steps if step.engine == "VectorE"]
    assert sorted(lanes) == ["core 0", "core 1", "core 1"]
    assert {s.lane for s in cost.steps if s.engine == "DMA"} == {
        f"core {core} queue {queue}" for core in range(2) for queue in range(2)
    }
    assert_nested(cost)


@pytest.mark.device
def test_the_profile_of_an_execution_shows_them(tmp_path):
    kernel = DeviceKernel.compile_and_load(
        lambda x, y: product(x + y, y) * 2,
        X,
        X,
        name="timed",
        use_cached_if_exists=False,
    )
    x, y = (DeviceTensor.from_numpy(X, name) for name in "xy")
    kernel({"x": x, "y": y}, None, True, str(tmp_path / "profile.ntff"))
    profile = json.loads((tmp_path / "profile.ntff").read_text())
    assert "ESTIMATES" in profile["otherData"]["notice"]
    events = profile["traceEvents"]
    names = {
        (e["pid"], e["tid"]): e["args"]["name"]
        for e in events
        if e["name"] == "thread_name"
    }
    steps = {e["name"]: e for e in events if "call" in e.get("args", ())}
    assert {"dma_copy", "nc_matmul all", "tensor_scalar", "activation"} == set(steps)
    for name, lane in (
        ("nc_matmul all", "TensorE (estimate)"),
        ("activation", "ScalarE (estimate)"),
        ("dma_copy", "DMA queue 2 (estimate)"),
    ):
        event = steps[name]
        assert names[event["pid"], event["tid"]] == lane
        assert event["args"]["source"].startswith(__file__)
        assert event["cat"] == "estimate"
