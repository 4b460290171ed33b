# SPDX-License-Identifier: MIT-0
"""A layer of a decoder in NumPy, whose norms, attention and products are kernels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from nki_simulator.src.reference.attention import flash_fwd
from nki_simulator.src.reference.rotary import rotary_embedding
from nki_simulator.src.tutorials.matrix_multiplication import matmul_hoisted
from nki_simulator.src.tutorials.rmsnorm import rmsnorm
from nki_simulator.test import expected

HEADS, D = 4, 128
TOKENS, WIDTH, HIDDEN = 128, HEADS * D, 1024


class Weights(NamedTuple):
    """Of one layer: those of norms are (WIDTH,), the others (inputs, outputs)."""

    norm1: Any
    query: Any
    key: Any
    value: Any
    output: Any
    norm2: Any
    up: Any
    down: Any


class Kernels(NamedTuple):
    """What the layer is made of."""

    rmsnorm: Any
    rotary_embedding: Any
    attention: Any
    matmul: Any


def layer(kernels: Kernels, x: Any, cos: Any, sin: Any, weights: Weights) -> Any:
    """Norm, attention and MLP of tokens (TOKENS, WIDTH), each added to what it is of.

    Args:
        kernels: functions on arrays.
        x: the tokens.
        cos: (TOKENS, D / 2): of the angles of each position.
        sin: (TOKENS, D / 2).
        weights: the layer's.
    """

    def heads(matrix: Any) -> Any:
        return np.reshape(kernels.matmul(normed.T, matrix), (TOKENS, HEADS, D))

    normed = kernels.rmsnorm(x, weights.norm1)
    q, k = (
        kernels.rotary_embedding(heads(matrix), cos, sin)
        for matrix in (weights.query, weights.key)
    )
    q, k = (np.transpose(t, (1, 2, 0))[None] for t in (q, k))
    v = np.transpose(heads(weights.value), (1, 0, 2))[None]
    mixed = np.transpose(kernels.attention(q, k, v), (0, 2, 1, 3))
    x = x + kernels.matmul(np.reshape(mixed, (TOKENS, WIDTH)).T, weights.output)
    hidden = kernels.matmul(kernels.rmsnorm(x, weights.norm2).T, weights.up)
    hidden = hidden / (1 + np.exp(-hidden))
    return x + kernels.matmul(hidden.T, weights.down)


def _causal_attention(q: Any, k: Any, v: Any) -> Any:
    return flash_fwd(q, k, v, causal=True)


#: The layer's parts as kernels, and in NumPy.
SAMPLES = Kernels(rmsnorm, rotary_embedding, _causal_attention, matmul_hoisted)
IN_NUMPY = Kernels(
    expected.rmsnorm,
    expected.rotary_embedding,
    lambda q, k, v: expected.attention(q, k, v, causal=True),
    lambda lhs_t, rhs: lhs_t.T @ rhs,
)


def decoder_layer(x: Any, cos: Any, sin: Any, weights: Weights) -> Any:
    """The layer of the sample kernels."""
    return layer(SAMPLES, x, cos, sin, weights)


def arguments(dtype: Any) -> tuple[Any, ...]:
    """Tokens, angles and weights."""
    rng = np.random.default_rng(0)

    def matrix(rows: int, columns: int) -> np.ndarray:
        values = rng.standard_normal((rows, columns)) / np.sqrt(rows)
        return values.astype(np.float32).astype(dtype)

    square = [matrix(WIDTH, WIDTH) for _ in range(4)]
    norms = [(1 + matrix(1, WIDTH)[0] / 8).astype(dtype) for _ in range(2)]
    up, down = matrix(WIDTH, HIDDEN), matrix(HIDDEN, WIDTH)
    angles = np.arange(TOKENS)[:, None] * 10000.0 ** (-2 * np.arange(D // 2) / D)
    tables = [f(angles).astype(np.float32) for f in (np.cos, np.sin)]
    x = rng.standard_normal((TOKENS, WIDTH)).astype(np.float32).astype(dtype)
    return x, *tables, Weights(norms[0], *square, norms[1], up, down)
