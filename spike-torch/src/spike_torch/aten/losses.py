"""Losses by class, and their gradients.

Where torch raises, as a target is no class, the loss and its gradients there are NaN: a
program cannot raise, and a number would be wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from spike_torch.aten.record import Sample, lowering
from spike_torch.aten.reductions import wide
from spike_torch.aten.regression import MEAN, NONE, SUM

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Array, Graph


# -- parts of lowerings ----------------------------------------------------------------
def _class_axis(x: Array) -> int:
    return 1 if x.ndim > 1 else 0


def _is_target(g: Graph, x: Array, target: Array, ignore_index: int) -> Array:
    """Booleans: of each place, its class, unless it is ignored."""
    axis = _class_axis(x)
    wanted = g.insert_ones(target, [axis])
    classes = g.iota(x.dims, axis, target.dtype)
    ignored = g.compare(wanted, g.number(ignore_index, target.dtype), "EQ")
    never = g.number(-1, target.dtype)
    return g.compare(classes, g.select(ignored, never, wanted), "EQ")


def _weights(g: Graph, x: Array, weight: Array | None) -> Array:
    """What each class counts, beside `x`."""
    if weight is None:
        return g.number(1, x.dtype)
    axis = _class_axis(x)
    return g.insert_ones(g.convert(weight, x.dtype), range(1, x.ndim - axis))


def _picked(g: Graph, where: Array, x: Array) -> Array:
    """Of each place what its class has; 0 if it has none."""
    chosen = g.select(where, x, g.number(0, x.dtype))
    return g.sum(chosen, [_class_axis(where)])


# -- the negative logarithm of likelihoods ---------------------------------------------
def _planes() -> Iterator[Sample]:
    x = torch.linspace(-30, 40, 36).cos().reshape(2, 3, 2, 3)
    target = torch.arange(12).reshape(2, 2, 3) % 3
    for reduction in (NONE, MEAN, SUM):
        yield (x, target, None, reduction, -100), {}
        yield (x, target, torch.tensor([2.0, 0.5, 3.0]), reduction, 1), {}


def _planes_backward() -> Iterator[Sample]:
    for args, _ in _planes():
        x, target, weight, reduction, ignored = args
        loss, total = torch.ops.aten.nll_loss2d_forward(*args)
        yield (loss.sin(), x, target, weight, reduction, ignored, total), {}


@lowering("nll_loss2d_forward", checks_values=True, samples=_planes)
@lowering("nll_loss_forward", checks_values=True, samples="nll_loss cross_entropy")
def nll_loss_forward(
    g: Graph,
    self: Array,
    target: Array,
    weight: Array | None,
    reduction: int,
    ignore_index: int,
) -> tuple[Array, Array]:
    x = wide(g, self)
    where = _is_target(g, x, target, ignore_index)
    counts = _picked(g, where, g.expand(_weights(g, x, weight), x.dims))
    loss = g.unary("negate", _picked(g, where, x))
    loss = g.binary("multiply", loss, counts)
    # Not -0, nor NaN of what counts nothing.
    loss = g.select(
        _counted(g, where), loss, _without_class(g, x, target, ignore_index)
    )
    total = g.sum(counts, range(counts.ndim))
    if reduction == NONE and x.ndim > 1:
        return g.convert(loss, self.dtype), g.full((), 0, g.results[1].dtype)
    loss = g.sum(loss, range(loss.ndim))
    if reduction == MEAN:
        loss = g.binary("divide", loss, total)
    return g.convert(loss, self.dtype), g.convert(total, g.results[1].dtype)


def _without_class(g: Graph, x: Array, target: Array, ignore_index: int) -> Array:
    """What a place has that has no class: 0 if it is ignored, NaN if it should have."""
    ignored = g.compare(target, g.number(ignore_index, target.dtype), "EQ")
    return g.select(ignored, g.number(0, x.dtype), g.number(float("nan"), x.dtype))


def _counted(g: Graph, where: Array) -> Array:
    """Whether a place has a class."""
    return g.reduce(where, "or", False, [_class_axis(where)])


@lowering("nll_loss2d_backward", checks_values=True, samples=_planes_backward)
@lowering("nll_loss_backward", checks_values=True, samples="nll_loss cross_entropy")
def nll_loss_backward(
    g: Graph,
    grad_output: Array,
    self: Array,
    target: Array,
    weight: Array | None,
    reduction: int,
    ignore_index: int,
    total_weight: Array,
) -> Array:
    x = wide(g, self)
    grad = wide(g, grad_output)
    if reduction == MEAN:
        grad = g.binary("divide", grad, wide(g, total_weight))
    if grad.ndim and x.ndim > 1:
        grad = g.insert_ones(grad, [1])
    where = _is_target(g, x, target, ignore_index)
    own = g.binary("multiply", g.unary("negate", grad), _weights(g, x, weight))
    zero = g.number(0, x.dtype)
    other = _without_class(g, x, target, ignore_index)
    other = g.select(_counted(g, where), zero, other)
    made = g.select(where, own, g.insert_ones(other, [_class_axis(x)]))
    return g.convert(made, self.dtype)
