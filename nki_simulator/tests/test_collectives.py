"""Ranks that exchange tensors: collectives against NumPy, races, what is refused."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.collectives as ncc
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nkipy_nki.collectives import ReplicaGroup, rg_partition_op
from nkipy_nki.errors import NkiProgramError, NkiValidationError
from nkipy_nki.kernel import Kernel
from nkipy_nki.replaying import replay
from nkipy_nki.wire import decode, encode
from tests.support.nki.lines import line_of

ALL = ReplicaGroup([[0, 1, 2, 3]])
PAIRS = ReplicaGroup([[0, 2], [3, 1]])


def values_of(rank: int, shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
    rng = np.random.default_rng(rank)
    return rng.integers(-50, 50, shape).astype(dtype)


def simulate(
    kernel: Callable[..., Any], inputs: Sequence[Any], *others: Any, **options: Any
) -> list[Any]:
    """What each rank returns, the same in two orders; each has its own first array."""
    options.setdefault("target", "trn2")
    args = [(x, *others) for x in inputs]
    ran = nki.simulate_ranks(kernel, args, **options)
    cores = sum(len(rank.programs) for rank in ran)
    turned = [*range(cores)][::-1]
    again = nki.simulate_ranks(kernel, args, order=turned, **options)
    for one, other in zip(ran, again):
        assert not one.findings
        np.testing.assert_array_equal(one.values, other.values)
        programs = decode(encode(one.programs))
        assert [p.inputs for p in programs] == [p.inputs for p in one.programs]
    return [rank.values for rank in ran]


def exchanged(
    send: Callable[[Any, Any], Any],
    shape: tuple[int, ...],
    buffer: Any = nl.private_hbm,
) -> Kernel:
    """A kernel that copies its argument, sends it, and returns what is received."""

    @nki.jit
    def kernel(x: Any) -> Any:
        src = nl.ndarray(x.shape, x.dtype, buffer=buffer)
        dst = nl.ndarray(shape, x.dtype, buffer=buffer)
        result = nl.ndarray(shape, x.dtype, buffer=nl.shared_hbm)
        nisa.dma_copy(src, x)
        send([src], [dst])
        nisa.dma_copy(result, dst)
        return result

    return kernel


def lists_of(group: ReplicaGroup, rank: int) -> tuple[list[int], int]:
    (ranks,) = [list(ranks) for ranks in group if rank in ranks]
    return ranks, ranks.index(rank)


# -- of equal sizes --------------------------------------------------------------------
@pytest.mark.parametrize("buffer", [nl.private_hbm, nl.sbuf])
@pytest.mark.parametrize("group", [ALL, PAIRS])
@pytest.mark.parametrize(
    "op, numpy",
    [(nl.add, np.add), (nl.maximum, np.maximum), (nl.minimum, np.minimum)],
)
def test_all_reduce(group: ReplicaGroup, buffer: Any, op: Any, numpy: Any) -> None:
    inputs = [values_of(rank, (8, 6)) for rank in range(4)]
    kernel = exchanged(lambda s, d: ncc.all_reduce(s, d, group, op), (8, 6), buffer)
    for rank, result in enumerate(simulate(kernel, inputs)):
        ranks, _ = lists_of(group, rank)
        expected = numpy.reduce([inputs[r] for r in ranks])
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.int32, np.uint8, np.float16])
def test_all_reduce_computes_as_documented(dtype: Any) -> None:
    numbers = {
        np.int32: [2**30, 2**30 - 1, 2**30, 3],
        np.uint8: [200, 100, 3, 250],
    }.get(dtype, [1.0, 2.0**-8, 2.0**-8, 2.0**-8])
    inputs = [np.full((2, 3), n, dtype) for n in numbers]
    kernel = exchanged(lambda s, d: ncc.all_reduce(s, d, ALL, nl.add), (2, 3))
    total: Any = sum(numbers)
    if dtype in (np.int32, np.uint8):
        total = min(total, np.iinfo(dtype).max)  # exact, and saturates
    for result in simulate(kernel, inputs):
        np.testing.assert_array_equal(result, np.full((2, 3), total).astype(dtype))


def test_floats_that_are_not_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = [1.0, 2.0**-8, 2.0**-8, 2.0**-8]
    inputs = [np.full((2, 3), n, ml_dtypes.bfloat16) for n in numbers]
    kernel = exchanged(lambda s, d: ncc.all_reduce(s, d, ALL, nl.add), (2, 3))
    monkeypatch.setenv("NKI_PRECISE_FP", "0")
    for ran in nki.simulate_ranks(kernel, [(x,) for x in inputs], target="trn2"):
        np.testing.assert_array_equal(ran.values, np.float32(sum(numbers)))


@pytest.mark.parametrize("group", [ALL, PAIRS])
@pytest.mark.parametrize(
    "buffer, dim", [(nl.private_hbm, 0), (nl.sbuf, 0), (nl.sbuf, 1)]
)
def test_all_gather(group: ReplicaGroup, buffer: Any, dim: int) -> None:
    inputs = [values_of(rank, (4, 6)) for rank in range(4)]
    shape = [4, 6]
    shape[dim] *= len(group[0])
    kernel = exchanged(
        lambda s, d: ncc.all_gather(s, d, group, dim), tuple(shape), buffer
    )
    for rank, result in enumerate(simulate(kernel, inputs)):
        ranks, _ = lists_of(group, rank)
        expected = np.concatenate([inputs[r] for r in ranks], dim)
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("buffer", [nl.private_hbm, nl.sbuf])
@pytest.mark.parametrize("group", [ALL, PAIRS])
def test_reduce_scatter(group: ReplicaGroup, buffer: Any) -> None:
    inputs = [values_of(rank, (8, 6)) for rank in range(4)]
    rows = 8 // len(group[0])
    kernel = exchanged(
        lambda s, d: ncc.reduce_scatter(s, d, group, 0, nl.add), (rows, 6), buffer
    )
    for rank, result in enumerate(simulate(kernel, inputs)):
        ranks, place = lists_of(group, rank)
        total = np.sum([inputs[r] for r in ranks], 0)
        np.testing.assert_array_equal(result, total[place * rows : (place + 1) * rows])


@pytest.mark.parametrize("group", [ALL, PAIRS])
def test_all_to_all(group: ReplicaGroup) -> None:
    inputs = [values_of(rank, (8, 2, 3)) for rank in range(4)]
    rows = 8 // len(group[0])
    kernel = exchanged(lambda s, d: ncc.all_to_all(s, d, group, 0), (8, 2, 3))
    for rank, result in enumerate(simulate(kernel, inputs)):
        ranks, place = lists_of(group, rank)
        parts = [inputs[r][place * rows : (place + 1) * rows] for r in ranks]
        np.testing.assert_array_equal(result, np.concatenate(parts))


def test_several_tensors_at_once() -> None:
    @nki.jit
    def kernel(x: Any) -> Any:
        shapes = (x.shape[1:], (12, 2))
        sent, got = (
            [nl.ndarray(shape, x.dtype, buffer=nl.private_hbm) for shape in shapes]
            for _ in range(2)
        )
        result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        for number, tensor in enumerate(sent):
            nisa.dma_copy(tensor, x[number])
        ncc.all_reduce(sent, got, ALL, nl.add)
        for number, tensor in enumerate(got):
            nisa.dma_copy(result[number], tensor)
        return result

    inputs = [values_of(rank, (2, 4, 6)) for rank in range(4)]
    for result in simulate(kernel, inputs):
        np.testing.assert_array_equal(result, np.sum(inputs, 0))


def test_collective_permute_leaves_what_is_no_target() -> None:
    pairs = [(0, 1), (1, 3), (3, 0)]

    def send(srcs: Any, dsts: Any) -> None:
        nisa.dma_copy(dsts[0], srcs[0])
        ncc.collective_permute(srcs, dsts, pairs)

    inputs = [values_of(rank, (4, 6)) for rank in range(4)]
    results = simulate(exchanged(send, (4, 6)), inputs)
    for result, source in zip(results, (3, 0, 2, 1)):
        np.testing.assert_array_equal(result, inputs[source])


# -- rings -----------------------------------------------------------------------------
def test_a_ring_gathers_by_the_rank_whose_data_it_has() -> None:
    """A row of each rank goes round; it is stored by the rank that it is of."""

    @nki.jit
    def kernel(x: Any) -> Any:
        n = x.shape[1]
        result = nl.ndarray((4, n), x.dtype, buffer=nl.shared_hbm)
        rows = [nl.ndarray((1, n), x.dtype, buffer=nl.private_hbm) for _ in range(4)]
        nisa.dma_copy(rows[0], x)
        for step in range(4):
            rank = ncc.collective_permute_implicit_current_processing_rank_id(step, ALL)
            place = result.ap([[n, 1], [1, n]], scalar_offset=rank, indirect_dim=0)
            nisa.dma_copy(place, rows[step])
            if step < 3:
                ncc.collective_permute_implicit([[rows[step]]], [[rows[step + 1]]], ALL)
        return result

    inputs = [values_of(rank, (1, 6)) for rank in range(4)]
    for result in simulate(kernel, inputs):
        np.testing.assert_array_equal(result, np.concatenate(inputs))


def test_a_ring_reduces_over_two_channels() -> None:
    @nki.jit
    def kernel(x: Any) -> Any:
        result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        tensors = [
            [nl.ndarray(x.shape[1:], x.dtype, buffer=nl.private_hbm)] for _ in range(4)
        ]
        for number in range(2):
            nisa.dma_copy(tensors[number][0], x[number])
        ncc.collective_permute_implicit_reduce(
            tensors[:2], tensors[1::-1], tensors[2:], PAIRS, nl.add, [0, 1]
        )
        for number in range(2):
            nisa.dma_copy(result[number], tensors[2 + number][0])
        return result

    inputs = [values_of(rank, (2, 4, 6)) for rank in range(4)]
    for result, before in zip(simulate(kernel, inputs), (2, 3, 0, 1)):
        total = inputs[before].sum(0)
        np.testing.assert_array_equal(result, [total, total])


def test_rank_id_is_a_register() -> None:
    @nki.jit
    def kernel(x: Any) -> Any:
        result = nl.ndarray((1, 6), x.dtype, buffer=nl.shared_hbm)
        rank = ncc.rank_id()
        nisa.dma_copy(result, x[nl.ds(rank, 1)])
        return result

    x = values_of(0, (4, 6))
    results = simulate(kernel, [x] * 4)
    np.testing.assert_array_equal(np.concatenate(results), x)
    np.testing.assert_array_equal(nki.simulate(kernel)(x), x[:1])


# -- of sizes that differ --------------------------------------------------------------
COUNTS = np.array([[1, 2, 0, 3], [4, 0, 1, 2], [0, 0, 0, 0], [2, 2, 2, 2]], np.uint32)
STARTS = np.array([[0, 1, 3, 3], [0, 4, 4, 5], [9, 9, 9, 9], [6, 4, 2, 0]], np.uint32)


def variable(
    collective: str, known: bool, places: bool, split: bool = False, sbuf: bool = False
) -> Kernel:
    @nki.jit
    def kernel(x: Any, rows: Any) -> Any:
        shape = (1, *rows.shape) if sbuf else rows.shape
        buffer = nl.sbuf if sbuf else nl.private_hbm
        metadata = nl.ndarray(shape, rows.dtype, buffer=buffer)
        src = nl.ndarray(x.shape, x.dtype, buffer=nl.private_hbm)
        dst = nl.ndarray((16,), x.dtype, buffer=nl.private_hbm)
        zeros = nl.ndarray((1, 16), x.dtype)
        out = nl.ndarray((16,), x.dtype, buffer=nl.shared_hbm)
        rows_out = nl.ndarray(rows.shape, rows.dtype, buffer=nl.shared_hbm)
        nisa.memset(zeros, 0.0)
        nisa.dma_copy(dst, zeros)
        nisa.dma_copy(metadata, rows)
        given = ([src], [dst], ALL, metadata, known, places)
        if split:
            prepared = getattr(ncc, f"{collective}_prepare")(*given)
            nisa.dma_copy(src, x)
            getattr(ncc, f"{collective}_trigger")(prepared)
        else:
            nisa.dma_copy(src, x)
            getattr(ncc, collective)(*given)
        nisa.dma_copy(out, dst)
        nisa.dma_copy(rows_out, metadata)
        return out, rows_out

    return kernel


@pytest.mark.parametrize("collective", ["all_to_all_v", "all_gather_v"])
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("places", [False, True])
@pytest.mark.parametrize("split, sbuf", [(False, False), (True, False), (False, True)])
def test_sizes_that_tensors_say(
    collective: str, known: bool, places: bool, split: bool, sbuf: bool
) -> None:
    inputs = [values_of(rank, (10,)) + 100 * (rank + 1) for rank in range(4)]
    where = np.array([12, 8, 4, 0], np.uint32)
    args = []
    for rank in range(4):
        rows = [COUNTS[rank], STARTS[rank], np.full(4, 77), where][: 3 + places]
        args.append((inputs[rank], np.array(rows, np.uint32)))
    kernel = variable(collective, known, places, split, sbuf)
    ran = nki.simulate_ranks(kernel, args, target="trn2")
    gathers = collective == "all_gather_v"
    for rank, one in enumerate(ran):
        expected, counts = np.zeros(16, np.float32), np.full(4, 77)
        for source in range(4):
            column = 0 if gathers else rank
            count, start = COUNTS[source, column], STARTS[source, column]
            at = where[source] if places else 4 * source
            expected[at : at + count] = inputs[source][start : start + count]
            if not known:
                counts[source] = count
        out, rows_out = one.values
        np.testing.assert_array_equal(out, expected)
        np.testing.assert_array_equal(rows_out[2], counts)


def _rows(**changes: Any) -> np.ndarray:
    rows = np.zeros((4, 4), np.uint32)
    for name, value in changes.items():
        rows["counts starts got places".split().index(name)] = value
    return rows


@pytest.mark.parametrize(
    "rows, text",
    [
        (_rows(counts=3, starts=8), "3 elements from 8 on .* srcs, which has 10"),
        (_rows(counts=3, places=14), "3 elements from 14 on .* dsts, which has 16"),
    ],
)
def test_sizes_out_of_bounds_are_found(rows: np.ndarray, text: str) -> None:
    x = values_of(0, (10,))
    with pytest.raises(NkiValidationError, match=rf"{text}[^?]*out-of-bounds"):
        nki.simulate_ranks(
            variable("all_to_all_v", True, True), [(x, rows)] * 4, target="trn2"
        )
    if "dsts" in text:
        with pytest.raises(NkiValidationError, match="sends 5 .* room for 4"):
            nki.simulate_ranks(
                variable("all_to_all_v", True, False),
                [(x, _rows(counts=5))] * 4,
                target="trn2",
            )


# -- logical cores of two, and shared memory -------------------------------------------
@nki.jit
def reduced_by_two_cores(x: Any, waits: bool) -> Any:
    core, rows = nl.program_id(0), x.shape[0] // 2
    own = slice(core * rows, (core + 1) * rows)
    src = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    dst = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(src[own], x[own])
    if waits:
        nisa.core_barrier(src, (0, 1))
    ncc.all_reduce([src], [dst], ReplicaGroup([[0, 1]]), nl.add)  # reads all of src
    nisa.dma_copy(result[own], dst[own])
    return result


def test_ranks_of_two_cores() -> None:
    inputs = [values_of(rank, (8, 6)) for rank in range(2)]
    for result in simulate(reduced_by_two_cores[2], inputs, True):
        np.testing.assert_array_equal(result, inputs[0] + inputs[1])


def test_a_collective_before_the_other_core_has_written_is_found() -> None:
    x = values_of(0, (8, 6))
    with pytest.raises(NkiValidationError) as caught:
        nki.simulate_ranks(
            reduced_by_two_cores[2], [(x, False), (x, False)], target="trn2"
        )
    line = line_of(reduced_by_two_cores, "# reads all of src")
    assert f"test_collectives.py:{line}" in str(caught.value)
    assert "rank 0 core 0" in str(caught.value)


@nki.jit
def halves_of_an_hbm(x: Any, waits: bool) -> Any:
    """Two ranks of one core write halves of a tensor that they share, and read all."""
    shared = nl.ndarray((2, *x.shape), x.dtype, buffer=nl.shared_hbm)
    total = nl.ndarray(x.shape, x.dtype, buffer=nl.private_hbm)
    rank = ncc.rank_id()
    nisa.dma_copy(shared[nl.ds(rank, 1)], x)  # write
    if waits:
        nisa.core_barrier(shared, (0, 1))
    tile = nl.ndarray(x.shape, x.dtype)
    for number in range(2):
        nisa.dma_copy(tile, shared[number])  # read
    nisa.dma_copy(total, tile)
    return shared, total


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_ranks_that_share_an_hbm(
    monkeypatch: pytest.MonkeyPatch, order: tuple[int, int]
) -> None:
    inputs = [values_of(rank, (4, 6)) for rank in range(2)]

    def run(waits: bool, **levels: str) -> list[nki.Simulation]:
        return nki.simulate_ranks(
            halves_of_an_hbm,
            [(x, waits) for x in inputs],
            hbm_groups=[[0, 1]],
            target="trn2",
            findings={"uninitialized-read": "off", **levels},
            order=order,
        )

    monkeypatch.setenv("NKI_LNC1_SHARED_HBM", "1")
    for ran in run(True):
        assert not ran.findings
        np.testing.assert_array_equal(ran.values[0], inputs)
        np.testing.assert_array_equal(ran.values[1], inputs[1])
    write, read = (line_of(halves_of_an_hbm, f"# {m}") for m in ("write", "read"))
    with pytest.warns(UserWarning, match="nothing orders"):
        findings = run(False, **{"core-race": "warning"})[0].findings
    pairs = {(found.line, found.details["other_line"]) for found in findings}
    assert pairs == {(write, read), (read, write)}
    assert {f.details["other_core"] for f in findings} == {f"rank {order[0]}"}
    with pytest.raises(NkiValidationError, match=f"test_collectives.py:{write}"):
        run(False)
    with pytest.raises(NkiValidationError, match="call nisa.core_barrier") as caught:
        run(False, **{"uninitialized-read": "error"})
    assert caught.value.finding.kind == "core-race"


def test_all_reduce_into_a_tensor_that_ranks_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @nki.jit
    def kernel(x: Any) -> Any:
        src = nl.ndarray(x.shape, x.dtype, buffer=nl.private_hbm)
        dst = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        nisa.dma_copy(src, x)
        ncc.all_reduce([src], [dst], ReplicaGroup([[0, 1]]), nl.add)
        return dst

    inputs = [values_of(rank, (4, 6)) for rank in range(2)]
    with pytest.raises(NkiValidationError, match="NKI_LNC1_SHARED_HBM=1"):
        simulate(kernel, inputs)
    monkeypatch.setenv("NKI_LNC1_SHARED_HBM", "1")
    for groups in ([[0, 1]], []):
        for result in simulate(kernel, inputs, hbm_groups=groups):
            np.testing.assert_array_equal(result, inputs[0] + inputs[1])


# -- failures --------------------------------------------------------------------------
@nki.jit
def one_rank_differs(x: Any, does: Any) -> None:
    src, dst = (nl.ndarray(x.shape, x.dtype, buffer=nl.private_hbm) for _ in range(2))
    nisa.dma_copy(src, x)
    if does == "raise":
        raise RuntimeError("broken")
    if does == "misuse":
        nisa.dma_copy(dst[:1], src)
    if does == "other":
        ncc.all_gather([src], [dst], ReplicaGroup([[0], [1], [2]]), 0)
        ncc.all_to_all([src], [dst], ReplicaGroup([[0, 1, 2]]), 0)
    elif does != "end":
        ncc.all_reduce([src], [dst], ReplicaGroup([[0, 1, 2]]), nl.add)  # waits


@pytest.mark.parametrize(
    "does, error, text",
    [
        ("raise", RuntimeError, "broken"),
        ("misuse", NkiValidationError, "^rank 1: dma_copy: "),
        (
            "end",
            NkiValidationError,
            "rank 0 waits for rank 1 in all_reduce at .*:{line}; rank 2 waits for "
            "rank 1 .*; rank 1 has ended",
        ),
        ("other", NkiValidationError, "rank 1 waits for rank 0, rank 2 in all_to_all"),
    ],
)
def test_a_rank_that_does_not_come_is_named(does: str, error: Any, text: str) -> None:
    before = threading.active_count()
    line = line_of(one_rank_differs, "# waits")
    args = [(values_of(r, (3, 6)), does if r == 1 else "") for r in range(3)]
    with pytest.raises(error, match=text.replace("{line}", str(line))):
        nki.simulate_ranks(one_rank_differs, args, target="trn2")
    assert threading.active_count() == before


def test_ranks_that_send_other_shapes_are_named() -> None:
    @nki.jit
    def kernel(x: Any) -> None:
        src, dst = (
            nl.ndarray(x.shape, x.dtype, buffer=nl.private_hbm) for _ in range(2)
        )
        nisa.dma_copy(src, x)
        ncc.all_reduce([src], [dst], ReplicaGroup([[0, 1]]), nl.add)

    args = [(values_of(0, (4, 6)),), (values_of(0, (4, 5)),)]
    with pytest.raises(NkiValidationError, match=r"that of rank 1 is \[4, 5\]"):
        nki.simulate_ranks(kernel, args, target="trn2")


DIFFERENT: dict[str, Callable[[int, Any, Any], Any]] = {
    "op is add, and that of rank 1 is maximum": lambda rank, s, d: ncc.all_reduce(
        s, d, [[0, 1]], (nl.add, nl.maximum)[rank]
    ),
    "the list of ranks is \\[0, 1\\], and that of rank 1 is \\[1, 0\\]": (
        lambda rank, s, d: ncc.all_reduce(s, d, [[(0, 1), (1, 0)][rank]], nl.add)
    ),
    "source_target_pairs is": lambda rank, s, d: ncc.collective_permute(
        s, d, [(0, 1), (1, 0)][: 1 + rank]
    ),
}


@pytest.mark.parametrize("text", DIFFERENT)
def test_ranks_must_say_the_same(text: str) -> None:
    @nki.jit
    def kernel(x: Any, rank: int) -> None:
        src, dst = (
            nl.ndarray(x.shape, x.dtype, buffer=nl.private_hbm) for _ in range(2)
        )
        nisa.dma_copy(src, x)
        DIFFERENT[text](rank, [src], [dst])

    args = [(values_of(rank, (4, 6)), rank) for rank in range(2)]
    with pytest.raises(NkiValidationError, match=text):
        nki.simulate_ranks(kernel, args, target="trn2")


# -- what is refused -------------------------------------------------------------------
TWO = ReplicaGroup([[0, 1]])
REFUSED: dict[str, Callable[[Any, Any, Any], Any]] = {
    "an argument of the kernel": lambda x, s, d: ncc.all_reduce([x], [d], TWO, nl.add),
    "must be a list": lambda x, s, d: ncc.all_reduce(s, d, TWO, nl.add),
    "as many": lambda x, s, d: ncc.all_reduce([s, s], [d], TWO, nl.add),
    "in one memory": lambda x, s, d: ncc.all_reduce(
        [s, _new(s, nl.shared_hbm)], [d, d], TWO, nl.add
    ),
    "some in HBM|some tensors are in SBUF": lambda x, s, d: ncc.all_reduce(
        [s], [_new(s, nl.sbuf)], TWO, nl.add
    ),
    "may have one in SBUF": lambda x, s, d: ncc.all_reduce(
        [_new(s, nl.sbuf)] * 2, [_new(s, nl.sbuf)] * 2, TWO, nl.add
    ),
    "must have 2 dims": lambda x, s, d: ncc.all_reduce(
        *[[nl.ndarray((4, 2, 3), x.dtype)]] * 2, TWO, nl.add
    ),
    "element types": lambda x, s, d: ncc.all_reduce(
        [s], [nl.ndarray(s.shape, nl.bfloat16, buffer=nl.private_hbm)], TWO, nl.add
    ),
    "op is multiply": lambda x, s, d: ncc.all_reduce([s], [d], TWO, nl.multiply),
    "no list of lists": lambda x, s, d: ncc.all_reduce([s], [d], (), nl.add),
    "rank 0 is there twice": lambda x, s, d: ncc.all_reduce(
        [s], [d], [[0, 1], [0]], nl.add
    ),
    "in no list": lambda x, s, d: ncc.all_reduce([s], [d], [[1]], nl.add),
    "rank 5 does not take part": lambda x, s, d: ncc.all_reduce(
        [s], [d], [[0, 1, 5]], nl.add
    ),
    "must have \\[8, 6\\]": lambda x, s, d: ncc.all_gather([s], [d], TWO, 0),
    "collective_dim is 1": lambda x, s, d: ncc.all_gather([s], [d], TWO, 1),
    "collective_dim is 2": lambda x, s, d: ncc.reduce_scatter([s], [d], TWO, 2, nl.add),
    "do not divide": lambda x, s, d: ncc.all_to_all([s[:3]], [d[:3]], TWO, 0),
    "must be equal": lambda x, s, d: ncc.all_to_all([s], [d], [[0, 1], [2]], 0),
    "must be in HBM": lambda x, s, d: ncc.all_to_all(*[[_new(s, nl.sbuf)]] * 2, TWO, 0),
    "priority is of gen4": lambda x, s, d: ncc.all_reduce([s], [d], TWO, nl.add, 1),
    "priority is 4": lambda x, s, d: ncc.all_reduce([s], [d], TWO, nl.add, 4),
    "may have one|must have one": lambda x, s, d: ncc.collective_permute(
        [s, s], [d, d], [(0, 1)]
    ),
    "as a source twice": lambda x, s, d: ncc.collective_permute(
        [s], [d], [(0, 1), (0, 0)]
    ),
    "no pair of ranks": lambda x, s, d: ncc.collective_permute([s], [d], [(0, 1, 2)]),
    "rank 7": lambda x, s, d: ncc.collective_permute([s], [d], [(0, 7)]),
    "srcs is in shared_hbm": lambda x, s, d: ncc.all_reduce(
        [_new(s, nl.shared_hbm)], [d], TWO, nl.add
    ),
    "must count from 0": lambda x, s, d: ncc.collective_permute_implicit(
        [[s]], [[d]], TWO, [1]
    ),
    "lists of one tensor": lambda x, s, d: ncc.collective_permute_implicit(
        [[s, s]], [[d]], TWO
    ),
    "may be 4": lambda x, s, d: ncc.collective_permute_implicit(
        [[s]] * 5, [[d]] * 5, TWO, range(5)
    ),
    "iteration_id": lambda x, s, d: (
        ncc.collective_permute_implicit_current_processing_rank_id(-1, TWO)
    ),
    "metadata_tensor has the shape": lambda x, s, d: ncc.all_to_all_v(
        [s], [d], TWO, nl.ndarray((2, 2), nl.uint32, buffer=nl.private_hbm)
    ),
    "uint32 only": lambda x, s, d: ncc.all_to_all_v([s], [d], TWO, s),
    "side by side": lambda x, s, d: ncc.all_to_all_v(
        [s[:, ::2]], [d], TWO, _metadata()
    ),
    "never written": lambda x, s, d: ncc.all_to_all_v([s], [d], TWO, _metadata()),
    "never triggered": lambda x, s, d: ncc.all_to_all_v_prepare(
        [s], [d], TWO, _metadata(x)
    ),
    "not been triggered yet": lambda x, s, d: [
        ncc.all_to_all_v_prepare([s], [d], TWO, _metadata(x)) for _ in range(2)
    ],
    "there is no all_gather_v_prepare": lambda x, s, d: [
        ncc.all_gather_v_trigger(p)
        for p in [ncc.all_gather_v_prepare([s], [d], TWO, _metadata(x))] * 2
    ],
    "must be what all_gather_v_prepare returned": lambda x, s, d: (
        ncc.all_gather_v_trigger(ncc.all_to_all_v_prepare([s], [d], TWO, _metadata(x)))
    ),
    "this rank's own": lambda x, s, d: nisa.core_barrier(
        _new(s, nl.shared_hbm), (0, 1)
    ),
}


def _new(like: Any, buffer: Any) -> Any:
    made = nl.ndarray(like.shape, like.dtype, buffer=buffer)
    nisa.dma_copy(made, like)
    return made


def _metadata(x: Any = None) -> Any:
    made = nl.ndarray((3, 2), nl.uint32, buffer=nl.private_hbm)
    if x is not None:
        tile = nl.ndarray((3, 2), nl.uint32)
        nisa.memset(tile, 0)
        nisa.dma_copy(made, tile)
    return made


@pytest.mark.parametrize("text", REFUSED)
def test_what_collectives_refuse(text: str) -> None:
    @nki.jit
    def kernel(x: Any) -> None:
        src, dst = (
            nl.ndarray(x.shape, x.dtype, buffer=nl.private_hbm) for _ in range(2)
        )
        nisa.dma_copy(src, x)
        REFUSED[text](x, src, dst)

    args = [(values_of(rank, (4, 6)),) for rank in range(2)]
    with pytest.raises(NkiValidationError, match=text) as caught:
        nki.simulate_ranks(kernel, args, hbm_groups=[[0, 1]], target="trn2")
    assert "test_collectives.py:" in str(caught.value)


def test_collectives_are_of_gen3() -> None:
    kernel = exchanged(lambda s, d: ncc.all_reduce(s, d, [[0]], nl.add), (4, 6))
    with pytest.raises(NkiValidationError, match="gen3 and later"):
        nki.simulate(kernel, target="trn1")(values_of(0, (4, 6)))


def test_one_rank_alone_is_a_rank() -> None:
    x = values_of(0, (4, 6))
    kernel = exchanged(lambda s, d: ncc.all_reduce(s, d, [[0]], nl.add), (4, 6))
    ran = nki.simulate(kernel, target="trn2").run(x)
    np.testing.assert_array_equal(ran.values, x)
    (again,) = replay(decode(encode(ran.programs)), [x])
    np.testing.assert_array_equal(again, x)


def test_groups() -> None:
    made = ReplicaGroup.from_partition_op
    assert made(8, rg_partition_op.bitwise_and, 0) == ((0, 1, 2, 3, 4, 5, 6, 7),)
    assert made(8, rg_partition_op.div, 4) == ((0, 1, 2, 3), (4, 5, 6, 7))
    assert made(8, rg_partition_op.mod, 4) == ((0, 4), (1, 5), (2, 6), (3, 7))
    assert repr(TWO) == "ReplicaGroup([[0, 1]])"
    for wrong in (3, [], [[]], [[0], [0]], [[-1]], [[True]], [[0.5]], ["ab"]):
        with pytest.raises(NkiValidationError):
            ReplicaGroup(wrong)  # type: ignore[arg-type]
    with pytest.raises(NkiValidationError):
        made(8, rg_partition_op.mod, 0)


@pytest.mark.parametrize(
    "options, text",
    [
        ({"hbm_groups": [[0, 0]]}, "may be there once"),
        ({"hbm_groups": [[0, 2]]}, "may be there once"),
        ({"kwargs_per_rank": [{}]}, "of 2 ranks"),
        ({"order": [0, 0]}, "must have all"),
    ],
)
def test_what_simulate_ranks_refuses(options: dict[str, Any], text: str) -> None:
    x = values_of(0, (4, 6))
    kernel = exchanged(lambda s, d: ncc.all_reduce(s, d, TWO, nl.add), (4, 6))
    with pytest.raises(ValueError, match=text):
        nki.simulate_ranks(kernel, [(x,), (x,)], target="trn2", **options)


def test_an_array_that_ranks_share_is_not_written() -> None:
    @nki.jit
    def kernel(x: Any, y: Any) -> None:
        nisa.dma_copy(x, y)

    x, y = (values_of(rank, (4, 6)) for rank in range(2))
    with pytest.raises(NkiValidationError, match="rank 1: .* x of rank 0: give a copy"):
        nki.simulate_ranks(kernel, [(x, y), (x, y)])
    z = x.copy()
    nki.simulate_ranks(kernel, [(x, y), (z, y)])
    np.testing.assert_array_equal(z, y)


def test_programs_of_ranks_may_be_anybodys() -> None:
    """A collective of more ranks than there are, from a program's bytes."""
    kernel = exchanged(lambda s, d: ncc.all_reduce(s, d, TWO, nl.add), (4, 6))
    x = values_of(0, (4, 6))
    ran = nki.simulate_ranks(kernel, [(x,), (x,)], target="trn2")
    data = encode(ran[0].programs)
    with pytest.raises(NkiValidationError, match="does not take part"):
        replay(decode(data), [x])
    for old, new in ((b"[[0,1]]", b"[0,[1]]"), (b"[[0,1]]", b"[[0,0]]")):
        assert old in data
        with pytest.raises(NkiProgramError):
            decode(data.replace(old, new))
