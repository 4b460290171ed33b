"""When instructions run: figures by hand, and what holds of every schedule."""

from __future__ import annotations

from dataclasses import replace
from math import inf, isclose, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nki_simulator.tests.hand_made import (
    ADD,
    COPIES,
    LOAD,
    MATMUL,
    Kernel,
    part,
    random_kernel,
    record,
    tiled_sum,
)
from nkipy.chips import CHIPS, find_chip
from nkipy_nki.engines import Engine
from nkipy_nki.program import Loop, Register
from nkipy_nki.records import writes
from nkipy_nki.timing import Schedule, Trace, schedule
from nkipy_nki.timing.queues import FIRST_DMA_QUEUE, engine_of
from nkipy_nki.timing.trace import unrolled

TRN2 = find_chip("trn2")
assert TRN2 is not None


@given(st.integers(0, 10**6), st.sampled_from([chip.name for chip in CHIPS]))
def test_what_holds_of_every_schedule(seed: int, chip: str) -> None:
    kernel = random_kernel(seed, chip=chip)
    made = schedule(kernel.program)
    assert len(made.start) == len(made.end) == len(made.done) == 60
    assert 0 < max(made.busy.values()) <= made.total <= made.serial * (1 + 1e-12)
    assert isclose(made.serial, sum(_alone(made, place) for place in range(60)))
    _check_order(made)
    _check_exclusion(made)
    _check_path(made)


def _alone(made: Schedule, place: int) -> float:
    """How long a step takes in a program of its own, with what is before it."""
    alone = schedule(made.program, [made.steps[place]])
    is_transfer = made.queues[place] >= FIRST_DMA_QUEUE
    return alone.total + (0.0 if is_transfer else made.chip.semaphore_latency_ns)


def _check_order(made: Schedule) -> None:
    latest: dict[int, int] = {}
    for place, queue in enumerate(made.queues):
        assert 0 <= made.start[place] <= made.end[place] <= made.done[place]
        if queue in latest:
            assert made.start[place] >= made.end[latest[queue]]
        latest[queue] = place
        for earlier in made.waits[place]:
            latency = (
                0.0 if made.queues[earlier] == queue else made.chip.semaphore_latency_ns
            )
            if queue >= FIRST_DMA_QUEUE:
                latency = made.chip.dma_start_ns
                if made.queues[earlier] == queue:
                    latency = 0.0
            assert made.start[place] >= made.done[earlier] + latency - 1e-6
    reserved = made.reservations
    worked = [end - start for start, end in zip(reserved.starts, reserved.ends)]
    assert isclose(sum(worked), made.busy.get(Engine.dma, 0.0), abs_tol=1e-6)
    assert all(end <= start for end, start in zip(reserved.ends, reserved.starts[1:]))


def _check_exclusion(made: Schedule) -> None:
    for first, second, memory in made.chip.exclusive:
        stretches = {
            engine: [
                (made.start[place], made.end[place])
                for place, step in enumerate(made.steps)
                if engine_of(step) is Engine[engine]
                and any(view.region.value == memory for _, view in step.views())
            ]
            for engine in (first, second)
        }
        for start, end in stretches[first]:
            for its_start, its_end in stretches[second]:
                assert end <= its_start + 1e-6 or its_end <= start + 1e-6


def _check_path(made: Schedule) -> None:
    path = made.critical_path
    assert isclose(sum(p.wait + p.time for p in path), made.total)
    places = [p.place for p in path]
    assert len(places) == len(set(places))
    starts = [made.start[place] for place in places]
    assert starts == sorted(starts)
    assert all(p.wait >= 0 and p.time >= 0 for p in path)
    assert made.done[places[-1]] == made.total


