"""Operators that combine elements along dimensions: sums, products, truth, counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from spike_torch.aten.record import Sample, lowering
from spike_torch.lowering.dtypes import accumulating

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Array, Graph


def _matrices() -> Iterator[Sample]:
    """Whole tensors, for the overloads that torch's samples do not reach."""
    x = torch.tensor([[-2.5, 0.0, 1.5], [7.0, -0.0, 3.25]])
    for dtype in (torch.float32, torch.bfloat16, torch.int32, torch.bool):
        yield (x.to(dtype),), {}


def _floats() -> Iterator[Sample]:
    for (x,), _ in _matrices():
        if x.is_floating_point():
            yield (x,), {}


def _with_dims() -> Iterator[Sample]:
    for (x,), _ in _matrices():
        for dim in (None, [], [1], [0, -1]):
            yield (x, dim), {}
            yield (x, dim, True), {}


# -- parts of lowerings ----------------------------------------------------------------
def wide(g: Graph, x: Array) -> Array:
    """The array in the dtype that torch computes in."""
    return g.convert(x, accumulating(x.dtype))


def is_nan(g: Graph, x: Array) -> Array:
    return g.compare(x, x, "NE")


def mean_of(g: Graph, x: Array, axes: Sequence[int], keepdim: bool = False) -> Array:
    """The mean of what counts along dimensions, of floats, in the array's dtype."""
    total = g.sum(x, axes, keepdim)
    return g.binary("divide", total, g.number(g.count(x, axes), x.dtype))


def truth(g: Graph, x: Array) -> Array:
    """Booleans: what is not 0, NaN included."""
    return g.convert(x, torch.bool)


# -- sums and products -----------------------------------------------------------------
@lowering("sum sum.dim_IntList", samples="sum")
def sum(
    g: Graph, self: Array, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Array:
    x = wide(g, g.convert(self, g.result.dtype))
    return g.convert(g.sum(x, g.axes(x, dim), keepdim), g.result.dtype)


@lowering("nansum")
def nansum(
    g: Graph, self: Array, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Array:
    if self.dtype.is_floating_point:
        self = g.select(is_nan(g, self), g.number(0, self.dtype), self)
    return sum(g, self, dim, keepdim)


@lowering("prod prod.dim_int", samples="prod")
def prod(
    g: Graph, self: Array, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Array:
    x = wide(g, g.convert(self, g.result.dtype))
    made = g.reduce(x, "multiply", 1, g.axes(x, dim), keepdim)
    return g.convert(made, g.result.dtype)


@lowering("mean", samples=_floats)
@lowering("mean.dim", samples="mean")
def mean(
    g: Graph, self: Array, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Array:
    x = g.convert(self, accumulating(g.result.dtype))
    return g.convert(mean_of(g, x, g.axes(x, dim), keepdim), g.result.dtype)


# -- truth and counts ------------------------------------------------------------------
@lowering("any.dims", samples=_with_dims)
@lowering("any any.dim", samples="any")
def any_(g: Graph, self: Array, dim: Any = None, keepdim: bool = False) -> Array:
    return _combined(g, "or", False, self, dim, keepdim)


@lowering("all.dims", samples=_with_dims)
@lowering("all all.dim", samples="all")
def all_(g: Graph, self: Array, dim: Any = None, keepdim: bool = False) -> Array:
    return _combined(g, "and", True, self, dim, keepdim)


def _combined(
    g: Graph, opcode: str, identity: bool, x: Array, dim: Any, keepdim: bool
) -> Array:
    # Of truth alone, an empty list of dimensions is of none.
    axes = () if isinstance(dim, (list, tuple)) and not dim else g.axes(x, dim)
    made = g.reduce(truth(g, x), opcode, identity, axes, keepdim)
    return g.convert(made, g.result.dtype)


@lowering("count_nonzero count_nonzero.dim_IntList", samples="count_nonzero")
def count_nonzero(g: Graph, self: Array, dim: Any = None) -> Array:
    x = g.convert(truth(g, self), g.result.dtype)
    return g.sum(x, g.axes(x, dim))
