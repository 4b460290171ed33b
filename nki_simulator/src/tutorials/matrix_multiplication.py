# SPDX-License-Identifier: MIT-0
"""
Multiplying matrices
====================

The same product in five kernels, each of which does something about what limits the one
before it. All take the left matrix transposed, ``lhs_t`` of (K, M), since the tensor
engine sums over partitions, and that is where K must be; ``rhs`` is (K, N).
"""

import ml_dtypes
import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np

#: The largest tiles of one product: K and M are 128, N is 512.
TILE_K, TILE_M, TILE_N = 128, 128, 512

# %%
# One product
# -----------
#
# ``nisa.nc_matmul`` multiplies a *stationary* tile (K, M), which the engine holds, with
# a *moving* one (K, N), which streams through it, into the PSUM. From there, another
# engine copies the result to the SBUF, and DMA takes it to HBM.


@nki.jit
def matmul_basic(lhs_t, rhs):
    """``lhs_t.T @ rhs`` of K and M up to 128 and N up to 512."""
    (k, m), n = lhs_t.shape, rhs.shape[1]
    result = nl.ndarray((m, n), lhs_t.dtype, buffer=nl.shared_hbm)
    left = nl.ndarray((k, m), lhs_t.dtype, buffer=nl.sbuf)
    nisa.dma_copy(left, lhs_t)
    right = nl.ndarray((k, n), rhs.dtype, buffer=nl.sbuf)
    nisa.dma_copy(right, rhs)
    product = nl.ndarray((m, n), nl.float32, buffer=nl.psum)
    nisa.nc_matmul(product, left, right)
    _store(result, product)
    return result


def _store(result, product):
    tile = nl.ndarray(product.shape, result.dtype, buffer=nl.sbuf)
    nisa.tensor_copy(tile, product)
    nisa.dma_copy(result, tile)


# %%
# Tiles
# -----
#
# Larger matrices are products of tiles. Those along K are summed where they come out:
# the first product into a tile of the PSUM writes to it, the others add.


@nki.jit
def matmul_tiled(lhs_t, rhs):
    """``lhs_t.T @ rhs`` tile by tile; each is loaded for each product."""
    result, k, m, n = _begin(lhs_t, rhs, TILE_K, TILE_M, TILE_N)
    for row in range(0, m, TILE_M):
        for column in range(0, n, TILE_N):
            product = nl.ndarray((TILE_M, TILE_N), nl.float32, buffer=nl.psum)
            for at in range(0, k, TILE_K):
                left = nl.ndarray((TILE_K, TILE_M), lhs_t.dtype)
                nisa.dma_copy(left, lhs_t[at : at + TILE_K, row : row + TILE_M])
                right = nl.ndarray((TILE_K, TILE_N), rhs.dtype)
                nisa.dma_copy(right, rhs[at : at + TILE_K, column : column + TILE_N])
                nisa.nc_matmul(product, left, right)
            _store(result[row : row + TILE_M, column : column + TILE_N], product)
    return result


def _begin(lhs_t, rhs, block_k, block_m, block_n):
    """The result, K, M and N, which must be multiples of a block's."""
    (k, m), n = lhs_t.shape, rhs.shape[1]
    if rhs.shape[0] != k or k % block_k or m % block_m or n % block_n:
        raise ValueError(
            f"lhs_t has the shape {lhs_t.shape} and rhs {rhs.shape}: K, M and N must "
            f"be multiples of {block_k}, {block_m} and {block_n}"
        )
    return nl.ndarray((m, n), lhs_t.dtype, buffer=nl.shared_hbm), k, m, n


# %%
# Loads out of loops
# ------------------
#
# That kernel waits for its transfers. The left tiles are the same for all columns of
# the result: loaded once for each row, they are not transferred again. Also, all tiles
# along K come with one instruction: a view splits K into the partitions and a free
# dimension.


@nki.jit
def matmul_hoisted(lhs_t, rhs):
    """The same; the left tiles are loaded once for each row of the result."""
    result, k, m, n = _begin(lhs_t, rhs, TILE_K, TILE_M, TILE_N)
    for row in range(0, m, TILE_M):
        left = _load(lhs_t[:, row : row + TILE_M])
        for column in range(0, n, TILE_N):
            right = _load(rhs[:, column : column + TILE_N])
            product = _product(left, right, 0, 0)
            _store(result[row : row + TILE_M, column : column + TILE_N], product)
    return result


