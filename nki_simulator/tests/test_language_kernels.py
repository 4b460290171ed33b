"""Whole kernels by ``nki.language``, as guides have them, against NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nki_simulator.tests.language_functions import (
    close,
    f64,
    numbers,
)


@pytest.mark.filterwarnings("ignore:nl[.].* on hardware")
def test_attention_of_one_head() -> None:
    """Scores, softmax and values, each a function of the language."""

    def kernel(q: Any, k: Any, v: Any) -> Any:
        scores = nl.matmul(nl.load_transpose2d(q), nl.load_transpose2d(k), True)
        weights = nl.softmax(nl.multiply(scores, 1 / math.sqrt(q.shape[1])), axis=1)
        made = nl.matmul(weights, nl.load(v))
        result = nl.ndarray(made.shape, q.dtype, nl.shared_hbm)
        nl.store(result, nl.copy(made))
        return result

    q, k, v = (numbers(shape=(16, 8)) + np.float32(i) / 8 for i in range(3))
    scores = f64(q) @ f64(k).T / math.sqrt(8)
    weights = np.exp(scores - scores.max(1, keepdims=True))
    expected = weights / weights.sum(1, keepdims=True) @ f64(v)
    np.testing.assert_allclose(nki.simulate(kernel)(q, k, v), expected, 1e-4, 1e-4)


def test_layer_norm_by_tiles() -> None:
    """Rows in tiles of the greatest height, the last of them partial."""

    def kernel(x: Any, weight: Any) -> Any:
        result = nl.ndarray(x.shape, x.dtype, nl.shared_hbm)
        scale = nl.broadcast_to(nl.load(weight), (128, x.shape[1]))
        for start in range(0, x.shape[0], nl.tile_size.pmax):
            rows = slice(start, min(start + nl.tile_size.pmax, x.shape[0]))
            tile = nl.load(x[rows])
            mean = nl.mean(tile, axis=1, keepdims=True)
            spread = nl.rsqrt(nl.add(nl.var(tile, axis=1, keepdims=True), 1e-5))
            made = nl.ndarray(tile.shape, nl.float32)
            nisa.tensor_scalar(
                made, tile, nl.subtract, mean, False, nl.multiply, spread
            )
            nl.store(result[rows], nl.multiply(made, scale[: tile.shape[0]]))
        return result

    x, w = numbers(shape=(200, 32)), numbers(shape=(1, 32))
    wide = f64(x)
    expected = (wide - wide.mean(1, keepdims=True)) / np.sqrt(
        wide.var(1, keepdims=True) + 1e-5
    )
    np.testing.assert_allclose(
        nki.simulate(kernel)(x, w), expected * f64(w), 2e-5, 2e-5
    )


@pytest.mark.filterwarnings("ignore:nl[.].* on hardware")
def test_a_mask_by_iota_and_where() -> None:
    def kernel(x: Any) -> Any:
        tile = nl.load(x)
        place = nl.ndarray(tile.shape, nl.float32)
        nisa.iota(place, [[1, tile.shape[1]]], channel_multiplier=-1)
        masked = nl.where(nl.less_equal(place, 0.0), tile, -np.inf)
        result = nl.ndarray(x.shape, x.dtype, nl.shared_hbm)
        nl.store(result, nl.softmax(masked))
        return result

    x = numbers(shape=(6, 6))
    powers = np.tril(np.exp(f64(x)))
    close(nki.simulate(kernel)(x), powers / powers.sum(1, keepdims=True))


def test_addition_by_tiles() -> None:
    """Two matrices of several tiles, each loaded, added and stored."""

    def kernel(a: Any, b: Any) -> Any:
        result = nl.ndarray(a.shape, a.dtype, buffer=nl.shared_hbm)
        for i in range(a.shape[0] // 128):
            for j in range(a.shape[1] // 64):
                part = (slice(i * 128, (i + 1) * 128), nl.ds(j * 64, 64))
                nl.store(result[part], nl.add(nl.load(a[part]), nl.load(b[part])))
        return result

    a, b = numbers(shape=(256, 128)), numbers(shape=(256, 128))[::-1].copy()
    np.testing.assert_array_equal(nki.simulate(kernel)(a, b), a + b)


def test_free_dimensions_are_exchanged() -> None:
    """Each row's matrix transposed: copies with two views of a partition."""

    def kernel(x: Any, rows: int) -> Any:
        tile = nl.load(x)
        columns = x.shape[1] // rows
        made = nl.ndarray(tile.shape, tile.dtype)
        for i in range(rows):
            for j in range(columns):
                made[:, j * rows + i] = tile[:, i * columns + j]
        nl.store(x, made)
        return x

    x = numbers(shape=(3, 12))
    expected = x.reshape(3, 3, 4).transpose(0, 2, 1).reshape(3, 12)
    np.testing.assert_array_equal(nki.simulate(kernel)(x.copy(), 3), expected)


