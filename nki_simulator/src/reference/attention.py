# SPDX-License-Identifier: MIT-0
"""Attention that never holds all of its scores: Dao et al., arXiv:2205.14135.

Scores of 128 queries with some keys are made at a time. What they add to the result is
summed at once, and what was summed before is scaled down whenever a larger score
appears (Milakov and Gimelshein, arXiv:1805.02867).
"""

import math

import nki
import nki.isa as nisa
import nki.language as nl

#: Queries at a time: the partitions of a tile.
QUERIES = 128
#: Keys of one product, whose scores fill a bank of the PSUM.
KEYS = 512
#: Keys whose scores one maximum and one exponential take: four banks of the PSUM.
SPAN = 4 * KEYS
#: What is added to the score of a key that a query does not see.
HIDDEN = -1e30


@nki.jit
def flash_fwd(q, k, v, scale=None, causal=False):
    """``softmax(scale * q.T @ k) @ v`` for each head.

    Args:
        q: (batch, heads, d, queries), d at most 128.
        k: (batch, kv_heads, d, keys); as many query heads in a row share one of these.
        v: (batch, kv_heads, keys, d). The three are of one dtype, float32 or bfloat16;
            queries and keys are multiples of 128.
        scale: above 0; ``1 / sqrt(d)`` if None.
        causal: whether query i sees the keys 0 to i only, of which there are then as
            many as queries.

    Returns:
        (batch, heads, queries, d), of the dtype of `q`.

    Raises:
        ValueError: the shapes, or `scale`, are none of these.
    """
    batch, heads, d, queries = q.shape
    kv_heads, keys = k.shape[1], k.shape[3]
    if tuple(k.shape) != (batch, kv_heads, d, keys) or heads % kv_heads:
        raise ValueError(f"k has the shape {k.shape}, and q {q.shape}")
    if tuple(v.shape) != (batch, kv_heads, keys, d):
        raise ValueError(f"v has the shape {v.shape}, and k {k.shape}")
    if d > 128 or queries % QUERIES or keys % QUERIES or (causal and queries != keys):
        raise ValueError(f"{queries} queries and {keys} keys of {d} elements")
    if scale is None:
        scale = 1 / math.sqrt(d)
    if scale <= 0:
        raise ValueError(f"scale is {scale}, and must be above 0")
    result = nl.ndarray((batch, heads, queries, d), q.dtype, buffer=nl.shared_hbm)
    identity = _identity(q.dtype)
    hidden = _hidden_above_the_diagonal(q.dtype) if causal else None
    for b in range(batch):
        for kv_head in range(kv_heads):
            k_tile, v_tile = _load(k[b, kv_head], v[b, kv_head])
            group = heads // kv_heads
            for head in range(kv_head * group, (kv_head + 1) * group):
                for row in range(0, queries, QUERIES):
                    q_tile = nl.ndarray((d, QUERIES), q.dtype)
                    nisa.dma_copy(q_tile, q[b, head, :, row : row + QUERIES])
                    seen = row + QUERIES if causal else keys
                    out = _attend(q_tile, k_tile, v_tile, seen, scale, identity, hidden)
                    nisa.dma_copy(result[b, head, row : row + QUERIES, :], out)
    return result


def _load(k, v):
    """A head's keys as (d, keys), and its values as (128, keys / 128, d)."""
    (d, keys), blocks = k.shape, k.shape[1] // 128
    k_tile = nl.ndarray((d, keys), k.dtype)
    nisa.dma_copy(k_tile, k)
    v_tile = nl.ndarray((128, blocks, d), v.dtype)
    nisa.dma_copy(v_tile, v.reshape((blocks, 128, d)).permute((1, 0, 2)))
    return k_tile, v_tile


