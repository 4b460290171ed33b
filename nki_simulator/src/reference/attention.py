# SPDX-License-Identifier: MIT-0
"""Attention that never holds all of its scores: Dao et al., arXiv:2205.14135.

Scores of 128 queries with some keys are made at a time. What they add to the result is
summed at once, and what was summed before is scaled down whenever a larger score
appears (Milakov and Gimelshein, arXiv:1805.02867).
"""

import math
from typing import Any, NamedTuple

import nki
import nki.isa as nisa
import nki.language as nl

#: Queries at a time: the partitions of a tile.
QUERIES = 128
#: Keys of one product, whose scores fill a bank of the PSUM.
KEYS = 512
#: Keys whose scores one maximum and one exponential take: two banks of the PSUM, of
#: which two spans and a product leave room for transposes.
SPAN = 2 * KEYS
#: What is added to the score of a key that a query does not see: nearly the lowest
#: number, so that no scale makes much of it.
HIDDEN = -3e38


@nki.jit
def flash_fwd(q, k, v, scale=None, causal=False, logsumexp=False):
    """``softmax(scale * q.T @ k) @ v`` for each head.

    Args:
        q: (batch, heads, d, queries), d at most 128.
        k: (batch, kv_heads, d, keys); as many query heads in a row share one of these.
        v: (batch, kv_heads, keys, e), e at most 128. The three are of one dtype,
            float32 or bfloat16; queries and keys are multiples of 128.
        scale: above 0; ``1 / sqrt(d)`` if None.
        causal: whether query i sees the keys 0 to i only, of which there are then as
            many as queries.
        logsumexp: whether to return, besides, of each query the logarithm of the sum
            of its scores' exponentials, which gradients are computed of.

    Returns:
        (batch, heads, queries, e), of the dtype of `q`; with `logsumexp` a pair of it
        and (batch, heads, queries, 1), float32.

    Raises:
        ValueError: the shapes, the dtypes or `scale` are none of these.
    """
    batch, heads, d, queries = q.shape
    kv_heads, keys, e = k.shape[1], k.shape[3], v.shape[3]
    if tuple(k.shape) != (batch, kv_heads, d, keys) or heads % kv_heads:
        raise ValueError(f"k has the shape {k.shape}, and q {q.shape}")
    if tuple(v.shape) != (batch, kv_heads, keys, e):
        raise ValueError(f"v has the shape {v.shape}, and k {k.shape}")
    if q.dtype not in (nl.float32, nl.bfloat16) or not q.dtype == k.dtype == v.dtype:
        raise ValueError(f"q is {q.dtype}, k {k.dtype} and v {v.dtype}")
    if max(d, e) > 128:
        raise ValueError(f"keys of {d} elements and values of {e}")
    if queries % QUERIES or keys % QUERIES or (causal and queries != keys):
        raise ValueError(f"{queries} queries and {keys} keys")
    if scale is None:
        scale = 1 / math.sqrt(d)
    if not 0 < scale < math.inf:
        raise ValueError(f"scale is {scale}, and must be above 0, and finite")
    result = nl.ndarray((batch, heads, queries, e), q.dtype, buffer=nl.shared_hbm)
    logs = None
    if logsumexp:
        shape = (batch, heads, queries, 1)
        logs = nl.ndarray(shape, nl.float32, buffer=nl.shared_hbm)
    above = _above_the_diagonal(q.dtype) if causal else None
    group = heads // kv_heads
    for b in range(batch):
        for head in range(heads):
            if head % group == 0:
                k_tile, v_tile = _load(k[b, head // group], v[b, head // group])
            spans = _spans(q[b, head], k_tile, v.dtype, scale, above)
            log = None if logs is None else logs[b, head]
            _sum(result[b, head], log, _one_ahead(spans), v_tile, scale)
    return result if logs is None else (result, logs)


class Span(NamedTuple):
    """What 128 queries take from some keys.

    Attributes:
        row: the first of the queries.
        start: the first of the keys.
        is_last: whether the queries see no more keys.
        weights: (128, keys), the exponentials of the scores minus the largest so far.
        total: (128, 1), their sums.
        largest: (128, 1), the largest score so far.
        shrunk: (128, 1), what sums over the keys before are multiplied by.
    """

    row: int
    start: int
    is_last: bool
    weights: Any
    total: Any
    largest: Any
    shrunk: Any


def _load(k, v):
    """A head's keys as (d, keys), and its values as (128, keys / 128, e)."""
    keys, e = v.shape
    blocks = keys // 128
    k_tile = nl.ndarray(k.shape, k.dtype)
    nisa.dma_copy(k_tile, k)
    v_tile = nl.ndarray((128, blocks, e), v.dtype)
    nisa.dma_copy(v_tile, v.reshape((blocks, 128, e)).permute((1, 0, 2)))
    return k_tile, v_tile


def _spans(q, k, dtype, scale, above):
    """A head's spans of keys, for one tile of queries after the other."""
    (d, queries), keys = q.shape, k.shape[1]
    for row in range(0, queries, QUERIES):
        tile = nl.ndarray((d, QUERIES), q.dtype)
        nisa.dma_copy(tile, q[:, row : row + QUERIES])
        seen = keys if above is None else row + QUERIES
        largest = shrunk = None
        for start in range(0, seen, SPAN):
            width = min(SPAN, seen - start)
            scores = _scores(tile, k, start, width)
            if above is not None and start + width == seen:
                # The last 128 keys are those of the queries themselves.
                nisa.nc_matmul(scores[:, width - 128 : width], *above)
            before, largest = largest, nl.ndarray((QUERIES, 1), nl.float32)
            nisa.tensor_reduce(largest, nl.maximum, scores, axis=1)
            if start:
                nisa.tensor_tensor(largest, largest, before, nl.maximum)
            bias = nl.ndarray((QUERIES, 1), nl.float32)
            nisa.tensor_scalar(bias, largest, nl.multiply, -scale)
            weights = nl.ndarray((QUERIES, width), dtype)
            total = nl.ndarray((QUERIES, 1), nl.float32)
            nisa.activation_reduce(weights, nl.exp, scores, nl.add, total, bias, scale)
            if start:
                shrunk = nl.ndarray((QUERIES, 1), nl.float32)
                nisa.activation(shrunk, nl.exp, before, bias=bias, scale=scale)
            is_last = start + width == seen
            yield Span(row, start, is_last, weights, total, largest, shrunk)


def _one_ahead(made):
    """What a generator makes, each before the one before it is used.

    Engines take instructions in order: while others work on what the tensor engine has
    made last, it has the next to make, and need not wait.
    """
    before = next(made)
    for after in made:
        yield before
        before = after
    yield before


def _sum(result, logs, spans, v, scale):
    """Weighted sums of values for all queries of a head: `result`, (queries, e).

    And the logarithms of the sums of weights: `logs`, (queries, 1), or None.
    """
    e = v.shape[2]
    for span in spans:
        product = _weighted(span.weights, v, span.start)
        if span.start == 0:
            total = nl.ndarray((QUERIES, 1), nl.float32)
            summed = nl.ndarray((QUERIES, e), nl.float32)
            nisa.tensor_copy(total, span.total)
            nisa.tensor_copy(summed, product)
        else:
            for before, more in ((total, span.total), (summed, product)):
                nisa.scalar_tensor_tensor(
                    dst=before,
                    data=before,
                    op0=nl.multiply,
                    operand0=span.shrunk,
                    op1=nl.add,
                    operand1=more,
                )
        if span.is_last:
            rows = slice(span.row, span.row + QUERIES)
            if logs is not None:
                _log(logs[rows, :], total, span.largest, scale)
            nisa.reciprocal(total, total)
            out = nl.ndarray((QUERIES, e), result.dtype)
            nisa.tensor_scalar(out, summed, nl.multiply, total)
            nisa.dma_copy(result[rows, :], out)


def _log(log, total, largest, scale):
    """``scale * largest + log(total)``, into `log`, (128, 1)."""
    own = nl.ndarray((QUERIES, 1), nl.float32)
    nisa.activation(own, nl.log, total)
    nisa.scalar_tensor_tensor(
        dst=own,
        data=largest,
        op0=nl.multiply,
        operand0=scale,
        op1=nl.add,
        operand1=own,
    )
    nisa.dma_copy(log, own)


def _scores(q, k, start, width):
    """The products of the queries with `width` keys, (128, width) in the PSUM."""
    scores = nl.ndarray((QUERIES, width), nl.float32, buffer=nl.psum)
    for column in range(0, width, KEYS):
        end = min(column + KEYS, width)
        nisa.nc_matmul(scores[:, column:end], q, k[:, start + column : start + end])
    return scores


def _weighted(weights, v, start):
    """``weights @ v``, (128, e) in the PSUM, of the keys from `start` on."""
    product = nl.ndarray((QUERIES, v.shape[2]), nl.float32, buffer=nl.psum)
    for column, turned in _one_ahead(_turned(weights)):
        for block in range(0, turned.shape[1], 128):
            nisa.nc_matmul(
                product,
                turned[:, block : block + 128],
                v[:, (start + column + block) // 128, :],
            )
    return product


def _turned(weights):
    """Blocks of (queries, keys) as (keys, queries), four beside one another.

    The tensor engine sums over partitions, so that is where keys must be. Four blocks
    of 128 keys fill a bank of the PSUM, and one copy takes them out of it.
    """
    for column in range(0, weights.shape[1], KEYS):
        width = min(KEYS, weights.shape[1] - column)
        bank = nl.ndarray((128, width), weights.dtype, buffer=nl.psum)
        for block in range(0, width, 128):
            at = column + block
            nisa.nc_transpose(
                bank[:, block : block + 128],
                weights[:, at : at + 128],
                engine=nisa.tensor_engine,
            )
        turned = nl.ndarray((128, width), weights.dtype)
        nisa.tensor_copy(turned, bank)
        yield column, turned


def _above_the_diagonal(dtype):
    """Two matrices, of which the product hides from query p the keys f > p."""
    identity = _by_diagonal(dtype, nl.equal, 1.0, 0.0)
    return identity, _by_diagonal(dtype, nl.greater_equal, 0.0, HIDDEN)


def _by_diagonal(dtype, where, value, otherwise):
    """(128, 128): `value` where p - f compares with 0, `otherwise` elsewhere.

    Args:
        dtype: the element type.
        where: the comparison, of a partition p and an element f in it.
        value: a number.
        otherwise: a number.
    """
    values = nl.ndarray((128, 128), dtype)
    nisa.memset(values, value)
    chosen = nl.ndarray((128, 128), dtype)
    nisa.affine_select(
        chosen,
        pattern=[[-1, 128]],
        channel_multiplier=1,
        on_true_tile=values,
        on_false_value=otherwise,
        cmp_op=where,
    )
    return chosen