def test_pooling_by_an_access_pattern() -> None:
    """The mean of windows: five dimensions of a view, the last two summed."""

    def kernel(x: Any, size: int) -> Any:
        tile = nl.load(x)
        channels, height, width = x.shape
        windows = tile.ap(
            [
                [height * width, channels],
                [size * width, height // size],
                [size, width // size],
                [width, size],
                [1, size],
            ]
        )
        pooled = nl.multiply(nl.sum(windows, axis=[3, 4]), 1 / (size * size))
        result = nl.ndarray(pooled.shape, x.dtype, nl.shared_hbm)
        nl.store(result, pooled)
        return result

    x = numbers(shape=(5, 6, 8))
    expected = f64(x).reshape(5, 3, 2, 4, 2).mean((2, 4))
    close(nki.simulate(kernel)(x, 2), expected)


@pytest.mark.filterwarnings("ignore:nl[.].* on hardware")
def test_rms_norm_with_a_row_of_weights() -> None:
    def kernel(x: Any, weight: Any) -> Any:
        tile = nl.load(x)
        weights = nl.broadcast_to(nl.load(weight), tile.shape)
        result = nl.ndarray(x.shape, x.dtype, nl.shared_hbm)
        nl.store(result, nl.rms_norm(tile, weights, axis=1, n=x.shape[1]))
        return result

    x, w = numbers(shape=(8, 16)), numbers(shape=(1, 16))
    wide = f64(x)
    root = np.sqrt((wide**2).mean(1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(
        nki.simulate(kernel)(x, w), wide / root * f64(w), 1e-5, 1e-5
    )


def test_products_of_blocks_add_up_in_the_psum() -> None:
    """The inner dimension in tiles: products of each are added to one tile."""

    def kernel(left: Any, right: Any) -> Any:
        rows, columns = left.shape[1], right.shape[1]
        total = nl.ndarray((rows, columns), nl.float32, buffer=nl.psum)
        for k in range(left.shape[0] // nl.tile_size.pmax):
            part = nl.ds(k * nl.tile_size.pmax, nl.tile_size.pmax)
            nisa.nc_matmul(total, nl.load(left[part]), nl.load(right[part]))
        result = nl.ndarray((rows, columns), left.dtype, nl.shared_hbm)
        nl.store(result, nl.copy(total, dtype=left.dtype))
        return result

    left, right = numbers(shape=(256, 16)), numbers(shape=(256, 24))
    np.testing.assert_allclose(
        nki.simulate(kernel)(left, right), f64(left).T @ f64(right), 1e-4, 1e-4
    )


def test_a_running_softmax() -> None:
    """Tiles of a row one after another, with the greatest and the sum so far."""

    def kernel(x: Any) -> Any:
        width = 8
        rows = x.shape[0]
        top = nl.full((rows, 1), -np.inf, nl.float32)
        total = nl.zeros((rows, 1), nl.float32)
        for start in range(0, x.shape[1], width):
            tile = nl.load(x[:, nl.ds(start, width)])
            higher = nl.maximum(top, nl.max(tile, axis=1, keepdims=True))
            powers = nl.ndarray(tile.shape, nl.float32)
            nisa.activation(powers, nl.exp, tile, bias=nl.negative(higher))
            shrunk = nl.multiply(total, nl.exp(nl.subtract(top, higher)))
            total = nl.add(shrunk, nl.sum(powers, axis=1, keepdims=True))
            top = higher
        result = nl.ndarray((rows, 1), nl.float32, nl.shared_hbm)
        nl.store(result, nl.add(top, nl.log(total)))
        return result

    x = numbers(shape=(4, 32))
    close(nki.simulate(kernel)(x), np.log(np.exp(f64(x)).sum(1, keepdims=True)))
