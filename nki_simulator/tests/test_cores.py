"""The two cores of ``kernel[2]``: what they share, how they synchronize, races."""

from __future__ import annotations

import itertools
import signal
import threading
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nkipy_nki.errors import NkiProgramError, NkiValidationError
from nkipy_nki.kernel import Kernel
from nkipy_nki.replaying import replay
from nkipy_nki.simulation import Simulation, Simulator
from nkipy_nki.wire import decode, encode
from tests.support.nki.damage import run_damaged
from tests.support.nki.lines import line_of

X = np.arange(8 * 16, dtype=np.float32).reshape(8, 16) / 4 - 7
ORDERS = ((0, 1), (1, 0))


def run(kernel: Kernel, *args: Any, order: Any = None, **levels: str) -> Simulation:
    kinds = {kind.replace("_", "-"): level for kind, level in levels.items()}
    return Simulator(kernel.func, 2, "trn2", kinds, order).run(*args)


def all_ways(kernel: Kernel, *args: np.ndarray) -> list[Any]:
    """What a kernel returns: run and replayed, each with the cores in either order."""
    results = []
    for order in ORDERS:
        ran = run(kernel, *(a.copy() for a in args), order=order)
        assert not ran.findings
        results.append(ran.values)
        programs = decode(encode(ran.programs))
        for replayed in ORDERS:
            (again,) = replay(programs, [a.copy() for a in args], order=replayed)
            results.append(again)
    assert len({np.asarray(r).tobytes() for r in results}) == 1
    return results


@nki.jit
def halves(x: Any) -> Any:
    """Each core takes its half of the rows."""
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    rows = x.shape[0] // 2
    core = nl.program_id(0)
    tile = nl.ndarray((rows, x.shape[1]), x.dtype)
    nisa.dma_copy(tile, x[core * rows : (core + 1) * rows])
    nisa.tensor_scalar(tile, tile, nl.multiply, float(core + 2))
    nisa.dma_copy(result[core * rows : (core + 1) * rows], tile)
    return result


