"""What the SDK's guide to the language shows, each as a kernel against NumPy.

The kernels use what the pages' examples use; names and sentences are our own. Tutorials
that the package has as samples (addition, transpose, products, norms, the scan of
Mamba) are tried with those; average pooling is in test_language_kernels.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nki_simulator.tests.documented_kernels import (
    BF16,
    names_of,
    normal,
    positive,
    result_like,
)
from nki_simulator.tests.kernels import loaded


# -- the guide to the language ---------------------------------------------------------
@nki.jit
def added(x: Any, y: Any) -> Any:
    assert x.shape == y.shape and x.dtype == y.dtype
    assert x.shape[0] <= nl.tile_size.pmax
    print(f"{x.dtype} of {x.shape}")
    total = nl.ndarray(shape=x.shape, dtype=x.dtype, buffer=nl.sbuf)
    nisa.tensor_tensor(dst=total, data1=loaded(x), data2=loaded(y), op=nl.add)
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
    inputs = [loaded(a), loaded(b), loaded(c)]
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
    tile = loaded(x)
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
    tile = loaded(x)  # (64, 8, 16)
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
    index = loaded(picked)
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
    tile = loaded(x)
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
        tile = loaded(source[rows, :])
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
            tile = loaded(x[rows, columns])
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
            place = loaded(x[i]) if kind == "new" else held[0:128, 0:64]
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
    tile = loaded(x)
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
    tile = loaded(x)
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
