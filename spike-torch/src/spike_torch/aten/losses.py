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
from spike_torch.lowering import indexing, moves

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Array, Graph


# -- parts of lowerings ----------------------------------------------------------------
def _class_axis(x: Array) -> int:
    return 1 if x.ndim > 1 else 0


def _classes(g: Graph, x: Array, target: Array, ignore_index: int) -> Array:
    """s32, beside `x`: of each place its class, -1 if it is ignored."""
    axis = _class_axis(x)
    ignored = g.compare(target, g.number(ignore_index, target.dtype), "EQ")
    at = indexing.indices(g, target, x.dims[axis].size, wraps=False)
    at = g.select(ignored, g.number(-1, torch.int32), at)
    return g.insert_ones(at, [axis])


def _is_class(g: Graph, x: Array, at: Array) -> Array:
    """Booleans: which places have a class."""
    return indexing.inside(g, at, x.dims[_class_axis(x)].size)


def _picked(g: Graph, x: Array, at: Array) -> Array:
    """Of each place what its class has. Read there, not looked for among all."""
    if moves.is_nothing(g, x.sizes):
        return g.expand(g.number(float("nan"), x.dtype), at.dims)
    return indexing.read_flat(g, x, indexing.all_places(g, x.dims, _class_axis(x), at))


def _counts(g: Graph, weight: Array | None, at: Array, dtype: torch.dtype) -> Array:
    """What the class of each place counts."""
    if weight is None:
        return g.expand(g.number(1, dtype), at.dims)
    weight = g.convert(weight, dtype)
    place = indexing.all_flat_places(g, weight.dims[0], at)
    return indexing.read_flat(g, weight, place)


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
    at = _classes(g, x, target, ignore_index)
    has_class = _is_class(g, x, at)
    counts = _counts(g, weight, at, x.dtype)
    loss = g.binary("multiply", g.unary("negate", _picked(g, x, at)), counts)
    # Not -0, nor NaN of what counts nothing.
    loss = g.select(has_class, loss, _without_class(g, x, target, ignore_index))
    counts = g.select(has_class, counts, g.number(0, x.dtype))
    loss, counts = (g.drop_ones(y, [_class_axis(x)]) for y in (loss, counts))
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
    made = g.select(ignored, g.number(0, x.dtype), g.number(float("nan"), x.dtype))
    return g.insert_ones(made, [_class_axis(x)])


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
    at = _classes(g, x, target, ignore_index)
    own = g.unary("negate", grad)
    own = g.binary("multiply", own, _counts(g, weight, at, x.dtype))
    other = _without_class(g, x, target, ignore_index)
    other = g.select(_is_class(g, x, at), g.number(0, x.dtype), other)
    classes = g.iota(x.dims, _class_axis(x), torch.int32)
    made = g.select(g.compare(classes, at, "EQ"), own, other)
    return g.convert(made, self.dtype)