def test_each_core_writes_its_half_of_one_result() -> None:
    expected = X * np.repeat([2, 3], 4)[:, None].astype(np.float32)
    for result in all_ways(halves, X):
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(("value", "cores"), [("", 1), ("1", 1), ("2", 2)])
def test_the_variable_says_how_many_cores_run_it(
    value: str, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kernel(x: Any) -> Any:
        return nl.num_programs(0)

    monkeypatch.setenv("NEURON_LOGICAL_NC_CONFIG", value)
    assert nki.simulate(kernel)(X) == cores
    monkeypatch.setenv("NEURON_LOGICAL_NC_CONFIG", "3")
    with pytest.raises(NkiValidationError, match="'3' is neither 1 nor 2"):
        nki.simulate(kernel)(X)


def test_frameworks_say_how_many_cores_run_it() -> None:
    def kernel(x: Any, more: int = 0) -> Any:
        return nl.num_programs(0) + more

    run_by = nki.simulator.simulate_kernel
    assert run_by(kernel, (X,)) == run_by(nki.jit(kernel), [X], {}, 1) == 1
    assert run_by(kernel, (X,), {"more": 5}, 2) == 7
    with pytest.raises(NkiValidationError, match="1 or 2 cores"):
        run_by(kernel, (X,), {}, 3)


@nki.jit
def interleaved(x: Any) -> Any:
    """One core has the even rows, the other the odd ones."""
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    core = nl.program_id(0)
    tile = nl.ndarray((x.shape[0] // 2, x.shape[1]), x.dtype)
    nisa.dma_copy(tile, x[core::2])
    nisa.dma_copy(result[core::2], tile)
    return result


def test_rows_that_are_interleaved_are_no_race() -> None:
    for result in all_ways(interleaved, X):
        np.testing.assert_array_equal(result, X)


@nki.jit
def swapped(x: Any) -> Any:
    """Each core writes its half, waits, and reads the other's."""
    shared = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    rows = x.shape[0] // 2
    core, other = nl.program_id(0), 1 - nl.program_id(0)
    tile = nl.ndarray((rows, x.shape[1]), x.dtype)
    nisa.dma_copy(tile, x[core * rows : (core + 1) * rows])
    nisa.dma_copy(shared[core * rows : (core + 1) * rows], tile)
    nisa.core_barrier(shared, (0, 1))
    nisa.dma_copy(tile, shared[other * rows : (other + 1) * rows])
    nisa.dma_copy(result[core * rows : (core + 1) * rows], tile)
    return result


def test_what_was_written_before_a_barrier_is_read_after_it() -> None:
    for result in all_ways(swapped, X):
        np.testing.assert_array_equal(result, np.concatenate([X[4:], X[:4]]))


@nki.jit
def in_a_loop(x: Any) -> Any:
    """Barriers in a loop over a register: one core counts up, the other reads."""
    shared = nl.ndarray((1, x.shape[1]), x.dtype, buffer=nl.shared_hbm)
    result = nl.ndarray((2, x.shape[1]), x.dtype, buffer=nl.shared_hbm)
    core = nl.program_id(0)
    tile = nl.ndarray((1, x.shape[1]), x.dtype)
    seen = nl.ndarray((1, x.shape[1]), x.dtype)
    nisa.memset(tile, 0.0)
    nisa.memset(seen, 0.0)

    def body(i: Any) -> None:
        if core == 0:
            nisa.tensor_scalar(tile, tile, nl.add, 1.0)
            nisa.dma_copy(shared, tile)
        nisa.core_barrier(shared, (0, 1))
        if core == 1:
            nisa.dma_copy(tile, shared)
            nisa.tensor_tensor(seen, seen, tile, nl.add)
        nisa.core_barrier(shared, (0, 1))

    nl.fori_loop(0, nisa.register_alloc(4), body)
    nisa.dma_copy(result[core : core + 1], seen if core else tile)
    return result


def test_cores_meet_in_loops_over_registers() -> None:
    for result in all_ways(in_a_loop, X):
        np.testing.assert_array_equal(result[:, 0], [4, 1 + 2 + 3 + 4])


@nki.jit
def sent(x: Any) -> Any:
    """Tiles by sendrecv, over two pipes."""
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    rows = x.shape[0] // 2
    core, other = nl.program_id(0), 1 - nl.program_id(0)
    mine, theirs = (nl.ndarray((rows, x.shape[1]), x.dtype) for _ in range(2))
    nisa.dma_copy(mine, x[core * rows : (core + 1) * rows])
    nisa.sendrecv(mine, theirs, other, other, 0)
    nisa.tensor_tensor(theirs, theirs, mine, nl.add)
    nisa.sendrecv(theirs, mine, other, other, 1, nisa.dma_engine.gpsimd_dma)
    nisa.dma_copy(result[core * rows : (core + 1) * rows], mine)
    return result


def test_cores_exchange_tiles() -> None:
    for result in all_ways(sent, X):
        np.testing.assert_array_equal(result, np.tile(X[:4] + X[4:], (2, 1)))


@nki.jit
def adds_in_place(x: Any, y: Any) -> None:
    """Core 0 writes to x, and core 1 to y."""
    target = (x, y)[nl.program_id(0)]
    tile = nl.ndarray(target.shape, target.dtype)
    nisa.dma_copy(tile, target)
    nisa.tensor_scalar(tile, tile, nl.add, 1.0)
    nisa.dma_copy(target, tile)


def test_arguments_that_one_core_writes_reach_the_caller() -> None:
    x, y = X.copy(), X * 2
    run(adds_in_place, x, y)
    np.testing.assert_array_equal(x, X + 1)
    np.testing.assert_array_equal(y, X * 2 + 1)


@nki.jit
def scattered(x: Any, where: Any) -> Any:
    """Each core scatters its half of the rows by its half of the indices."""
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    rows, core = x.shape[0] // 2, nl.program_id(0)
    tile = nl.ndarray((rows, x.shape[1]), x.dtype)
    index = nl.ndarray((rows, 1), where.dtype)
    nisa.dma_copy(tile, x[core * rows : (core + 1) * rows])
    nisa.dma_copy(index, where[core * rows : (core + 1) * rows])
    n = x.shape[1]
    nisa.dma_copy(result.ap([[n, rows], [1, n]], vector_offset=index), tile)  # scatter
    return result


def test_scattered_rows_are_told_apart() -> None:
    where = np.array([6, 0, 2, 4, 1, 7, 3, 5], np.int32)[:, None]
    expected = np.empty_like(X)
    expected[where[:, 0]] = X
    for result in all_ways(scattered, X, where):
        np.testing.assert_array_equal(result, expected)
    with pytest.raises(NkiValidationError, match="core-race") as caught:
        run(scattered, X, where % 7)
    assert f"test_cores.py:{line_of(scattered, '# scatter')}" in str(caught.value)


def test_floats_that_are_not_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    x = X.astype(ml_dtypes.bfloat16)
    precise = run(sent, x).values
    monkeypatch.setenv("NKI_PRECISE_FP", "0")
    kept = run(sent, x).values
    assert (precise.dtype, kept.dtype) == (x.dtype, np.float32)
    expected = np.tile(x[:4].astype(np.float32) + x[4:].astype(np.float32), (2, 1))
    np.testing.assert_array_equal(kept, expected)
    np.testing.assert_array_equal(precise, expected.astype(x.dtype))


# -- races -----------------------------------------------------------------------------
@nki.jit
def writes_the_same(x: Any) -> Any:
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    core = nl.program_id(0)
    tile = nl.ndarray(x.shape, x.dtype)
    nisa.dma_copy(tile, x)
    nisa.tensor_scalar(tile, tile, nl.add, float(core))
    if core == 0:
        nisa.dma_copy(result, tile)  # by 0
    else:
        nisa.dma_copy(result[3:4], tile[3:4])  # by 1
    return result


@nki.jit
def reads_too_early(x: Any, waits: bool) -> Any:
    shared = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    tile = nl.ndarray(x.shape, x.dtype)
    if nl.program_id(0) == 0:
        nisa.dma_copy(shared, x)  # by 0
    if waits:
        nisa.core_barrier(shared, (0, 1))
    if nl.program_id(0) == 1:
        nisa.dma_copy(tile, shared)  # by 1
        nisa.dma_copy(result, tile)
    return result


@nki.jit
def writes_too_early(x: Any, waits: bool) -> Any:
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    tile = nl.ndarray(x.shape, x.dtype)
    if nl.program_id(0) == 0:
        nisa.dma_copy(tile, x)  # by 0
        nisa.dma_copy(result, tile)
    if waits:
        nisa.core_barrier(result, (0, 1))
    if nl.program_id(0) == 1:
        nisa.memset(tile, 0.0)
        nisa.dma_copy(x[2:3], tile[2:3])  # by 1
    return result


#: Kernels with a race, their arguments, and orders in which the cores take turns.
RACES: list[tuple[Kernel, tuple[Any, ...], tuple[int, int]]] = [
    (writes_the_same, (), (0, 1)),
    (writes_the_same, (), (1, 0)),
    (reads_too_early, (False,), (0, 1)),
    (writes_too_early, (False,), (0, 1)),
    (writes_too_early, (False,), (1, 0)),
]


@pytest.mark.parametrize("kernel, args, order", RACES)
def test_accesses_that_nothing_orders_are_found(
    kernel: Kernel, args: tuple[Any, ...], order: tuple[int, int]
) -> None:
    lines = [line_of(kernel, f"# by {core}") for core in order]
    with pytest.warns(UserWarning, match="core-race"):
        ran = run(kernel, X.copy(), *args, order=order, core_race="warning")
    (found,) = ran.findings
    assert (found.kind, found.line) == ("core-race", lines[1])
    assert found.details["other_line"] == lines[0]
    assert found.file == found.details["other_file"] == __file__
    assert found.details["other_core"] == f"core {order[0]}"
    with pytest.raises(NkiValidationError, match=rf"test_cores.py:{lines[0]}"):
        run(kernel, X.copy(), *args, order=order)
    assert not run(kernel, X.copy(), *args, core_race="off").findings


@nki.jit
def crosswise(x: Any, where: Any, barrier: bool, missing: int, gathers: bool) -> Any:
    """Each core writes its half, but for some rows, and reads the other's."""
    shared = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    rows = x.shape[0] // 2
    core = nl.program_id(0)
    mine = nl.ds(core * rows, rows - missing)
    theirs = nl.ds((1 - core) * rows, rows)
    tile = nl.ndarray((rows, x.shape[1]), x.dtype)
    index = nl.ndarray((rows, 1), where.dtype)
    nisa.dma_copy(index, where[theirs])
    nisa.dma_copy(shared[mine], x[mine])  # write
    if barrier:
        nisa.core_barrier(shared, (0, 1))
    if gathers:
        n = x.shape[1]
        rows_there = shared.ap([[n, rows], [1, n]], vector_offset=index)
        nisa.dma_copy(tile, rows_there)  # gather
    else:
        nisa.dma_copy(tile, shared[theirs])  # read
    nisa.dma_copy(result[nl.ds(core * rows, rows)], tile)
    return result


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("mark", ["# read", "# gather"])
def test_who_reads_before_another_writes_is_told_of_a_barrier(
    mark: str, order: tuple[int, int]
) -> None:
    where = np.arange(8, dtype=np.int32)[:, None]
    gathers = mark == "# gather"
    write, read = line_of(crosswise, "# write"), line_of(crosswise, mark)
    with pytest.warns(UserWarning, match="core_barrier"):
        (found,) = run(
            *(crosswise, X, where, False, 0, gathers), order=order, core_race="warning"
        ).findings
    assert (found.kind, found.line) == ("core-race", read)
    assert found.details["other_line"] == write
    assert found.message.startswith(f"core {order[1]} reads")
    assert found.details["other_core"] == f"core {order[0]}"
    for missing in (0, 1):  # rows that nobody writes do not hide the others
        with pytest.raises(NkiValidationError, match="call nisa.core_barrier") as error:
            run(crosswise, X, where, False, missing, gathers, order=order)
        assert error.value.finding.kind == "core-race"
    with pytest.raises(NkiValidationError, match="never written") as error:
        run(crosswise, X, where, True, 1, gathers, order=order)
    assert error.value.finding.details["missing"] == X.shape[1]
    ran = run(crosswise, X, where, True, 0, gathers, order=order)
    assert not ran.findings
    np.testing.assert_array_equal(ran.values, np.concatenate([X[4:], X[:4]]))


@pytest.mark.parametrize("kernel", [reads_too_early, writes_too_early])
@pytest.mark.parametrize("order", ORDERS)
def test_a_barrier_mends_them(kernel: Kernel, order: tuple[int, int]) -> None:
    assert not run(kernel, X.copy(), True, order=order).findings


def test_races_are_those_of_a_plain_model() -> None:
    """Random accesses and barriers, against sets of elements for each phase."""
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(60):
        phases = [
            [[_random_access(rng) for _ in range(rng.integers(3))] for _ in range(2)]
            for _ in range(3)
        ]
        expected = any(_is_race(*phase) for phase in phases)
        found += expected
        assert _has_race(phases, (0, 1)) == expected == _has_race(phases, (1, 0))
    assert 10 < found < 50


def _random_access(rng: Any) -> tuple[slice, slice, bool]:
    rows, columns = (
        slice(int(rng.integers(0, 4)), int(rng.integers(4, n)), int(rng.integers(1, 4)))
        for n in X.shape
    )
    return rows, columns, bool(rng.integers(2))


def _elements(accesses: list[Any], only_writes: bool) -> set[int]:
    numbers = np.arange(X.size).reshape(X.shape)
    return {
        int(n)
        for rows, columns, is_write in accesses
        if is_write or not only_writes
        for n in numbers[rows, columns].flat
    }


def _is_race(first: list[Any], second: list[Any]) -> bool:
    pairs = itertools.permutations((first, second))
    return any(_elements(a, True) & _elements(b, False) for a, b in pairs)


def _has_race(phases: list[Any], order: tuple[int, int]) -> bool:
    @nki.jit
    def kernel(x: Any) -> None:
        tile = nl.ndarray(x.shape, x.dtype)
        nisa.memset(tile, 0.0)
        for phase in phases:
            for rows, columns, is_write in phase[nl.program_id(0)]:
                part = x[rows, columns]
                mine = tile[: part.shape[0], : part.shape[1]]
                nisa.dma_copy(*((part, mine) if is_write else (mine, part)))
            nisa.core_barrier(x, (0, 1))

    try:
        run(kernel, X.copy(), order=order)
    except NkiValidationError as error:
        assert "core-race" in str(error)
        return True
    return False


# -- what is refused -------------------------------------------------------------------
@nki.jit
def waits_alone(x: Any) -> None:
    tile = nl.ndarray(x.shape, x.dtype)
    nisa.dma_copy(tile, x)  # the last one
    if nl.program_id(0) == 1:
        nisa.core_barrier(x, (0, 1))  # the barrier


@pytest.mark.parametrize("order", ORDERS)
def test_a_core_that_ends_while_the_other_waits_is_named(order: Any) -> None:
    here, last = (line_of(waits_alone, t) for t in ("# the barrier", "# the last one"))
    text = (
        rf"core 1 waits for core 0 in core_barrier at .*test_cores.py:{here}; "
        rf"core 0 has ended after .*test_cores.py:{last}"
    )
    with pytest.raises(NkiValidationError, match=text):
        run(waits_alone, X, order=order)


@nki.jit
def waits_elsewhere(x: Any) -> None:
    tile = nl.ndarray(x.shape, x.dtype)
    nisa.dma_copy(tile, x)
    if nl.program_id(0) == 1:
        nisa.core_barrier(x, (0, 1))
    else:
        nisa.sendrecv(tile, tile, 1, 1, 0)


def test_cores_that_wait_in_different_places_are_named() -> None:
    with pytest.raises(NkiValidationError, match="core 0 waits .* sendrecv .*core 1 "):
        run(waits_elsewhere, X)


@nki.jit
def fails(x: Any, core: int) -> None:
    if nl.program_id(0) == core:
        raise ValueError(f"core {core}")
    nisa.core_barrier(x, (0, 1))


@pytest.mark.parametrize("core, order", list(itertools.product((0, 1), ORDERS)))
def test_what_one_core_raises_ends_both(core: int, order: Any) -> None:
    before = threading.active_count()
    with pytest.raises(ValueError, match=f"core {core}"):
        run(fails, X, core, order=order)
    assert threading.active_count() == before


@nki.jit
def makes_others(x: Any, more: bool) -> Any:
    core = nl.program_id(0)
    result = nl.ndarray((4, 4 + (core and not more)), x.dtype, buffer=nl.shared_hbm)
    if core == 0 and more:
        nl.ndarray((4, 5), x.dtype, buffer=nl.shared_hbm)
    return result


@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize("order", ORDERS)
def test_cores_that_make_different_tensors_are_refused(more: bool, order: Any) -> None:
    with pytest.raises(NkiValidationError, match="make the same tensors"):
        run(makes_others, X, more, order=order)


def _barrier(x: Any, **changes: Any) -> None:
    nisa.core_barrier(changes.pop("data", x), **{"cores": (0, 1), **changes})


def _exchange(src: Any, dst: Any, **changes: Any) -> None:
    given = {"send_to_rank": 1, "recv_from_rank": 1, "pipe_id": 0}
    other = 1 - nl.program_id(0)
    given.update(send_to_rank=other, recv_from_rank=other)
    nisa.sendrecv(src, dst, **{**given, **changes})


REFUSED = {
    "cores": lambda x, t: _barrier(x, cores=(0, 2)),
    "shared_hbm only": lambda x, t: _barrier(x, data=t),
    "not that of": lambda x, t: _barrier(_one_of_two(x)),
    "recv_from_rank is 2": lambda x, t: _exchange(t, t, recv_from_rank=2),
    "send_to_rank is True": lambda x, t: _exchange(t, t, send_to_rank=True),
    "pipe_id": lambda x, t: _exchange(t, t, pipe_id=0.5),
    "must be equal": lambda x, t: _exchange(t[:4], t),
    "sends to core": lambda x, t: _exchange(t, t, send_to_rank=1, recv_from_rank=0),
    "sends \\[": lambda x, t: _exchange(*[t[: 4 + nl.program_id(0)]] * 2),
    "in sbuf only": lambda x, t: _exchange(x, t),
    "may have 1024": lambda x, t: _exchange(
        *[nl.ndarray((2, 257), nl.float32)] * 2, dma_engine=nisa.dma_engine.gpsimd_dma
    ),
    "dma_engine is": lambda x, t: _exchange(t, t, dma_engine="dma"),
}


def _shared(x: Any) -> Any:
    return nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)


def _one_of_two(x: Any) -> Any:
    """Not the same tensor on both cores."""
    return (_shared(x), _shared(x))[nl.program_id(0)]


@pytest.mark.parametrize("text", REFUSED)
def test_what_barriers_refuse(text: str) -> None:
    @nki.jit
    def kernel(x: Any) -> None:
        tile = nl.ndarray(x.shape, x.dtype)
        nisa.dma_copy(tile, x)
        REFUSED[text](x, tile)

    with pytest.raises(NkiValidationError, match=text):
        run(kernel, X)


def test_one_core_has_nobody_to_meet() -> None:
    for meet in (
        lambda t: nisa.core_barrier(_shared(t), (0, 1)),
        lambda t: nisa.sendrecv(t, t, 1, 1, 0),
    ):

        @nki.jit
        def kernel(x: Any, meet: Any = meet) -> None:
            tile = nl.ndarray(x.shape, x.dtype)
            nisa.dma_copy(tile, x)
            meet(tile)

        with pytest.raises(NkiValidationError, match=r"runs on one core"):
            nki.simulate(kernel[1], target="trn2")(X)


def test_logical_cores_are_as_large_as_the_chip_has_them() -> None:
    with pytest.raises(NkiValidationError, match="trn1 has logical cores of 1"):
        nki.simulate(halves[2], target="trn1")(X)


@nki.jit
def returns_private(x: Any) -> Any:
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.private_hbm)
    nisa.dma_copy(result, x)
    return result


def test_a_result_of_two_cores_is_shared() -> None:
    with pytest.raises(NkiValidationError, match="must be in shared_hbm"):
        run(returns_private, X)


def test_programs_that_do_not_fit_are_no_program() -> None:
    first = run(halves, X).programs[0]
    other = run(swapped, X).programs[1]
    for pair in ((first, other), (other, first)):
        with pytest.raises((NkiProgramError, NkiValidationError)):
            replay(decode(encode(pair)), [X])


@pytest.mark.parametrize("kernel", [swapped, sent])
def test_a_damaged_program_of_two_cores_is_refused_or_runs(kernel: Kernel) -> None:
    run_damaged(encode(run(kernel, X).programs), 7, [X])


@nki.jit
def writes_bytes(x: Any) -> Any:
    """Each core writes as other elements what the other one does not."""
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    tile = nl.ndarray(x.shape, x.dtype)
    nisa.memset(tile, 0.0)
    if nl.program_id(0) == 0:
        nisa.dma_copy(result.view(nl.uint8)[:, 1::2], tile.view(nl.uint8)[:, 1::2])
    else:
        nisa.dma_copy(result.view(nl.uint8)[:, ::2], tile.view(nl.uint8)[:, ::2])
    nisa.core_barrier(result, (0, 1))
    if nl.program_id(0) == 0:
        nisa.dma_copy(result.view(nl.uint16)[:, 1:3], tile.view(nl.uint16)[:, 1:3])
    else:
        nisa.dma_copy(result[:, :1], tile[:, :1])  # meets it
    return result


@pytest.mark.parametrize("order", ORDERS)
def test_elements_of_other_types_are_told_apart(order: tuple[int, int]) -> None:
    with pytest.warns(UserWarning, match="core-race"):
        ran = run(writes_bytes, X, order=order, core_race="warning")
    (found,) = ran.findings
    lines = {found.line, found.details["other_line"]}
    mark = line_of(writes_bytes, "# meets it")
    assert lines == {mark, mark - 2}


# -- interruption ----------------------------------------------------------------------
@nki.jit
def never_ends(x: Any, started: Any) -> None:
    if nl.program_id(0) == 0:
        nisa.core_barrier(x, (0, 1))
    started()
    while True:
        pass


def test_a_kernel_that_never_ends_can_be_interrupted() -> None:
    before = threading.active_count()
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        signal.pthread_kill(main, signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(never_ends, X, interrupt)
    assert threading.active_count() == before