def _load(matrix):
    """(K, columns) in HBM as (128, K / 128, columns) in the SBUF."""
    k, columns = matrix.shape
    tile = nl.ndarray((TILE_K, k // TILE_K, columns), matrix.dtype)
    nisa.dma_copy(tile, matrix.reshape_dim(0, (k // TILE_K, TILE_K)).permute((1, 0, 2)))
    return tile


def _product(left, right, row, column):
    """The product of a tile's columns of two loads, summed over all of their K."""
    product = nl.ndarray((TILE_M, TILE_N), nl.float32, buffer=nl.psum)
    for at in range(left.shape[1]):
        nisa.nc_matmul(
            product,
            left[:, at, row : row + TILE_M],
            right[:, at, column : column + TILE_N],
        )
    return product


# %%
# Blocks of rows and columns
# --------------------------
#
# The right matrix is still loaded once for each row of tiles. With blocks of several
# rows and columns of tiles, each load serves several of them. How large a block may be,
# the SBUF says: it must hold all of K for both.

BLOCK_M, BLOCK_N = 4 * TILE_M, 2 * TILE_N


@nki.jit
def matmul_blocked(lhs_t, rhs):
    """The same by blocks of 512 by 1,024 elements of the result."""
    result, k, m, n = _begin(lhs_t, rhs, TILE_K, BLOCK_M, BLOCK_N)
    for block_row in range(0, m, BLOCK_M):
        left = _load(lhs_t[:, block_row : block_row + BLOCK_M])
        for block_column in range(0, n, BLOCK_N):
            right = _load(rhs[:, block_column : block_column + BLOCK_N])
            for row in range(0, BLOCK_M, TILE_M):
                for column in range(0, BLOCK_N, TILE_N):
                    top, start = block_row + row, block_column + column
                    _store(
                        result[top : top + TILE_M, start : start + TILE_N],
                        _product(left, right, row, column),
                    )
    return result


# %%
# Blocks of all three
# -------------------
#
# If K is long, its blocks do not fit. So K has blocks, too: the sums of each block are
# added to tiles in the SBUF, of a whole block of columns of the result, which are
# written once, when all of K is in them. Now the right matrix is loaded once for all.

BLOCK_K = 4 * TILE_K


@nki.jit
def matmul_fully_blocked(lhs_t, rhs):
    """The same by blocks of K, M and N."""
    result, k, m, n = _begin(lhs_t, rhs, BLOCK_K, BLOCK_M, BLOCK_N)
    for block_column in range(0, n, BLOCK_N):
        sums = [nl.ndarray((TILE_M, BLOCK_N), nl.float32) for _ in range(m // TILE_M)]
        for block in range(0, k, BLOCK_K):
            depth = slice(block, block + BLOCK_K)
            right = _load(rhs[depth, block_column : block_column + BLOCK_N])
            for block_row in range(0, m, BLOCK_M):
                left = _load(lhs_t[depth, block_row : block_row + BLOCK_M])
                for row in range(0, BLOCK_M, TILE_M):
                    for column in range(0, BLOCK_N, TILE_N):
                        total = sums[(block_row + row) // TILE_M]
                        total = total[:, column : column + TILE_N]
                        product = _product(left, right, row, column)
                        if block == 0:
                            nisa.tensor_copy(total, product)
                        else:
                            nisa.tensor_tensor(total, total, product, op=nl.add)
        for tile, total in enumerate(sums):
            top = tile * TILE_M
            columns = slice(block_column, block_column + BLOCK_N)
            _store(result[top : top + TILE_M, columns], total)
    return result


# %%
# Running them
# ------------
#
# All give the same product. What blocks save is transfers, until the tensor engine, and
# not DMA, has the most work. Blocks of K cost the vector engine additions, and are
# worth it if K is long.

STAGES = (matmul_tiled, matmul_hoisted, matmul_blocked, matmul_fully_blocked)

if __name__ == "__main__":
    rng = np.random.default_rng(0)
    lhs_t, rhs = rng.integers(-4, 5, (2, 2048, 1024)).astype(ml_dtypes.bfloat16)
    expected = lhs_t.astype(np.float32).T @ rhs.astype(np.float32)
    expected = expected.astype(ml_dtypes.bfloat16)
    one = matmul_basic(lhs_t[:128, :128].copy(), rhs[:128, :512].copy())
    assert one.shape == (128, 512)
    for kernel in STAGES:
        run = nki.simulate(kernel, target="trn2").run(lhs_t, rhs)
        np.testing.assert_array_equal(run.values, expected)
        report = run.report()
        print(
            f"{kernel.__name__:22}{report.total / 1e3:9.1f} us (estimate), "
            f"{report.dma_bytes / 2**20:6.1f} MiB transferred"
        )
