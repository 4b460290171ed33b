"""Convolutions, as neural networks have them, and their gradients.

All of it is made of three: the convolution, the one that gives its input's gradient,
which is the transposed one, and the one that gives its weight's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from nkipy.hlo.builder import Value
from nkipy.hlo.opcodes import WindowDim
from spike_torch.aten.record import lowering
from spike_torch.lowering.arrays import Array
from spike_torch.lowering.dtypes import accumulating, hlo_dtype
from spike_torch.lowering.errors import Unsupported

if TYPE_CHECKING:
    from spike_torch.lowering.dims import Dim
    from spike_torch.lowering.graph import Graph
    from spike_torch.lowering.sizes import Size

#: Sums of products, whose order is not the CPU's.
SUMS = 16

_OPERATIONS = "conv1d conv_transpose2d"


class _Window(NamedTuple):
    """How a kernel moves: a number for each spatial dimension, and groups."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int


@lowering("convolution", rounding=SUMS, samples=_OPERATIONS)
def convolution(
    g: Graph,
    input: Array,
    weight: Array,
    bias: Array | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Array:
    window = _window(g, input, weight, stride, padding, dilation, groups)
    if groups == 1:
        g.require_same((input.dims[1],), (weight.dims[0 if transposed else 1],))
    x = _cleared(g, input)
    w = g.masked(weight, (0, 1), 0).value
    dims = _result_dims(g, x.dims[0], weight, transposed, window)
    shape = tuple(d.padded for d in dims)
    if transposed:
        value = _transposed(g, x.value, w, shape, window)
    else:
        value = _convolved(g, x.value, w, shape, window)
    made = Array(value, dims)
    if bias is not None:
        bias = g.convert(bias, made.dtype)
        spatial = range(1, input.ndim - 1)
        made = g.binary("add", made, g.insert_ones(bias, spatial))
    return g.convert(made, g.result.dtype)


@lowering(
    "convolution_backward",
    rounding=64,
    samples=_OPERATIONS,
)
def convolution_backward(
    g: Graph,
    grad_output: Array,
    input: Array,
    weight: Array,
    bias_sizes: Sequence[Size] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    output_mask: Sequence[bool],
) -> tuple[Array | None, Array | None, Array | None]:
    window = _window(g, input, weight, stride, padding, dilation, groups)
    spatial = range(2, input.ndim)
    g.require_same((input.dims[0],), (grad_output.dims[0],))
    channels = (input, grad_output) if transposed else (grad_output, input)
    if groups == 1:
        for i, x in enumerate(channels):
            g.require_same((x.dims[1],), (weight.dims[i],))
    made: list[Array | None] = [None, None, None]
    if output_mask[0]:
        grad = _cleared(g, grad_output)
        w = g.masked(weight, (0, 1), 0).value
        make = _convolved if transposed else _transposed
        value = make(g, grad.value, w, input.value.shape, window)
        made[0] = g.convert(Array(value, input.dims), input.dtype)
    if output_mask[1]:
        # A transposed one's gradient is what the weight's own convolution takes.
        both = (grad_output, input) if transposed else (input, grad_output)
        x, grad = (g.masked(array, (0, *spatial), 0) for array in both)
        value = _weights(g, x.value, grad.value, weight.value.shape, window)
        made[1] = g.convert(Array(value, weight.dims), weight.dtype)
    if output_mask[2]:
        if bias_sizes is not None:
            g.require_same((grad_output.dims[1],), (g.dim(bias_sizes[0]),))
        wide = g.convert(grad_output, accumulating(grad_output.dtype))
        made[2] = g.convert(g.sum(wide, (0, *spatial)), grad_output.dtype)
    return made[0], made[1], made[2]


# -- what the operators have in common -------------------------------------------------
def _window(
    g: Graph,
    input: Array,
    weight: Array,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> _Window:
    if not input.dtype.is_floating_point:
        raise Unsupported(f"convolves {input.dtype}, which cores do not")
    if input.ndim != weight.ndim or input.ndim < 3:
        raise Unsupported(f"has an input of {input.ndim} dimensions")
    g.require_exact(weight, "has a kernel in a bucket", range(2, weight.ndim))
    if groups != 1:
        reason = "has channels in a bucket, and groups of them"
        g.require_exact(input, reason, (1,))
        g.require_exact(weight, reason, (0, 1))
    n = input.ndim - 2
    each = [tuple(v) * (n if len(v) == 1 else 1) for v in (stride, padding, dilation)]
    return _Window(each[0], each[1], each[2], groups)


def _cleared(g: Graph, x: Array) -> Array:
    """Zeros in place of padding in all that a convolution sums over."""
    return g.masked(x, range(1, x.ndim), 0)


def _result_dims(
    g: Graph, batch: Dim, weight: Array, transposed: bool, window: _Window
) -> tuple[Dim, ...]:
    if not transposed:
        channels = weight.dims[0]
    else:
        channels = weight.dims[1]
        if window.groups != 1:
            channels = g.dim(g.result.sizes[1])
    return batch, channels, *g.dims(g.result.sizes[2:])


# -- the three convolutions ------------------------------------------------------------
def _convolved(
    g: Graph, x: Value, w: Value, shape: tuple[int, ...], window: _Window
) -> Value:
    """(N, C, *S) with (O, C/groups, *K) to (N, O, *shape)."""
    dims = []
    for i, out in enumerate(shape[2:]):
        step, low, apart = (v[i] for v in window[:3])
        reach = (out - 1) * step + (w.shape[2 + i] - 1) * apart + 1
        high = reach - x.shape[2 + i] - low
        dims.append(WindowDim(w.shape[2 + i], step, low, high, 1, apart))
    return _emit(g, x, w, shape, dims, window.groups)


def _transposed(
    g: Graph, x: Value, w: Value, shape: tuple[int, ...], window: _Window
) -> Value:
    """(N, O, *S) with (O, C/groups, *K) to (N, C, *shape): the other's gradient."""
    w = _turned(g, w, window.groups)
    apart = list(window.dilation)
    if max(window.stride) > 1 and max(apart) > 1:
        # The compiler refuses to dilate both: the kernel gets its zeros here.
        inside = [(0, 0, 0)] * 2 + [(0, 0, d - 1) for d in apart]
        w = g.b.pad(w, g.b.scalar(0, w.dtype), inside)
        apart = [1] * len(apart)
    dims = []
    for i, out in enumerate(shape[2:]):
        reach = (w.shape[2 + i] - 1) * apart[i]
        low = reach - window.padding[i]
        high = out - 1 - (x.shape[2 + i] - 1) * window.stride[i] - low + reach
        size = w.shape[2 + i]
        dims.append(WindowDim(size, 1, low, high, window.stride[i], apart[i]))
    return _emit(g, x, w, shape, dims, window.groups)


def _turned(g: Graph, w: Value, groups: int) -> Value:
    """(O, C/groups, *K) as (C, O/groups, *K), with the kernel turned around."""
    out, channels, *kernel = w.shape
    w = g.b.reverse(w, range(2, len(w.shape)))
    w = g.b.reshape(w, (groups, out // groups, channels, *kernel))
    w = g.b.transpose(w, (0, 2, 1, *range(3, len(w.shape))))
    return g.b.reshape(w, (groups * channels, out // groups, *kernel))


def _weights(
    g: Graph, x: Value, grad: Value, shape: tuple[int, ...], window: _Window
) -> Value:
    """(N, C, *S) with (N, O, *T) to `shape`, (O, C/groups, *K): the weight's gradient.

    It is the convolution of the input, whose channels are its batch, by the gradient.
    """
    x, grad = _by_channel(g, x, window.groups), _by_channel(g, grad, 1)
    dims = []
    for i, size in enumerate(shape[2:]):
        step, low, apart = (v[i] for v in window[:3])
        reach = (size - 1) * apart + (grad.shape[2 + i] - 1) * step + 1
        high = reach - x.shape[2 + i] - low
        dims.append(WindowDim(grad.shape[2 + i], apart, low, high, 1, step))
    made = _emit(g, x, grad, (shape[1], shape[0], *shape[2:]), dims, window.groups)
    return g.b.transpose(made, (1, 0, *range(2, len(shape))))


def _by_channel(g: Graph, x: Value, groups: int) -> Value:
    """(N, C, *S) as (C/groups, groups * N, *S)."""
    batch, channels, *space = x.shape
    x = g.b.reshape(x, (batch, groups, channels // groups, *space))
    x = g.b.transpose(x, (2, 1, 0, *range(3, len(x.shape))))
    return g.b.reshape(x, (channels // groups, groups * batch, *space))


def _emit(
    g: Graph,
    x: Value,
    w: Value,
    shape: tuple[int, ...],
    dims: Sequence[WindowDim],
    groups: int,
) -> Value:
    """The instruction, in float32; where padding is negative, the input is cut."""
    assert x.dtype is not None and w.dtype is not None
    wide = hlo_dtype(torch.float32)
    if 0 in x.shape or 0 in w.shape or 0 in shape:  # an empty result, or empty sums
        return g.b.full(shape, 0, wide)
    for i, d in enumerate(dims):
        if d.lhs_dilate == 1 and min(d.pad_low, d.pad_high) < 0:
            start = max(-d.pad_low, 0)
            x = g.b.slice_dim(x, 2 + i, start, x.shape[2 + i] - max(-d.pad_high, 0))
    dims = [_not_negative(d) for d in dims]
    labels = "".join(map(str, range(len(dims))))
    attributes = {
        "window": tuple(dims),
        "dim_labels": f"bf{labels}_oi{labels}->bf{labels}",
        "feature_group_count": groups,
        "batch_group_count": 1,
    }
    return g.b.emit("convolution", (x, w), shape, wide, attributes)


def _not_negative(d: WindowDim) -> WindowDim:
    if d.lhs_dilate > 1:
        return d
    return d._replace(pad_low=max(d.pad_low, 0), pad_high=max(d.pad_high, 0))
