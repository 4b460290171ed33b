"""Variances, standard deviations and norms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from spike_torch.aten.extremes import extreme
from spike_torch.aten.record import Sample, lowering
from spike_torch.aten.reductions import mean_of, wide
from spike_torch.lowering.dtypes import accumulating
from spike_torch.lowering.errors import Unsupported

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Array, Graph, Number


# -- parts of lowerings ----------------------------------------------------------------
def square(g: Graph, x: Array) -> Array:
    return g.binary("multiply", x, x)


def centred(g: Graph, x: Array, axes: Sequence[int]) -> tuple[Array, Array]:
    """What is left without the mean, and the mean, whose dimensions have size 1."""
    mean = mean_of(g, x, axes, keepdim=True)
    return g.binary("subtract", x, mean), mean


def variance_of(
    g: Graph, x: Array, axes: Sequence[int], correction: Number
) -> tuple[Array, Array]:
    """Variance and mean of what counts, of floats; their dimensions have size 1.

    Args:
        g: where to build it.
        x: floats, in the dtype that is computed in.
        axes: the dimensions.
        correction: what the number of elements is lessened by before it divides.
    """
    rest, mean = centred(g, x, axes)
    total = g.sum(square(g, rest), axes, keepdim=True)
    return g.binary("divide", total, _divisor(g, x, axes, correction)), mean


def _divisor(g: Graph, x: Array, axes: Sequence[int], correction: Number) -> Array:
    count = g.count(x, axes)
    if isinstance(count, int) and isinstance(correction, (int, float)):
        return g.number(float(max(count - correction, 0)), x.dtype)
    less = g.binary("subtract", g.number(count, x.dtype), g.number(correction, x.dtype))
    return g.binary("maximum", less, g.number(0, x.dtype))


# -- moments ---------------------------------------------------------------------------
def _spread(
    g: Graph, x: Array, dim: Any, correction: Number | None, keepdim: bool, root: bool
) -> tuple[Array, Array]:
    """Variance, or its root, and the mean, in the results' dtype."""
    axes = g.axes(x, dim)
    correction = 1 if correction is None else correction
    spread, mean = variance_of(g, wide(g, x), axes, correction)
    if root:
        spread = g.unary("sqrt", spread)
    if not keepdim:
        spread, mean = g.drop_ones(spread, axes), g.drop_ones(mean, axes)
    dtype = g.results[0].dtype
    return g.convert(spread, dtype), g.convert(mean, dtype)


@lowering("var.correction", samples="var var_mean std")
def var(
    g: Graph,
    self: Array,
    dim: Any = None,
    *,
    correction: Number | None = None,
    keepdim: bool = False,
) -> Array:
    return _spread(g, self, dim, correction, keepdim, root=False)[0]


@lowering("std.correction", samples="std")
def std(
    g: Graph,
    self: Array,
    dim: Any = None,
    *,
    correction: Number | None = None,
    keepdim: bool = False,
) -> Array:
    return _spread(g, self, dim, correction, keepdim, root=True)[0]


@lowering("var_mean.correction", samples="var_mean")
def var_mean(
    g: Graph,
    self: Array,
    dim: Any = None,
    *,
    correction: Number | None = None,
    keepdim: bool = False,
) -> tuple[Array, Array]:
    return _spread(g, self, dim, correction, keepdim, root=False)


@lowering("std_mean.correction", samples="std_mean")
def std_mean(
    g: Graph,
    self: Array,
    dim: Any = None,
    *,
    correction: Number | None = None,
    keepdim: bool = False,
) -> tuple[Array, Array]:
    return _spread(g, self, dim, correction, keepdim, root=True)


# -- norms -----------------------------------------------------------------------------
def norm_of(
    g: Graph, x: Array, order: Number, axes: Sequence[int], keepdim: bool
) -> Array:
    """The norm of floats along dimensions, in the dtype that they have.

    Raises:
        Unsupported: the order is no number that is known.
    """
    if not isinstance(order, (int, float)):
        raise Unsupported(f"has the order {order}, which differs from call to call")
    if order == 0:
        is_other = g.compare(x, g.number(0, x.dtype), "NE")
        return g.sum(g.convert(is_other, x.dtype), axes, keepdim)
    size = g.unary("abs", x)
    if order == float("inf"):
        return extreme(g, "maximum", size, axes, keepdim)
    if order == float("-inf"):
        return extreme(g, "minimum", size, axes, keepdim)
    if order == 1:
        return g.sum(size, axes, keepdim)
    if order == 2:
        return g.unary("sqrt", g.sum(square(g, x), axes, keepdim))
    powers = g.binary("power", size, g.number(order, x.dtype))
    total = g.sum(powers, axes, keepdim)
    return g.binary("power", total, g.number(1 / order, x.dtype))


@lowering("linalg_vector_norm", samples="vector_norm norm")
def linalg_vector_norm(
    g: Graph,
    self: Array,
    ord: Number = 2,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
) -> Array:
    x = g.convert(self, accumulating(g.result.dtype))
    made = norm_of(g, x, ord, g.axes(x, dim), keepdim)
    return g.convert(made, g.result.dtype)


def _orders(*more: Any) -> Iterator[Sample]:
    x = torch.tensor([[-2.5, 0.0, 1.5], [7.0, -0.0, 3.25]])
    for order in (0, 1, 2, 3.5, float("inf"), float("-inf"), -1):
        yield (x, order, *more), {}


def _orders_and_dtype() -> Iterator[Sample]:
    for args, _ in _orders():
        yield args, {"dtype": torch.float32}


def _orders_dims_and_dtype() -> Iterator[Sample]:
    for args, _ in _orders([1], True):
        yield args, {"dtype": torch.float32}


@lowering("norm.Scalar", samples=_orders)
@lowering("norm.ScalarOpt_dtype", samples=_orders_and_dtype)
@lowering("norm.ScalarOpt_dim", samples=lambda: _orders([0]))
@lowering("norm.ScalarOpt_dim_dtype", samples=_orders_dims_and_dtype)
def norm(
    g: Graph,
    self: Array,
    p: Number | None = 2,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
) -> Array:
    order = 2 if p is None else p
    return linalg_vector_norm(g, self, order, dim, keepdim)


@lowering("dist")
def dist(g: Graph, self: Array, other: Array, p: Number = 2) -> Array:
    dtype = accumulating(g.result.dtype)
    apart = g.binary("subtract", g.convert(self, dtype), g.convert(other, dtype))
    made = norm_of(g, apart, p, range(apart.ndim), keepdim=False)
    return g.convert(made, g.result.dtype)


@lowering("renorm")
def renorm(g: Graph, self: Array, p: Number, dim: int, maxnorm: Number) -> Array:
    x = wide(g, self)
    axes = [a for a in range(x.ndim) if a != g.axis(x, dim)]
    norm = norm_of(g, x, p, axes, keepdim=True)
    most = g.number(maxnorm, x.dtype)
    # As torch: what is divided by never is 0.
    above = g.binary("add", norm, g.number(1e-7, x.dtype))
    factor = g.select(
        g.compare(norm, most, "GT"),
        g.binary("divide", most, above),
        g.number(1, x.dtype),
    )
    return g.convert(g.binary("multiply", x, factor), self.dtype)
