"""Resampling: elements at other places along dimensions, or between two or four.

Sizes of what is resampled are exact: where elements come from is known when lowering.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from spike_torch.aten.record import Sample, lowering
from spike_torch.lowering import moves
from spike_torch.lowering.arrays import Array
from spike_torch.lowering.dtypes import accumulating
from spike_torch.lowering.errors import NeedsExactSize, Unsupported

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Graph
    from spike_torch.lowering.sizes import Size

Scales = "Sequence[float] | None"
_f4 = np.float32


class Tap(NamedTuple):
    """For each element of a result: where one comes from, and what it is times."""

    places: np.ndarray
    weights: np.ndarray | None = None


#: Taps for an input's size, a result's, and the scale that is given.
Taps = Callable[[int, int, "float | None"], list[Tap]]


# -- where elements come from, as the CPU computes it, in float32 ----------------------
def scale_of(size: int, out: int, given: float | None) -> np.floating[Any]:
    if given is not None and given > 0:
        return _f4(1.0 / given)
    return _f4(size) / _f4(out)


def _nearest(size: int, out: int, given: float | None) -> list[Tap]:
    places = np.arange(out)
    if out == 2 * size:
        places = places >> 1
    elif out != size:
        places = np.floor(places.astype(_f4) * scale_of(size, out, given))
    return [Tap(np.minimum(places, size - 1).astype(np.int32))]


def _nearest_exact(size: int, out: int, given: float | None) -> list[Tap]:
    middles = (np.arange(out) + 0.5) * float(scale_of(size, out, given))
    places = np.floor(middles.astype(_f4))
    return [Tap(np.minimum(places, size - 1).astype(np.int32))]


def _sources(size: int, out: int, given: float | None, corners: bool) -> np.ndarray:
    """f32: between which elements of the input those of the result are."""
    places = np.arange(out).astype(_f4)
    if corners:
        step = _f4(size - 1) / _f4(out - 1) if out > 1 else _f4(0)
        return places * step
    half = _f4(0.5)
    return scale_of(size, out, given) * (places + half) - half


def _linear(corners: bool) -> Taps:
    def taps(size: int, out: int, given: float | None) -> list[Tap]:
        if size == out:
            same = np.arange(out, dtype=np.int32)
            return [Tap(same)]
        sources = np.maximum(_sources(size, out, given, corners), _f4(0))
        first = np.minimum(sources.astype(np.int32), size - 1)
        second = first + (first < size - 1)
        rest = np.clip(sources - first.astype(_f4), _f4(0), _f4(1))
        return [Tap(first, _f4(1) - rest), Tap(second.astype(np.int32), rest)]

    return taps


def _cubic(corners: bool) -> Taps:
    def taps(size: int, out: int, given: float | None) -> list[Tap]:
        sources = _sources(size, out, given, corners)
        first = np.minimum(np.floor(sources).astype(np.int32), size - 1)
        t = np.clip(sources - first.astype(_f4), _f4(0), _f4(1))
        weights = _far(t + 1), _near(t), _near(1 - t), _far(2 - t)
        places = (np.clip(first + i, 0, size - 1) for i in (-1, 0, 1, 2))
        return [Tap(p.astype(np.int32), w) for p, w in zip(places, weights)]

    return taps


#: The parameter of cubic convolution that torch has.
_A = _f4(-0.75)


def _near(x: np.ndarray) -> np.ndarray:
    made = ((_A + _f4(2)) * x - (_A + _f4(3))) * x * x + _f4(1)
    return made.astype(_f4)


def _far(x: np.ndarray) -> np.ndarray:
    made = ((_A * x - _f4(5) * _A) * x + _f4(8) * _A) * x - _f4(4) * _A
    return made.astype(_f4)


# -- along dimensions ------------------------------------------------------------------
def _resampled(g: Graph, x: Array, scales: Sequence[float | None], taps: Taps) -> Array:
    if moves.is_nothing(g, g.result.sizes):
        return moves.nothing(g)
    axes = _axes(g, x, scales)
    found = [(a, taps(x.dims[a].padded, _size(g, a), s)) for a, s in zip(axes, scales)]
    is_weighted = any(t.weights is not None for _, each in found for t in each)
    x = _wide(g, x) if is_weighted else x
    for axis, each in reversed(found):
        x = _combined(g, [_weighted(g, taken(g, x, axis, t), axis, t) for t in each])
    return g.convert(x, g.result.dtype)


def _gradient(
    g: Graph, grad: Array, scales: Sequence[float | None], taps: Taps
) -> Array:
    if moves.is_nothing(g, g.result.sizes):
        return moves.nothing(g)
    axes = _axes(g, grad, scales)
    x = _wide(g, grad)
    for axis, scale in zip(axes, scales):
        size = _size(g, axis)
        each = taps(size, x.dims[axis].padded, scale)
        parts = [_put(g, _weighted(g, x, axis, t), axis, t, size) for t in each]
        x = _combined(g, parts)
    return g.convert(x, g.result.dtype)


def _axes(g: Graph, x: Array, scales: Sequence[float | None]) -> range:
    axes = range(x.ndim - len(scales), x.ndim)
    g.require_exact(x, "resamples a size in a bucket", axes)
    return axes


def _size(g: Graph, axis: int) -> int:
    size = g.result.sizes[axis]
    if not isinstance(size, int):
        raise NeedsExactSize("resamples to a size in a bucket", size)
    return size


def _wide(g: Graph, x: Array) -> Array:
    if not x.dtype.is_floating_point:
        raise Unsupported(f"takes means of {x.dtype}")
    return g.convert(x, accumulating(x.dtype))


def _combined(g: Graph, parts: Sequence[Array]) -> Array:
    made = parts[0]
    for part in parts[1:]:
        made = g.binary("add", made, part)
    return made


def _weighted(g: Graph, x: Array, axis: int, tap: Tap) -> Array:
    if tap.weights is None:
        return x
    weights = g.b.constant(tap.weights.astype(_f4))
    wide = g.b.broadcast_in_dim(weights, x.value.shape, (axis,))
    return Array(g.b.multiply(x.value, wide), x.dims)


def taken(g: Graph, x: Array, axis: int, tap: Tap) -> Array:
    """The elements that a tap names along a dimension."""
    places = tap.places
    dims = (*x.dims[:axis], g.dim(len(places)), *x.dims[axis + 1 :])
    if np.array_equal(places, np.arange(x.dims[axis].padded)):
        return x
    shape = x.value.shape
    made = g.b.gather(
        x.value,
        g.b.constant(places.reshape(-1, 1)),
        offset_dims=tuple(a for a in range(x.ndim) if a != axis),
        collapsed_slice_dims=(axis,),
        start_index_map=(axis,),
        slice_sizes=(*shape[:axis], 1, *shape[axis + 1 :]),
    )
    return Array(made, dims)


def _put(g: Graph, x: Array, axis: int, tap: Tap, size: int) -> Array:
    """Elements added up at the places that a tap names."""
    if np.array_equal(tap.places, np.arange(size)):
        return x
    dims = (*x.dims[:axis], g.dim(size), *x.dims[axis + 1 :])
    made = g.b.scatter(
        g.b.full(tuple(d.padded for d in dims), 0, x.hlo_dtype),
        g.b.constant(tap.places.reshape(-1, 1)),
        x.value,
        update_window_dims=tuple(a for a in range(x.ndim) if a != axis),
        inserted_window_dims=(axis,),
        scatter_dims_to_operand_dims=(axis,),
        opcode="add",
    )
    return Array(made, dims)


# -- operators -------------------------------------------------------------------------
def _of_all(n: int, given: Sequence[float] | None) -> Sequence[float | None]:
    return [None] * n if given is None else given


def _vec_samples(n: int, *more: Any) -> Callable[[], Iterator[Sample]]:
    def samples() -> Iterator[Sample]:
        x = torch.randn(2, 3, *(4, 5, 3)[:n])
        yield (x, [5, 8, 6][:n], *more, None), {}
        yield (x, None, *more, [2.0, 1.7, 0.6][:n]), {}

    return samples


def _define_nearest(name: str, n: int, taps: Taps) -> None:
    @lowering(f"{name}{n}d", samples="interpolate")
    def resample(
        g: Graph, self: Array, output_size: Sequence[Size], *scales: float | None
    ) -> Array:
        return _resampled(g, self, _padded(scales, n), taps)

    @lowering(f"{name}{n}d.vec", samples=_vec_samples(n))
    def resample_vec(
        g: Graph,
        input: Array,
        output_size: Sequence[Size] | None,
        scale_factors: Sequence[float] | None,
    ) -> Array:
        return _resampled(g, input, _of_all(n, scale_factors), taps)

    @lowering(f"{name}{n}d_backward", samples="interpolate", rounding=4)
    def gradient(
        g: Graph,
        grad_output: Array,
        output_size: Sequence[Size],
        input_size: Sequence[Size],
        *scales: float | None,
    ) -> Array:
        return _gradient(g, grad_output, _padded(scales, n), taps)


class Samples(NamedTuple):
    """Of an operator, of its overload of scales, and of its gradient."""

    resample: Any
    vec: Any
    gradient: Any


def define_between(
    name: str,
    n: int,
    taps: Callable[[bool], Taps],
    of_gradient: Callable[[bool], Taps] | None = None,
    samples: Samples | None = None,
) -> None:
    """Record an operator that takes means along `n` dimensions.

    Args:
        name: the operator's.
        n: how many dimensions are resampled.
        taps: from whether corners are aligned, where elements come from.
        of_gradient: the same of the gradient, if that differs.
        samples: such as differ from torch's.
    """
    backward = of_gradient or taps
    samples = samples or Samples("interpolate", _vec_samples(n, False), "interpolate")

    @lowering(name, samples=samples.resample, rounding=8)
    def resample(
        g: Graph,
        self: Array,
        output_size: Sequence[Size],
        align_corners: bool,
        *scales: float | None,
    ) -> Array:
        return _resampled(g, self, _padded(scales, n), taps(align_corners))

    @lowering(f"{name}.vec", samples=samples.vec, rounding=8)
    def resample_vec(
        g: Graph,
        input: Array,
        output_size: Sequence[Size] | None,
        align_corners: bool,
        scale_factors: Sequence[float] | None,
    ) -> Array:
        scales = _of_all(n, scale_factors)
        return _resampled(g, input, scales, taps(align_corners))

    @lowering(f"{name}_backward", samples=samples.gradient, rounding=16)
    def gradient(
        g: Graph,
        grad_output: Array,
        output_size: Sequence[Size],
        input_size: Sequence[Size],
        align_corners: bool,
        *scales: float | None,
    ) -> Array:
        return _gradient(g, grad_output, _padded(scales, n), backward(align_corners))


def _padded(scales: Sequence[float | None], n: int) -> list[float | None]:
    return [*scales, *(None,) * (n - len(scales))]


for _n in (1, 2, 3):
    _define_nearest("upsample_nearest", _n, _nearest)
    _define_nearest("_upsample_nearest_exact", _n, _nearest_exact)
for _n, _prefix in ((1, ""), (2, "bi"), (3, "tri")):
    define_between(f"upsample_{_prefix}linear{_n}d", _n, _linear)
define_between("upsample_bicubic2d", 2, _cubic)
