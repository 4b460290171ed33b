"""Attention: softmax of products of queries and keys, times values; its gradients."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from spike_torch.aten.record import Sample, lowering
from spike_torch.lowering.errors import Unsupported

if TYPE_CHECKING:
    from spike_torch.lowering.arrays import Array
    from spike_torch.lowering.graph import Graph

#: Batches, heads: those of all that is multiplied.
_BATCH = ((0, 1), (0, 1))


def _samples() -> Iterator[Sample]:
    query = torch.randn(2, 4, 5, 3)
    key, value = torch.randn(2, 4, 7, 3), torch.randn(2, 4, 7, 3)
    yield (query, key, value), {}
    yield (query, key, value, 0.0, True), {"scale": 0.3}
    mask = torch.randn(5, 7)
    mask[1] = -torch.inf
    yield (query, key, value), {"attn_mask": mask}
    wide = torch.randn(2, 1, 5, 7)
    yield (query, key, value), {"attn_mask": wide}
    yield (query, key[:, :2].contiguous(), value[:, :2].contiguous()), {}


def _backward_samples() -> Iterator[Sample]:
    forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    for args, kwargs in _samples():
        out, logsumexp = forward(*args, **kwargs)
        query, key, value, *rest = args
        grad = torch.randn(out.shape)
        rest = rest or [0.0, False]
        given = (grad, query, key, value, out.contiguous(), logsumexp.contiguous())
        yield (*given, *rest), kwargs


@lowering("_scaled_dot_product_flash_attention_for_cpu", samples=_samples, rounding=8)
def attention(
    g: Graph,
    query: Array,
    key: Array,
    value: Array,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: Array | None = None,
    scale: float | None = None,
) -> tuple[Array, Array]:
    _refuse_dropout(dropout_p)
    g.require_same((value.dims[3],), (query.dims[3],))
    key, value = (_repeated(g, x, query) for x in (key, value))
    scores = _scores(g, query, key, is_causal, attn_mask, scale)
    scores = g.masked(scores, (3,), -math.inf)
    greatest = g.maximum(scores, (3,), keepdim=True)
    zero = g.number(0, torch.float32)
    nothing = g.compare(greatest, g.number(-math.inf, torch.float32), "EQ")
    greatest = g.select(nothing, zero, greatest)  # a row without keys
    weights = g.unary("exponential", g.binary("subtract", scores, greatest))
    total = g.sum(weights, (3,), keepdim=True)
    total = g.select(nothing, g.number(1, torch.float32), total)
    weights = g.convert(weights, value.dtype)
    product = g.dot(weights, value, ((3,), (2,)), _BATCH, torch.float32)
    made = g.convert(g.binary("divide", product, total), query.dtype)
    logsumexp = g.binary("add", greatest, g.unary("log", total))
    return made, g.drop_ones(logsumexp, (3,))


@lowering(
    "_scaled_dot_product_flash_attention_for_cpu_backward",
    samples=_backward_samples,
    rounding=16,
)
def attention_backward(
    g: Graph,
    grad_out: Array,
    query: Array,
    key: Array,
    value: Array,
    out: Array,
    logsumexp: Array,
    dropout_p: float,
    is_causal: bool,
    *,
    attn_mask: Array | None = None,
    scale: float | None = None,
) -> tuple[Array, Array, Array]:
    _refuse_dropout(dropout_p)
    heads = key.dims[1], value.dims[1]
    key, value = (_repeated(g, x, query) for x in (key, value))
    scores = _scores(g, query, key, is_causal, attn_mask, scale)
    scores = g.binary("subtract", scores, g.insert_ones(logsumexp, (3,)))
    weights = g.unary("exponential", scores)
    wide_grad, wide_out = (g.convert(x, torch.float32) for x in (grad_out, out))
    grad_value = _dot(g, weights, wide_grad, 2, 2)
    grad = g.dot(grad_out, value, ((3,), (3,)), _BATCH, torch.float32)
    mean = g.sum(g.binary("multiply", wide_grad, wide_out), (3,), keepdim=True)
    grad = g.binary("multiply", weights, g.binary("subtract", grad, mean))
    grad = g.binary("multiply", grad, _scale(g, query, scale))
    grad_query = _dot(g, grad, g.convert(key, torch.float32), 3, 2)
    grad_key = _dot(g, grad, g.convert(query, torch.float32), 2, 2)
    both = zip((grad_key, grad_value), heads)
    grad_key, grad_value = (_summed(g, x, int(n.padded)) for x, n in both)
    made = (grad_query, grad_key, grad_value)
    grads = [g.convert(x, like.dtype) for x, like in zip(made, (query, key, value))]
    return grads[0], grads[1], grads[2]


def _refuse_dropout(dropout_p: float) -> None:
    if dropout_p:
        raise Unsupported(f"leaves out elements at random, of which {dropout_p}")


def _dot(g: Graph, x: Array, y: Array, own: int, other: int) -> Array:
    return g.dot(x, y, ((own,), (other,)), _BATCH)


def _scale(g: Graph, query: Array, scale: float | None) -> Array:
    if scale is not None:
        return g.number(scale, torch.float32)
    g.require_exact(query, "scales by the size of a head", (3,))
    return g.number(1 / math.sqrt(query.dims[3].padded), torch.float32)


def _scores(
    g: Graph,
    query: Array,
    key: Array,
    is_causal: bool,
    attn_mask: Array | None,
    scale: float | None,
) -> Array:
    """f32 (batch, head, query, key), -inf where a query does not look at a key."""
    scores = g.dot(query, key, ((3,), (3,)), _BATCH, torch.float32)
    scores = g.binary("multiply", scores, _scale(g, query, scale))
    if attn_mask is not None:
        scores = g.binary("add", scores, g.convert(attn_mask, torch.float32))
    if is_causal:
        rows, columns = (g.iota(scores.dims, a, torch.int32) for a in (2, 3))
        later = g.compare(columns, rows, "GT")
        scores = g.select(later, g.number(-math.inf, torch.float32), scores)
    return scores


def _repeated(g: Graph, x: Array, query: Array) -> Array:
    """Keys or values, each head as often as several queries share it."""
    if x.dims[1] == query.dims[1]:
        return x
    for each in (x, query):
        g.require_exact(
            each, "has queries that share keys, and heads in a bucket", (1,)
        )
    times = query.dims[1].padded // x.dims[1].padded
    wide = g.insert_ones(x, (2,))
    dims = (*wide.dims[:2], g.dim(times), *wide.dims[3:])
    return g.reshape(g.expand(wide, dims), (x.sizes[0], query.sizes[1], *x.sizes[2:]))


def _summed(g: Graph, x: Array, heads: int) -> Array:
    """The gradient of heads that several queries share."""
    if x.dims[1].padded == heads:
        return x
    times = x.dims[1].padded // heads
    split = g.reshape(x, (x.sizes[0], heads, times, *x.sizes[2:]))
    return g.sum(split, (2,))
