"""Grids of tiles and blocks in ``nki.language``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nki_simulator.tests.language_functions import (
    numbers,
)
from nkipy_nki import NkiValidationError


@pytest.mark.parametrize("shape", [(8, 12), (7, 11), (3, 12)])
def test_a_tensor_is_copied_by_tiles(shape: tuple[int, int]) -> None:
    def kernel(src: Any) -> Any:
        dst = nl.ndarray(src.shape, src.dtype, nl.shared_hbm)
        sources, results = (nl.tiles(t, tile_shape=(4, 5)) for t in (src, dst))
        for i in range(sources.shape[0]):
            for j in range(sources.shape[1]):
                tile = nl.ndarray(sources[i, j].element_shape, src.dtype)
                nisa.dma_copy(dst=tile.data, src=sources[i, j].data)
                nisa.dma_copy(results[i][j], tile)
        return dst

    x = numbers(shape=shape)
    np.testing.assert_array_equal(nki.simulate(kernel)(x), x)


def test_what_a_grid_tells() -> None:
    def kernel(src: Any) -> Any:
        grid = nl.tiles(src, tile_shape=(4, 5))
        assert isinstance(grid, nl.NkiTileGrid) and isinstance(grid, nl.NkiGrid)
        assert grid.shape == (2, 2, 3)
        assert grid.element_shape == (2, 7, 11)
        assert grid.index_step_elements == (1, 4, 5)
        assert (grid.dtype, grid.buffer) == (src.dtype, src.buffer)
        assert grid.is_remainder and not grid[0, 0, 0].is_remainder
        last = grid[1, -1, -1]
        assert (last.shape, last.element_shape) == ((), (3, 1))
        assert last.is_remainder and last.data.shape == (3, 1)
        row = grid[1, 0]
        assert (row.shape, row.element_shape, row.data.shape) == (
            (3,),
            (4, 11),
            (4, 11),
        )
        assert grid[0, :, 1:].element_shape == (7, 6)
        assert grid[..., 2].element_shape == (2, 7, 1)
        apart = grid[0, :, ::2]
        assert apart.shape == (2, 2) and apart.index_step_elements == (4, 10)
        assert apart.element_shape == (7, 6)
        assert not apart.is_data_representable
        with pytest.raises(ValueError, match="not one view"):
            apart.data  # noqa: B018
        for index in ((2,), (0, 0, 3), (0, 0, 0, 0)):
            with pytest.raises(NkiValidationError, match="a grid"):
                grid[index]
        return src

    nki.simulate(kernel)(numbers(shape=(2, 7, 11)))


def test_blocks_of_tiles() -> None:
    def kernel(src: Any) -> Any:
        dst = nl.ndarray(src.shape, src.dtype, nl.shared_hbm)
        shapes = {"tile_shape": (2, 3), "block_shape": (2, 2)}
        sources, results = nl.blocks(src, **shapes), nl.blocks(dst, **shapes)
        assert sources.shape == (2, 2) and sources.block_shape == (2, 2)
        assert sources.index_step_elements == (4, 6)
        assert sources[1, 1].element_shape == (3, 5)
        for i in range(2):
            for j in range(2):
                into = nl.tiles(results[i, j])
                tiles = nl.tiles(sources[i, j])
                assert isinstance(tiles, nl.NkiTileGrid) and tiles.tile_shape == (2, 3)
                for k in range(tiles.shape[0]):
                    for m in range(tiles.shape[1]):
                        nl.store(into[k, m], nl.load(tiles[k, m]))
        assert nl.blocks(
            nl.tiles(src, tile_shape=(2, 3)), block_shape=(1, 4)
        ).shape == (
            4,
            1,
        )
        return dst

    x = numbers(shape=(7, 11))
    np.testing.assert_array_equal(nki.simulate(kernel)(x), x)


@pytest.mark.parametrize("buffer", [nl.sbuf, nl.private_hbm])
def test_new_storage_of_tiles(buffer: Any) -> None:
    def kernel(src: Any) -> Any:
        dst = nl.ndarray(src.shape, src.dtype, nl.shared_hbm)
        kept = nl.alloc_blocks(
            tile_shape=(4, 5),
            block_shape=(1, 2),
            element_shape=(7, 11),
            buffer=buffer,
            dtype=src.dtype,
        )
        assert kept.shape == (2, 2) and kept.element_shape == (7, 11)
        sources, results = (nl.tiles(t, tile_shape=(4, 5)) for t in (src, dst))
        inner = nl.tiles(kept)
        for i in range(2):
            for j in range(3):
                nisa.dma_copy(inner[i, j], sources[i, j])
        for i in range(2):  # whole rows
            nisa.dma_copy(results[i], inner[i])
        return dst

    x = numbers(shape=(7, 11))
    np.testing.assert_array_equal(nki.simulate(kernel)(x), x)


def test_what_grids_refuse() -> None:
    def kernel(src: Any) -> Any:
        for error, call in [
            (TypeError, lambda: nl.tiles(src)),
            (TypeError, lambda: nl.tiles(3, tile_shape=(2, 2))),
            (TypeError, lambda: nl.tiles(src, tile_shape=[2, 2])),
            (ValueError, lambda: nl.tiles(src, tile_shape=(2,))),
            (ValueError, lambda: nl.tiles(src, tile_shape=(2, 0))),
            (ValueError, lambda: nl.tiles(src, tile_shape=(2, 2, 2))),
            (ValueError, lambda: nl.blocks(src, tile_shape=(2, 2), block_shape=(2,))),
        ]:
            with pytest.raises(error):
                call()
        kept = nl.alloc_tiles(
            tile_shape=(2, 3), element_shape=(4, 6), buffer=nl.sbuf, dtype=nl.float32
        )
        assert not kept.is_data_representable and kept[0].is_data_representable
        with pytest.raises(TypeError):
            nl.alloc_tiles(
                tile_shape=(2, 3), element_shape=(4, 6), buffer="sbuf", dtype=nl.float32
            )
        return src

    nki.simulate(kernel)(numbers())
