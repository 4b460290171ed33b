"""Pooling: the mean of what is in a window, and its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import Value
from nkipy.hlo.opcodes import WindowDim
from spike_torch.aten.record import lowering
from spike_torch.lowering.arrays import Array
from spike_torch.lowering.dtypes import accumulating
from spike_torch.lowering.sizes import is_static

if TYPE_CHECKING:
    from spike_torch.lowering.dims import Dim
    from spike_torch.lowering.graph import Graph


class Slide(NamedTuple):
    """How a window moves along one dimension."""

    axis: int
    size: int
    stride: int
    padding: int
    dilation: int = 1


def slides_of(x: Array, n: int, *numbers: Sequence[int] | int) -> list[Slide]:
    """Of the last `n` dimensions; numbers are in the order of a Slide's.

    One number is for all dimensions. Without a stride, it is the window's size.
    """
    each = [_spread(v, n) for v in numbers]
    each[1] = each[1] or each[0]
    return [Slide(x.ndim - n + i, *(v[i] for v in each)) for i in range(n)]


def _spread(value: Sequence[int] | int, n: int) -> tuple[int, ...]:
    """A number for each dimension; none if there is none."""
    given = (value,) if isinstance(value, int) else tuple(value)
    return given * n if len(given) == 1 else given


def _avg_pool(
    g: Graph,
    self: Array,
    n: int,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int] | int,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Array:
    slides = slides_of(self, n, kernel_size, stride, padding)
    axes = [s.axis for s in slides]
    g.require_prefix(self, "pools what has padding inside", axes)
    wide = g.convert(g.masked(self, axes, 0), accumulating(self.dtype))
    dims = self.dims[: axes[0]] + g.dims(g.result.sizes[axes[0] :])
    config = [(0, 0, 0)] * self.ndim
    for s in slides:
        reach = (dims[s.axis].padded - 1) * s.stride + s.size
        config[s.axis] = (s.padding, reach - s.padding - self.dims[s.axis].padded, 0)
    window = [WindowDim(1)] * self.ndim
    for s in slides:
        window[s.axis] = WindowDim(s.size, s.stride)
    made = Array(_window_sums(g, wide.value, config, window, dims), dims)
    divisor = _divisor(g, self, dims, slides, count_include_pad, divisor_override)
    made = g.binary("divide", made, g.convert(divisor, made.dtype))
    return g.convert(made, g.result.dtype)


def _window_sums(
    g: Graph,
    x: Value,
    config: Sequence[tuple[int, int, int]],
    window: Sequence[WindowDim],
    dims: tuple[Dim, ...],
) -> Value:
    """Sums of what is in a window, of an array that gets zeros around and between."""
    assert x.dtype is not None
    shape = tuple(d.padded for d in dims)
    zero = g.b.scalar(0, x.dtype)
    if 0 in shape or 0 in x.shape:
        return g.b.full(shape, 0, x.dtype)
    x = g.b.pad(x, zero, config)
    reducer = g.b.reducer("add", x.dtype)
    attributes = {"window": tuple(window), "to_apply": reducer}
    return g.b.emit("reduce-window", (x, zero), shape, x.dtype, attributes)


def _divisor(
    g: Graph,
    x: Array,
    dims: tuple[Dim, ...],
    slides: Sequence[Slide],
    count_include_pad: bool,
    divisor_override: int | None,
) -> Array:
    """How many elements are in each window, or what is said instead."""
    if divisor_override is not None:
        return g.number(divisor_override, torch.int32)
    made = g.number(1, torch.int32)
    last = slides[-1].axis
    for s in slides:
        more = s.padding if count_include_pad else 0
        counted = _counted(g, x.dims[s.axis], dims[s.axis], s, more)
        counted = g.insert_ones(counted, range(1, last - s.axis + 1))
        made = g.binary("multiply", made, counted)
    return made


def _counted(g: Graph, dim: Dim, out: Dim, slide: Slide, more: int) -> Array:
    """s32: how many elements each window has along a dimension, of `more` around it."""
    b = g.b
    start = np.arange(out.padded, dtype=np.int32) * slide.stride - slide.padding
    stop = start + slide.size
    start = np.maximum(start, -more)
    if is_static(dim.size):
        found = np.maximum(np.minimum(stop, dim.size + more) - start, 1)
        return Array(b.constant(found.astype(np.int32)), (out,))
    end = b.add(g.size(dim.size), b.scalar(more, dt.int32))
    end = b.broadcast_to(end, (out.padded,))
    last = b.minimum(b.constant(stop.astype(np.int32)), end)
    count = b.subtract(last, b.constant(start.astype(np.int32)))
    return Array(b.maximum(count, b.full_like(count, 1)), (out,))


def _avg_pool_backward(
    g: Graph,
    grad: Array,
    self: Array,
    n: int,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    count_include_pad: bool,
    divisor_override: int | None,
) -> Array:
    slides = slides_of(self, n, kernel_size, stride, padding)
    axes = [s.axis for s in slides]
    lead = axes[0]
    g.require_prefix(self, "pools what has padding inside", axes)
    g.require_prefix(grad, "pools what has padding inside", axes)
    g.require_same(grad.dims[:lead], self.dims[:lead])
    wide = g.convert(g.masked(grad, axes, 0), accumulating(grad.dtype))
    args = (slides, count_include_pad, divisor_override)
    divisor = _divisor(g, self, grad.dims, *args)
    wide = g.binary("divide", wide, g.convert(divisor, wide.dtype))
    config = [(0, 0, 0)] * self.ndim
    window = [WindowDim(1)] * self.ndim
    for s in slides:
        low = s.size - 1 - s.padding
        span = (grad.dims[s.axis].padded - 1) * s.stride + 1
        high = self.dims[s.axis].padded + s.size - 1 - low - span
        config[s.axis] = (low, high, s.stride - 1)
        window[s.axis] = WindowDim(s.size)
    value = _window_sums(g, wide.value, config, window, self.dims)
    return g.convert(Array(value, self.dims), g.result.dtype)


@lowering("avg_pool2d", rounding=4)
def avg_pool2d(
    g: Graph,
    self: Array,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] | int = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    rest = (kernel_size, stride, padding, count_include_pad, divisor_override)
    return _avg_pool(g, self, 2, *rest)


@lowering("avg_pool3d", rounding=4)
def avg_pool3d(
    g: Graph,
    self: Array,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] | int = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    rest = (kernel_size, stride, padding, count_include_pad, divisor_override)
    return _avg_pool(g, self, 3, *rest)


@lowering("avg_pool2d_backward", rounding=4, samples="avg_pool2d")
def avg_pool2d_backward(
    g: Graph,
    grad_output: Array,
    self: Array,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Array:
    rest = (kernel_size, stride, padding, count_include_pad, divisor_override)
    return _avg_pool_backward(g, grad_output, self, 2, *rest)


@lowering("avg_pool3d_backward", rounding=4, samples="avg_pool3d")
def avg_pool3d_backward(
    g: Graph,
    grad_output: Array,
    self: Array,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Array:
    rest = (kernel_size, stride, padding, count_include_pad, divisor_override)
    return _avg_pool_backward(g, grad_output, self, 3, *rest)
