"""A watched tile: its values as they are written, and where they first differ."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nki_simulator.tests.hand_made import ADD, COPIES, LOAD, Kernel, indexed, part
from nkipy.chips import DEFAULT
from nkipy_nki.engines import Engine
from nkipy_nki.executing import run_steps
from nkipy_nki.findings import Findings, NkiWarning
from nkipy_nki.machine import Machine
from nkipy_nki.memory import Memory
from nkipy_nki.program import Allocation, Register
from nkipy_nki.timing import Trace
from nkipy_nki.watching import Watch, Written, watched, watching

COPY = COPIES[Engine.vector]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(128, 32)).astype(np.float32)


def run(made: Kernel, inputs: dict[Allocation, np.ndarray], *observers: Any) -> Machine:
    memory = Memory()
    for tensor, array in inputs.items():
        memory.share(tensor, array)
    machine = Machine(DEFAULT, memory, Findings())
    machine.observers += observers
    run_steps(machine, made.program.body)
    for observer in observers:
        if isinstance(observer, Watch):
            observer.finish(machine)
    return machine


def doubled_twice() -> tuple[Kernel, Allocation]:
    """``x`` is doubled into ``y``, line 3, and that again, line 4."""
    made = Kernel()
    source = made.hbm(128, 32)
    x, y = made.tile(128, 32, name="x"), made.tile(128, 32, name="y", line=2)
    made.add(LOAD, 1, dst=x, src=source)
    made.add(ADD, 3, dst=y, a=x, b=x)
    made.add(ADD, 4, dst=y, a=y, b=y)
    return made, source


@pytest.mark.parametrize("place", [{"name": "y"}, {"line": 2}, {"line": "nel.py:2"}])
def test_each_write_is_seen(place: dict[str, Any]) -> None:
    made, source = doubled_twice()
    seen: list[Written] = []
    watch = Watch(**place, on_write=seen.append, keep=2)
    run(made, {source: X}, watch)
    assert (
        [w.line.number for w in seen] == [3, 4] == [w.line.number for w in watch.writes]
    )
    np.testing.assert_array_equal(seen[0].values, 2 * X)
    np.testing.assert_array_equal(seen[1].values, 4 * X)
    assert watch.count == 2 and watch.divergence is None


def test_a_line_that_writes() -> None:
    made, source = doubled_twice()
    watch = Watch(line=4, reference=4 * X)
    run(made, {source: X}, watch)
    assert watch.count == 1 and watch.divergence is None
    for other in (Watch(line="other.py:4"), Watch("x", line=3), Watch(name="z")):
        run(made, {source: X}, other)
        assert other.count == 0


def test_the_first_divergence() -> None:
    made, source = doubled_twice()
    expected = 2 * X
    expected[5, 7] += 1
    expected[9, 1] -= 3
    watch = Watch("y", reference=lambda number: [expected, None][number])
    run(made, {source: X}, watch)
    found = watch.divergence
    assert found is not None
    assert (found.number, found.line.number, found.position) == (0, 3, (5, 7))
    assert found.got == pytest.approx(2 * X[5, 7])
    assert found.expected == pytest.approx(2 * X[5, 7] + 1)
    assert (found.different, found.compared) == (2, 128 * 32)
    assert found.largest == pytest.approx(3, rel=1e-5)
    text = str(found)
    assert "y [128, 32] float32" in text and "add at kernel.py:3" in text
    # An array is for each write: the second one is not that.
    watch = Watch("y", reference=2 * X)
    run(made, {source: X}, watch)
    assert watch.divergence is not None and watch.divergence.number == 1


def test_parts_are_compared_where_they_lie() -> None:
    made = Kernel()
    source, y = made.hbm(128, 32), made.tile(128, 32, name="y")
    for i in range(4):
        columns = (0, 128), (8 * i, 8)
        made.add(LOAD, i, dst=part(y, *columns), src=part(source, *columns))
    expected = X.copy()
    expected[3, 20] = 7
    for watch, position in (
        (Watch("y", reference=expected), (3, 20)),
        (Watch("y", reference=lambda n: expected[:, 8 * n : 8 * n + 8]), (3, 4)),
        (Watch("y", reference=expected, each=False), (3, 20)),
    ):
        run(made, {source: X}, watch)
        assert watch.divergence is not None
        assert (watch.divergence.number, watch.divergence.position) == (2, position)
    for each in (True, False):
        watch = Watch("y", reference=X, each=each)
        run(made, {source: X}, watch)
        assert watch.divergence is None and watch.count == 4


def test_the_end_is_compared_where_it_was_written() -> None:
    made, source = doubled_twice()
    made.steps.pop()
    y = made.program.allocations[2]
    made.add(COPY, 5, dst=part(y, (0, 64), (0, 32)), src=part(y, (64, 64), (0, 32)))
    watch = Watch("y", reference=2 * np.concatenate([X[64:], X[64:]]), each=False)
    run(made, {source: X}, watch)
    assert watch.divergence is None
    # What was never written is not compared.
    made = Kernel()
    source, tile = made.hbm(128, 16), made.tile(128, 32, name="y")
    made.add(LOAD, dst=part(tile, (0, 128), (0, 16)), src=source)
    watch = Watch("y", reference=np.pad(X[:, :16], ((0, 0), (0, 16))) + 0, each=False)
    run(made, {source: np.ascontiguousarray(X[:, :16])}, watch)
    assert watch.divergence is None


def test_tolerances_are_those_of_the_element_type() -> None:
    made = Kernel()
    source = made.hbm(128, 32)
    y = made.tile(128, 32, name="y", dtype="bfloat16")
    made.add(LOAD, dst=y, src=source)
    for watch, differs in (
        (Watch("y", reference=X), False),
        (Watch("y", reference=X, rtol=1e-4), True),
        (Watch("y", reference=X + 0.5, atol=1.0), False),
    ):
        run(made, {source: X}, watch)
        assert (watch.divergence is not None) is differs
    odd = X.copy()
    odd[0, :3] = np.nan, np.inf, -np.inf
    watch = Watch("y", reference=odd)
    run(made, {source: odd}, watch)
    assert watch.divergence is None


def test_an_index_of_the_run() -> None:
    made = Kernel()
    source, y = made.hbm(128, 8), made.tile(128, 32, name="y")

    def body(i: Register) -> None:
        where = indexed(part(y, (0, 128), (0, 8)), i, step=8, limit=4)
        made.add(LOAD, dst=where, src=source)

    made.loop(4, body)
    given = np.ascontiguousarray(X[:, :8])
    trace, watch = Trace(), Watch("y", reference=np.tile(given, (1, 4)))
    run(made, {source: given}, watch, trace)
    assert watch.count == 4 and watch.divergence is None
    assert watch.writes[-1].values.shape == (128, 32)
    # And the trace knows where each iteration wrote.
    assert len(trace.steps) == 4
    assert [dict(trace.indices(i)) for i in range(4)] == [{0: i} for i in range(4)]


def test_a_reference_of_another_shape() -> None:
    made, source = doubled_twice()
    with pytest.raises(ValueError, match=r"\[3, 3\], y \[128, 32\]"):
        run(made, {source: X}, Watch("y", reference=np.zeros((3, 3))))


def test_what_cannot_be_watched() -> None:
    with pytest.raises(ValueError, match="neither"):
        Watch()
    with pytest.raises(ValueError, match="no line"):
        Watch(line="kernel.py")
    with pytest.raises(ValueError, match="not a function"):
        Watch("y", reference=lambda n: None, each=False)


def test_watches_are_those_of_a_context() -> None:
    first, second = Watch("a"), Watch("b")
    with pytest.warns(NkiWarning, match="no tensor that has a name"), watching(first):
        with pytest.warns(NkiWarning, match="no write"), watching(second):
            assert watched() == (first, second)
        assert watched() == (first,)
    assert watched() == ()


@nki.jit
def named(x: Any) -> Any:
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    for name in ("scores", "weights"):
        tile = nl.ndarray(x.shape, x.dtype, name=name)
        nisa.dma_copy(tile, x)
        nisa.dma_copy(result, tile)
    return result


@pytest.mark.parametrize(
    "place, text",
    [
        ({"name": "scroes"}, r"Watch\('scroes'\) .* no write.*mean scores\?"),
        ({"name": "nosuch"}, "written was: scores, weights$"),
        ({"name": "scores", "line": 1}, r"Watch\('scores', line=1\)"),
        ({"line": "other.py:3"}, r"Watch\(line='other.py:3'\)"),
    ],
)
def test_a_watch_that_saw_nothing_says_so(place: dict[str, Any], text: str) -> None:
    watch = Watch(**place, reference=X)
    with pytest.warns(NkiWarning, match=text) as seen:
        with watching(watch, Watch("weights", reference=X)):
            named(X)
    assert [warning.filename for warning in seen] == [__file__]
    with pytest.raises(KeyError), warnings.catch_warnings():
        warnings.simplefilter("error")
        with watching(Watch("nosuch")):
            raise KeyError  # which is what is to be seen
