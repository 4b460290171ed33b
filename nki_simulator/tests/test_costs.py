"""What instructions and transfers cost, by hand from the documents' formulas.

N is the number of elements in a partition, here 512 unless a test says otherwise.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.collectives as ncc
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nkipy.chips import CHIPS, Chip, find_chip
from nkipy_nki.costs import elements_per_cycle
from nkipy_nki.engines import Engine
from nkipy_nki.findings import NkiWarning
from nkipy_nki.geometry import PARTITIONS, aligned_starts
from nkipy_nki.program import Instruction, whole
from nkipy_nki.timing.scheduling import clock_of, schedule

N = 512


def chip_of(name: str) -> Chip:
    found = find_chip(name)
    assert found is not None
    return found


def last_of(part: Callable[..., Any], *arrays: np.ndarray, target: str) -> Instruction:
    """The last instruction but the result's copy of a kernel that is `part`."""

    def kernel(*tensors: Any) -> Any:
        made = part(*[nl.load(tensor) for tensor in tensors])
        result = nl.ndarray(made.shape, made.dtype, buffer=nl.shared_hbm)
        nisa.dma_copy(result, made)
        return result

    ran = nki.Simulator(kernel, target=target).run(*arrays)
    *_, found, _ = ran.programs[0].instructions()
    return found


def cycles_of(part: Callable[..., Any], *arrays: np.ndarray, target: str) -> float:
    found = last_of(part, *arrays, target=target)
    cost: float = found.record.cost(found, chip_of(target))
    return cost


def ones(dtype: Any = np.float32, shape: tuple[int, ...] = (128, N)) -> np.ndarray:
    return np.ones(shape, dtype)


BF16 = ml_dtypes.bfloat16
ALL = ("trn1", "trn2", "trn3")


def copied(src: Any, dtype: Any = None, **named: Any) -> Any:
    made = nl.ndarray(src.shape, dtype or src.dtype)
    nisa.tensor_copy(made, src, **named)
    return made


def summed(a: Any, b: Any) -> Any:
    made = nl.ndarray(a.shape, a.dtype)
    nisa.tensor_tensor(made, a, b, op=nl.add)
    return made


def scaled(a: Any, **named: Any) -> Any:
    made = nl.ndarray(a.shape, a.dtype)
    nisa.tensor_scalar(made, a, nl.multiply, 2.0, **named)
    return made


def activated(a: Any, **named: Any) -> Any:
    made = nl.ndarray(a.shape, a.dtype)
    nisa.activation(made, op=nl.exp, data=a, **named)
    return made


@pytest.mark.parametrize(
    "part, arrays, cycles",
    [
        # max(64, N); from trn2 on the vector engine takes four or two in a cycle.
        (copied, [ones()], (512, 512, 512)),
        (copied, [ones(BF16)], (512, 128, 128)),
        (copied, [ones(BF16, (128, 16))], (64, 64, 64)),
        (lambda a: copied(a[:, ::2]), [ones(BF16)], (256, 128, 128)),
        (lambda a: copied(a, np.float32), [ones(BF16)], (512, 512, 512)),
        (scaled, [ones()], (512, 512, 512)),
        (scaled, [ones(BF16)], (512, 128, 128)),
        # 2 N of two tensors in the SBUF, N of bfloat16.
        (summed, [ones(), ones()], (1024, 1024, 1024)),
        (summed, [ones(BF16), ones(BF16)], (512, 512, 512)),
        (summed, [ones(np.float16), ones(np.float16)], (1024, 512, 512)),
        # ScalarE: N, and half of it where the data path takes two of 16 bits.
        (activated, [ones()], (512, 512, 512)),
        (activated, [ones(BF16)], (512, 512, 256)),
    ],
)
def test_cycles_by_element_type(
    part: Any, arrays: list[np.ndarray], cycles: tuple[float, ...]
) -> None:
    assert tuple(cycles_of(part, *arrays, target=chip) for chip in ALL) == cycles


def test_a_root_of_gpsimd_takes_four_times_as_long() -> None:
    def root(a: Any, op: Any) -> Any:
        made = nl.ndarray(a.shape, a.dtype)
        nisa.tensor_scalar(made, a, nl.add, 1.0, op1=op, operand1=0.5)
        return made

    def power(a: Any) -> Any:
        return root(a, nl.power)

    assert cycles_of(power, ones(), target="trn2") == 4 * 512
    assert last_of(power, ones(), target="trn2").engine is Engine.gpsimd


def test_reduce_registers_are_read_in_an_interval() -> None:
    def part(a: Any) -> Any:
        total = nl.ndarray((128, 1), nl.float32)
        return activated(a, reduce_op=nl.add, reduce_res=total, reduce_cmd=RESET)

    assert cycles_of(part, ones(), target="trn2") == 512 + 64


