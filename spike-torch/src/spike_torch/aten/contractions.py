"""Products of matrices and vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import TYPE_CHECKING

import torch

from spike_torch.aten.record import Sample, lowering
from spike_torch.lowering.dtypes import accumulating
from spike_torch.lowering.errors import Unsupported
from spike_torch.lowering.sizes import MOST_ELEMENTS

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Array, Graph, Number

#: Sums of products, whose order is not the CPU's.
SUMS = 8

Axes = tuple[Sequence[int], Sequence[int]]


@lowering("mm", rounding=SUMS)
def mm(g: Graph, self: Array, mat2: Array) -> Array:
    return _rounded(g, contracted(g, self, mat2, ((1,), (0,))))


@lowering("bmm", rounding=SUMS)
def bmm(g: Graph, self: Array, mat2: Array) -> Array:
    return _rounded(g, contracted(g, self, mat2, ((2,), (1,)), ((0,), (0,))))


@lowering("mv", rounding=SUMS)
def mv(g: Graph, self: Array, vec: Array) -> Array:
    return _rounded(g, contracted(g, self, vec, ((1,), (0,))))


@lowering("dot", rounding=SUMS)
def dot(g: Graph, self: Array, tensor: Array) -> Array:
    return _rounded(g, contracted(g, self, tensor, ((0,), (0,))))


@lowering("vdot", rounding=SUMS)
def vdot(g: Graph, self: Array, other: Array) -> Array:
    return dot(g, self, other)


@lowering("addmm", rounding=SUMS)
def addmm(
    g: Graph,
    self: Array,
    mat1: Array,
    mat2: Array,
    *,
    beta: Number = 1,
    alpha: Number = 1,
) -> Array:
    return _added(g, self, contracted(g, mat1, mat2, ((1,), (0,))), beta, alpha)


@lowering("addmv", rounding=SUMS)
def addmv(
    g: Graph,
    self: Array,
    mat: Array,
    vec: Array,
    *,
    beta: Number = 1,
    alpha: Number = 1,
) -> Array:
    return _added(g, self, contracted(g, mat, vec, ((1,), (0,))), beta, alpha)


@lowering("baddbmm", rounding=SUMS)
def baddbmm(
    g: Graph,
    self: Array,
    batch1: Array,
    batch2: Array,
    *,
    beta: Number = 1,
    alpha: Number = 1,
) -> Array:
    product = contracted(g, batch1, batch2, ((2,), (1,)), ((0,), (0,)))
    return _added(g, self, product, beta, alpha)


@lowering("addbmm", rounding=SUMS)
def addbmm(
    g: Graph,
    self: Array,
    batch1: Array,
    batch2: Array,
    *,
    beta: Number = 1,
    alpha: Number = 1,
) -> Array:
    product = contracted(g, batch1, batch2, ((0, 2), (0, 1)))
    return _added(g, self, product, beta, alpha)


@lowering("addr")
def addr(
    g: Graph,
    self: Array,
    vec1: Array,
    vec2: Array,
    *,
    beta: Number = 1,
    alpha: Number = 1,
) -> Array:
    dtype = g.result.dtype
    if dtype == torch.bool:
        raise Unsupported("has booleans, which it does not add")
    vec1, vec2 = (g.convert(v, accumulating(dtype)) for v in (vec1, vec2))
    product = g.binary("multiply", g.insert_ones(vec1, (1,)), vec2)
    return _added(g, self, product, beta, alpha)


def _three() -> Iterator[Sample]:
    one, two = torch.linspace(-2, 3, 8).reshape(4, 2), torch.ones(4, 3).cumsum(1)
    weight = torch.linspace(1, 4, 30).cos().reshape(5, 2, 3)
    yield (one, weight, two, [1, 3], [0], [1, 2], [2, 3]), {}
    yield (one, weight, two, [1, 3], [0], [1, 2], [1]), {}


@lowering("_trilinear", rounding=SUMS, samples=_three)
def trilinear(
    g: Graph,
    i1: Array,
    i2: Array,
    i3: Array,
    expand1: Sequence[int],
    expand2: Sequence[int],
    expand3: Sequence[int],
    sumdim: Sequence[int],
    unroll_dim: int = 1,
) -> Array:
    """The sum of products of three, which get dimensions that they have not."""
    if g.result.dtype != torch.float32:
        raise Unsupported(f"multiplies three of {g.result.dtype}")
    pairs = ((i1, expand1), (i2, expand2), (i3, expand3))
    one, two, three = g.broadcast(*(g.insert_ones(x, axes) for x, axes in pairs))
    if prod(one.value.shape) > MOST_ELEMENTS:
        raise Unsupported(f"has {prod(one.value.shape)} products to sum")
    product = g.binary("multiply", g.binary("multiply", one, two), three)
    return g.sum(product, tuple(sumdim))


def contracted(
    g: Graph, x: Array, y: Array, contract: Axes, batch: Axes = ((), ())
) -> Array:
    """Products summed along dimensions: floats in float32, not rounded yet."""
    if x.dtype.is_floating_point:
        return g.dot(x, y, contract, batch, accumulating(x.dtype))
    return _integers(g, x, y, contract, batch)


def _integers(g: Graph, x: Array, y: Array, contract: Axes, batch: Axes) -> Array:
    """The same of integers, whose higher bits are lost; cores' own dot is of floats."""
    free_x, free_y = (_free(a, c, b) for a, c, b in zip((x, y), contract, batch))
    x = g.transpose(x, [*batch[0], *free_x, *contract[0]])
    y = g.transpose(y, [*batch[1], *free_y, *contract[1]])
    lead, rows, columns = len(batch[0]), len(free_x), len(free_y)
    x = g.insert_ones(x, range(lead + rows, lead + rows + columns))
    y = g.insert_ones(y, range(lead, lead + rows))
    product = g.binary("multiply", x, y)
    if prod(product.value.shape) > MOST_ELEMENTS:
        raise Unsupported(
            f"has {prod(product.value.shape)} products of integers to sum"
        )
    return g.sum(product, range(lead + rows + columns, product.ndim))


def _free(x: Array, contract: Sequence[int], batch: Sequence[int]) -> list[int]:
    return [a for a in range(x.ndim) if a not in contract and a not in batch]


def _rounded(g: Graph, product: Array) -> Array:
    return g.convert(product, g.result.dtype)


def _added(g: Graph, to: Array, product: Array, beta: Number, alpha: Number) -> Array:
    """``beta * to + alpha * product``, rounded once."""
    product = scaled(g, product, alpha)
    if beta:  # if not, what is added may be NaN, and is not read
        to = scaled(g, g.convert(to, product.dtype), beta)
        product = g.binary("add", to, product)
    return _rounded(g, product)


def scaled(g: Graph, x: Array, factor: Number) -> Array:
    """The array times a number."""
    if isinstance(factor, (int, float)) and factor == 1:
        return x
    return g.binary("multiply", x, g.number(factor, x.dtype))
