# SPDX-License-Identifier: MIT-0
"""Softmax over rows."""

import nki
import nki.isa as nisa
import nki.language as nl


@nki.jit
def softmax(x):
    """``exp(x - max) / sum(exp(x - max))`` of each row.

    Args:
        x: (rows, columns), float32 or bfloat16; a row fits a partition of the SBUF.

    Returns:
        The same shape and dtype.
    """
    rows, columns = x.shape
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    for row in range(0, rows, nl.tile_size.pmax):
        height = min(nl.tile_size.pmax, rows - row)
        tile = nl.ndarray((height, columns), x.dtype)
        nisa.dma_copy(tile, x[row : row + height, :])
        # exp takes "scale * x + bias": the largest is subtracted on the way.
        bias = nl.ndarray((height, 1), nl.float32)
        nisa.tensor_reduce(bias, nl.maximum, tile, axis=1, negate=True)
        powers = nl.ndarray((height, columns), nl.float32)
        total = nl.ndarray((height, 1), nl.float32)
        nisa.activation_reduce(powers, nl.exp, tile, nl.add, total, bias)
        nisa.reciprocal(total, total)
        nisa.tensor_scalar(tile, powers, nl.multiply, total)
        nisa.dma_copy(result[row : row + height, :], tile)
    return result