RESET = nisa.reduce_cmd.reset_reduce


def test_a_dynamic_address_takes_600_cycles_at_least() -> None:
    """The pages of tensor_copy_dynamic_src: max(600, N)."""

    def part(a: Any, at: Any, count: int) -> Any:
        made = nl.ndarray((128, count), a.dtype)
        view = a.ap([[a.shape[1], 128], [1, count]], scalar_offset=at, indirect_dim=1)
        nisa.tensor_copy(made, view)
        return made

    at = np.zeros((1, 1), np.int32)
    a = ones(shape=(128, 1024))
    for count, expected in ((16, 600), (512, 600), (1000, 1000)):
        copy = partial(part, count=count)
        assert cycles_of(copy, a, at, target="trn2") == expected


def numbered(a: Any) -> Any:
    made = nl.ndarray(a.shape, nl.int32)
    nisa.iota(made, [[1, N]])
    return made


def selected(a: Any) -> Any:
    made = nl.ndarray(a.shape, nl.float32)
    nisa.affine_select(made, [[1, N]], 0, a, 0.0)
    return made


@pytest.mark.parametrize("part", [numbered, selected])
def test_patterns_of_gpsimd_take_150_cycles_more(part: Any) -> None:
    assert cycles_of(part, ones(), target="trn2") == 150 + 512


def product(left: Any, right: Any, **named: Any) -> Any:
    made = nl.ndarray((left.shape[1], right.shape[1]), nl.float32, buffer=nl.psum)
    nisa.nc_matmul(made, left, right, **named)
    out = nl.ndarray(made.shape, nl.float32)
    nisa.tensor_copy(out, made)
    return out


@pytest.mark.parametrize("dtype, passes", [(BF16, 1), (np.float32, 4)])
@pytest.mark.parametrize("columns, cycles", [(512, 512), (16, 64)])
def test_a_product_takes_a_cycle_a_column(
    dtype: Any, passes: int, columns: int, cycles: float
) -> None:
    """max(min(64, stationary columns), moving columns), four times that of float32."""

    def kernel(left: Any, right: Any) -> Any:
        result = nl.ndarray((128, columns), nl.float32, buffer=nl.shared_hbm)
        nisa.dma_copy(result, product(nl.load(left), nl.load(right)))
        return result

    arrays = ones(dtype, (128, 128)), ones(dtype, (128, columns))
    program = nki.Simulator(kernel, target="trn2").run(*arrays).programs[0]
    (made,) = (s for s in program.instructions() if s.record.name == "nc_matmul")
    assert made.record.cost(made, chip_of("trn2")) == passes * cycles


@pytest.mark.parametrize(
    "flag, passes",
    [("is_transpose", 2), ("is_moving_onezero", 2), ("is_stationary_onezero", 2)],
)
def test_float32_that_takes_two_passes(flag: str, passes: int) -> None:
    """Transposed, or of ones and zeros: half as long as other products of float32."""

    def kernel(data: Any, identity: Any) -> Any:
        result = nl.ndarray((128, 128), nl.float32, buffer=nl.shared_hbm)
        made = product(nl.load(data), nl.load(identity), **{flag: True})
        nisa.dma_copy(result, made)
        return result

    ran = nki.Simulator(kernel, target="trn2").run(ones(shape=(128, 128)), EYE)
    (made,) = (
        s for s in ran.programs[0].instructions() if s.record.name == "nc_matmul"
    )
    assert made.record.cost(made, chip_of("trn2")) == passes * 128


EYE = np.eye(128, dtype=np.float32)


@pytest.mark.parametrize(
    "target, published", [("trn1", 189), ("trn2", 222)], ids=["trn1", "trn2"]
)
def test_published_starts_of_dependent_instructions(
    target: str, published: float
) -> None:
    """Of one element each, on ScalarE: so many ns apart (guide to performance)."""

    def kernel(x: Any) -> Any:
        result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        tile = nl.load(x)
        for _ in range(4):
            nisa.activation(tile, op=nl.copy, data=tile, scale=2.0)
        nl.store(result, tile)
        return result

    ran = nki.Simulator(kernel, target=target).run(ones(shape=(128, 1)))
    found = schedule(ran.programs[0])
    starts = [
        start
        for start, step in zip(found.start, found.steps)
        if step.record.name == "activation"
    ]
    assert np.diff(starts) == pytest.approx([published] * 3, rel=0.01)


