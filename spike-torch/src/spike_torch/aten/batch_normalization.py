"""Batch normalization in torch's several forms, and its gradient.

Channels are the second dimension. Forms that write to running statistics in place are
left to the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from spike_torch.aten.moments import variance_of
from spike_torch.aten.normalization import (
    masked_out,
    normalized,
    reciprocal_root,
    scaled,
)
from spike_torch.aten.record import Sample, lowering
from spike_torch.aten.reductions import mean_of, wide
from spike_torch.lowering.errors import Unsupported

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Array, Graph, Number


class Normalized(NamedTuple):
    """What torch returns, and the batch's own statistics in float32; all by channel."""

    returned: tuple[Array, Array, Array]
    mean: Array
    variance: Array


# -- parts of lowerings ----------------------------------------------------------------
def _others(x: Array) -> tuple[int, ...]:
    """All dimensions but the channels'."""
    return (0, *range(2, x.ndim))


def _beside(g: Graph, x: Array, other: Array) -> Array:
    """What is by channel, in float32, beside an array."""
    return g.insert_ones(wide(g, x), range(1, other.ndim - 1))


def _by_own(
    g: Graph, input: Array, weight: Array | None, bias: Array | None, eps: Number
) -> Normalized:
    """By statistics of what is normalized."""
    x, axes = wide(g, input), _others(input)
    variance, mean = variance_of(g, x, axes, 0)
    rstd = reciprocal_root(g, variance, eps)
    y = _finished(g, normalized(g, x, mean, rstd), weight, bias)
    mean, rstd, variance = (g.drop_ones(a, axes) for a in (mean, rstd, variance))
    dtype = g.results[1].dtype
    returned = (y, g.convert(mean, dtype), g.convert(rstd, dtype))
    return Normalized(returned, mean, variance)


def _by_running(
    g: Graph,
    input: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Array,
    running_var: Array,
    eps: Number,
) -> Array:
    x = wide(g, input)
    rstd = reciprocal_root(g, wide(g, running_var), eps)
    mean = _beside(g, running_mean, x)
    made = normalized(g, x, mean, _beside(g, rstd, x))
    return _finished(g, made, weight, bias)


def _finished(g: Graph, x: Array, weight: Array | None, bias: Array | None) -> Array:
    factor = None if weight is None else _beside(g, weight, x)
    term = None if bias is None else _beside(g, bias, x)
    return g.convert(scaled(g, x, factor, term), g.results[0].dtype)


def _nothing(g: Graph, *, first: int) -> tuple[Array, ...]:
    """The results from one on, which are without elements."""
    return tuple(g.full(r.sizes, 0, r.dtype) for r in g.results[first:])


def _updated(g: Graph, running: Array, own: Array, momentum: Number) -> Array:
    """Running statistics that a batch's own have a part in."""
    old = wide(g, running)
    kept = g.binary("multiply", old, g.number(1 - momentum, old.dtype))
    new = g.binary("multiply", own, g.number(momentum, own.dtype))
    return g.convert(g.binary("add", kept, new), running.dtype)


def _unbiased(g: Graph, input: Array, variance: Array) -> Array:
    count = g.number(g.count(input, _others(input)), variance.dtype)
    less = g.binary("subtract", count, g.number(1, variance.dtype))
    return g.binary("multiply", variance, g.binary("divide", count, less))


# -- samples ---------------------------------------------------------------------------
def _tensors() -> Iterator[tuple[torch.Tensor, ...]]:
    """Inputs, weights, biases, running means and variances."""
    channels = torch.tensor([0.5, -2.0, 3.0])
    for shape in ((4, 3), (2, 3, 5)):
        x = torch.linspace(-30, 40, torch.Size(shape).numel()).cos().reshape(shape)
        yield x, channels, channels - 1, channels + 2, channels.square()


def _functional() -> Iterator[Sample]:
    for training in (True, False):
        for tensors in _tensors():
            yield (*tensors, training, 0.3, 1e-3), {}


def _with_running() -> Iterator[Sample]:
    for tensors in _tensors():
        yield (*tensors, 0.3, 1e-3), {}


def _without_running() -> Iterator[Sample]:
    for x, weight, bias, *_ in _tensors():
        yield (x, weight, bias, True, 0.3, 1e-3), {}
        yield (x, None, None, True, 0.3, 1e-3), {}


def _backward() -> Iterator[Sample]:
    for x, weight, bias, mean, variance in _tensors():
        rstd = variance.rsqrt()
        common = (x.sin(), x, weight, mean, variance, bias, rstd)
        yield (*common, True, 1e-3, [True, True, True]), {}
        yield (*common, False, 1e-3, [True, False, True]), {}


