"""Softmax, its logarithm, their gradients, and the logarithm of sums of exponentials.

The greatest element is taken away first, so that nothing overflows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from spike_torch.aten.record import Sample, lowering
from spike_torch.aten.reductions import wide
from spike_torch.lowering.dtypes import accumulating

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Array, Graph


def less_greatest(g: Graph, x: Array, axes: Sequence[int]) -> Array:
    """Each element less the greatest along dimensions; NaN of infinities, as torch."""
    return g.binary("subtract", x, g.maximum(x, axes, keepdim=True))


@lowering("_softmax", samples="softmax")
def softmax(g: Graph, self: Array, dim: int, half_to_float: bool) -> Array:
    x = wide(g, self)
    axes = g.axes(x, dim)
    powers = g.unary("exponential", less_greatest(g, x, axes))
    total = g.sum(powers, axes, keepdim=True)
    return g.convert(g.binary("divide", powers, total), g.result.dtype)


@lowering("_log_softmax", samples="log_softmax")
def log_softmax(g: Graph, self: Array, dim: int, half_to_float: bool) -> Array:
    x = wide(g, self)
    axes = g.axes(x, dim)
    rest = less_greatest(g, x, axes)
    total = g.sum(g.unary("exponential", rest), axes, keepdim=True)
    made = g.binary("subtract", rest, g.unary("log", total))
    return g.convert(made, g.result.dtype)


def _masked_rows() -> Iterator[Sample]:
    low = float("-inf")
    x = torch.tensor([[1.0, low, 2.0], [low, low, low], [-1.0, 0.0, 3.0]])
    yield (x, 1), {}
    yield (x, 0), {}
    yield (x.to(torch.bfloat16), 1), {}


@lowering("_safe_softmax", samples=_masked_rows)
def safe_softmax(g: Graph, self: Array, dim: int, dtype: Any = None) -> Array:
    """Of rows of which all is masked out, 0."""
    x = g.convert(self, g.result.dtype)
    made = softmax(g, x, dim, False)
    highest = g.maximum(x, g.axes(x, dim), keepdim=True)
    is_masked = g.compare(highest, g.number(float("-inf"), x.dtype), "EQ")
    return g.select(is_masked, g.number(0, x.dtype), made)


@lowering("_softmax_backward_data", samples="softmax")
def softmax_backward(
    g: Graph, grad_output: Array, output: Array, dim: int, input_dtype: torch.dtype
) -> Array:
    grad, output = wide(g, grad_output), wide(g, output)
    product = g.binary("multiply", grad, output)
    total = g.sum(product, g.axes(output, dim), keepdim=True)
    made = g.binary("multiply", g.binary("subtract", grad, total), output)
    return g.convert(made, g.result.dtype)


@lowering("_log_softmax_backward_data", samples="log_softmax")
def log_softmax_backward(
    g: Graph, grad_output: Array, output: Array, dim: int, input_dtype: torch.dtype
) -> Array:
    grad, output = wide(g, grad_output), wide(g, output)
    total = g.sum(grad, g.axes(output, dim), keepdim=True)
    part = g.binary("multiply", g.unary("exponential", output), total)
    return g.convert(g.binary("subtract", grad, part), g.result.dtype)


@lowering("logsumexp")
def logsumexp(
    g: Graph, self: Array, dim: Sequence[int], keepdim: bool = False
) -> Array:
    x = g.convert(self, accumulating(g.result.dtype))
    axes = g.axes(x, dim)
    highest = g.maximum(x, axes, keepdim=True)
    # Infinities are not taken away, which would make NaN of them.
    is_infinite = g.compare(
        g.unary("abs", highest), g.number(float("inf"), x.dtype), "EQ"
    )
    base = g.select(is_infinite, g.number(0, x.dtype), highest)
    powers = g.unary("exponential", g.binary("subtract", x, base))
    total = g.unary("log", g.sum(powers, axes, keepdim=True))
    made = g.convert(g.binary("add", total, base), g.result.dtype)
    return made if keepdim else g.drop_ones(made, axes)
