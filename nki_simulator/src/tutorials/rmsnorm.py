# SPDX-License-Identifier: MIT-0
"""
RMS norm
========

Each row divided by the root of the mean of its squares, times a weight for each column:
Zhang and Sennrich, arXiv:1910.07467. Two engines share the work: the scalar engine sums
the squares, the vector engine multiplies.
"""

import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np

# %%
# The kernel
# ----------
#
# ``nisa.activation_reduce`` squares and sums in one pass. ``nisa.activation`` computes
# ``op(scale * data + bias)``, which is the whole of ``rsqrt(sum / n + epsilon)``. And
# ``nisa.scalar_tensor_tensor`` multiplies by a number for each row, and by the weights,
# in one pass.


@nki.jit
def rmsnorm(x, weight, epsilon=1e-6):
    """``x / sqrt(mean(x ** 2) + epsilon) * weight`` for each row.

    Args:
        x: (rows, columns), float32 or bfloat16.
        weight: (columns,).
        epsilon: keeps rows of zeros from being divided by 0.

    Returns:
        The shape and dtype of `x`.
    """
    rows, columns = x.shape
    most = nl.tile_size.pmax
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    weights = nl.ndarray((most, columns), weight.dtype)
    nisa.dma_copy(weights, weight.reshape((1, columns)).broadcast(0, most))
    added = nl.ndarray((most, 1), nl.float32)
    nisa.memset(added, epsilon)
    for row in range(0, rows, most):
        height = min(most, rows - row)
        tile = nl.ndarray((height, columns), x.dtype)
        nisa.dma_copy(tile, x[row : row + height, :])
        squares = nl.ndarray((height, columns), nl.float32)
        total = nl.ndarray((height, 1), nl.float32)
        nisa.activation_reduce(squares, nl.square, tile, nl.add, total)
        inverse = nl.ndarray((height, 1), nl.float32)
        nisa.activation(
            inverse, nl.rsqrt, total, bias=added[0:height, :], scale=1 / columns
        )
        out = nl.ndarray((height, columns), x.dtype)
        nisa.scalar_tensor_tensor(
            out, tile, nl.multiply, inverse, nl.multiply, weights[0:height, :]
        )
        nisa.dma_copy(result[row : row + height, :], out)
    return result


# %%
# Running it
# ----------
#
# The report says what each line adds to the time.

if __name__ == "__main__":
    rng = np.random.default_rng(0)
    x = rng.standard_normal((512, 1024)).astype(np.float32)
    weight = rng.standard_normal(1024).astype(np.float32)
    expected = x / np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-6) * weight
    run = nki.simulate(rmsnorm, target="trn2").run(x, weight)
    np.testing.assert_allclose(run.values, expected, atol=1e-4)
    print(run.report().text(lines=4))
