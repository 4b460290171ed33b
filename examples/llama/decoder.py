"""A Llama-style decoder layer in plain NumPy, for one step of generation.

Rotary embedding, grouped-query attention, a key/value cache that each step writes into,
RMS normalisation and a gated feed-forward layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Config:
    """Sizes of the layer."""

    model: int = 64
    heads: int = 8
    kv_heads: int = 2
    hidden: int = 160
    context: int = 32
    eps: float = 1e-5
    theta: float = 10_000.0

    @property
    def head(self) -> int:
        return self.model // self.heads


@dataclass
class Weights:
    """Weights of the layer; projections are (in, out)."""

    wq: np.ndarray
    wk: np.ndarray
    wv: np.ndarray
    wo: np.ndarray
    gate: np.ndarray
    up: np.ndarray
    down: np.ndarray
    attention_norm: np.ndarray
    ffn_norm: np.ndarray


@dataclass
class Cache:
    """Keys and values of the positions so far, (batch, context, kv_heads, head)."""

    k: np.ndarray
    v: np.ndarray


def init_weights(config: Config, seed: int = 0) -> Weights:
    """Random float32 weights."""
    rng = np.random.default_rng(seed)

    def weight(rows: int, columns: int) -> np.ndarray:
        return (rng.standard_normal((rows, columns)) / rows**0.5).astype(np.float32)

    kv = config.kv_heads * config.head
    return Weights(
        wq=weight(config.model, config.model),
        wk=weight(config.model, kv),
        wv=weight(config.model, kv),
        wo=weight(config.model, config.model),
        gate=weight(config.model, config.hidden),
        up=weight(config.model, config.hidden),
        down=weight(config.hidden, config.model),
        attention_norm=np.ones(config.model, np.float32),
        ffn_norm=np.ones(config.model, np.float32),
    )


def init_cache(config: Config, batch: int) -> Cache:
    """An empty cache."""
    shape = (batch, config.context, config.kv_heads, config.head)
    return Cache(np.zeros(shape, np.float32), np.zeros(shape, np.float32))


def rotary_table(config: Config) -> np.ndarray:
    """Angles (context, head / 2) by which each position turns each pair."""
    frequency = config.theta ** (-np.arange(0, config.head, 2) / config.head)
    return np.outer(np.arange(config.context), frequency).astype(np.float32)


def rms_norm(x, weight, eps):
    """`x` scaled to a root mean square of one over its last axis, times `weight`."""
    return x / np.sqrt(np.mean(np.square(x), axis=-1, keepdims=True) + eps) * weight


def rotate(x, angles):
    """Turn the pairs (i, i + head / 2) of (batch, heads, head) by `angles`."""
    cos, sin = np.cos(angles), np.sin(angles)
    left, right = np.split(x, 2, axis=-1)
    return np.concatenate([left * cos - right * sin, left * sin + right * cos], axis=-1)


def attend(q, cache, position, config):
    """Attention of q (batch, heads, head) over the cache up to `position`."""
    group = config.heads // config.kv_heads
    k = np.repeat(cache.k, group, axis=2)
    v = np.repeat(cache.v, group, axis=2)
    scores = np.einsum("bhd,bthd->bht", q, k) / config.head**0.5
    seen = np.arange(config.context) <= position
    scores = np.where(seen, scores, np.float32(-1e9))
    weights = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
    weights = weights / np.sum(weights, axis=-1, keepdims=True)
    return np.einsum("bht,bthd->bhd", weights, v)


def whole(part):
    """The sum over all ranks, where there is one."""
    return part


def decoder_layer(x, weights, cache, angles, position, config, total=whole):
    """One token through the layer; its key and value go into `cache`, in place.

    A rank may have some of the heads and of the hidden units only, in weights and
    cache.

    Args:
        x: hidden state (batch, model).
        weights: the layer's :class:`Weights`.
        cache: the layer's :class:`Cache`, written at `position`.
        angles: :func:`rotary_table`.
        position: index of the token, an int32 0-d array: traced, so that one program
            serves all positions.
        config: sizes of the whole layer; static.
        total: what adds up the (batch, model) arrays of all ranks.

    Returns:
        The new hidden state (batch, model).
    """
    batch, kv_heads = x.shape[0], cache.k.shape[2]
    heads = kv_heads * config.heads // config.kv_heads
    h = rms_norm(x, weights.attention_norm, config.eps)
    turn = angles[position]
    q = rotate(np.reshape(h @ weights.wq, (batch, heads, config.head)), turn)
    k = rotate(np.reshape(h @ weights.wk, (batch, kv_heads, config.head)), turn)
    cache.k[:, position] = k
    cache.v[:, position] = np.reshape(h @ weights.wv, k.shape)
    mixed = np.reshape(attend(q, cache, position, config), (batch, heads * config.head))
    x = x + total(mixed @ weights.wo)
    h = rms_norm(x, weights.ffn_norm, config.eps)
    gate = h @ weights.gate
    hidden = gate / (1 + np.exp(-gate)) * (h @ weights.up)
    return x + total(hidden @ weights.down)
