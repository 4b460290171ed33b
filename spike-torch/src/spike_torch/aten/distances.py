"""Distances between points, which are rows, and their gradients; lengths of rows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from spike_torch.aten.record import Sample, lowering
from spike_torch.lowering import indexing, moves
from spike_torch.lowering.arrays import unpadded
from spike_torch.lowering.errors import Unsupported
from spike_torch.lowering.sizes import MOST_ELEMENTS

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Array, Graph

#: With more points than these, the CPU takes the product of matrices for distances.
_MOST_BY_DIFFERENCES = 25


# -- of differences --------------------------------------------------------------------
def _length(g: Graph, difference: Array, p: float) -> Array:
    """The norm along the last dimension."""
    axes = (difference.ndim - 1,)
    size = g.unary("abs", difference)
    number = partial(g.number, dtype=size.dtype)
    if p == 0:
        counted = g.compare(size, number(0), "NE")
        return g.sum(g.convert(counted, size.dtype), axes)
    if p == 1:
        return g.sum(size, axes)
    if p == 2:
        return g.unary("sqrt", g.sum(g.binary("multiply", size, size), axes))
    if math.isinf(p):
        return g.reduce(size, "maximum", 0, axes)
    total = g.sum(g.binary("power", size, number(p)), axes)
    return g.binary("power", total, number(1 / p))


def _slope(g: Graph, difference: Array, grad: Array, length: Array, p: float) -> Array:
    """What the gradient of a length is for each difference that it is of."""
    number = partial(g.number, dtype=difference.dtype)
    zero = number(0)
    sign = _sign(g, difference)
    if p == 0:
        return g.binary("multiply", difference, zero)
    if p == 1:
        return g.binary("multiply", grad, sign)
    size = g.unary("abs", difference)
    if math.isinf(p):
        is_longest = g.compare(size, length, "EQ")
        return g.select(is_longest, g.binary("multiply", sign, grad), zero)
    nowhere = g.compare(length, zero, "EQ")
    if p == 2:
        made = g.binary("multiply", grad, difference)
        return g.select(nowhere, zero, g.binary("divide", made, length))
    below = g.binary("power", length, number(p - 1))
    if p < 2:
        above = g.binary("multiply", sign, g.binary("power", size, number(p - 1)))
        if p < 1:
            nowhere = g.binary("or", nowhere, g.compare(size, zero, "EQ"))
    else:
        power = g.binary("power", size, number(p - 2))
        above = g.binary("multiply", difference, power)
    made = g.binary("divide", g.binary("multiply", above, grad), below)
    return g.select(nowhere, zero, made)


def _sign(g: Graph, x: Array) -> Array:
    """1, -1 or 0, which it is of what is no number, too."""
    zero, one, less = (g.number(n, x.dtype) for n in (0, 1, -1))
    negative = g.select(g.compare(x, zero, "LT"), less, zero)
    return g.select(g.compare(x, zero, "GT"), one, negative)


# -- of two sets -----------------------------------------------------------------------
def _points(*, backward: bool) -> Iterator[Sample]:
    x = torch.linspace(-3, 5, 24).cos().reshape(2, 4, 3)
    y = torch.linspace(2, 9, 15).sin().reshape(5, 3)
    y = torch.cat([y, x[0, :1]])  # one distance is 0
    for p in (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, math.inf):
        made = torch.ops.aten._cdist_forward(x, y, p, None)
        if backward:
            wide = y.expand(2, *y.shape).contiguous()
            yield (made.cos(), x, wide, p, made), {}
        else:
            yield (x, y, p, None), {}


def _differences(g: Graph, x1: Array, x2: Array) -> Array:
    one = g.insert_ones(x1, (x1.ndim - 1,))
    other = g.insert_ones(x2, (x2.ndim - 2,))
    found = g.broadcast(one, other)
    if math.prod(found[0].value.shape) > MOST_ELEMENTS:
        raise Unsupported(f"has differences of shape {found[0].value.shape}")
    return g.binary("subtract", *found)


@lowering("_cdist_forward", rounding=16, samples=lambda: _points(backward=False))
def cdist(g: Graph, x1: Array, x2: Array, p: float, compute_mode: int | None) -> Array:
    if moves.is_nothing(g, g.result.sizes):
        return moves.nothing(g)
    counts = x1.sizes[-2], x2.sizes[-2]
    many = any(isinstance(n, int) and n > _MOST_BY_DIFFERENCES for n in counts)
    if p == 2 and (compute_mode == 1 or (many and compute_mode != 2)):
        return _by_products(g, x1, x2)
    return _length(g, _differences(g, x1, x2), p)


def _by_products(g: Graph, x1: Array, x2: Array) -> Array:
    """Of which squares are those of both points, without twice their product."""
    lead = g.broadcast(*(g.full(x.dims[:-2], 0, x.dtype) for x in (x1, x2)))[0].dims
    x1, x2 = (g.expand(x, (*lead, *x.dims[-2:])) for x in (x1, x2))
    n = len(lead)
    batch = range(n)
    product = g.dot(x1, x2, ((n + 1,), (n + 1,)), (batch, batch))
    one, other = (g.sum(g.binary("multiply", x, x), (n + 1,)) for x in (x1, x2))
    both = g.binary("add", g.insert_ones(one, (n + 1,)), g.insert_ones(other, (n,)))
    twice = g.binary("multiply", product, g.number(2, product.dtype))
    square = g.binary("subtract", both, twice)
    return g.unary("sqrt", g.binary("maximum", square, g.number(0, square.dtype)))


@lowering("_cdist_backward", rounding=16, samples=lambda: _points(backward=True))
def cdist_backward(
    g: Graph, grad: Array, x1: Array, x2: Array, p: float, cdist: Array
) -> Array:
    if moves.is_nothing(g, g.result.sizes) or moves.is_nothing(g, x2.sizes):
        return moves.nothing(g)
    difference = _differences(g, x1, x2)
    last = (grad.ndim,)
    by, length = g.insert_ones(grad, last), g.insert_ones(cdist, last)
    made = _slope(g, difference, by, length, p)
    return g.sum(made, (made.ndim - 2,))


# -- of the pairs of one set -----------------------------------------------------------
def _pairs_of(*, backward: bool) -> Iterator[Sample]:
    x = torch.linspace(-3, 5, 15).cos().reshape(5, 3)
    x[3] = x[1]
    for p in (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, math.inf):
        made = torch.ops.aten._pdist_forward(x, p)
        yield ((made.cos(), x, p, made) if backward else (x, p)), {}


def _pairs(g: Graph, x: Array) -> tuple[Array, Array]:
    """s32: which two points each pair has, in torch's order.

    Raises:
        NeedsExactSize: how many points there are is not known.
    """
    g.require_exact(x, "pairs rows in a bucket", (0,))
    both = np.triu_indices(x.dims[0].padded, 1)
    one, other = (unpadded(g.b.constant(i.astype(np.int32))) for i in both)
    return one, other


@lowering("_pdist_forward", rounding=16, samples=lambda: _pairs_of(backward=False))
def pdist(g: Graph, self: Array, p: float = 2) -> Array:
    if moves.is_nothing(g, g.result.sizes):
        return moves.nothing(g)
    one, other = (indexing.read_rows(g, self, at) for at in _pairs(g, self))
    return _length(g, g.binary("subtract", one, other), p)


@lowering("_pdist_backward", rounding=16, samples=lambda: _pairs_of(backward=True))
def pdist_backward(g: Graph, grad: Array, self: Array, p: float, pdist: Array) -> Array:
    if moves.is_nothing(g, g.result.sizes) or moves.is_nothing(g, grad.sizes):
        return g.full(self.dims, 0, self.dtype)
    pairs = _pairs(g, self)
    one, other = (indexing.read_rows(g, self, at) for at in pairs)
    by, length = g.insert_ones(grad, (1,)), g.insert_ones(pdist, (1,))
    slope = _slope(g, g.binary("subtract", one, other), by, length, p)
    made = g.full(self.dims, 0, self.dtype)
    for at, part in zip(pairs, (slope, g.unary("negate", slope))):
        made = indexing.write(g, made, indexing.places(g, (0,), (at,)), part, 0, "add")
    return made


# -- of rows that are looked up --------------------------------------------------------
def _looked_up() -> Iterator[Sample]:
    weight = torch.linspace(-3, 5, 24).cos().reshape(6, 4)
    at = torch.tensor([[1, 4, 1], [0, 4, 5]])
    for p in (1.0, 2.0, 3.0, math.inf):
        yield (weight, at, 1.25, p), {}


@lowering("embedding_renorm", checks_values=True, samples=_looked_up)
def embedding_renorm(
    g: Graph, self: Array, indices: Array, max_norm: float, norm_type: float
) -> Array:
    """Rows that are looked up, and are longer than allowed, are made shorter."""
    if self.dtype != torch.float32:
        raise Unsupported(f"measures rows of {self.dtype}")
    if moves.is_nothing(g, indices.sizes) or moves.is_nothing(g, self.sizes):
        return self
    at = indexing.indices(g, indices, self.dims[0].size, wraps=False)
    nowhere = g.full(self.dims[:1], 0, torch.float32)
    places = indexing.places(g, (0,), (at,))
    found = indexing.write(g, nowhere, places, g.number(1, torch.float32), 0)
    number = partial(g.number, dtype=torch.float32)
    length = _length(g, self, norm_type)
    too_long = g.compare(length, number(max_norm), "GT")
    shortened = indexing.both(g, g.compare(found, number(1), "EQ"), too_long)
    least = g.binary("add", length, number(1e-7))
    scale = g.select(shortened, g.binary("divide", number(max_norm), least), number(1))
    return g.binary("multiply", self, g.insert_ones(scale, (1,)))
