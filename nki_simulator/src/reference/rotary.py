# SPDX-License-Identifier: MIT-0
"""Rotary embedding of positions: Su et al., arXiv:2104.09864.

The pairs that are rotated are an element of a head's first half and the one of its
second half, as in Llama.
"""

import nki
import nki.isa as nisa
import nki.language as nl


@nki.jit
def rotary_embedding(x, cos, sin):
    """Each pair ``(a, b)`` rotated: ``(a cos - b sin, b cos + a sin)``.

    Args:
        x: (tokens, heads, d), d even; float32 or bfloat16.
        cos: (tokens, d / 2), float32: of each token's angles.
        sin: (tokens, d / 2), float32.

    Returns:
        The shape and dtype of `x`.

    Raises:
        ValueError: the shapes do not fit.
    """
    tokens, heads, d = x.shape
    half = d // 2
    if d % 2 or tuple(cos.shape) != (tokens, half) or cos.shape != sin.shape:
        raise ValueError(f"cos has the shape {cos.shape}, sin {sin.shape}, x {x.shape}")
    result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
    for token in range(0, tokens, nl.tile_size.pmax):
        height = min(nl.tile_size.pmax, tokens - token)
        rows = slice(token, token + height)
        tile = nl.ndarray((height, heads, d), x.dtype)
        nisa.dma_copy(tile, x[rows, :, :])
        angles = [_for_all_heads(table, rows, height, heads) for table in (cos, sin)]
        out = nl.ndarray((height, heads, d), x.dtype)
        first, second = tile[:, :, 0:half], tile[:, :, half:d]
        _rotate(out[:, :, 0:half], first, second, *angles, nl.subtract)
        _rotate(out[:, :, half:d], second, first, *angles, nl.add)
        nisa.dma_copy(result[rows, :, :], out)
    return result


def _for_all_heads(table, rows, height, heads):
    """Rows of a table, loaded once, and seen once for each head."""
    half = table.shape[1]
    tile = nl.ndarray((height, 1, half), table.dtype)
    nisa.dma_copy(tile, table[rows, :])
    return tile.broadcast(1, heads)


def _rotate(out, own, other, cos, sin, op):
    """``out = op(own * cos, other * sin)``."""
    kept = nl.ndarray(own.shape, nl.float32)
    nisa.tensor_tensor(kept, own, cos, nl.multiply)
    moved = nl.ndarray(own.shape, nl.float32)
    nisa.tensor_tensor(moved, other, sin, nl.multiply)
    nisa.tensor_tensor(out, kept, moved, op)