def test_a_chain_by_hand() -> None:
    made = Kernel()
    source, tiles = made.hbm(128, 1024), [made.tile(128, 1024) for _ in range(3)]
    made.add(LOAD, 1, dst=tiles[0], src=source)
    made.add(COPIES[Engine.vector], 2, dst=tiles[1], src=tiles[0])
    made.add(COPIES[Engine.vector], 3, dst=tiles[2], src=tiles[1])
    made.add(COPIES[Engine.scalar], 4, dst=tiles[0], src=tiles[2])
    found = schedule(made.program)
    # 4 KiB lie beside one another: 23 bytes a ns and engine are reached.
    load = 128 * 4096 / (16 * 23)
    vector, scalar = 1024 / 0.96, 1024 / 1.2
    starts = [1300.0, 1300 + load + 200]
    starts.append(starts[1] + vector + 100 / 0.96)
    starts.append(starts[2] + vector + 100 / 0.96 + 200)
    assert found.start == pytest.approx(starts)
    assert found.total == pytest.approx(starts[3] + scalar + 200 / 1.2)
    assert found.busy == pytest.approx(
        {Engine.scalar: scalar, Engine.dma: load, Engine.vector: 2 * vector}
    )
    path = [(p.place, p.wait, p.time) for p in found.critical_path]
    expected = [(0, 1300, load), (1, 200, starts[2] - starts[1])]
    expected += [(2, 0, vector + 100 / 0.96), (3, 200, scalar + 200 / 1.2)]
    assert path == [pytest.approx(part) for part in expected]


@pytest.mark.parametrize("buffers", [1, 2])
def test_two_engines_by_hand(buffers: int) -> None:
    """VectorE makes three tiles that ScalarE reads, in so many buffers."""
    made = Kernel()
    source, result = made.tile(128, 960), made.tile(128, 960)
    held = [made.tile(128, 960) for _ in range(buffers)]
    for i in range(3):
        made.add(COPIES[Engine.vector], dst=held[i % buffers], src=source)
        made.add(COPIES[Engine.scalar], dst=result, src=held[i % buffers])
    found = schedule(made.program)
    # 960 cycles are 1000 ns of VectorE and 800 of ScalarE. A result is there 100 and
    # 200 cycles after the end, and another engine knows of it 200 ns later.
    vector, scalar, hop = 1000 + 100 / 0.96, 800 + 200 / 1.2, 200
    if buffers == 1:  # one after the other
        step = vector + hop + scalar + hop
        starts = [0, step - hop - scalar]
        starts += [starts[0] + step, starts[1] + step]
        starts += [starts[0] + 2 * step, starts[1] + 2 * step]
    else:  # the third tile waits for the first one's reader
        third = vector + hop + scalar + hop
        starts = [0, vector + hop, 1000, 1000 + vector + hop]
        starts += [third, third + vector + hop]
    assert found.start == pytest.approx(starts)
    assert found.total == pytest.approx(starts[-1] + scalar)
    assert found.busy == pytest.approx({Engine.vector: 3000, Engine.scalar: 2400})
    assert found.serial == pytest.approx(3 * (vector + scalar) + 6 * hop)


def test_the_published_transfer() -> None:
    """32 KiB of 4 partitions: one DMA engine takes 1,416 ns once it has begun."""
    made = Kernel()
    source = made.tile(4, 4096, region=made.hbm(1).region, dtype="bfloat16")
    made.add(LOAD, dst=made.tile(4, 4096, dtype="bfloat16"), src=source)
    found = schedule(made.program)
    assert found.end[0] - found.start[0] == pytest.approx(1416, rel=0.01)
    assert found.transfers[0].nbytes == 32 << 10
    # The others are free meanwhile.
    assert found.busy[Engine.dma] == pytest.approx((found.end[0] - 1300) / 16)


