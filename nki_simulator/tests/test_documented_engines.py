"""What the SDK's documentation shows of engines and transfers, against NumPy.

The kernels use what the pages' examples use; names and sentences are our own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nki_simulator.tests.documented_kernels import (
    BF16,
    RANDOM,
    names_of,
    normal,
    result_like,
)
from nki_simulator.tests.kernels import loaded
from nkipy_nki.findings import NkiWarning
from nkipy_nki.program import Instruction


# -- engines ---------------------------------------------------------------------------
@nki.jit
def product_of_one_tile(left: Any, right: Any) -> Any:
    (k, m), n = left.shape, right.shape[1]
    assert k == right.shape[0] <= nl.tile_size.pmax
    assert m <= nl.tile_size.gemm_stationary_fmax
    assert n <= nl.tile_size.gemm_moving_fmax
    total = nl.ndarray(shape=(m, n), dtype=nl.float32, buffer=nl.psum)
    nisa.nc_matmul(dst=total, stationary=loaded(left), moving=loaded(right))
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
                    stationary=loaded(left[depth, rows]),
                    moving=loaded(right[depth, columns]),
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
    moving = loaded(x)
    stationary = loaded(a), loaded(b)
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
    data, factors, terms = loaded(x), loaded(scale), loaded(bias)
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
    stationary, moving = loaded(a), loaded(x)
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
    tile = loaded(x)
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
    tile, made = loaded(x), nl.ndarray(x.shape, x.dtype, buffer=nl.sbuf)
    nisa.nc_stream_shuffle(made, tile, shuffle_mask=[0] * 32)
    result = result_like(x)
    nisa.dma_copy(result, made)
    return result


def test_a_partition_is_broadcast_in_its_quadrant() -> None:
    x = normal(64, 16)
    wanted = np.repeat(x[[0, 32]], 32, axis=0)
    np.testing.assert_array_equal(nki.simulate(first_partition_everywhere)(x), wanted)


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
    index = loaded(rows)
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
        tile, made = loaded(x), nl.ndarray(x.shape, x.dtype, buffer=nl.sbuf)
        nisa.activation(dst=made, op=nl.exp, data=tile)
        result = result_like(x)
        nisa.dma_copy(dst=result, src=made)
        return result

    got = nki.simulate(kernel)(np.ones(shape, BF16))
    assert (got == np.array(np.e).astype(BF16)).all()
