"""Losses: functions of two arrays, element by element, and their mean or sum."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spike_torch.aten.examples import given
from spike_torch.aten.pointwise import (
    Make,
    compare,
    like,
    of_floats,
    one_minus,
    plus,
    times,
)
from spike_torch.aten.record import lowering
from spike_torch.lowering.dtypes import accumulating

if TYPE_CHECKING:
    from nkipy.hlo.builder import HLOBuilder, Value
    from spike_torch.lowering.graph import Array, Graph

#: torch's numbers for how a loss is reduced.
_NONE, _MEAN = 0, 1


def _loss(g: Graph, make: Make, reduction: int, *operands: Array) -> Array:
    """The function of each element, and their mean or sum."""
    dtype = g.result.dtype
    each = of_floats(g, make, *operands)
    if reduction == _NONE:
        return each
    wide = accumulating(dtype)
    axes = range(each.ndim)
    total = g.sum(g.convert(each, wide), axes)
    if reduction == _MEAN:
        total = g.binary("divide", total, g.number(g.count(each, axes), wide))
    return g.convert(total, dtype)


def _gradient(
    g: Graph, make: Make, reduction: int, grad: Array, *operands: Array
) -> Array:
    """The gradient, of a function whose slope `make` makes."""
    wide = accumulating(g.result.dtype)
    arrays = (grad, *operands)
    if reduction != _MEAN:
        return of_floats(g, lambda b, d, *xs: b.multiply(make(b, *xs), d), *arrays)
    count = g.number(g.count(operands[0], range(operands[0].ndim)), wide)

    def mean(b: HLOBuilder, count: Value, d: Value, *xs: Value) -> Value:
        return b.divide(b.multiply(make(b, *xs), d), count)

    return of_floats(g, mean, count, *arrays)


# -- squares ---------------------------------------------------------------------------
@lowering("mse_loss", samples=given("grad", "y"))
def mse_loss(g: Graph, self: Array, target: Array, reduction: int = _MEAN) -> Array:
    def make(b: HLOBuilder, x: Value, y: Value) -> Value:
        apart = b.subtract(x, y)
        return b.multiply(apart, apart)

    return _loss(g, make, reduction, self, target)


@lowering("mse_loss_backward", samples=given("number", "grad", "y", 1))
def mse_loss_backward(
    g: Graph, grad_output: Array, self: Array, target: Array, reduction: int
) -> Array:
    def make(b: HLOBuilder, x: Value, y: Value) -> Value:
        return times(b, b.subtract(x, y), 2)

    return _gradient(g, make, reduction, grad_output, self, target)


# -- squares near zero, distances elsewhere --------------------------------------------
@lowering("smooth_l1_loss", samples=given("grad", "probability"))
def smooth_l1_loss(
    g: Graph,
    self: Array,
    target: Array,
    reduction: int = _MEAN,
    beta: float = 1.0,
) -> Array:
    def make(b: HLOBuilder, x: Value, y: Value) -> Value:
        size = b.unary("abs", b.subtract(x, y))
        if beta == 0:
            return size
        square = b.divide(b.multiply(times(b, size, 0.5), size), like(b, x, beta))
        far = plus(b, size, -0.5 * beta)
        return b.select(compare(b, size, "LT", beta), square, far)

    return _loss(g, make, reduction, self, target)


@lowering("smooth_l1_loss_backward", samples=given("number", "grad", "y", 1, 1.5))
def smooth_l1_loss_backward(
    g: Graph,
    grad_output: Array,
    self: Array,
    target: Array,
    reduction: int,
    beta: float,
) -> Array:
    def make(b: HLOBuilder, x: Value, y: Value) -> Value:
        apart = b.subtract(x, y)
        near = times(b, apart, 1 / beta) if beta else like(b, x, 0)
        return _cut(b, apart, beta, near, 1.0)

    return _gradient(g, make, reduction, grad_output, self, target)


def _cut(b: HLOBuilder, x: Value, limit: float, near: Value, far: float) -> Value:
    """``far`` with the sign of `x` from a limit on, else `near`."""
    made = b.select(compare(b, x, "GE", limit), like(b, x, far), near)
    return b.select(compare(b, x, "LE", -limit), like(b, x, -far), made)


@lowering("huber_loss", samples=given("grad", "y", 1, 1.5))
def huber_loss(
    g: Graph,
    self: Array,
    target: Array,
    reduction: int = _MEAN,
    delta: float = 1.0,
) -> Array:
    def make(b: HLOBuilder, x: Value, y: Value) -> Value:
        size = b.unary("abs", b.subtract(x, y))
        square = b.multiply(times(b, size, 0.5), size)
        far = times(b, plus(b, size, -0.5 * delta), delta)
        return b.select(compare(b, size, "LE", delta), square, far)

    return _loss(g, make, reduction, self, target)


@lowering("huber_loss_backward", samples=given("number", "grad", "y", 1, 1.5))
def huber_loss_backward(
    g: Graph,
    grad_output: Array,
    self: Array,
    target: Array,
    reduction: int,
    delta: float,
) -> Array:
    def make(b: HLOBuilder, x: Value, y: Value) -> Value:
        apart = b.subtract(x, y)
        return _cut(b, apart, delta, apart, delta)

    return _gradient(g, make, reduction, grad_output, self, target)


# -- logarithms ------------------------------------------------------------------------
@lowering("soft_margin_loss", samples=given("grad", "chance"))
def soft_margin_loss(
    g: Graph, self: Array, target: Array, reduction: int = _MEAN
) -> Array:
    def make(b: HLOBuilder, x: Value, y: Value) -> Value:
        grown = b.unary("exponential", b.negate(b.multiply(x, y)))
        return b.unary("log-plus-one", grown)

    return _loss(g, make, reduction, self, target)


@lowering("binary_cross_entropy", samples=given("probability", "chance"))
def binary_cross_entropy(
    g: Graph,
    self: Array,
    target: Array,
    weight: Array | None = None,
    reduction: int = _MEAN,
) -> Array:
    """Logarithms are cut at -100."""

    def make(b: HLOBuilder, x: Value, y: Value, *weight: Value) -> Value:
        low = like(b, x, -100)
        one = b.maximum(b.unary("log-plus-one", b.negate(x)), low)
        other = b.maximum(b.unary("log", x), low)
        made = b.multiply(plus(b, y, -1), one)
        made = b.subtract(made, b.multiply(y, other))
        return b.multiply(made, *weight) if weight else made

    weights = [] if weight is None else [weight]
    return _loss(g, make, reduction, self, target, *weights)


@lowering(
    "binary_cross_entropy_backward", samples=given("number", "probability", "chance")
)
def binary_cross_entropy_backward(
    g: Graph,
    grad_output: Array,
    self: Array,
    target: Array,
    weight: Array | None = None,
    reduction: int = _MEAN,
) -> Array:
    def make(b: HLOBuilder, x: Value, y: Value, *weight: Value) -> Value:
        product = b.multiply(x, one_minus(b, x))
        spread = b.maximum(product, like(b, x, 1e-12))
        made = b.divide(b.subtract(x, y), spread)
        return b.multiply(made, *weight) if weight else made

    weights = [] if weight is None else [weight]
    return _gradient(g, make, reduction, grad_output, self, target, *weights)
