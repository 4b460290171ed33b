"""What the SDK's documentation shows of the language, each as a kernel against NumPy.

The kernels use what the pages' examples use; names and sentences are our own. Tutorials
that the package has as samples (addition, transpose, products, norms, the scan of
Mamba) are tried with those; average pooling is in test_language_kernels.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nkipy_nki.findings import NkiWarning
from nkipy_nki.program import Instruction

RANDOM = np.random.default_rng(11)
BF16 = np.dtype(ml_dtypes.bfloat16)


def normal(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(dtype)


def positive(*shape: int) -> np.ndarray:
    return RANDOM.uniform(0.5, 2, shape).astype(np.float32)


def result_like(x: Any, shape: Any = None, dtype: Any = None) -> Any:
    return nl.ndarray(shape or x.shape, dtype or x.dtype, buffer=nl.shared_hbm)


def tile_of(x: Any) -> Any:
    tile = nl.ndarray(x.shape, x.dtype, buffer=nl.sbuf)
    nisa.dma_copy(dst=tile, src=x)
    return tile


def names_of(ran: Any) -> list[str]:
    """The instructions of a run's program, by name."""
    return [step.record.name for step in ran.programs[0].instructions()]


# -- the guide to the language ---------------------------------------------------------
@nki.jit
def added(x: Any, y: Any) -> Any:
    assert x.shape == y.shape and x.dtype == y.dtype
    assert x.shape[0] <= nl.tile_size.pmax
    print(f"{x.dtype} of {x.shape}")
    total = nl.ndarray(shape=x.shape, dtype=x.dtype, buffer=nl.sbuf)
    nisa.tensor_tensor(dst=total, data1=tile_of(x), data2=tile_of(y), op=nl.add)
    result = nl.ndarray(dtype=x.dtype, shape=x.shape, buffer=nl.shared_hbm)
    nisa.dma_copy(dst=result, src=total)
    return result


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_addition_in_one_tile(dtype: Any, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = normal(128, 512, dtype=dtype), normal(128, 512, dtype=dtype)
    wanted = (x.astype(np.float32) + y.astype(np.float32)).astype(dtype)
    np.testing.assert_array_equal(nki.simulate(added)(x, y), wanted)
    # Python's print is of the time when the kernel is made.
    assert capsys.readouterr().out == f"{np.dtype(dtype)} of (128, 512)\n"
    ones = np.ones((4, 3), dtype)
    np.testing.assert_array_equal(added(ones, ones), 2 * ones)
    with pytest.raises(AssertionError):
        added(ones, ones[:2])


@nki.jit
def every_other_plus_one(x: Any) -> Any:
    result = result_like(x)
    for i in range(4):
        rows = slice(i * 128, (i + 1) * 128)
        tile = nl.ndarray((128, 512), dtype=nl.float16, buffer=nl.sbuf)
        nisa.dma_copy(dst=tile, src=x[rows, :])
        if i % 2 == 0:
            nisa.tensor_scalar(dst=tile, data=tile, op0=nl.add, operand0=1.0)
        nisa.dma_copy(dst=result[rows, :], src=tile)
    return result


def test_loops_and_conditions_are_resolved_when_the_kernel_is_made() -> None:
    x = normal(512, 512, dtype=np.float16)
    ran = nki.simulate(every_other_plus_one).run(x)
    wanted = x.astype(np.float32).reshape(4, 128, 512)
    wanted[::2] += 1
    np.testing.assert_array_equal(
        ran.values, wanted.astype(np.float16).reshape(512, 512)
    )
    copies = ["dma_copy", "tensor_scalar", "dma_copy", "dma_copy", "dma_copy"]
    assert names_of(ran) == copies * 2


@nki.jit
def transposed_or_inverted(a: Any, b: Any, c: Any) -> Any:
    inputs = [tile_of(a), tile_of(b), tile_of(c)]
    outputs = [nl.ndarray((32, 32), a.dtype, buffer=nl.sbuf) for _ in inputs]
    for i in range(len(inputs)):
        if i % 2 == 0:
            nisa.nc_transpose(dst=outputs[i], data=inputs[i])
        else:
            nisa.reciprocal(dst=outputs[i], data=inputs[i])
    results = []
    for tile in outputs:
        results.append(result_like(tile))
        nisa.dma_copy(dst=results[-1], src=tile)
    return tuple(results)


def test_a_list_of_tiles_is_processed_by_position() -> None:
    a, b, c = positive(32, 32), positive(32, 32), positive(32, 32)
    x, y, z = nki.simulate(transposed_or_inverted)(a, b, c)
    np.testing.assert_array_equal(x, a.T)
    np.testing.assert_array_equal(y, 1 / b)
    np.testing.assert_array_equal(z, c.T)


@nki.jit
def written_by_one_view(x: Any) -> Any:
    tile = tile_of(x)
    split, part = tile.reshape((128, 8, 8)), tile[:, 16:32]
    nisa.memset(dst=split[:, 2:4, :], value=1.0)
    result = result_like(x, shape=(128, 16))
    nisa.dma_copy(dst=result, src=part)
    return result


def test_views_share_their_tensor() -> None:
    assert (nki.simulate(written_by_one_view)(normal(128, 64)) == 1).all()


@nki.jit
def looked_at(x: Any, picked: Any) -> Any:
    """Views on the chip, whose shapes the guide tells."""
    tile = tile_of(x)  # (64, 8, 16)
    assert tile[:, 0:4, :].shape == (64, 4, 16)
    assert tile[..., ::2].shape == (64, 8, 8)
    assert tile[:, :, 0].shape == (64, 8)
    assert tile[0, :, :].shape == tile[0:1, :, :].shape == (1, 8, 16)
    assert tile[0, 0, 10].shape == (1, 1) and tile[:, 0, 10].shape == (64, 1)
    assert tile[0, ..., :].shape == (1, 8, 16) and x[0].shape == (8, 16)
    assert tile.slice(dim=2, start=8, end=16, step=2).shape == (64, 8, 4)
    assert tile.permute((0, 2, 1)).shape == (64, 16, 8)
    assert tile.expand_dim(1).broadcast(dim=1, size=3).shape == (64, 3, 8, 16)
    assert tile.expand_dim(1).squeeze_dim(1).shape == (64, 8, 16)
    assert tile.view(nl.uint8).shape == (64, 8, 64)
    split = tile.rearrange(("p", ("h", "w"), "f"), ("p", "w", "h", "f"), {"h": 2})
    assert split.shape == (64, 4, 2, 16)
    column = tile[0:32, :, :].permute((0, 2, 1))[:, 0, :]
    assert column.shape == (32, 8) and column.strides == (128, 16)
    pattern = tile.get_pattern()
    pattern[0][1] = 32
    assert tile.ap(pattern=pattern).shape == (32, 8, 16)
    every_other = result_like(x, shape=(64, 64))
    nisa.dma_copy(dst=every_other, src=tile.ap(pattern=[(128, 64), (2, 64)]))
    index = tile_of(picked)
    row = result_like(x, shape=(8, 16))
    nisa.dma_copy(dst=row, src=x.select(dim=0, index=index))
    columns = result_like(x, shape=(32, 8))
    nisa.dma_copy(dst=columns, src=column)
    regrouped = result_like(x, shape=(64, 4, 2, 16))
    nisa.dma_copy(dst=regrouped, src=split)
    return every_other, row, columns, regrouped


def test_views_have_the_shapes_and_elements_that_the_guide_tells() -> None:
    x = normal(64, 8, 16)
    picked = np.array([[5]], np.int32)
    every_other, row, columns, regrouped = nki.simulate(looked_at)(x, picked)
    np.testing.assert_array_equal(every_other, x.reshape(64, 128)[:, ::2])
    np.testing.assert_array_equal(row, x[5])
    np.testing.assert_array_equal(columns, x[:32, :, 0])
    split = x.reshape(64, 2, 4, 16).transpose(0, 2, 1, 3)
    np.testing.assert_array_equal(regrouped, split)


@dataclass
class Switch(nl.NKIObject):
    """A class with a method, as the guide has one."""

    factor: float
    inverts: bool = False

    def turn(self) -> None:
        self.inverts = not self.inverts


class Step(Enum):
    """Alternatives that a kernel is told by."""

    double = 1
    negate = 2


@nki.jit
def by_objects(x: Any, switch: Switch, step: Step) -> Any:
    switch.turn()
    tile = tile_of(x)
    op = nl.subtract if step == Step.negate else nl.multiply
    number = 0.0 if step == Step.negate else switch.factor
    reverse = step == Step.negate
    nisa.tensor_scalar(tile, tile, op0=op, operand0=number, reverse0=reverse)
    if switch.inverts:
        nisa.reciprocal(tile, tile)
    result = result_like(x)
    nisa.dma_copy(result, tile)
    return result


def test_objects_and_enumerations_are_arguments() -> None:
    x = positive(8, 16)
    kernel = nki.simulate(by_objects)
    doubled = kernel(x, Switch(2.0), Step.double)
    np.testing.assert_array_equal(doubled, 1 / (2 * x))
    np.testing.assert_array_equal(kernel(x, Switch(1.0, True), Step.negate), -x)


def in_tiles(source: Any, target: Any, function: Any) -> None:
    for i in range(source.shape[0] // nl.tile_size.pmax):
        rows = slice(i * 128, (i + 1) * 128)
        tile = tile_of(source[rows, :])
        made = nl.ndarray(tile.shape, dtype=tile.dtype, buffer=nl.sbuf)
        function(dst=made, src=tile)
        nisa.dma_copy(dst=target[rows, :], src=made)


def rectified(dst: Any, src: Any) -> None:
    nisa.activation(dst=dst, data=src, op=nl.relu)


def halved(dst: Any, src: Any) -> None:
    nisa.tensor_scalar(dst=dst, data=src, op0=nl.multiply, operand0=0.5)


@nki.jit
def by_name(source: Any, target: Any, name: str) -> Any:
    in_tiles(source, target, {"relu": rectified, "half": halved}[name])


@pytest.mark.parametrize("name", ["relu", "half"])
def test_functions_are_arguments_and_results_are_mutated(name: str) -> None:
    x, target = normal(256, 512), np.zeros((256, 512), np.float32)
    nki.simulate(by_name)(x, target, name)
    wanted = np.maximum(x, 0) if name == "relu" else x / 2
    np.testing.assert_array_equal(target, wanted)


# -- tiles -----------------------------------------------------------------------------
@nki.jit
def inverted(x: Any) -> Any:
    rows, columns = x.shape
    assert columns < nl.tile_size.total_available_sbuf_size
    result = result_like(x)
    given = nl.ndarray((nl.tile_size.pmax, columns), dtype=x.dtype, buffer=nl.sbuf)
    made = nl.ndarray((nl.tile_size.pmax, columns), dtype=x.dtype, buffer=nl.sbuf)
    for p in range(math.ceil(rows / nl.tile_size.pmax)):
        first = p * nl.tile_size.pmax
        count = min(first + nl.tile_size.pmax, rows) - first
        place = nl.ds(first, count)
        nisa.dma_copy(dst=given[0:count], src=x[place, :])
        nisa.reciprocal(dst=made[0:count], data=given[0:count])
        nisa.dma_copy(dst=result[place, :], src=made[0:count])
    return result


@pytest.mark.parametrize("rows", [128, 256, 300, 7])
def test_any_number_of_rows(rows: int) -> None:
    x = positive(rows, 40)
    with pytest.warns(DeprecationWarning, match="total_available_sbuf_size"):
        np.testing.assert_array_equal(nki.simulate(inverted)(x), 1 / x)


@nki.jit
def copied_in_parts(x: Any) -> Any:
    """A tensor of 129 by 513 in tiles of at most 128 by 512."""
    result = result_like(x)
    for i in range(2):
        rows = slice(i * 128, min(129, i * 128 + 128))
        for j in range(2):
            columns = slice(j * 512, min(513, j * 512 + 512))
            tile = tile_of(x[rows, columns])
            copy = nl.ndarray(tile.shape, x.dtype, buffer=nl.sbuf)
            nisa.tensor_copy(copy, tile)
            nisa.dma_copy(result[rows, columns], copy)
    return result


def test_slices_take_the_place_of_masks() -> None:
    x = normal(129, 513)
    np.testing.assert_array_equal(nki.simulate(copied_in_parts)(x), x)


@nki.jit
def in_one_buffer(x: Any, kind: str) -> Any:
    """Blocks that live in the free dimension, in new tiles, or one after another."""
    result = result_like(x)
    shape = (128, 8, 64) if kind == "all" else (128, 64)
    held = nl.ndarray(shape=shape, dtype=x.dtype, buffer=nl.sbuf)
    for i in range(8):
        if kind == "all":
            place = held[0:128, i, 0:64]
        else:
            place = tile_of(x[i]) if kind == "new" else held[0:128, 0:64]
        nisa.dma_copy(place, x[i])
        nisa.dma_copy(result[i], place)
    return result


def test_blocks_have_three_places() -> None:
    x = normal(8, 128, 64)
    times = {}
    for kind in ("all", "new", "one"):
        ran = nki.simulate(in_one_buffer).run(x, kind)
        np.testing.assert_array_equal(ran.values, x)
        times[kind] = ran.report().schedule.total
    # One buffer makes each iteration wait for the one before it.
    assert times["one"] > 2 * times["all"]


@nki.jit
def even_and_odd(x: Any) -> Any:
    rows, columns = x.shape
    tile = tile_of(x)
    halves = []
    for first in (0, 1):
        part = tile[:, first:columns:2]
        copy = nl.ndarray(part.shape, x.dtype, buffer=nl.sbuf)
        nisa.tensor_copy(copy, part)
        halves.append(result_like(x, shape=(rows, (columns + 1 - first) // 2)))
        nisa.dma_copy(halves[-1], copy)
    return tuple(halves)


def test_columns_by_parity() -> None:
    x = np.arange(20).reshape(4, 5).astype(BF16)
    even, odd = nki.simulate(even_and_odd)(x)
    np.testing.assert_array_equal(even, x[:, ::2])
    np.testing.assert_array_equal(odd, x[:, 1::2])


@nki.jit
def greatest_in_windows(x: Any, size: int) -> Any:
    channels, height, width = x.shape
    tile = tile_of(x)
    pattern = [
        *([height * width, channels], [size * width, height // size]),
        *([size, width // size], [width, size], [1, size]),
    ]
    shape = (channels, height // size, width // size)
    made = nl.ndarray(shape, x.dtype, buffer=nl.sbuf)
    nisa.tensor_reduce(made, nl.maximum, tile.ap(pattern=pattern), axis=[3, 4])
    result = result_like(x, shape=shape)
    nisa.dma_copy(result, made)
    return result


def test_pooling_by_the_greatest() -> None:
    x = np.arange(2 * 6 * 6).reshape(2, 6, 6).astype(BF16)
    wanted = x.reshape(2, 3, 2, 3, 2).max((2, 4))
    np.testing.assert_array_equal(nki.simulate(greatest_in_windows)(x, 2), wanted)


# -- logical cores ---------------------------------------------------------------------
@nki.jit
def inverted_by_cores(x: Any) -> Any:
    assert x.shape[0] == 2
    tile = nl.ndarray(x.shape[1:], x.dtype, buffer=nl.sbuf)
    made = nl.ndarray(x.shape[1:], x.dtype, buffer=nl.sbuf)
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    alone = nl.num_programs() == 1
    for i in range(2) if alone else [nl.program_id(0)]:
        nisa.dma_copy(tile, x[i])
        nisa.reciprocal(made, tile)
        nisa.dma_copy(result[i], made)
    return result


def test_cores_divide_the_work() -> None:
    x = positive(2, 128, 128)
    for kernel in (inverted_by_cores, inverted_by_cores[1], inverted_by_cores[2]):
        ran = nki.simulate(kernel).run(x)
        np.testing.assert_array_equal(ran.values, 1 / x)
    assert names_of(ran) == ["dma_copy", "reciprocal", "dma_copy"]
    with pytest.raises(nki.NkiValidationError, match="1 or 2 cores"):
        inverted_by_cores[8](x)


# -- order -----------------------------------------------------------------------------
def exponential_of(i: int, given: list[Any], made: list[Any]) -> None:
    tile = nl.ndarray(given[i].shape, given[i].dtype, buffer=nl.sbuf)
    nisa.activation(dst=tile, data=given[i], op=nl.exp, name=f"exp{i}")
    made.append(tile)


@nki.jit
def three_exponentials(a: Any, b: Any, c: Any, in_order: bool) -> Any:
    given = [tile_of(x) for x in (a, b, c)]
    made: list[Any] = []
    if in_order:
        with nl.no_reorder():
            for i in range(len(given)):
                exponential_of(i, given, made)
    else:
        for i in range(len(given)):
            exponential_of(i, given, made)
    results = []
    for tile in made:
        results.append(result_like(tile))
        nisa.dma_copy(dst=results[-1], src=tile)
    return tuple(results)


def comes_after(ran: Any) -> dict[str, list[str]]:
    """By an instruction's name, those of what it must come after."""
    return {
        step.name: [edge.producer.name for edge in step.after]
        for step in ran.programs[0].instructions()
        if step.name
    }


@pytest.mark.parametrize("in_order", [False, True])
def test_a_chain_of_edges_and_a_block_without_reordering(in_order: bool) -> None:
    arrays = [normal(32, 64) for _ in range(3)]
    kernel = three_exponentials
    if not in_order:
        edges = [(f"exp{i}", f"exp{i - 1}") for i in range(1, 3)]
        kernel = kernel.with_schedule(edges)
    ran = nki.simulate(kernel).run(*arrays, in_order)
    for got, x in zip(ran.values, arrays):
        np.testing.assert_allclose(got, np.exp(x), 1e-6)
    found = comes_after(ran)
    assert (found["exp1"], found["exp2"]) == (["exp0"], ["exp1"])


@nki.jit()
def inverse_plus_more(x: Any) -> Any:
    tile = tile_of(x)
    a, b, c = (nl.ndarray(x.shape, x.dtype, buffer=nl.sbuf) for _ in range(3))
    nisa.reciprocal(dst=a, data=tile, name="inverse")
    nisa.tensor_scalar(dst=b, data=tile, op0=nl.add, operand0=1, name="more")
    nisa.tensor_tensor(dst=c, data1=a, data2=b, op=nl.add)
    result = result_like(x)
    nisa.dma_copy(dst=result, src=c)
    return result


@pytest.mark.parametrize("edges", [("more", "inverse"), ("more", ["inverse"])])
def test_an_instruction_waits_for_a_named_one(edges: Any) -> None:
    x = positive(32, 64)
    ran = nki.simulate(inverse_plus_more.with_schedule([edges])).run(x)
    np.testing.assert_array_equal(ran.values, 1 / x + (x + 1))
    assert comes_after(ran) == {"inverse": [], "more": ["inverse"]}


# -- the simulator ---------------------------------------------------------------------
@nki.jit
def loaded_and_added(x: Any, y: Any) -> Any:
    total = nl.add(nl.load(x), nl.load(y))
    result = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    nl.store(result, value=total)
    return result


def test_loads_and_stores() -> None:
    x, y = normal(128, 512), normal(128, 512)
    np.testing.assert_array_equal(nki.simulate(loaded_and_added)(x, y), x + y)


@nki.jit
def printed(x: Any) -> Any:
    tile = nl.load(x)
    nl.device_print("what is loaded:", tile)
    result = result_like(x)
    nl.store(result, tile)
    return result


def test_a_tile_is_printed_as_the_kernel_runs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    np.testing.assert_array_equal(nki.simulate(printed)(x), x)
    assert capsys.readouterr().out == f"what is loaded: {x}\n"


@nki.jit
def too_many_rows(x: Any) -> Any:
    tile = nl.ndarray((256, 16), dtype=x.dtype, buffer=nl.sbuf)
    nisa.memset(tile, 0.0)
    nisa.tensor_tensor(tile, tile, tile, nl.add)


def test_a_tile_has_128_partitions_at_most() -> None:
    with pytest.raises(AssertionError, match="256 partitions, and may have 128"):
        nki.simulate(too_many_rows)(normal(256, 16))


# -- transfers -------------------------------------------------------------------------
@nki.jit
def moved(x: Any, mode: Any, engine: Any) -> Any:
    tile = nl.ndarray(x.shape, x.dtype, buffer=nl.sbuf)
    nisa.dma_copy(dst=tile, src=x, dge_mode=mode, engine=engine, name="load")
    result = result_like(x)
    nisa.dma_copy(dst=result, src=tile)
    return result


@pytest.mark.parametrize("mode", ["unknown", "none", "swdge", "hwdge"])
@pytest.mark.parametrize("engine", ["unknown", "scalar", "sync"])
def test_descriptors_are_made_in_several_ways(mode: str, engine: str) -> None:
    x = normal(16, 128)
    told = nisa.dge_mode[mode], nisa.engine[engine]
    ran = nki.simulate(moved).run(x, *told)
    np.testing.assert_array_equal(ran.values, x)
    first = next(iter(ran.programs[0].instructions()))
    assert isinstance(first, Instruction) and first.name == "load"


@nki.jit
def turned(x: Any, rows: Any) -> Any:
    """Rows of x by indices, as columns."""
    index = tile_of(rows)
    tile = nl.ndarray((128, 128), x.dtype, buffer=nl.sbuf)
    source = x.ap(pattern=[[128, 128], [1, 128]], vector_offset=index, indirect_dim=0)
    nisa.dma_transpose(dst=tile, src=source, dge_mode=nisa.dge_mode.swdge)
    plain = nl.ndarray((128, 16), x.dtype, buffer=nl.sbuf)
    nisa.dma_transpose(dst=plain, src=x[0:16], dge_mode=nisa.dge_mode.hwdge)
    results = result_like(x, shape=(128, 128)), result_like(x, shape=(128, 16))
    for result, made in zip(results, (tile, plain)):
        nisa.dma_copy(result, made)
    return results


def test_rows_are_gathered_and_transposed() -> None:
    x = normal(256, 128, dtype=BF16)
    rows = RANDOM.permutation(256)[:128, None].astype(np.uint32)
    gathered, plain = nki.simulate(turned)(x, rows)
    np.testing.assert_array_equal(gathered, x[rows[:, 0]].T)
    np.testing.assert_array_equal(plain, x[:16].T)


@pytest.mark.parametrize("shape", [(4, 4096), (128, 128)])
def test_exponentials_of_a_tile(shape: tuple[int, int]) -> None:
    @nki.jit
    def kernel(x: Any) -> Any:
        tile, made = tile_of(x), nl.ndarray(x.shape, x.dtype, buffer=nl.sbuf)
        nisa.activation(dst=made, op=nl.exp, data=tile)
        result = result_like(x)
        nisa.dma_copy(dst=result, src=made)
        return result

    got = nki.simulate(kernel)(np.ones(shape, BF16))
    assert (got == np.array(np.e).astype(BF16)).all()


# -- indices that the run knows --------------------------------------------------------
@nki.jit
def from_a_row_on(x: Any) -> Any:
    row = nl.ndarray((1, 1), nl.int32, buffer=nl.sbuf)
    nisa.memset(row, value=3 * 128)
    result = result_like(x, shape=(128, 256))
    source = x.ap(
        pattern=[[512, 128], [1, 256]], offset=0, scalar_offset=row, indirect_dim=0
    )
    nisa.dma_copy(src=source, dst=result[...])
    return result


def test_a_row_by_a_tile_of_one_element() -> None:
    x = normal(512, 512)
    np.testing.assert_array_equal(nki.simulate(from_a_row_on)(x), x[384:512, :256])


@nki.jit
def every_second_row(x: Any) -> Any:
    rows = nl.ndarray((64, 1), nl.int32, nl.sbuf)
    nisa.iota(rows, [[1, 1]], 0, 2)
    tile = nl.ndarray((64, 512), nl.float32, buffer=nl.sbuf)
    source = x.ap([[512, 64], [1, 512]], 0, vector_offset=rows, indirect_dim=0)
    nisa.dma_copy(src=source, dst=tile, name="gather")
    result = result_like(x, shape=(64, 512))
    nisa.dma_copy(result, tile, name="store")
    return result


def test_rows_by_a_tile_of_places() -> None:
    x = normal(128, 512)
    np.testing.assert_array_equal(nki.simulate(every_second_row)(x), x[::2])


# -- loops on the device ---------------------------------------------------------------
@nki.jit
def squared_in_a_loop(x: Any) -> Any:
    result = result_like(x)

    def body(_: Any) -> None:
        tile = tile_of(x[0:128, 0:512])
        made = nl.ndarray((128, 512), dtype=nl.float32, buffer=nl.sbuf)
        nisa.tensor_tensor(dst=made, data1=tile, data2=tile, op=nl.multiply)
        nisa.dma_copy(src=made, dst=result[0:128, 0:512])

    nl.fori_loop(0, 1, body)
    return result


def test_a_loop_of_a_known_count_is_kept() -> None:
    x = normal(128, 512)
    ran = nki.simulate(squared_in_a_loop).run(x)
    np.testing.assert_array_equal(ran.values, x * x)
    assert len(ran.programs[0].body) == 1


@nki.jit
def two_more_between(x: Any) -> Any:
    result = result_like(x)
    first, end = nisa.register_alloc(0), nisa.register_alloc(512)

    def body(row: Any) -> None:
        pattern = [[512, 128], [1, 512]]
        tile = nl.ndarray((128, 512), dtype=nl.float32, buffer=nl.sbuf)
        nisa.dma_copy(src=x.ap(pattern, scalar_offset=row), dst=tile)
        nisa.tensor_scalar(dst=tile, data=tile, op0=nl.add, operand0=2.0)
        nisa.dma_copy(src=tile, dst=result.ap(pattern, scalar_offset=row))

    nl.fori_loop(first, end, body, 128)
    return result


def test_bounds_are_registers_and_the_counter_is_an_index() -> None:
    x = normal(512, 512)
    np.testing.assert_array_equal(nki.simulate(two_more_between)(x), x + np.float32(2))


@nki.jit
def repeated(count: Any) -> Any:
    """Ones in the first `count` places of eight, and how many passes there were."""
    result = nl.ndarray((1, 8), nl.float32, buffer=nl.shared_hbm)
    total = nl.ndarray((1, 1), nl.float32, buffer=nl.shared_hbm)
    zeros = nl.zeros((1, 8), dtype=nl.float32, buffer=nl.sbuf)
    nisa.dma_copy(dst=result, src=zeros)
    passes = nl.zeros((1, 1), dtype=nl.float32, buffer=nl.sbuf)
    one = nl.full((1, 1), 1.0, dtype=nl.float32, buffer=nl.sbuf)
    upper = nisa.register_alloc()
    nisa.register_load(upper, tile_of(count))

    def body(i: Any) -> None:
        nisa.dma_copy(dst=result.ap([[8, 1], [1, 1]], 0, i, indirect_dim=1), src=one)
        nisa.tensor_tensor(passes, passes, one, op=nl.add)

    nl.fori_loop(0, upper, body)
    nisa.dma_copy(dst=total, src=passes)
    return result, total


@pytest.mark.parametrize("count", [0, 3, 8])
def test_a_tensor_says_how_often(count: int) -> None:
    places, total = nki.simulate(repeated)(np.array([[count]], np.int32))
    np.testing.assert_array_equal(places, [[1] * count + [0] * (8 - count)])
    assert total == count


@nki.jit
def counted_down(x: Any, count: Any) -> Any:
    """x as often as count says, by a condition that is stored and loaded again."""
    given, total = tile_of(x), nl.zeros((1, 1), dtype=nl.float32, buffer=nl.sbuf)
    left = tile_of(count)
    first = nisa.register_alloc()
    nisa.register_load(first, left)

    def body(going: Any) -> Any:
        nisa.tensor_tensor(total, total, given, op=nl.add)
        nisa.register_store(left, going)
        nisa.tensor_scalar(left, left, nl.add, -1)
        nisa.register_load(going, left)
        return going

    nl.while_loop(first, body)
    result = nl.ndarray((1, 1), nl.float32, buffer=nl.shared_hbm)
    nisa.dma_copy(result, total)
    return result


@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_condition_is_counted_down(count: int) -> None:
    x = np.array([[1.5]], np.float32)
    got = nki.simulate(counted_down)(x, np.array([[count]], np.int32))
    assert got == 1.5 * count


def test_a_register_is_a_number_on_the_way() -> None:
    @nki.jit
    def kernel(x: Any) -> Any:
        condition = nl.ndarray((1, 1), buffer=nl.sbuf, dtype=nl.int32)
        register = nisa.register_alloc(5)
        nisa.register_store(condition, register)
        nisa.tensor_scalar(condition, condition, nl.add, -1)
        nisa.register_load(register, condition)
        nisa.register_store(condition, register)
        result = nl.ndarray((1, 1), nl.int32, buffer=nl.shared_hbm)
        nisa.dma_copy(result, condition)
        return result

    assert nki.simulate(kernel)(np.zeros((1, 1), np.float32)) == 4


# -- microscaling ----------------------------------------------------------------------
E4M3 = np.dtype(ml_dtypes.float8_e4m3fn)


def scales_in_quadrants(scales: Any, partitions: int) -> Any:
    """Rows of scales, four to each quadrant of 32 partitions."""
    rows, columns = scales.shape
    assert rows == partitions // 8
    tile = nl.ndarray((partitions, columns), scales.dtype, buffer=nl.sbuf)
    nisa.memset(dst=tile, value=0)
    pattern = [[columns, 4], [1, columns]]
    for q in range(rows // 4):
        nisa.dma_copy(
            src=scales.ap(pattern=pattern, offset=4 * q * columns),
            dst=tile.ap(pattern=pattern, offset=32 * q * columns),
        )
    return tile


def product_of_blocks(stationary: Any, moving: Any) -> Any:
    """Of two tiles of packed numbers, each with its scales."""
    (left, left_scale), (right, right_scale) = stationary, moving
    shape = (left.shape[1], right.shape[1])
    total = nl.ndarray(shape, nl.bfloat16, buffer=nl.psum)
    nisa.nc_matmul_mx(
        dst=total,
        stationary=left,
        moving=right,
        stationary_scale=left_scale,
        moving_scale=right_scale,
    )
    tile = nl.ndarray(shape, nl.bfloat16, buffer=nl.sbuf)
    nisa.tensor_copy(src=total, dst=tile)
    result = nl.ndarray(shape, nl.bfloat16, buffer=nl.shared_hbm)
    nisa.dma_copy(src=tile, dst=result)
    return result


def packed(data: Any, scales: Any, dtype: Any) -> Any:
    """A tile of packed numbers, which an argument holds as whole ones."""
    rows, columns = data.shape[0], data.shape[1] // 4
    view = data.ap(dtype=dtype, pattern=[[columns, rows], [1, columns]], offset=0)
    assert view.shape == (rows, columns)
    tile = nl.ndarray(view.shape, dtype, buffer=nl.sbuf)
    nisa.dma_copy(src=view, dst=tile)
    return tile, scales_in_quadrants(scales, rows)


def quantized(tile: Any, dtype: Any) -> Any:
    rows, columns = tile.shape
    data = nl.ndarray((rows, columns // 4), dtype, buffer=nl.sbuf)
    scales = nl.ndarray((rows, columns // 4), nl.uint8, buffer=nl.sbuf)
    nisa.quantize_mx(src=tile, dst=data, dst_scale=scales)
    return data, scales


@nki.jit
def product_of_packed(a: Any, a_scale: Any, b: Any, b_scale: Any) -> Any:
    dtype = nl.float8_e4m3fn_x4
    return product_of_blocks(packed(a, a_scale, dtype), packed(b, b_scale, dtype))


@nki.jit
def product_with_quantized(a: Any, a_scale: Any, b: Any) -> Any:
    dtype = nl.float8_e4m3fn_x4
    return product_of_blocks(packed(a, a_scale, dtype), quantized(tile_of(b), dtype))


@nki.jit
def product_of_quantized(a: Any, b: Any, by_tile: bool) -> Any:
    """Of (4 K, M) and (4 K, N): four rows that are K apart are packed together."""
    tiles = []
    for x in (a, b):
        rows, columns = x.shape[0] // 4, x.shape[1]
        parts = x.reshape((4, rows, columns))
        mixed = nl.ndarray((rows, columns, 4), x.dtype, buffer=nl.sbuf)
        if by_tile:
            tile = nl.ndarray((rows, 4, columns), x.dtype, buffer=nl.sbuf)
            pattern = [[columns, rows], [rows * columns, 4], [1, columns]]
            nisa.dma_copy(src=parts.ap(pattern=pattern, offset=0), dst=tile)
            pattern = [[4 * columns, rows], [1, columns], [columns, 4]]
            nisa.tensor_copy(src=tile.ap(pattern=pattern, offset=0), dst=mixed)
        else:
            pattern = [[columns, rows], [1, columns], [rows * columns, 4]]
            nisa.dma_copy(src=parts.ap(pattern=pattern, offset=0), dst=mixed)
        mixed = mixed.reshape((rows, columns * 4))
        tiles.append(quantized(mixed, nl.float8_e4m3fn_x4))
    return product_of_blocks(*tiles)


def blocks(partitions: int, columns: int) -> tuple[np.ndarray, ...]:
    """Numbers of blocks of 8 by 4, the fp8 values that they have, and the scales."""
    shape = (partitions, columns)
    values = RANDOM.integers(-16, 17, shape).astype(np.float32)
    values[::8, ::4] = 256  # so that each block has the same greatest
    exponents = RANDOM.integers(-3, 4, (partitions // 8, columns // 4))
    factors = np.repeat(np.repeat(2.0**exponents, 8, 0), 4, 1)
    return values * factors, values.astype(E4M3), (exponents + 127).astype(np.uint8)


def summed(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The product of tiles in which four columns are one, rounded to bfloat16."""
    (k, m), n = a.shape, b.shape[1]
    a, b = (x.reshape(k, -1, 4).astype(np.float64) for x in (a, b))
    made: np.ndarray = np.einsum("kmi,kni->mn", a, b)
    assert made.shape == (m // 4, n // 4)
    return made


def is_near(got: np.ndarray, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(got.astype(np.float64), wanted, 2**-8, 1e-3)


def test_a_product_of_packed_numbers_and_scales() -> None:
    a, a_data, a_scale = blocks(128, 512)
    b, b_data, b_scale = blocks(128, 2048)
    given = a_data.view(np.uint8), a_scale, b_data.view(np.uint8), b_scale
    got = nki.simulate(product_of_packed, target="trn3")(*given)
    assert got.dtype == BF16
    is_near(got, summed(a, b))


def test_a_product_with_numbers_that_are_quantized_first() -> None:
    a, a_data, a_scale = blocks(128, 512)
    b, _, _ = blocks(128, 2048)
    given = a_data.view(np.uint8), a_scale, b.astype(BF16)
    got = nki.simulate(product_with_quantized, target="trn3")(*given)
    is_near(got, summed(a, b))


@pytest.mark.parametrize("by_tile", [False, True])
def test_rows_are_packed_by_patterns(by_tile: bool) -> None:
    a = RANDOM.integers(-8, 9, (512, 128)).astype(BF16)
    b = RANDOM.integers(-8, 9, (512, 512)).astype(BF16)
    got = nki.simulate(product_of_quantized, target="trn3")(a, b, by_tile)
    is_near(got, a.T.astype(np.float64) @ b.astype(np.float64))


# -- engines ---------------------------------------------------------------------------
@nki.jit
def product_of_one_tile(left: Any, right: Any) -> Any:
    (k, m), n = left.shape, right.shape[1]
    assert k == right.shape[0] <= nl.tile_size.pmax
    assert m <= nl.tile_size.gemm_stationary_fmax
    assert n <= nl.tile_size.gemm_moving_fmax
    total = nl.ndarray(shape=(m, n), dtype=nl.float32, buffer=nl.psum)
    nisa.nc_matmul(dst=total, stationary=tile_of(left), moving=tile_of(right))
    tile = nl.ndarray(shape=total.shape, dtype=total.dtype, buffer=nl.sbuf)
    nisa.tensor_copy(dst=tile, src=total)
    result = nl.ndarray(shape=tile.shape, dtype=tile.dtype, buffer=nl.hbm)
    nisa.dma_copy(dst=result, src=tile)
    return result


def test_a_product_of_one_tile() -> None:
    left, right = normal(128, 128), normal(128, 512)
    with pytest.warns(NkiWarning, match="give buffer=nl.shared_hbm"):
        got = nki.simulate(product_of_one_tile)(left, right)
    np.testing.assert_allclose(got, left.T @ right, 1e-5, 1e-4)


@nki.jit
def product_in_tiles(left: Any, right: Any) -> Any:
    (k, m), n = left.shape, right.shape[1]
    result = nl.ndarray(shape=(m, n), dtype=left.dtype, buffer=nl.shared_hbm)
    for i in nl.affine_range(m // 128):
        for j in nl.affine_range(n // 512):
            total = nl.ndarray((128, 512), dtype=nl.float32, buffer=nl.psum)
            rows, columns = nl.ds(i * 128, 128), nl.ds(j * 512, 512)
            for step in nl.affine_range(k // 128):
                depth = nl.ds(step * 128, 128)
                nisa.nc_matmul(
                    dst=total,
                    stationary=tile_of(left[depth, rows]),
                    moving=tile_of(right[depth, columns]),
                )
            tile = nl.ndarray((128, 512), dtype=nl.float32, buffer=nl.sbuf)
            nisa.tensor_copy(dst=tile, src=total)
            nisa.dma_copy(dst=result[rows, columns], src=tile)
    return result


def test_a_product_in_tiles_is_accumulated() -> None:
    left, right = normal(256, 256), normal(256, 1024)
    with pytest.warns(DeprecationWarning, match="affine_range"):
        got = nki.simulate(product_in_tiles)(left, right)
    np.testing.assert_allclose(got, left.T @ right, 1e-5, 1e-4)


@nki.jit
def sums_of_two_products(a: Any, b: Any, x: Any, is_one: bool) -> Any:
    """Each of 64 rows: in tiles of their own, or in two halves of one."""
    moving = tile_of(x)
    stationary = tile_of(a), tile_of(b)
    result = nl.ndarray((128, 1), nl.float32, buffer=nl.shared_hbm)
    if is_one:
        total = nl.ndarray((128, 256), nl.float32, buffer=nl.psum)
        for i, tile in enumerate(stationary):
            nisa.nc_matmul(total[nl.ds(64 * i, 64)], tile, moving)
        tiles = [(result, total)]
    else:
        tiles = []
        for i, tile in enumerate(stationary):
            total = nl.ndarray((64, 256), nl.float32, buffer=nl.psum)
            nisa.nc_matmul(total, tile, moving)
            tiles.append((result[nl.ds(64 * i, 64)], total))
    for target, total in tiles:
        sums = nl.ndarray((total.shape[0], 1), nl.float32, buffer=nl.sbuf)
        nisa.tensor_reduce(sums, nl.add, total, axis=1)
        nisa.dma_copy(target, sums)
    return result


def test_two_products_share_the_partitions_of_one_tile() -> None:
    a, b, x = normal(128, 64), normal(128, 64), normal(128, 256)
    one, two = (
        nki.simulate(sums_of_two_products).run(a, b, x, is_one)
        for is_one in (True, False)
    )
    assert one.values.tobytes() == two.values.tobytes()
    wanted = np.concatenate([a.T @ x, b.T @ x]).sum(1, keepdims=True)
    np.testing.assert_allclose(one.values, wanted, 1e-4, 1e-3)
    assert names_of(one).count("tensor_reduce") == 1


@nki.jit
def scaled_shifted_exponential(x: Any, scale: Any, bias: Any, at_once: bool) -> Any:
    data, factors, terms = tile_of(x), tile_of(scale), tile_of(bias)
    made = nl.ndarray(x.shape, x.dtype, buffer=nl.sbuf)
    if at_once:
        nisa.activation(made, nl.exp, data, bias=terms, scale=factors)
    else:
        nisa.tensor_scalar(made, data, nl.multiply, factors)
        nisa.tensor_scalar(made, made, nl.add, terms)
        nisa.activation(made, nl.exp, made)
    result = result_like(x)
    nisa.dma_copy(result, made)
    return result


def test_one_instruction_does_what_three_do() -> None:
    x, scale, bias = normal(128, 512), normal(128, 1), normal(128, 1)
    one, three = (
        nki.simulate(scaled_shifted_exponential).run(x, scale, bias, at_once)
        for at_once in (True, False)
    )
    assert one.values.tobytes() == three.values.tobytes()
    np.testing.assert_allclose(one.values, np.exp(x * scale + bias), 1e-6)
    times = [ran.report().schedule.total for ran in (one, three)]
    assert times[0] < times[1]


@nki.jit
def rounded_in_the_psum(a: Any, x: Any) -> Any:
    """Sums that are bfloat16 in the PSUM, where the second product is added."""
    stationary, moving = tile_of(a), tile_of(x)
    total = nl.ndarray((64, 256), nl.bfloat16, buffer=nl.psum)
    nisa.nc_matmul(total, stationary, moving, accumulate=False)
    nisa.nc_matmul(total, stationary, moving, accumulate=True)
    tile = nl.ndarray(total.shape, total.dtype, buffer=nl.sbuf)
    nisa.tensor_copy(tile, total)
    result = nl.ndarray(tile.shape, tile.dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(result, tile)
    return result


def test_sums_are_widened_added_and_rounded_again() -> None:
    a = RANDOM.integers(-8, 9, (32, 64)).astype(BF16)
    x = RANDOM.integers(-8, 9, (32, 256)).astype(BF16)
    exact = a.T.astype(np.float32) @ x.astype(np.float32)
    once = exact.astype(BF16).astype(np.float32)
    got = nki.simulate(rounded_in_the_psum, target="trn3")(a, x)
    np.testing.assert_array_equal(got, (once + exact).astype(BF16))
    with pytest.raises(nki.NkiValidationError, match="got bfloat16"):
        nki.simulate(rounded_in_the_psum, target="trn2")(a, x)


@nki.jit
def in_two_places(x: Any) -> Any:
    """Tiles that take turns in two places of one buffer."""
    result = result_like(x)
    held = nl.ndarray((128, 2, 64), dtype=nl.float32, buffer=nl.sbuf)
    for i in range(x.shape[0]):
        place = held[0:128, i % 2, 0:64]
        nisa.dma_copy(place, x[i])
        nisa.activation(place, nl.exp, place)
        nisa.dma_copy(result[i], place)
    return result


def test_two_places_are_used_in_turn() -> None:
    x = normal(4, 128, 64)
    np.testing.assert_allclose(nki.simulate(in_two_places)(x), np.exp(x), 1e-6)


@nki.jit
def transposed_three_ways(x: Any) -> Any:
    """By the tensor engine, by an identity, and by a transfer."""
    tile = tile_of(x)
    rows, columns = x.shape
    results = []
    for way in range(3):
        buffer = nl.sbuf if way == 2 else nl.psum
        made = nl.ndarray((columns, rows), x.dtype, buffer=buffer)
        if way == 0:
            nisa.nc_transpose(made, tile, engine=nisa.engine.tensor)
        elif way == 1:
            ones = nl.shared_identity_matrix(rows, x.dtype)
            nisa.nc_matmul(made, tile, ones, is_transpose=True)
        else:
            nisa.dma_transpose(dst=made, src=tile)
        copy = nl.ndarray(made.shape, x.dtype, buffer=nl.sbuf)
        nisa.tensor_copy(copy, made)
        results.append(nl.ndarray(copy.shape, x.dtype, buffer=nl.shared_hbm))
        nisa.dma_copy(results[-1], copy)
    return tuple(results)


@pytest.mark.parametrize("dtype", [np.float32, BF16])
def test_bits_are_moved_where_numbers_are_not_finite(dtype: Any) -> None:
    x = normal(64, 96, dtype=dtype)
    x[3, 5], x[7, 7] = np.inf, np.nan
    for made in nki.simulate(transposed_three_ways, target="trn2")(x):
        assert made.tobytes() == np.ascontiguousarray(x.T).tobytes()


@nki.jit
def first_partition_everywhere(x: Any) -> Any:
    tile, made = tile_of(x), nl.ndarray(x.shape, x.dtype, buffer=nl.sbuf)
    nisa.nc_stream_shuffle(made, tile, shuffle_mask=[0] * 32)
    result = result_like(x)
    nisa.dma_copy(result, made)
    return result


def test_a_partition_is_broadcast_in_its_quadrant() -> None:
    x = normal(64, 16)
    wanted = np.repeat(x[[0, 32]], 32, axis=0)
    np.testing.assert_array_equal(nki.simulate(first_partition_everywhere)(x), wanted)