def _attend(q, k, v, seen, scale, identity, hidden):
    """The result of 128 queries, (128, d), over the first `seen` keys."""
    d = q.shape[0]
    largest = nl.ndarray((QUERIES, 1), nl.float32)
    total = nl.ndarray((QUERIES, 1), nl.float32)
    summed = nl.ndarray((QUERIES, d), nl.float32)
    for start in range(0, seen, SPAN):
        width = min(SPAN, seen - start)
        scores = _scores(q, k, start, width)
        if hidden is not None and start + width == seen:
            # The last 128 keys are those of the queries themselves.
            nisa.nc_matmul(scores[:, width - 128 : width], identity, hidden)
        before = largest
        largest = nl.ndarray((QUERIES, 1), nl.float32)
        nisa.tensor_reduce(largest, nl.maximum, scores, axis=1)
        if start:
            nisa.tensor_tensor(largest, largest, before, nl.maximum)
        bias = nl.ndarray((QUERIES, 1), nl.float32)
        nisa.tensor_scalar(bias, largest, nl.multiply, -scale)
        weights = nl.ndarray((QUERIES, width), v.dtype)
        more = nl.ndarray((QUERIES, 1), nl.float32)
        nisa.activation_reduce(weights, nl.exp, scores, nl.add, more, bias, scale)
        product = _weighted(weights, v, start, identity)
        if not start:
            nisa.tensor_copy(total, more)
            nisa.tensor_copy(summed, product)
            continue
        shrunk = nl.ndarray((QUERIES, 1), nl.float32)
        nisa.activation(shrunk, nl.exp, before, bias=bias, scale=scale)
        nisa.scalar_tensor_tensor(total, total, nl.multiply, shrunk, nl.add, more)
        nisa.scalar_tensor_tensor(summed, summed, nl.multiply, shrunk, nl.add, product)
    nisa.reciprocal(total, total)
    out = nl.ndarray((QUERIES, d), q.dtype)
    nisa.tensor_scalar(out, summed, nl.multiply, total)
    return out


def _scores(q, k, start, width):
    """The products of the queries with `width` keys, (128, width) in the PSUM."""
    scores = nl.ndarray((QUERIES, width), nl.float32, buffer=nl.psum)
    for column in range(0, width, KEYS):
        end = min(column + KEYS, width)
        nisa.nc_matmul(scores[:, column:end], q, k[:, start + column : start + end])
    return scores


def _weighted(weights, v, start, identity):
    """``weights @ v``, (128, d) in the PSUM, of the keys from `start` on.

    The tensor engine sums over partitions, and the keys of `weights` are not there: it
    transposes them first, four blocks of 128 for one copy out of the PSUM.
    """
    product = nl.ndarray((QUERIES, v.shape[2]), nl.float32, buffer=nl.psum)
    for column in range(0, weights.shape[1], KEYS):
        width = min(KEYS, weights.shape[1] - column)
        turned = nl.ndarray((128, width), weights.dtype, buffer=nl.psum)
        for block in range(0, width, 128):
            at = column + block
            nisa.nc_transpose(
                turned[:, block : block + 128],
                weights[:, at : at + 128],
                engine=nisa.tensor_engine,
            )
        keys_first = nl.ndarray((128, width), weights.dtype)
        nisa.tensor_copy(keys_first, turned)
        for block in range(0, width, 128):
            nisa.nc_matmul(
                product,
                keys_first[:, block : block + 128],
                v[:, (start + column + block) // 128, :],
            )
    return product


def _identity(dtype):
    """Ones on the diagonal, (128, 128) in the SBUF."""
    ones = nl.ndarray((128, 128), dtype)
    nisa.memset(ones, 1.0)
    identity = nl.ndarray((128, 128), dtype)
    nisa.affine_select(
        identity,
        pattern=[[-1, 128]],
        channel_multiplier=1,
        on_true_tile=ones,
        on_false_value=0.0,
        cmp_op=nl.equal,
    )
    return identity


def _hidden_above_the_diagonal(dtype):
    """Zeros where query p sees key f, f <= p, and `HIDDEN` elsewhere."""
    zeros = nl.ndarray((128, 128), dtype)
    nisa.memset(zeros, 0.0)
    hidden = nl.ndarray((128, 128), dtype)
    nisa.affine_select(
        hidden,
        pattern=[[-1, 128]],
        channel_multiplier=1,
        on_true_tile=zeros,
        on_false_value=HIDDEN,
        cmp_op=nl.greater_equal,
    )
    return hidden
