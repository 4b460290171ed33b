"""The order that kernels ask for: what it costs, what is refused, what is kept."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nki_simulator.tests.hand_made import COPIES, Kernel, random_kernel
from nkipy_nki.conflicts import Unordered, in_order
from nkipy_nki.embedding import ArraySpec, embed
from nkipy_nki.errors import NkiProgramError
from nkipy_nki.findings import Findings
from nkipy_nki.modes import dependency
from nkipy_nki.program import Edge, Loop, Program
from nkipy_nki.replaying import replay
from nkipy_nki.simulation import Simulation
from nkipy_nki.timing import Schedule, schedule
from nkipy_nki.wire import decode, encode

X = np.arange(128 * 512, dtype=np.float32).reshape(128, 512) + 1
FLOAT = nl.float32


def tile(columns: int = 512) -> Any:
    return nl.ndarray((128, columns), FLOAT, buffer=nl.sbuf)


@nki.jit
def two(x: Any) -> Any:
    """1/x + x, by two engines that could begin together."""
    given, inverse, copied, total = tile(), tile(), tile(), tile()
    nisa.dma_copy(dst=given, src=x, name="load")
    nisa.reciprocal(dst=inverse, data=given, name="inverse")
    nisa.activation(dst=copied, op=nl.copy, data=given, name="copied")
    nisa.tensor_tensor(dst=total, data1=inverse, data2=copied, op=nl.add, name="sum")
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(dst=result, src=total, name="store")
    return result


def run(kernel: Any, *args: Any) -> Simulation:
    return nki.simulate(kernel, target="trn2").run(*args)


def times(ran: Simulation) -> dict[str, tuple[float, float]]:
    """By name, when an instruction begins and when it is done."""
    made = schedule(ran.programs[0], ran.traces[0])
    return {s.name: (b, d) for s, b, d in zip(made.steps, made.start, made.done)}


def names(program: Program) -> list[str]:
    return [step.name for step in program.instructions()]


# -- by handle -------------------------------------------------------------------------
def depending(kind: dependency | None) -> Callable[[Any], Any]:
    @nki.jit
    def kernel(x: Any) -> Any:
        first, second, result = (
            tile(),
            tile(),
            nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm),
        )
        made = nisa.memset(first, 1.0, engine=nisa.engine.vector, name="first")
        later = nisa.memset(second, 2.0, engine=nisa.engine.gpsimd, name="second")
        if kind is not None:
            assert later.depends_on(made, kind=kind) is later
        nisa.dma_copy(dst=result, src=second)
        return result

    return kernel


def test_a_runtime_edge_waits_for_the_end_a_schedule_edge_for_the_start() -> None:
    found = {kind: times(run(depending(kind), X)) for kind in (None, *dependency)}
    assert found[None]["second"][0] == 0
    first_done = found[dependency.runtime]["first"][1]
    assert found[dependency.runtime]["second"][0] > first_done
    begun = found[dependency.schedule]["first"][0]
    assert begun <= found[dependency.schedule]["second"][0] < first_done


def test_a_schedule_edge_waits_until_the_other_is_issued() -> None:
    made = Kernel()
    tiles = [made.tile(128, 512) for _ in range(5)]
    vector, scalar = COPIES[nisa.engine.vector], COPIES[nisa.engine.scalar]
    made.add(vector, dst=tiles[0], src=tiles[1])
    second = made.add(vector, dst=tiles[2], src=tiles[1])
    third = made.add(scalar, dst=tiles[3], src=tiles[4])
    third.after = (Edge(second, dependency.schedule),)
    found = schedule(made.program)
    assert found.start[2] == found.start[1] == found.end[0] > 0
    assert sum(part.wait + part.time for part in found.critical_path) == found.total


def test_edges_go_to_earlier_instructions_of_the_same_run_only() -> None:
    kept: list[Any] = []
    runtime = nisa.dependency.runtime

    def kernel(x: Any) -> None:
        made = nisa.memset(tile(), 1.0)
        later = nisa.memset(tile(), 2.0)
        for wrong, text in [
            (
                lambda: made.depends_on(later, kind=nisa.dependency.runtime),
                "no earlier",
            ),
            (lambda: made.depends_on(made, kind=runtime), "no earlier"),
            (lambda: later.depends_on("first", kind=runtime), "takes"),
            (lambda: later.depends_on(made, kind="runtime"), "kind is 'runtime'"),
            (lambda: later.depends_on(*kept, kind=runtime), "another"),
        ]:
            if text == "another" and not kept:
                continue
            with pytest.raises(nki.NkiValidationError, match=text) as raised:
                wrong()
            assert "test_ordering.py:" in str(raised.value)
        if not kept:
            kept.append(made)
        assert later.after == ()

    run(kernel, X)
    run(kernel, X)


def test_a_refusal_names_both_lines() -> None:
    def kernel(x: Any) -> None:
        made = nisa.memset(tile(), 1.0)
        later = nisa.memset(tile(), 2.0)
        made.depends_on(later, kind=nisa.dependency.schedule)

    first = kernel.__code__.co_firstlineno
    with pytest.raises(nki.NkiValidationError) as raised:
        run(kernel, X)
    for line in (first + 1, first + 2, first + 3):
        assert f"test_ordering.py:{line}" in str(raised.value)


def test_an_edge_may_lead_into_a_loop_but_not_out_of_one() -> None:
    def kernel(x: Any) -> None:
        held: list[Any] = []
        before = nisa.memset(tile(), 1.0)
        kind = nisa.dependency.runtime

        def body(i: Any) -> None:
            held.append(nisa.memset(tile(), 1.0).depends_on(before, kind=kind))
            nisa.memset(tile(), 2.0).depends_on(held[0], kind=kind)

        nl.fori_loop(0, 3, body)
        with pytest.raises(nki.NkiValidationError, match="a loop that it is not in"):
            nisa.memset(tile(), 1.0).depends_on(held[0], kind=kind)

    ran = run(kernel, X)
    (_, loop, _) = ran.programs[0].body
    assert isinstance(loop, Loop)
    found = schedule(ran.programs[0], ran.traces[0])
    assert len(found.steps) == 8
    for place in (2, 4, 6):  # each waits for the one of its own iteration
        assert place - 1 in found.waits[place]


def test_depends_on_without_a_kind_is_deprecated() -> None:
    def kernel(x: Any) -> None:
        first = nisa.memset(tile(), 1.0)
        nisa.memset(tile(), 2.0).depends_on(first)

    with pytest.warns(DeprecationWarning, match="say kind=") as warned:
        ran = run(kernel, X)
    assert len(warned) == 1 and warned[0].filename == __file__
    (first, second) = ran.programs[0].instructions()
    assert second.after == (Edge(first, nisa.dependency.runtime),)


@given(st.integers(0, 10**6))
def test_edges_between_engines_never_make_a_run_shorter(seed: int) -> None:
    # Transfers share their engines: one that waits may let a more urgent one go first.
    plain, edged = (_without_transfers(seed) for _ in range(2))
    steps, rng = list(edged.program.instructions()), random.Random(seed)
    edges = []
    for _ in range(rng.choice((1, 3, 10))):
        first, second = sorted(rng.sample(range(len(steps)), 2))
        kind = rng.choice(list(dependency))
        steps[second].after += (Edge(steps[first], kind),)
        edges.append((first, second, kind))
    before, after = schedule(plain.program), schedule(edged.program)
    assert after.total >= before.total
    assert all(a >= b for a, b in zip(after.start, before.start))
    _check_edges(after, edges)


def _without_transfers(seed: int) -> Kernel:
    made = random_kernel(seed)
    made.program.body[:] = [
        step
        for step in made.program.instructions()
        if step.record.engines[0] is not nisa.engine.dma
    ]
    return made


def _check_edges(made: Schedule, edges: list[tuple[int, int, dependency]]) -> None:
    for first, second, kind in edges:
        assert made.start[second] >= made.start[first]
        if kind is dependency.runtime:
            assert made.start[second] >= made.done[first]


# -- no_reorder ------------------------------------------------------------------------
def test_no_reorder_keeps_the_order_of_starts() -> None:
    def kernel(x: Any, ordered: bool) -> None:
        tiles = [tile() for _ in range(3)]
        with nl.no_reorder() if ordered else _nothing():
            nisa.memset(tiles[0], 1.0, engine=nisa.engine.vector, name="a")
            nisa.memset(tiles[1], 1.0, engine=nisa.engine.vector, name="b")
            with nl.no_reorder() if ordered else _nothing():
                nisa.memset(tiles[2], 1.0, engine=nisa.engine.gpsimd, name="c")
        nisa.memset(tile(), 1.0, engine=nisa.engine.gpsimd, name="d")

    free, kept = times(run(kernel, X, False)), times(run(kernel, X, True))
    assert free["c"][0] == 0 < free["b"][0]
    assert kept["a"][0] < kept["b"][0] <= kept["c"][0] < kept["b"][1]
    program = run(kernel, X, True).programs[0]
    after = {step.name: step.after for step in program.instructions()}
    assert [len(after[name]) for name in "abcd"] == [0, 1, 1, 0]


class _nothing:
    def __enter__(self) -> None: ...
    def __exit__(self, *error: object) -> None: ...


def test_a_schedule_cannot_turn_no_reorder() -> None:
    @nki.jit
    def kernel(x: Any) -> None:
        with nl.no_reorder():
            nisa.memset(tile(), 1.0, name="a")
            nisa.memset(tile(), 1.0, name="b")

    with pytest.raises(nki.NkiValidationError, match="keeps its order"):
        run(kernel.with_schedule([("a", "b")]), X)


# -- by names --------------------------------------------------------------------------
def test_a_schedule_by_names_changes_times_and_no_value() -> None:
    runtime = nisa.dependency.runtime
    plain = run(two, X)
    for edges in (
        [("copied", "inverse", runtime)],
        [("copied", ["load", "inverse"], runtime)],
    ):
        ran = run(two.with_schedule(edges), X)
        np.testing.assert_array_equal(ran.values, plain.values)
        assert times(plain)["copied"][0] < times(plain)["inverse"][1]
        assert times(ran)["copied"][0] > times(ran)["inverse"][1]
    assert two.with_schedule([("copied", "inverse")], kind=runtime)[1].lnc == 1


def test_a_schedule_may_turn_what_data_leave_open() -> None:
    ran = run(two.with_schedule([("inverse", "copied", nisa.dependency.runtime)]), X)
    assert names(ran.programs[0]) == ["load", "inverse", "copied", "sum", "store"]
    found = schedule(ran.programs[0], ran.traces[0])
    order = [step.name for step in found.steps]
    assert order == ["load", "copied", "inverse", "sum", "store"]
    assert times(ran)["inverse"][0] > times(ran)["copied"][1]
    np.testing.assert_array_equal(ran.values, run(two, X).values)


def test_a_schedule_cannot_turn_what_data_ask_for() -> None:
    first = two.func.__code__.co_firstlineno
    for edges in (
        [("inverse", "sum")],
        [("load", "store")],
        [("inverse", "copied"), ("copied", "inverse")],
    ):
        with pytest.raises(nki.NkiValidationError, match="cannot come after") as raised:
            run(two.with_schedule(edges), X)
        text = str(raised.value)
        assert text.count("test_ordering.py:") == 3
        if edges == [("inverse", "sum")]:
            assert f"'inverse' at {__file__}:{first + 5} " in text
            assert f"'sum' at {__file__}:{first + 7}," in text


@pytest.mark.parametrize(
    "edges, text",
    [
        ([("copied", "nobody")], "no instruction is called 'nobody': copied, inverse"),
        ([("copied", 3)], "takes edges"),
        ([("copied",)], "takes edges"),
        ([("", "inverse")], "takes edges"),
        (["ab"], "takes edges"),
        ([("copied", "inverse", "soon")], "kind is 'soon'"),
        ([("copied", "copied")], "come after itself"),
    ],
)
def test_schedules_that_are_none(edges: list[Any], text: str) -> None:
    with pytest.raises(nki.NkiValidationError, match=text):
        run(two.with_schedule(edges), X)


def test_a_name_must_be_that_of_one_instruction() -> None:
    @nki.jit
    def kernel(x: Any) -> None:
        for _ in range(2):
            nisa.memset(tile(), 1.0, name="set")
        nisa.memset(tile(), 1.0, name="last")

    with pytest.raises(nki.NkiValidationError, match="2 instructions are called 'set'"):
        run(kernel.with_schedule([("last", "set")]), X)


def test_elements_beside_each_other_are_no_conflict() -> None:
    """Rectangles of interleaved columns overlap; the columns do not."""

    @nki.jit
    def kernel(x: Any) -> None:
        target = tile()
        even, odd = (target.slice(1, first, 512, 2) for first in (0, 1))
        nisa.memset(even, 1.0, name="even")
        nisa.memset(odd, 2.0, name="odd")
        nisa.memset(even, 3.0, name="again")

    run(kernel.with_schedule([("even", "odd")]), X)
    with pytest.raises(nki.NkiValidationError, match="needs what it does"):
        run(kernel.with_schedule([("even", "again")]), X)


def test_reduce_registers_keep_their_order() -> None:
    @nki.jit
    def kernel(x: Any) -> None:
        given = tile()
        nisa.memset(given, 1.0)
        for name in ("first", "second"):
            result = tile(1)
            nisa.activation_reduce(*(tile(), nl.copy, given, nl.add, result), name=name)

    with pytest.raises(nki.NkiValidationError, match="needs what it does"):
        run(kernel.with_schedule([("first", "second")]), X)


def test_turned_steps_of_a_loop_are_turned_in_each_iteration() -> None:
    @nki.jit
    def kernel(x: Any) -> None:
        one, other = tile(), tile()

        def body(i: Any) -> None:
            nisa.memset(one, 1.0, engine=nisa.engine.vector, name="a")
            nisa.memset(other, 1.0, engine=nisa.engine.vector, name="b")

        nl.fori_loop(0, 3, body)
        nisa.memset(one, 1.0, engine=nisa.engine.vector, name="c")

    ran = run(kernel.with_schedule([("a", "b")]), X)
    for found in (
        schedule(ran.programs[0], ran.traces[0]),
        schedule(ran.programs[0]),
        schedule(decode(encode(ran.programs))[0]),
    ):
        assert "".join(step.name for step in found.steps) == "bababac"
    with pytest.raises(nki.NkiValidationError, match="made after the loop"):
        run(kernel.with_schedule([("a", "c")]), X)
    with pytest.raises(nki.NkiValidationError, match="a loop that it is not in"):
        run(kernel.with_schedule([("c", "a")]), X)


def test_a_kernel_in_another_has_its_own_names() -> None:
    @nki.jit
    def inner(x: Any) -> None:
        nisa.memset(tile(), 1.0, engine=nisa.engine.vector, name="a")
        nisa.memset(tile(), 1.0, engine=nisa.engine.gpsimd, name="b")

    ordered = inner.with_schedule([("b", "a")], kind=nisa.dependency.runtime)

    @nki.jit
    def outer(x: Any) -> None:
        ordered(x)
        ordered(x)

    program = run(outer, X).programs[0]
    a, b, other_a, other_b = program.instructions()
    assert [step.after for step in (a, other_a)] == [(), ()]
    assert b.after[0].producer is a and other_b.after[0].producer is other_a


def test_too_many_steps_are_not_looked_at() -> None:
    made = Kernel()
    source = made.tile(128, 8)
    for _ in range(1025):
        made.add(COPIES[nisa.engine.vector], dst=made.tile(128, 8), src=source)
    with pytest.raises(Unordered, match="1024 may"):
        in_order(made.program.body)


# -- what is kept ----------------------------------------------------------------------
def test_edges_are_in_a_program_s_bytes_and_change_no_value() -> None:
    edges = [("inverse", "copied"), ("store", "load", nisa.dependency.runtime)]
    ran = run(two.with_schedule(edges), X)
    programs = decode(encode(ran.programs))
    told, kept = (
        [
            (step.name, edge.producer.name, edge.kind)
            for step in program.instructions()
            for edge in step.after
        ]
        for program in (ran.programs[0], programs[0])
    )
    assert told == kept and len(kept) == 2
    mine, theirs = schedule(ran.programs[0]), schedule(programs[0])
    assert (mine.start, mine.done) == (theirs.start, theirs.done)
    (result,) = replay(programs, [X], Findings())
    np.testing.assert_array_equal(result, ran.values)


def test_a_kernel_in_another_program_keeps_its_schedule() -> None:
    kernel = two.with_schedule([("copied", "inverse", nisa.dependency.runtime)])
    made = embed(kernel, (ArraySpec((128, 512), np.dtype("f4"), "x"),), {}, "trn2")
    (program,) = decode(made.program)
    (step,) = (s for s in program.instructions() if s.after)
    assert (step.name, step.after[0].producer.name) == ("copied", "inverse")


@pytest.mark.parametrize(
    "edges",
    [
        "all",
        [[0]],
        [[0, 99, "runtime"]],
        [[-1, 0, "runtime"]],
        [[1, 0, "soon"]],
        [[1, 0, ["runtime"]]],
        [[0, 0, "runtime"]],
        [[0, 3, "runtime"]],
        [[True, 0, "runtime"]],
    ],
)
def test_edges_that_cannot_be_are_not_read(edges: Any) -> None:
    data = encode(run(two, X).programs)
    (size,) = np.frombuffer(data[12:20], "<u8")
    found = json.loads(data[20 : 20 + size])
    found["programs"][0]["edges"] = edges
    text = json.dumps(found).encode()
    with pytest.raises(NkiProgramError):
        decode(data[:12] + np.uint64(len(text)).tobytes() + text + data[20 + size :])
