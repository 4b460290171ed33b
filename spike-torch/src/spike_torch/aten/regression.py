"""Losses of numbers beside those that are wanted, and their gradients.

Computed in float32, in which the sum of all is made as well, and rounded once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from spike_torch.aten.moments import square
from spike_torch.aten.pointwise import promoted
from spike_torch.aten.record import lowering
from spike_torch.aten.reductions import wide

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Array, Graph, Number

#: torch's numbers of how the losses of all places become one.
NONE, MEAN, SUM = 0, 1, 2


# -- parts of lowerings ----------------------------------------------------------------
def _reduced(g: Graph, loss: Array, reduction: int) -> Array:
    """The loss of all, or of each, in the dtype that torch returns."""
    axes = range(loss.ndim)
    if reduction != NONE:
        count = g.number(g.count(loss, axes), loss.dtype)
        loss = g.sum(loss, axes)
        if reduction == MEAN:
            loss = g.binary("divide", loss, count)
    return g.convert(loss, g.result.dtype)


def _gradient(g: Graph, slope: Array, grad_output: Array, reduction: int) -> Array:
    """The slope of each loss times the gradient of what was made of them."""
    if reduction == MEAN:
        count = g.number(g.count(slope, range(slope.ndim)), slope.dtype)
        slope = g.binary("divide", slope, count)
    made = g.binary("multiply", slope, wide(g, grad_output))
    return g.convert(made, g.result.dtype)


def _difference(g: Graph, x: Array, target: Array) -> Array:
    dtype = promoted(x, target)
    x, target = g.convert(x, dtype), g.convert(target, dtype)
    return g.binary("subtract", wide(g, x), wide(g, target))


def _times(g: Graph, x: Array, factor: Number) -> Array:
    return g.binary("multiply", x, g.number(factor, x.dtype))


def _plus(g: Graph, x: Array, term: Number) -> Array:
    return g.binary("add", x, g.number(term, x.dtype))


def _between(
    g: Graph, apart: Array, limit: float, inner: Array, outer: Callable[[float], Number]
) -> Array:
    """`inner`, and what `outer` makes of the sign from the limits on."""
    low, high = g.number(-limit, apart.dtype), g.number(limit, apart.dtype)
    above = g.number(outer(1.0), apart.dtype)
    below = g.number(outer(-1.0), apart.dtype)
    made = g.select(g.compare(apart, high, "GE"), above, inner)
    return g.select(g.compare(apart, low, "LE"), below, made)


# -- squares, and what grows slower ----------------------------------------------------
@lowering("mse_loss")
def mse_loss(g: Graph, self: Array, target: Array, reduction: int = MEAN) -> Array:
    return _reduced(g, square(g, _difference(g, self, target)), reduction)


@lowering("mse_loss_backward", samples="mse_loss")
def mse_loss_backward(
    g: Graph, grad_output: Array, self: Array, target: Array, reduction: int
) -> Array:
    slope = _times(g, _difference(g, self, target), 2)
    return _gradient(g, slope, grad_output, reduction)


@lowering("smooth_l1_loss")
def smooth_l1_loss(
    g: Graph, self: Array, target: Array, reduction: int = MEAN, beta: float = 1.0
) -> Array:
    size = g.unary("abs", _difference(g, self, target))
    if beta == 0:
        return _reduced(g, size, reduction)
    inner = _times(g, square(g, size), 0.5)
    inner = g.binary("divide", inner, g.number(beta, size.dtype))
    is_inner = g.compare(size, g.number(beta, size.dtype), "LT")
    loss = g.select(is_inner, inner, _plus(g, size, -0.5 * beta))
    return _reduced(g, loss, reduction)


@lowering("smooth_l1_loss_backward", samples="smooth_l1_loss")
def smooth_l1_loss_backward(
    g: Graph,
    grad_output: Array,
    self: Array,
    target: Array,
    reduction: int,
    beta: float,
) -> Array:
    apart = _difference(g, self, target)
    inner = g.binary("divide", apart, g.number(beta, apart.dtype))
    slope = _between(g, apart, beta, inner, lambda sign: sign)
    return _gradient(g, slope, grad_output, reduction)


@lowering("huber_loss")
def huber_loss(
    g: Graph, self: Array, target: Array, reduction: int = MEAN, delta: float = 1.0
) -> Array:
    size = g.unary("abs", _difference(g, self, target))
    outer = _times(g, _plus(g, size, -0.5 * delta), delta)
    is_outer = g.compare(size, g.number(delta, size.dtype), "GT")
    loss = g.select(is_outer, outer, _times(g, square(g, size), 0.5))
    return _reduced(g, loss, reduction)


@lowering("huber_loss_backward", samples="huber_loss")
def huber_loss_backward(
    g: Graph,
    grad_output: Array,
    self: Array,
    target: Array,
    reduction: int,
    delta: float,
) -> Array:
    apart = _difference(g, self, target)
    slope = _between(g, apart, delta, apart, lambda sign: sign * delta)
    return _gradient(g, slope, grad_output, reduction)


# -- entropies -------------------------------------------------------------------------
#: As torch: no logarithm is below the first, nothing divided by is below the second.
_LEAST_LOGARITHM, _LEAST_PRODUCT = -100.0, 1e-12


def _complement(g: Graph, x: Array) -> Array:
    return g.binary("subtract", g.number(1, x.dtype), x)


def _weighted(g: Graph, x: Array, weight: Array | None) -> Array:
    return x if weight is None else g.binary("multiply", x, wide(g, weight))


@lowering("binary_cross_entropy", checks_values=True)
def binary_cross_entropy(
    g: Graph,
    self: Array,
    target: Array,
    weight: Array | None = None,
    reduction: int = MEAN,
) -> Array:
    """Where torch raises, as `self` is no probability, it is NaN or a number."""
    x, y = wide(g, self), wide(g, target)
    least = g.number(_LEAST_LOGARITHM, x.dtype)
    yes = g.binary("maximum", g.unary("log", x), least)
    no = g.unary("log-plus-one", g.unary("negate", x))
    no = g.binary("maximum", no, least)
    against = g.binary("multiply", _complement(g, y), no)
    loss = g.unary("negate", g.binary("add", g.binary("multiply", y, yes), against))
    return _reduced(g, _weighted(g, loss, weight), reduction)


@lowering("binary_cross_entropy_backward", samples="binary_cross_entropy")
def binary_cross_entropy_backward(
    g: Graph,
    grad_output: Array,
    self: Array,
    target: Array,
    weight: Array | None = None,
    reduction: int = MEAN,
) -> Array:
    x = wide(g, self)
    product = g.binary("multiply", _complement(g, x), x)
    divisor = g.binary("maximum", product, g.number(_LEAST_PRODUCT, x.dtype))
    slope = g.binary("divide", _difference(g, self, target), divisor)
    return _gradient(g, _weighted(g, slope, weight), grad_output, reduction)


@lowering("binary_cross_entropy_with_logits")
def binary_cross_entropy_with_logits(
    g: Graph,
    self: Array,
    target: Array,
    weight: Array | None = None,
    pos_weight: Array | None = None,
    reduction: int = MEAN,
) -> Array:
    x, y = wide(g, self), wide(g, target)
    small = g.unary("exponential", g.unary("negate", g.unary("abs", x)))
    low = g.binary("minimum", x, g.number(0, x.dtype))
    log_sigmoid = g.binary("subtract", low, g.unary("log-plus-one", small))
    if pos_weight is not None:
        more = g.binary("multiply", _plus(g, wide(g, pos_weight), -1), y)
        log_sigmoid = g.binary("multiply", log_sigmoid, _plus(g, more, 1))
    against = g.binary("multiply", _complement(g, y), x)
    loss = g.binary("subtract", against, log_sigmoid)
    return _reduced(g, _weighted(g, loss, weight), reduction)


@lowering("soft_margin_loss")
def soft_margin_loss(
    g: Graph, self: Array, target: Array, reduction: int = MEAN
) -> Array:
    power = _against(g, self, target)
    return _reduced(g, g.unary("log-plus-one", power), reduction)


@lowering("soft_margin_loss_backward", samples="soft_margin_loss")
def soft_margin_loss_backward(
    g: Graph, grad_output: Array, self: Array, target: Array, reduction: int
) -> Array:
    power = _against(g, self, target)
    part = g.binary("divide", power, _plus(g, power, 1))
    slope = g.binary("multiply", g.unary("negate", wide(g, target)), part)
    return _gradient(g, slope, grad_output, reduction)


def _against(g: Graph, x: Array, target: Array) -> Array:
    """How unlikely a side is: the exponential of its margin, negated."""
    margin = g.binary("multiply", wide(g, x), wide(g, target))
    return g.unary("exponential", g.unary("negate", margin))