def test_products_follow_one_another_at_their_rate() -> None:
    """1,024 products of 512 columns: 218.45 us on trn2, as published times have it."""
    made = Kernel()
    a, b = made.tile(128, 128), made.tile(128, 512)
    psum = [made.psum(128, 512) for _ in range(4)]
    for i in range(1024):
        made.add(MATMUL, dst=psum[i // 16 % 4], a=a, b=b)
    found = schedule(made.program)
    assert found.busy[Engine.tensor] == pytest.approx(1024 * 512 / 2.4)
    assert found.total - found.busy[Engine.tensor] == pytest.approx(64 / 2.4)


def test_more_buffers_are_faster() -> None:
    times = [schedule(tiled_sum(32, buffers).program).total for buffers in (1, 2, 4)]
    assert times[0] > 1.2 * times[1] > 1.2 * times[2]
    # At best, what is busiest is all the time.
    found = schedule(tiled_sum(32, 8).program)
    assert found.total < 1.15 * found.busy[Engine.dma] + 2 * TRN2.dma_start_ns


def test_a_transfer_that_waits_keeps_no_other_back() -> None:
    made = Kernel()
    source, tiles = made.hbm(256, 512), [made.tile(128, 512) for _ in range(3)]
    made.add(COPIES[Engine.vector], dst=tiles[1], src=tiles[0])
    made.add(COPIES[Engine.vector], dst=tiles[1], src=tiles[1])
    made.add(LOAD, dst=part(source, (0, 128), (0, 512)), src=tiles[1])
    made.add(LOAD, dst=tiles[2], src=part(source, (128, 128), (0, 512)))
    found = schedule(made.program)
    assert found.end[3] <= found.start[2]


def test_what_instructions_take_alone_does_not_depend_on_buffers() -> None:
    found = [schedule(tiled_sum(32, buffers).program) for buffers in (1, 2, 4, 8)]
    assert [made.serial for made in found] == [found[0].serial] * 4
    assert len({made.total for made in found}) > 1


def test_of_two_transfers_the_one_that_can_begin_first_has_the_engines() -> None:
    """The one that comes later in the program waits for nothing, and begins before."""
    made = Kernel()
    source, tiles = made.hbm(128, 8192), [made.tile(128, 4096) for _ in range(2)]
    small = made.tile(128, 96)
    made.add(COPIES[Engine.vector], dst=small, src=small)
    made.add(LOAD, dst=part(source, (0, 128), (0, 96)), src=small)
    made.add(LOAD, dst=tiles[0], src=part(source, (0, 128), (4096, 4096)))
    found = schedule(made.program)
    alone = schedule(made.program, [found.steps[2]])
    assert found.start[2] < found.start[1] == found.end[2]
    assert found.end[2] == pytest.approx(alone.total)
    assert [part.place for part in found.critical_path] == [2, 1]


def test_what_comes_later_does_not_keep_back_a_transfer_that_has_begun() -> None:
    """Else an instruction that is added before what comes later made all faster."""
    totals = []
    for added in (0, 1):
        made = Kernel()
        source, result = made.hbm(128, 512), made.hbm(128, 4096)
        loaded, stored = made.tile(128, 512), made.tile(128, 4096)
        first = part(stored, (0, 128), (0, 96))
        for _ in range(added):
            made.add(COPIES[Engine.vector], dst=stored, src=stored)
        made.add(COPIES[Engine.vector], dst=first, src=first)
        made.add(LOAD, dst=result, src=stored)
        made.add(LOAD, dst=loaded, src=source)
        for _ in range(16):
            made.add(COPIES[Engine.scalar], dst=loaded, src=loaded)
        totals.append(schedule(made.program).total)
    assert totals[0] <= totals[1]


def test_small_rows_are_slow() -> None:
    times = []
    for columns in (8, 32, 128, 1024):
        made = Kernel()
        wide = made.hbm(128, 2048)
        for first in range(0, 1024, columns):
            view = part(wide, (0, 128), (first, columns))
            made.add(LOAD, dst=made.tile(128, columns), src=view)
        times.append(schedule(made.program).busy[Engine.dma])
    assert times == sorted(times, reverse=True) and times[0] > 10 * times[-1]


def test_engines_that_exclude_each_other_take_turns() -> None:
    """On trn1 VectorE and GpSimd cannot have the SBUF at once; on trn2 they can."""
    totals = {}
    for chip in ("trn1", "trn2"):
        made = Kernel(chip)
        for engine in (Engine.vector, Engine.gpsimd):
            tiles = made.tile(128, 4096), made.tile(128, 4096)
            made.add(COPIES[engine], dst=tiles[0], src=tiles[1])
        totals[chip] = schedule(made.program)
    for chip, found in totals.items():
        overlap = min(found.end) - max(found.start)
        assert (overlap > 0) is (chip == "trn2")


def test_engines_exclude_each_other_only_where_they_meet() -> None:
    made = Kernel("trn1")
    tiles = [made.tile(128, 256) for _ in range(6)]
    made.add(LOAD, dst=tiles[0], src=made.hbm(128, 256))
    made.add(COPIES[Engine.vector], dst=tiles[1], src=tiles[0])
    made.add(COPIES[Engine.gpsimd], dst=tiles[2], src=tiles[3])  # long before
    made.add(COPIES[Engine.scalar], dst=tiles[4], src=tiles[5])
    found = schedule(made.program)
    assert found.start[2] == found.start[3] == 0.0 < found.end[2] < found.start[1]


def test_loops_are_unrolled_if_their_bounds_are_known() -> None:
    made = Kernel()
    tiles = [made.tile(128, 64) for _ in range(2)]

    def inner(_: object) -> None:
        made.add(ADD, dst=tiles[0], a=tiles[0], b=tiles[1])

    made.loop(3, lambda i: made.loop(4, inner) and None)
    assert len(schedule(made.program).steps) == 12
    made.loop(made.register(), inner)
    with pytest.raises(ValueError, match=r"the loop at kernel.py:1 .* trace of a run"):
        schedule(made.program)
    (step,) = (s for s in made.program.body[-1].body)  # type: ignore[union-attr]
    assert len(schedule(made.program, [step] * 5).steps) == 5
    made.program.body[-1] = Loop(made.register(), None, [step])
    with pytest.raises(ValueError, match="trace of a run"):
        schedule(made.program)


def test_too_many_instructions_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nkipy_nki.timing.trace._MOST", 100)
    made = Kernel()
    tile = made.tile(128, 8)
    made.add(ADD, dst=tile, a=tile, b=tile)
    for body in (made.steps[:], []):
        made.steps[:] = [Loop(made.register(), (0, 1 << 40, 1), body)]
        with pytest.raises(ValueError, match="more than 100 instructions"):
            schedule(made.program)


@pytest.mark.parametrize("cost", [-1.0, nan, inf])
def test_a_cost_that_is_none_is_refused(cost: float) -> None:
    made = Kernel()
    bad = record("odd", Engine.vector, lambda s, c: cost, lambda c: None, dst=writes())
    made.add(bad, 7, dst=made.tile(128, 8))
    with pytest.raises(ValueError, match="the cost of odd at kernel.py:7 is"):
        schedule(made.program)


def test_another_chip_and_none() -> None:
    kernel = random_kernel(1)
    assert schedule(kernel.program, chip=CHIPS[0]).chip is CHIPS[0]
    kernel.program.chip = "trn99"
    with pytest.raises(ValueError, match="trn99"):
        schedule(kernel.program)


def test_a_faster_clock_takes_less_time() -> None:
    kernel = tiled_sum(8, 2, columns=2048)
    fast = replace(TRN2, vector_ghz=10 * TRN2.vector_ghz)
    before, after = schedule(kernel.program), schedule(kernel.program, chip=fast)
    assert after.busy[Engine.vector] == pytest.approx(before.busy[Engine.vector] / 10)
    assert after.total < before.total


def test_nothing_takes_no_time() -> None:
    found = schedule(Kernel().program, Trace())
    assert (found.total, found.serial, found.critical_path) == (0.0, 0.0, [])


def test_an_engine_that_is_not_told_is_the_record_s_first() -> None:
    made = Kernel()
    step = made.add(ADD, dst=made.tile(8, 8), a=made.tile(8, 8), b=made.tile(8, 8))
    step.engine = Engine.unknown
    assert engine_of(step) is Engine.vector
    assert list(schedule(made.program).busy) == [Engine.vector]


def test_the_times_of_a_kernel_in_a_program_are_estimated_in_bounded_time() -> None:
    made = Kernel()
    tile = made.tile(128, 8)
    made.add(ADD, dst=tile, a=tile, b=tile)
    body = made.steps[:]
    made.steps[:] = [Loop(made.register(), (-(1 << 63), (1 << 63) - 1, 1), body)]
    with pytest.raises(ValueError, match="more than 50 instructions"):
        unrolled(made.program, 50)
    made.steps[:] = [Loop(made.register(), (9, -9, 1), body), *body]
    assert len(unrolled(made.program, 50).steps) == 1
    made.steps[:] = [Loop(made.register(), (0, 49, 2), body)]
    assert len(unrolled(made.program, 50).steps) == 25


def _loads(tiles: int, dynamic: bool) -> Schedule:
    """The example of the SDK's page on dynamic loops: so many tiles an iteration."""

    def iteration(x: Any, result: Any, first: Any) -> None:
        for row in range(tiles):
            tile = nl.ndarray((128, 2048), nl.float32, buffer=nl.sbuf)
            place: dict[str, Any] = {"offset": 128 * 2048 * row, "scalar_offset": first}
            if not dynamic:
                place: dict[str, Any] = {"offset": 2048 * (128 * row + first)}
            given, made = (t.ap([[2048, 128], [1, 2048]], **place) for t in (x, result))
            nisa.dma_copy(tile, given)
            nisa.activation(tile, nl.exp, tile)
            nisa.tensor_scalar(tile, tile, nl.multiply, 2.0)
            nisa.dma_copy(made, tile)

    def kernel(x: Any) -> Any:
        result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        bounds = 0, x.shape[0], 128 * tiles
        if dynamic:
            nl.fori_loop(*bounds[:2], lambda i: iteration(x, result, i), bounds[2])
        else:
            for first in range(*bounds):
                iteration(x, result, first)
        return result

    x = np.zeros((64 * 128, 2048), np.float32)
    return nki.simulate(kernel, target="trn1").run(x).report().schedule


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tiles", "dynamic", "published"),
    [(1, False, 7.5), (1, True, 17.9), (4, True, 10.2)],
)
def test_published_times_of_dynamic_loops(
    tiles: int, dynamic: bool, published: float
) -> None:
    """64 iterations on trn1, in microseconds a tile; the second is fitted."""
    made = _loads(tiles, dynamic)
    assert made.total / 64 / 1000 == pytest.approx(published, rel=0.15)
    assert max(made.busy.values()) <= made.total <= made.serial * (1 + 1e-12)


def test_iterations_of_a_loop_on_the_device_do_not_overlap() -> None:
    kernel = Kernel()
    source = kernel.hbm(128, 512)
    one, other = (kernel.tile(128, 512) for _ in range(2))

    def body(_: Register) -> None:
        kernel.add(LOAD, dst=other, src=source)
        kernel.add(ADD, dst=one, a=one, b=one)

    kernel.add(LOAD, dst=one, src=source)
    kernel.loop(3, body)
    kernel.add(LOAD, dst=other, src=source)
    made = schedule(kernel.program)
    assert dict(made.barriers) == {3: 1, 5: 1, 7: 1}
    barrier = made.chip.loop_barrier_ns
    for place in made.barriers:
        assert made.floors[place] == max(made.done[:place]) + barrier
        assert min(made.start[place:]) >= made.floors[place]
    # The first begins beside what is before it.
    assert made.start[1] < made.done[0] + made.chip.dma_start_ns
    assert max(made.busy.values()) <= made.total <= made.serial * (1 + 1e-12)
    assert sum(p.wait + p.time for p in made.critical_path) == pytest.approx(made.total)


@pytest.mark.parametrize("meeting", ["core_barrier", "sendrecv"])
def test_cores_wait_for_each_other(meeting: str) -> None:
    """The second core works five times as long before they meet as the first."""

    @nki.jit
    def kernel(x: Any) -> Any:
        result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        core = nl.program_id(0)
        rows = slice(64 * core, 64 * core + 64)
        tile, other = (nl.ndarray((64, 512), x.dtype) for _ in range(2))
        nisa.dma_copy(tile, x[rows])
        for meets in range(2):
            for _ in range(20 if core == meets else 100):
                nisa.tensor_scalar(tile, tile, nl.add, 1.0)
            if meeting == "sendrecv":
                nisa.sendrecv(tile, other, 1 - core, 1 - core, 0)
            else:
                nisa.dma_copy(result[rows], tile)
                nisa.core_barrier(result, (0, 1))
        nisa.dma_copy(result[rows], tile)
        return result

    ran = nki.simulate(kernel[2]).run(np.ones((128, 512), np.float32))
    made = [ran.report(core).schedule for core in range(2)]
    alone = [schedule(p, t) for p, t in zip(ran.programs, ran.traces)]
    places = [
        [i for i, step in enumerate(one.steps) if step.record.name == meeting]
        for one in made
    ]
    # A transfer may begin a little later, where the DMA engines are busy.
    for first, second in zip(*places):
        assert made[0].start[first] == pytest.approx(made[1].start[second], abs=500)
    early, late = (one.start[at[0]] for one, at in zip(alone, places))
    assert early < 0.4 * late
    assert made[0].start[places[0][0]] == pytest.approx(late, abs=500)
    for one, by_itself in zip(made, alone):
        assert one.total >= by_itself.total and by_itself.waited == 0
        assert max(one.busy.values()) <= one.total <= one.serial * (1 + 1e-12)
        path = one.critical_path
        assert sum(p.wait + p.time for p in path) == pytest.approx(one.total)
    assert made[0].waited >= 0.9 * (late - early)
    if meeting == "sendrecv":  # which all that comes after waits for
        assert made[0].total > 1.4 * alone[0].total
