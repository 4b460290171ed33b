"""Layer and group normalization, and their gradients.

Statistics are of what counts. All is computed in float32 and rounded once, statistics
that the results are made of too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from spike_torch.aten.moments import variance_of
from spike_torch.aten.record import Sample, lowering
from spike_torch.aten.reductions import mean_of, wide
from spike_torch.lowering.errors import NeedsExactSize
from spike_torch.lowering.sizes import quotient

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Array, Graph, Number
    from spike_torch.lowering.sizes import Size


# -- parts of lowerings ----------------------------------------------------------------
def reciprocal_root(g: Graph, variance: Array, eps: Number) -> Array:
    """What is multiplied by to have variance 1."""
    more = g.binary("add", variance, g.number(eps, variance.dtype))
    return g.unary("rsqrt", more)


def scaled(g: Graph, x: Array, weight: Array | None, bias: Array | None) -> Array:
    """``x * weight + bias`` of what is there, in the dtype of `x`."""
    if weight is not None:
        x = g.binary("multiply", x, g.convert(weight, x.dtype))
    return x if bias is None else g.binary("add", x, g.convert(bias, x.dtype))


def normalized(g: Graph, x: Array, mean: Array, rstd: Array) -> Array:
    return g.binary("multiply", g.binary("subtract", x, mean), rstd)


def gradient(
    g: Graph, grad: Array, xhat: Array, rstd: Array, axes: Sequence[int]
) -> Array:
    """That of what was normalized along dimensions, by statistics of its own.

    Args:
        g: where to build it.
        grad: the gradient of what was normalized, times its weights.
        xhat: what normalization made.
        rstd: what it multiplied by.
        axes: the dimensions.
    """
    rest = g.binary("subtract", grad, mean_of(g, grad, axes, keepdim=True))
    # Of what is left, not of `grad`: the mean of `xhat` is 0 but for its rounding.
    along = mean_of(g, g.binary("multiply", rest, xhat), axes, keepdim=True)
    rest = g.binary("subtract", rest, g.binary("multiply", xhat, along))
    return g.binary("multiply", rest, rstd)


def masked_out(
    g: Graph, output_mask: Sequence[bool], *made: Callable[[], Array]
) -> tuple[Array | None, ...]:
    """The results that are asked for, in the dtypes that torch returns them in."""
    results = iter(g.results)
    return tuple(
        g.convert(make(), next(results).dtype) if wanted else None
        for wanted, make in zip(output_mask, made, strict=True)
    )


# -- layers ----------------------------------------------------------------------------
@lowering("native_layer_norm", samples="layer_norm")
def native_layer_norm(
    g: Graph,
    input: Array,
    normalized_shape: Sequence[Size],
    weight: Array | None,
    bias: Array | None,
    eps: Number,
) -> tuple[Array, Array, Array]:
    x = wide(g, input)
    axes = range(x.ndim - len(normalized_shape), x.ndim)
    variance, mean = variance_of(g, x, axes, 0)
    rstd = reciprocal_root(g, variance, eps)
    made = scaled(g, normalized(g, x, mean, rstd), weight, bias)
    y, mean, rstd = (
        g.convert(array, result.dtype)
        for array, result in zip((made, mean, rstd), g.results, strict=True)
    )
    return y, mean, rstd


def _layers_backward() -> Iterator[Sample]:
    x = torch.linspace(-30, 40, 30).cos().reshape(2, 3, 5)
    for shape in ([5], [3, 5]):
        _, mean, rstd = torch.native_layer_norm(x, shape, None, None, 1e-5)
        weight = x[0] if len(shape) == 2 else x[0, 0]
        common = (x.sin(), x, shape, mean, rstd)
        yield (*common, weight, weight, [True, True, True]), {}
        yield (*common, None, None, [True, False, False]), {}


@lowering("native_layer_norm_backward", samples=_layers_backward)
def native_layer_norm_backward(
    g: Graph,
    grad_out: Array,
    input: Array,
    normalized_shape: Sequence[Size],
    mean: Array,
    rstd: Array,
    weight: Array | None,
    bias: Array | None,
    output_mask: Sequence[bool],
) -> tuple[Array | None, ...]:
    grad, x, mean, rstd = (wide(g, a) for a in (grad_out, input, mean, rstd))
    first = x.ndim - len(normalized_shape)
    xhat = normalized(g, x, mean, rstd)
    return masked_out(
        g,
        output_mask,
        lambda: gradient(
            g, scaled(g, grad, weight, None), xhat, rstd, range(first, x.ndim)
        ),
        lambda: g.sum(g.binary("multiply", grad, xhat), range(first)),
        lambda: g.sum(grad, range(first)),
    )


# -- groups of channels ----------------------------------------------------------------
def _in_groups(g: Graph, x: Array, group: int) -> Array:
    """``[N, C, *]`` as ``[N, group, C / group, *]``."""
    batch, channels, *rest = x.sizes
    return g.reshape(x, (batch, group, _each(channels, group), *rest))


def _each(channels: Size, group: int) -> Size:
    size = quotient(channels, group)
    if size is None:
        raise NeedsExactSize("divides channels among groups", channels)
    return size


def _of_channels(g: Graph, x: Array, group: int, ndim: int) -> Array:
    """``[C]`` beside an array in groups of so many dimensions."""
    own = g.reshape(x, (group, _each(x.sizes[0], group)))
    return g.insert_ones(own, range(2, ndim - 1))


def _of_groups(g: Graph, x: Array, ndim: int) -> Array:
    """``[N, group]`` beside an array in groups of so many dimensions."""
    return g.insert_ones(x, range(2, ndim))


@lowering("native_group_norm", samples="group_norm")
def native_group_norm(
    g: Graph,
    input: Array,
    weight: Array | None,
    bias: Array | None,
    N: Size,
    C: Size,
    HxW: Size,
    group: int,
    eps: Number,
) -> tuple[Array, Array, Array]:
    x = _in_groups(g, wide(g, input), group)
    axes = range(2, x.ndim)
    variance, mean = variance_of(g, x, axes, 0)
    rstd = reciprocal_root(g, variance, eps)
    factor, term = (
        None if v is None else _of_channels(g, v, group, x.ndim) for v in (weight, bias)
    )
    made = scaled(g, normalized(g, x, mean, rstd), factor, term)
    y, mean, rstd = (
        g.convert(array, result.dtype)
        for array, result in zip((made, mean, rstd), g.results, strict=True)
    )
    return (
        g.reshape(y, input.sizes),
        g.drop_ones(mean, axes),
        g.drop_ones(rstd, axes),
    )


@lowering("native_group_norm_backward", samples="group_norm")
def native_group_norm_backward(
    g: Graph,
    grad_out: Array,
    input: Array,
    mean: Array,
    rstd: Array,
    weight: Array | None,
    N: Size,
    C: Size,
    HxW: Size,
    group: int,
    output_mask: Sequence[bool],
) -> tuple[Array | None, ...]:
    grad = _in_groups(g, wide(g, grad_out), group)
    x = _in_groups(g, wide(g, input), group)
    rstd = _of_groups(g, wide(g, rstd), x.ndim)
    xhat = normalized(g, x, _of_groups(g, wide(g, mean), x.ndim), rstd)
    factor = None if weight is None else _of_channels(g, weight, group, x.ndim)
    others = (0, *range(3, x.ndim))

    def of_input() -> Array:
        weighted = scaled(g, grad, factor, None)
        made = gradient(g, weighted, xhat, rstd, range(2, x.ndim))
        return g.reshape(made, input.sizes)

    return masked_out(
        g,
        output_mask,
        of_input,
        lambda: g.reshape(g.sum(g.binary("multiply", grad, xhat), others), (C,)),
        lambda: g.reshape(g.sum(grad, others), (C,)),
    )
