"""Resampling by means of all elements that one of the result covers.

Sizes of what is resampled are exact: weights are known when lowering.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

from spike_torch.aten.record import Sample
from spike_torch.aten.resampling import (
    Samples,
    Tap,
    Taps,
    define_between,
    scale_of,
)
from spike_torch.lowering.errors import Unsupported

_f4 = np.float32
#: Of elements that one of the result covers, each is an array of its own.
_MOST_TAPS = 64
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


def _windows(
    size: int, out: int, corners: bool, given: float | None, of: _Filter
) -> list[tuple[int, np.ndarray]]:
    """Of each element of the result: the first that it covers, and all weights."""
    weight, reach = of
    scale = _f4(_scale(size, out, corners, given))
    stretch = _f4(max(float(scale), 1))
    support = _f4(reach) * stretch
    made = []
    for i in range(out):
        center = scale * (_f4(i) + _f4(0.5))
        first = max(int(center - support + _f4(0.5)), 0)
        last = min(int(center + support + _f4(0.5)), size)
        if not 0 < last - first <= _MOST_TAPS:
            raise Unsupported(f"takes means of {last - first} elements")
        places = np.arange(first, last).astype(_f4)
        own = weight((places - center + _f4(0.5)) * (_f4(1) / stretch)).astype(_f4)
        total = own.sum(dtype=_f4)
        made.append((first, own / total if total else own))
    return made


def _divided(first: int, weights: np.ndarray, count: int) -> list[tuple[int, float]]:
    """Places and weights, as many as are wanted: some are there by halves.

    Others would be times 0, which is NaN of what is infinite.
    """
    made = [(first + i, float(w)) for i, w in enumerate(weights)]
    for i in range(count - len(made)):
        place, weight = made[i % len(weights)]
        made[i % len(weights)] = (place, weight / 2)
        made.append((place, weight / 2))
    return made


def _scale(size: int, out: int, corners: bool, given: float | None) -> np.floating[Any]:
    if corners:
        return _f4(size - 1) / _f4(out - 1) if out > 1 else _f4(0)
    return scale_of(size, out, given)


def _covering(of: _Filter, corners: bool) -> Taps:
    def taps(size: int, out: int, given: float | None) -> list[Tap]:
        windows = _windows(size, out, corners, given, of)
        count = max(len(weights) for _, weights in windows)
        all_of = [_divided(first, weights, count) for first, weights in windows]
        places, weights = np.array(all_of).transpose(2, 1, 0)
        return [Tap(p, w) for p, w in zip(places.astype(np.int32), weights.astype(_f4))]

    return taps


def _unless_same(of: _Filter, corners: bool) -> Taps:
    """What keeps its size has its elements as they are, whatever the scale."""
    covering = _covering(of, corners)

    def taps(size: int, out: int, given: float | None) -> list[Tap]:
        if size == out:
            return [Tap(np.arange(out, dtype=np.int32))]
        return covering(size, out, given)

    return taps


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


_SAMPLES = Samples(
    partial(_samples, backward=False), _vec_samples, partial(_samples, backward=True)
)
for _name, _filter in (("bilinear", (_triangle, 1)), ("bicubic", (_cubic, 2))):
    define_between(
        f"_upsample_{_name}2d_aa",
        2,
        partial(_unless_same, _filter),
        partial(_covering, _filter),
        _SAMPLES,
    )