def test_the_published_products() -> None:
    """2,048 cubed in bfloat16 keeps TensorE busy for 218.45 us on trn2: 78.6 TFLOPS."""
    chip = chip_of("trn2")
    ns = 1024 * 512 / clock_of(Engine.tensor, chip)
    assert ns == pytest.approx(218453, rel=1e-5)
    assert 2 * 2048**3 / ns / 1000 == pytest.approx(78.6, rel=1e-3)


# -- transfers -------------------------------------------------------------------------
def _transfer_ns(mode: nisa.dge_mode, target: str) -> float:
    def kernel(x: Any) -> Any:
        result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        tile = nl.ndarray(x.shape, x.dtype)
        nisa.dma_copy(tile, x, dge_mode=mode)
        nisa.dma_copy(result, tile)
        return result

    ran = nki.Simulator(kernel, target=target).run(ones(BF16, (4, 4096)))
    return schedule(ran.programs[0]).transfers[0].duration


def test_the_published_transfer_of_a_kernel() -> None:
    """[4, 4096] of bfloat16 by one DMA engine: 1,416 ns (introduction to DMA)."""
    assert _transfer_ns(nisa.dge_mode.none, "trn2") == pytest.approx(1416, rel=0.01)


@pytest.mark.parametrize("target", ["trn2", "trn3"])
def test_descriptors_by_hardware_take_600_ns(target: str) -> None:
    plain, by_hardware = (
        _transfer_ns(mode, target) for mode in (nisa.dge_mode.none, nisa.dge_mode.hwdge)
    )
    assert by_hardware - plain == pytest.approx(600)


MIB = 1 << 20
#: Of 8 ranks of trn2, 512 * 512 float32 each: 1,500 ns and 160 bytes a ns to the next.
COLLECTIVES: dict[str, tuple[Callable[..., Any], tuple[int, int], float]] = {
    "all_reduce": (
        lambda s, d, g: ncc.all_reduce([s], [d], g, nl.add),
        (512, 512),
        2 * 7 * (1500 + MIB / 8 / 160),
    ),
    "all_gather": (
        lambda s, d, g: ncc.all_gather([s], [d], g, 0),
        (4096, 512),
        7 * (1500 + MIB / 160),
    ),
    "reduce_scatter": (
        lambda s, d, g: ncc.reduce_scatter([s], [d], g, 0, nl.add),
        (64, 512),
        7 * (1500 + MIB / 8 / 160),
    ),
    "all_to_all": (
        lambda s, d, g: ncc.all_to_all([s], [d], g, 0),
        (512, 512),
        7 * (1500 + MIB / 8 / 160),
    ),
    "collective_permute_implicit": (
        lambda s, d, g: ncc.collective_permute_implicit([[s]], [[d]], g),
        (512, 512),
        1500 + MIB / 160,
    ),
}


@pytest.mark.parametrize("name", COLLECTIVES)
def test_a_collective_takes_the_time_of_its_links(name: str) -> None:
    send, shape, expected = COLLECTIVES[name]

    def kernel(x: Any, group: Any) -> Any:
        result = nl.ndarray(shape, x.dtype, buffer=nl.shared_hbm)
        src = nl.ndarray(x.shape, x.dtype, buffer=nl.private_hbm)
        dst = nl.ndarray(shape, x.dtype, buffer=nl.private_hbm)
        nisa.dma_copy(src, x)
        send(src, dst, group)
        nisa.dma_copy(result, dst)
        return result

    group = ncc.ReplicaGroup([list(range(8))])
    x = np.zeros((512, 512), np.float32)
    ran = nki.simulate_ranks(
        kernel, [(x.copy(), group) for _ in range(8)], target="trn2"
    )
    program = ran[0].programs[0]
    (at,) = (i for i, s in enumerate(program.instructions()) if s.record.name == name)
    found = schedule(program)
    assert found.transfers[at].duration == pytest.approx(expected)
    assert found.end[at] - found.start[at] >= expected
    assert found.total > expected


def test_links_between_instances_are_the_network() -> None:
    chip = chip_of("trn2")  # 128 cores an instance
    assert chip.linked_cores == 128
    inside, across = chip.link([range(128), range(128, 256)]), chip.link([[127, 128]])
    assert (inside.latency_ns, inside.gb_s) == (1500, 160)
    assert (across.latency_ns, across.gb_s) == (15000, 400 / 128)
    assert inside.ring_ns(1 << 20, 1) == 0


