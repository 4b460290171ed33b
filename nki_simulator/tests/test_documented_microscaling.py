"""What the SDK's documentation shows of microscaling, each as a kernel against NumPy.

The kernels use what the pages' examples use; names and sentences are our own.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nki_simulator.tests.documented_kernels import (
    BF16,
    RANDOM,
)
from nki_simulator.tests.kernels import loaded

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
    return product_of_blocks(packed(a, a_scale, dtype), quantized(loaded(b), dtype))


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
