"""Resampling by means of all elements that one of the result covers.

Sizes of what is resampled are exact: weights are known when lowering.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from spike_torch.aten.record import Sample, lowering
from spike_torch.aten.resampling import (
    exact_axes,
    exact_size,
    of_all,
    scale_of,
    widened,
)
from spike_torch.lowering import moves
from spike_torch.lowering.arrays import Array

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Graph
    from spike_torch.lowering.sizes import Size

_f4 = np.float32
#: The weight of an element by its distance, and how far that reaches.
_Filter = tuple[Callable[[np.ndarray], np.ndarray], int]


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(_f4(1) - np.abs(x), _f4(0))


def _cubic(x: np.ndarray) -> np.ndarray:
    """Of cubic convolution, with the parameter that Pillow has."""
    a, size = _f4(-0.5), np.abs(x)
    near = ((a + _f4(2)) * size - (a + _f4(3))) * size * size + _f4(1)
    far = (((size - _f4(5)) * size + _f4(8)) * size - _f4(4)) * a
    return np.where(size < 1, near, np.where(size < 2, far, _f4(0)))


def _weights(
    size: int, out: int, corners: bool, given: float | None, of: _Filter
) -> np.ndarray:
    """f32[out, size]: what each element is times, in each one of the result."""
    weight, reach = of
    scale = _f4(_scale(size, out, corners, given))
    stretch = _f4(max(float(scale), 1))
    support = _f4(reach) * stretch
    made = np.zeros((out, size), _f4)
    for i in range(out):
        center = scale * (_f4(i) + _f4(0.5))
        first = max(int(center - support + _f4(0.5)), 0)
        last = min(int(center + support + _f4(0.5)), size)
        places = np.arange(first, last).astype(_f4)
        own = weight((places - center + _f4(0.5)) * (_f4(1) / stretch)).astype(_f4)
        total = own.sum(dtype=_f4)
        made[i, first:last] = own / total if total else own
    return made


def _scale(size: int, out: int, corners: bool, given: float | None) -> np.floating[Any]:
    if corners:
        return _f4(size - 1) / _f4(out - 1) if out > 1 else _f4(0)
    return scale_of(size, out, given)


def _resampled(
    g: Graph, x: Array, corners: bool, scales: Sequence[float | None], of: _Filter
) -> Array:
    made = widened(g, x)
    for axis, scale in reversed(list(zip(exact_axes(g, x, scales), scales))):
        size, out = x.dims[axis].padded, exact_size(g, axis)
        if size != out:  # else its elements are as they are, whatever the scale
            weights = _weights(size, out, corners, scale, of)
            made = _weighted(g, made, axis, weights)
    return g.convert(made, g.result.dtype)


def _gradient(
    g: Graph, grad: Array, corners: bool, scales: Sequence[float | None], of: _Filter
) -> Array:
    made = widened(g, grad)
    for axis, scale in zip(exact_axes(g, grad, scales), scales):
        size = exact_size(g, axis)
        weights = _weights(size, grad.dims[axis].padded, corners, scale, of)
        made = _weighted(g, made, axis, np.ascontiguousarray(weights.T))
    return g.convert(made, g.result.dtype)


def _weighted(g: Graph, x: Array, axis: int, weights: np.ndarray) -> Array:
    matrix = Array(g.b.constant(weights), g.dims(weights.shape))
    return g.moved(g.dot(x, matrix, ((axis,), (1,))), x.ndim - 1, axis)


# -- operators -------------------------------------------------------------------------
def _samples(*, backward: bool) -> Iterator[Sample]:
    x = torch.linspace(-9, 7, 2 * 3 * 8 * 7).sin().reshape(2, 3, 8, 7)
    for sizes, corners in (([5, 3], False), ([3, 11], False), ([4, 9], True)):
        if backward:
            grad = torch.linspace(0, 9, 6 * sizes[0] * sizes[1]).cos()
            yield (grad.reshape(2, 3, *sizes), sizes, [2, 3, 8, 7], corners), {}
        else:
            yield (x, sizes, corners), {}


def _vec_samples() -> Iterator[Sample]:
    x = torch.linspace(-9, 7, 2 * 3 * 8 * 7).sin().reshape(2, 3, 8, 7)
    yield (x, [5, 8], False, None), {}
    yield (x, None, False, [0.7, 1.6]), {}


def _define(name: str, of: _Filter) -> None:
    @lowering(name, samples=partial(_samples, backward=False), rounding=8)
    def resample(
        g: Graph,
        self: Array,
        output_size: Sequence[Size],
        align_corners: bool,
        scales_h: float | None = None,
        scales_w: float | None = None,
    ) -> Array:
        if moves.is_nothing(g, g.result.sizes):
            return moves.nothing(g)
        return _resampled(g, self, align_corners, [scales_h, scales_w], of)

    @lowering(f"{name}.vec", samples=_vec_samples, rounding=8)
    def resample_vec(
        g: Graph,
        input: Array,
        output_size: Sequence[Size] | None,
        align_corners: bool,
        scale_factors: Sequence[float] | None,
    ) -> Array:
        if moves.is_nothing(g, g.result.sizes):
            return moves.nothing(g)
        return _resampled(g, input, align_corners, of_all(2, scale_factors), of)

    @lowering(f"{name}_backward", samples=partial(_samples, backward=True), rounding=16)
    def gradient(
        g: Graph,
        grad_output: Array,
        output_size: Sequence[Size],
        input_size: Sequence[Size],
        align_corners: bool,
        scales_h: float | None = None,
        scales_w: float | None = None,
    ) -> Array:
        if moves.is_nothing(g, g.result.sizes):
            return moves.nothing(g)
        return _gradient(g, grad_output, align_corners, [scales_h, scales_w], of)


_define("_upsample_bilinear2d_aa", (_triangle, 1))
_define("_upsample_bicubic2d_aa", (_cubic, 2))
