# SPDX-License-Identifier: MIT-0
"""
Transposing
===========

Two dimensions change places. It depends on the dimensions what that takes: the free
ones lie in a partition one after the other, and a view exchanges them; the first one is
that of partitions, and only some engines move data across those.
"""

import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np

# %%
# Free dimensions: a view
# -----------------------
#
# Each partition holds a small matrix, row after row. ``permute`` makes a view in which
# its columns come first. No data moves until ``nisa.tensor_copy`` reads through it.


@nki.jit
def transpose_free(x):
    """(P, A, B) as (P, B, A), for any number of rows P."""
    rows, first, second = x.shape
    result = nl.ndarray((rows, second, first), x.dtype, buffer=nl.shared_hbm)
    for row in range(0, rows, nl.tile_size.pmax):
        height = min(nl.tile_size.pmax, rows - row)
        tile = nl.ndarray((height, first, second), x.dtype)
        nisa.dma_copy(tile, x[row : row + height, :, :])
        turned = nl.ndarray((height, second, first), x.dtype)
        nisa.tensor_copy(turned, tile.permute((0, 2, 1)))
        nisa.dma_copy(result[row : row + height, :, :], turned)
    return result


# %%
# Across partitions: the tensor engine
# ------------------------------------
#
# The engine that multiplies matrices transposes up to 128 by 128 elements, into the
# PSUM, from which DMA does not read: the tile is copied to the SBUF first. Four
# transposes fill a bank of the PSUM, and one copy empties it.


@nki.jit
def transpose_2d(x):
    """(M, N) as (N, M)."""
    rows, columns = x.shape
    result = nl.ndarray((columns, rows), x.dtype, buffer=nl.shared_hbm)
    most = nl.tile_size.pmax
    for row in range(0, rows, 4 * most):
        height = min(4 * most, rows - row)
        for column in range(0, columns, most):
            width = min(most, columns - column)
            bank = nl.ndarray((width, height), x.dtype, buffer=nl.psum)
            for part in range(0, height, most):
                end = min(part + most, height)
                tile = nl.ndarray((end - part, width), x.dtype)
                nisa.dma_copy(tile, x[row + part : row + end, column : column + width])
                nisa.nc_transpose(bank[:, part:end], tile, engine=nisa.tensor_engine)
            turned = nl.ndarray((width, height), x.dtype)
            nisa.tensor_copy(turned, bank)
            nisa.dma_copy(result[column : column + width, row : row + height], turned)
    return result


# %%
# Running them
# ------------

if __name__ == "__main__":
    x = np.arange(256 * 600, dtype=np.float32).reshape(256, 600)
    np.testing.assert_array_equal(transpose_2d(x), x.T)
    cubes = x.reshape(256, 20, 30)
    np.testing.assert_array_equal(transpose_free(cubes), cubes.transpose(0, 2, 1))
    print(nki.simulate(transpose_2d, target="trn2").run(x).report().text(lines=4))