# -- forward ---------------------------------------------------------------------------
@lowering("_native_batch_norm_legit_functional", samples=_functional)
def functional(
    g: Graph,
    input: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Array,
    running_var: Array,
    training: bool,
    momentum: Number,
    eps: Number,
) -> tuple[Array, ...]:
    if not training:
        y = _by_running(g, input, weight, bias, running_mean, running_var, eps)
        empty = _nothing(g, first=1)[:2]
        return (y, *empty, running_mean, running_var)
    made = _by_own(g, input, weight, bias, eps)
    return (
        *made.returned,
        _updated(g, running_mean, made.mean, momentum),
        _updated(g, running_var, _unbiased(g, input, made.variance), momentum),
    )


@lowering("_batch_norm_with_update_functional", samples=_with_running)
def with_update_functional(
    g: Graph,
    input: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Array,
    running_var: Array,
    momentum: Number,
    eps: Number,
) -> tuple[Array, ...]:
    y, mean, rstd, *running = functional(
        g, input, weight, bias, running_mean, running_var, True, momentum, eps
    )
    reserve = _nothing(g, first=3)[0]
    return (y, mean, rstd, reserve, *running)


@lowering(
    "_native_batch_norm_legit_no_training _batch_norm_no_update", samples=_with_running
)
def no_training(
    g: Graph,
    input: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Array,
    running_var: Array,
    momentum: Number,
    eps: Number,
) -> tuple[Array, ...]:
    y = _by_running(g, input, weight, bias, running_mean, running_var, eps)
    return (y, *_nothing(g, first=1))


@lowering("_native_batch_norm_legit.no_stats", samples=_without_running)
def no_stats(
    g: Graph,
    input: Array,
    weight: Array | None,
    bias: Array | None,
    training: bool,
    momentum: Number,
    eps: Number,
) -> tuple[Array, ...]:
    if not training:
        raise Unsupported("has no statistics to normalize by")
    return _by_own(g, input, weight, bias, eps).returned


@lowering("native_batch_norm", samples="batch_norm")
def native_batch_norm(
    g: Graph,
    input: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Array | None,
    running_var: Array | None,
    training: bool,
    momentum: Number,
    eps: Number,
) -> tuple[Array, ...]:
    """Of which the CPU writes to running statistics, where it trains."""
    if not training and running_mean is not None and running_var is not None:
        return no_training(
            g, input, weight, bias, running_mean, running_var, momentum, eps
        )
    if running_mean is not None or running_var is not None:
        raise Unsupported("updates running statistics in place")
    return no_stats(g, input, weight, bias, training, momentum, eps)


# -- backward --------------------------------------------------------------------------
@lowering("native_batch_norm_backward", samples=_backward)
def native_batch_norm_backward(
    g: Graph,
    grad_out: Array,
    input: Array,
    weight: Array | None,
    running_mean: Array | None,
    running_var: Array | None,
    save_mean: Array | None,
    save_invstd: Array | None,
    train: bool,
    eps: Number,
    output_mask: Sequence[bool],
) -> tuple[Array | None, ...]:
    if train:
        mean, rstd = save_mean, save_invstd
    else:
        mean = running_mean
        var = running_var
        rstd = None if var is None else reciprocal_root(g, wide(g, var), eps)
    if mean is None or rstd is None:
        raise Unsupported("has no statistics that it was normalized by")
    grad, x, axes = wide(g, grad_out), wide(g, input), _others(input)
    wide_rstd = _beside(g, rstd, x)
    centered = g.binary("subtract", x, _beside(g, mean, x))
    along = g.binary("multiply", grad, centered)

    def times_rstd(x: Array) -> Array:
        return g.binary("multiply", x, wide_rstd)

    # In the CPU's order, which tells where the root or the weight is infinite.
    def of_input() -> Array:
        made = grad
        if train:
            slope = times_rstd(times_rstd(mean_of(g, along, axes, keepdim=True)))
            made = g.binary("subtract", grad, mean_of(g, grad, axes, keepdim=True))
            made = g.binary("subtract", made, g.binary("multiply", centered, slope))
        factor = None if weight is None else _beside(g, weight, x)
        return scaled(g, times_rstd(made), factor, None)

    return masked_out(
        g,
        output_mask,
        of_input,
        lambda: g.binary("multiply", g.sum(along, axes), wide(g, rstd)),
        lambda: g.sum(grad, axes),
    )


def _backward_with_reserve() -> Iterator[Sample]:
    for args, named in _backward():
        yield (*args, torch.empty(0, dtype=torch.uint8)), named


@lowering("batch_norm_backward", samples=_backward_with_reserve)
def batch_norm_backward(
    g: Graph,
    grad_out: Array,
    input: Array,
    weight: Array,
    running_mean: Array | None,
    running_var: Array | None,
    save_mean: Array | None,
    save_var: Array | None,
    update: bool,
    eps: Number,
    output_mask: Sequence[bool],
    reserve: Array,
) -> tuple[Array | None, ...]:
    """As the other; what is called a variance is the reciprocal of its root."""
    return native_batch_norm_backward(
        *(g, grad_out, input, weight, running_mean, running_var),
        *(save_mean, save_var, update, eps, output_mask),
    )
