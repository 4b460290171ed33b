"""Operators that give elements another shape, or move them in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from spike_torch.aten.record import Sample, lowering
from spike_torch.lowering import moves
from spike_torch.lowering.dtypes import hlo_dtype
from spike_torch.lowering.errors import Unsupported

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Array, Graph
    from spike_torch.lowering.sizes import Size


def calls(*arguments: tuple[Any, ...]) -> Callable[[], Iterator[Sample]]:
    """Samples for an operator: a small tensor, and one of each of these."""

    def make() -> Iterator[Sample]:
        for given in arguments:
            yield (torch.arange(24.0).reshape(2, 3, 4), *given), {}

    return make


@lowering("view_copy", samples=calls(([6, 4],), ([2, -1],)))
@lowering("_reshape_alias", samples=calls(([6, 4], [4, 1])))
@lowering("_unsafe_view", samples="matmul")
@lowering("view", samples="view reshape")
def view(
    g: Graph, self: Array, size: Sequence[Size], stride: Sequence[Size] = ()
) -> Array:
    if moves.is_nothing(g, g.result.sizes):
        return moves.nothing(g)
    return g.reshape(self, g.result.sizes)  # in which -1 is a number


@lowering("view.dtype", samples=calls((torch.int32,), (torch.float32,)))
def view_as(g: Graph, self: Array, dtype: torch.dtype) -> Array:
    if self.dtype.itemsize != dtype.itemsize or torch.bool in (self.dtype, dtype):
        if self.dtype != dtype:
            raise Unsupported(f"reads the bits of {self.dtype} as {dtype}")
    value = g.b.bitcast_convert(self.value, hlo_dtype(dtype))
    return moves.Array(value, self.dims)


@lowering("permute_copy", samples=calls(([2, 0, 1],), ([-1, 0, 1],)))
@lowering("permute")
def permute(g: Graph, self: Array, dims: Sequence[int]) -> Array:
    return g.transpose(self, [g.axis(self, d) for d in dims])


@lowering("transpose_copy.int", samples=calls((0, 2), (-1, -2)))
@lowering("transpose.int")
def transpose(g: Graph, self: Array, dim0: int, dim1: int) -> Array:
    order = list(range(self.ndim))
    if order:
        one, other = g.axis(self, dim0), g.axis(self, dim1)
        order[one], order[other] = other, one
    return g.transpose(self, order)


@lowering("t_copy", samples=lambda: iter([((torch.ones(2, 3),), {})]))
@lowering("t")
def t(g: Graph, self: Array) -> Array:
    return g.transpose(self, range(self.ndim)[::-1])


@lowering("expand_copy", samples=calls(([5, 2, 3, 4],), ([-1, -1, 4],)))
@lowering("expand")
def expand(
    g: Graph, self: Array, size: Sequence[Size], *, implicit: bool = False
) -> Array:
    dims = list(g.dims(g.result.sizes))
    for back in range(1, self.ndim + 1):
        own = self.dims[-back]
        if own.size == dims[-back].size:
            dims[-back] = own
    return g.expand(self, tuple(dims))


@lowering("unsqueeze_copy", samples=calls((0,), (-1,), (2,)))
@lowering("unsqueeze")
def unsqueeze(g: Graph, self: Array, dim: int) -> Array:
    return g.insert_ones(self, (dim % (self.ndim + 1),))


def _with_ones() -> Iterator[Sample]:
    yield (torch.ones(1, 3, 1),), {}
    yield (torch.tensor(1.0),), {}


@lowering("squeeze", samples=_with_ones)
@lowering("squeeze_copy", samples=_with_ones)
def squeeze(g: Graph, self: Array) -> Array:
    return _squeezed(g, self, range(self.ndim))


def _with_one() -> Iterator[Sample]:
    yield (torch.ones(1, 3, 1), -1), {}
    yield (torch.ones(1, 3, 1), 1), {}
    yield (torch.tensor(1.0), 0), {}


@lowering("squeeze.dim", samples=_with_one)
@lowering("squeeze_copy.dim", samples=_with_one)
def squeeze_dim(g: Graph, self: Array, dim: int) -> Array:
    return _squeezed(g, self, (g.axis(self, dim),))


def _with_several() -> Iterator[Sample]:
    yield (torch.ones(1, 3, 1), [0, -1]), {}
    yield (torch.ones(1, 3, 1), [1, 2]), {}
    yield (torch.ones(1, 3, 1), []), {}


@lowering("squeeze.dims", samples=_with_several)
@lowering("squeeze_copy.dims", samples=_with_several)
def squeeze_dims(g: Graph, self: Array, dim: Sequence[int]) -> Array:
    return _squeezed(g, self, [g.axis(self, d) for d in dim])


def _squeezed(g: Graph, self: Array, axes: Sequence[int]) -> Array:
    return g.drop_ones(self, [a for a in axes if a < self.ndim and _is_one(self, a)])


def _is_one(self: Array, axis: int) -> bool:
    return bool(self.dims[axis].size == 1)


@lowering("repeat")
def repeat(g: Graph, self: Array, repeats: Sequence[Size]) -> Array:
    if moves.is_nothing(g, g.result.sizes):
        return moves.nothing(g)
    new = len(repeats) - self.ndim
    x = g.insert_ones(self, range(new))
    return moves.repeated(g, x, [g.sizes.of(r) for r in repeats])


@lowering("flip")
def flip(g: Graph, self: Array, dims: Sequence[int]) -> Array:
    for axis in sorted({g.axis(self, d) for d in dims if self.ndim}, reverse=True):
        self = moves.reversed_along(g, self, axis)
    return self


@lowering("roll")
def roll(g: Graph, self: Array, shifts: Size | Sequence[Size], dims: Any = ()) -> Array:
    if moves.is_nothing(g, self.sizes):
        return self
    shifts = list(shifts) if isinstance(shifts, (list, tuple)) else [shifts]
    dims = [dims] if isinstance(dims, int) else list(dims)
    if not dims:
        flat = moves.rotated(g, moves.flattened(g, self), 0, shifts[0])
        return g.with_dims(flat, self.dims)
    for shift, dim in zip(shifts, dims, strict=True):
        if self.ndim:
            self = moves.rotated(g, self, g.axis(self, dim), g.sizes.of(shift))
    return self


@lowering("rot90")
def rot90(g: Graph, self: Array, k: int = 1, dims: Sequence[int] = (0, 1)) -> Array:
    one, other = (g.axis(self, d) for d in dims)
    order = list(range(self.ndim))
    order[one], order[other] = other, one
    if k % 4 == 2:
        return moves.reversed_along(g, moves.reversed_along(g, self, one), other)
    if k % 4 == 1:
        return g.transpose(moves.reversed_along(g, self, other), order)
    if k % 4 == 3:
        return moves.reversed_along(g, g.transpose(self, order), other)
    return self


@lowering("pixel_shuffle")
def pixel_shuffle(g: Graph, self: Array, upscale_factor: int) -> Array:
    if moves.is_nothing(g, self.sizes):
        return moves.nothing(g)
    n, r = self.ndim, upscale_factor
    *batch, channels, height, width = self.sizes
    x = g.reshape(self, (*batch, channels // (r * r), r, r, height, width))
    lead = range(n - 3)
    order = [*lead, n - 3, n, n - 2, n + 1, n - 1]
    return g.reshape(g.transpose(x, order), g.result.sizes)


@lowering("pixel_unshuffle")
def pixel_unshuffle(g: Graph, self: Array, downscale_factor: int) -> Array:
    if moves.is_nothing(g, self.sizes):
        return moves.nothing(g)
    n, r = self.ndim, downscale_factor
    *batch, channels, height, width = self.sizes
    down, across = g.result.sizes[-2:]
    x = g.reshape(self, (*batch, channels, down, r, across, r))
    lead = range(n - 3)
    order = [*lead, n - 3, n - 1, n + 1, n - 2, n]
    return g.reshape(g.transpose(x, order), g.result.sizes)


def _channels() -> Iterator[Sample]:
    x = torch.arange(96.0).reshape(2, 6, 2, 4)
    yield (x, 2), {}
    yield (x, 3), {}


@lowering("channel_shuffle", samples=_channels)
def channel_shuffle(g: Graph, self: Array, groups: int) -> Array:
    if moves.is_nothing(g, self.sizes):
        return self
    batch, channels, *rest = self.sizes
    x = g.reshape(self, (batch, groups, channels // groups, *rest))
    order = [0, 2, 1, *range(3, x.ndim)]
    return g.reshape(g.transpose(x, order), self.sizes)
