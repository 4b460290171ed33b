# SPDX-License-Identifier: MIT-0
"""What the sample kernels compute, in NumPy and float32, and how near they are."""

from __future__ import annotations

import ml_dtypes
import numpy as np

BFLOAT16 = ml_dtypes.bfloat16
DTYPES = (np.float32, BFLOAT16)


def numbers(*shape: int, dtype: type = np.float32, seed: int = 0) -> np.ndarray:
    """Values of a normal distribution."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def wide(*arrays: np.ndarray) -> list[np.ndarray]:
    return [np.asarray(array).astype(np.float32) for array in arrays]


def check(result: np.ndarray, expected: np.ndarray, dtype: type) -> None:
    """The result has the dtype, and is as near as that allows."""
    assert result.dtype == dtype and result.shape == expected.shape
    limit = 2e-5 if dtype is np.float32 else 2e-2
    largest = float(np.abs(expected).max())
    np.testing.assert_allclose(
        wide(result)[0], expected, rtol=limit, atol=limit * largest
    )


def softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def attention(q, k, v, scale=None, causal=False):
    """Of the layouts of `flash_fwd`, heads of k and v repeated."""
    group = q.shape[1] // k.shape[1]
    values = np.repeat(wide(v)[0], group, axis=1)
    return softmax(scores(q, k, scale, causal)) @ values


def scores(q, k, scale=None, causal=False):
    """What softmax is taken of: -inf where a query does not see a key."""
    q, k = wide(q, k)
    k = np.repeat(k, q.shape[1] // k.shape[1], axis=1)
    made = q.swapaxes(-1, -2) @ k * (q.shape[2] ** -0.5 if scale is None else scale)
    if causal:
        made = np.where(np.tri(q.shape[3], dtype=bool), made, -np.inf)
    return made


def rmsnorm(x, weight, epsilon=1e-6):
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + epsilon) * weight


def layernorm(x, weight, bias, epsilon=1e-5):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt(x.var(axis=-1, keepdims=True) + epsilon) * weight + bias


def rotary_embedding(x, cos, sin):
    pairs = x[..., : x.shape[-1] // 2] + 1j * x[..., x.shape[-1] // 2 :]
    turned = pairs * (cos + 1j * sin)[:, None, :]
    return np.concatenate([turned.real, turned.imag], axis=-1).astype(np.float32)


def mamba_scan(x, delta, a, b, c):
    """Step by step."""
    h = np.zeros(a.shape, np.float32)
    result = np.empty_like(x)
    for t in range(x.shape[1]):
        step = delta[:, t, None]
        h = np.exp(step * a) * h + step * x[:, t, None] * b[:, t]
        result[:, t] = h @ c[:, t]
    return result