def test_an_exchange_of_cores_is_a_copy_and_a_signal_each_way() -> None:
    def kernel(x: Any) -> Any:
        me = nl.program_id(0)
        result = nl.ndarray((2, 128, 64), x.dtype, buffer=nl.shared_hbm)
        tile, other = nl.load(x), nl.ndarray((128, 64), x.dtype)
        nisa.sendrecv(tile, other, 1 - me, 1 - me, 0)
        nisa.dma_copy(result[me], other)
        return result

    made: Any = nki.jit(kernel)
    ran = nki.simulate(made[2], target="trn2").run(np.zeros((128, 64), np.float32))
    found = schedule(ran.programs[0])
    (at,) = (i for i, s in enumerate(found.steps) if s.record.name == "sendrecv")
    # 256 bytes of each partition: a start as long as 512 bytes beside each.
    copy = 128 * 256 / (16 * 23) * (1 + 512 / 256) / (1 + 512 / 4096)
    assert found.transfers[at].duration == pytest.approx(copy + 2 * 200)


# -- invariants ------------------------------------------------------------------------
def _pipelined(x: Any, buffers: int) -> Any:
    """Columns that are loaded, computed with and stored, by so many tiles in turn."""
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    tiles = [nl.ndarray((128, N), x.dtype) for _ in range(buffers)]
    for i in range(x.shape[1] // N):
        tile, columns = tiles[i % buffers], nl.ds(i * N, N)
        nisa.dma_copy(tile, x[:, columns])
        nisa.activation(tile, op=nl.exp, data=tile)
        nisa.dma_copy(result[:, columns], tile)
    return result


@pytest.mark.parametrize("target", ALL)
def test_a_kernel_is_as_long_as_its_busiest_engine_and_no_longer_than_all(
    target: str,
) -> None:
    x = ones(shape=(128, 8 * N))
    totals = []
    for buffers in (1, 2, 4):
        kernel = partial(_pipelined, buffers=buffers)
        found = schedule(nki.Simulator(kernel, target=target).run(x).programs[0])
        assert max(found.busy.values()) <= found.total <= found.serial * (1 + 1e-12)
        totals.append(found.total)
    assert totals[0] > 1.5 * totals[1] and totals[1] > totals[2]


# -- one record ------------------------------------------------------------------------
def test_rates_are_those_of_the_chips_record() -> None:
    for chip in CHIPS:
        tile = whole(_allocation("bfloat16"))
        rate = chip.elements_per_cycle["vector"].get("bfloat16", chip.partitions)
        assert elements_per_cycle("vector", [tile], chip) == rate / chip.partitions
        assert chip.partitions == PARTITIONS


def _allocation(dtype: str) -> Any:
    def part(x: Any) -> Any:
        return copied(x)

    return last_of(part, ones(BF16, (4, 4)), target="trn2").operands["dst"].allocation


@pytest.mark.parametrize(
    "count, starts",
    [
        (1, (0, 32, 64, 96)),
        (32, (0, 32, 64, 96)),
        (33, (0, 64)),
        (64, (0, 64)),
        (65, (0,)),
    ],
)
def test_where_tiles_may_begin(count: int, starts: tuple[int, ...]) -> None:
    assert aligned_starts(count) == starts


# -- what only a compiler refuses ------------------------------------------------------
def _powers(a: Any) -> Any:
    return nl.power(a, 2.0)  # found: power


def _products(a: Any) -> Any:
    return nl.copy(nl.matmul(a, a))  # found: matmul


def _softmax(a: Any) -> Any:
    return nl.softmax(a)  # found: softmax


def _norm(a: Any) -> Any:
    return nl.rms_norm(a, a, 1, 64)  # found: rms_norm


def _mended_powers(a: Any) -> Any:
    made = nl.ndarray(a.shape, a.dtype)
    nisa.tensor_scalar(made, a, nl.power, 2.0)
    return nl.power(made, a)


def _mended_products(a: Any) -> Any:
    return nl.copy(nl.matmul(a, a, transpose_x=True))


def _simulated(part: Callable[[Any], Any]) -> Any:
    def kernel(x: Any) -> Any:
        result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        nl.store(result, part(nl.load(x)))
        return result

    return nki.simulate(nki.jit(kernel), target="trn2").run(ones(shape=(64, 64)))


@pytest.mark.parametrize(
    "part, name",
    [
        (_powers, "power"),
        (_products, "matmul"),
        (_softmax, "softmax"),
        (_norm, "rms_norm"),
    ],
)
def test_known_issues_of_the_language_are_told(part: Any, name: str) -> None:
    with pytest.warns(NkiWarning, match=f"nl.{name}: .*hardware"):
        (found,) = _simulated(part).findings
    assert found.kind == "would-not-compile"
    assert found.file == __file__
    with open(__file__) as file:
        assert file.readlines()[found.line - 1].rstrip().endswith(f"# found: {name}")


@pytest.mark.parametrize("part", [_mended_powers, _mended_products])
def test_what_is_documented_as_supported_is_no_finding(part: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert _simulated(part).findings == []
