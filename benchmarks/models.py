"""The kernels that benchmarks time, for any module with NumPy's interface."""

from __future__ import annotations

from typing import Any

import numpy as np

Params = dict[str, np.ndarray]


def softmax(xp: Any, x: Any) -> Any:
    """Softmax over the last axis."""
    e = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
    return e / xp.sum(e, axis=-1, keepdims=True)


def rms_norm(xp: Any, x: Any, weight: Any) -> Any:
    """Root-mean-square normalisation over the last axis."""
    scale = xp.sqrt(xp.mean(x * x, axis=-1, keepdims=True) + 1e-5)
    return x / scale * weight


def rotate(xp: Any, x: Any, cos: Any, sin: Any) -> Any:
    """Rotary position embedding of (batch, heads, seq, head)."""
    half = x.shape[-1] // 2
    left, right = x[..., :half], x[..., half:]
    return xp.concatenate([left * cos - right * sin, left * sin + right * cos], axis=-1)


def attention(xp: Any, x: Any, p: Any, cos: Any, sin: Any, heads: int) -> Any:
    """Causal multi-head attention of (batch, seq, model)."""
    batch, seq, model = x.shape

    def split(y: Any) -> Any:
        return xp.transpose(
            xp.reshape(y, (batch, seq, heads, model // heads)), (0, 2, 1, 3)
        )

    q, k, v = (split(x @ p[name]) for name in ("wq", "wk", "wv"))
    q, k = rotate(xp, q, cos, sin), rotate(xp, k, cos, sin)
    scores = q @ xp.swapaxes(k, -1, -2) / (model // heads) ** 0.5
    scores = xp.where(xp.asarray(np.tri(seq, dtype=bool)), scores, -1e9)
    mixed = softmax(xp, scores) @ v
    return xp.reshape(xp.transpose(mixed, (0, 2, 1, 3)), (batch, seq, model)) @ p["wo"]


def block(xp: Any, x: Any, p: Any, cos: Any, sin: Any, heads: int) -> Any:
    """A pre-norm transformer block with a gated feed-forward layer."""
    x = x + attention(xp, rms_norm(xp, x, p["norm1"]), p, cos, sin, heads)
    h = rms_norm(xp, x, p["norm2"])
    gate = h @ p["gate"]
    return x + (gate / (1.0 + xp.exp(-gate)) * (h @ p["up"])) @ p["down"]


def transformer(xp: Any, x: Any, layers: Any, cos: Any, sin: Any, heads: int) -> Any:
    """Blocks one after the other, and a last norm."""
    for p in layers:
        x = block(xp, x, p, cos, sin, heads)
    return rms_norm(xp, x, layers[0]["norm1"])


def block_params(model: int, seed: int = 0) -> Params:
    """Random weights of a block of width `model`."""
    rng = np.random.default_rng(seed)
    shapes = dict.fromkeys(("wq", "wk", "wv", "wo"), (model, model))
    shapes |= {"gate": (model, 4 * model), "up": (model, 4 * model)}
    shapes |= {"down": (4 * model, model)}
    params = {
        name: (rng.standard_normal(shape) / shape[0] ** 0.5).astype(np.float32)
        for name, shape in shapes.items()
    }
    return params | {n: np.ones(model, np.float32) for n in ("norm1", "norm2")}


def rotary(seq: int, head: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines of (seq, head / 2) angles."""
    angles = np.outer(np.arange(seq), 10000.0 ** (-np.arange(0, head, 2) / head))
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
