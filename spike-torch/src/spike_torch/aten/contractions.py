"""Products of matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spike_torch.aten.record import lowering

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Array, Graph, Number


@lowering("mm")
def mm(g: Graph, self: Array, mat2: Array) -> Array:
    return g.dot(self, mat2, ((1,), (0,)))


@lowering("bmm")
def bmm(g: Graph, self: Array, mat2: Array) -> Array:
    return g.dot(self, mat2, ((2,), (1,)), ((0,), (0,)))


@lowering("addmm")
def addmm(
    g: Graph,
    self: Array,
    mat1: Array,
    mat2: Array,
    *,
    beta: Number = 1,
    alpha: Number = 1,
) -> Array:
    product = scaled(g, g.dot(mat1, mat2, ((1,), (0,))), alpha)
    if not beta:  # then what is added may be NaN, and is not read
        return product
    return g.binary("add", scaled(g, self, beta), product)


def scaled(g: Graph, x: Array, factor: Number) -> Array:
    """The array times a number."""
    if isinstance(factor, (int, float)) and factor == 1:
        return x
    return g.binary("multiply", x, g.number(factor, x.dtype))
