"""Operators that give elements other places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from spike_torch.aten.record import lowering

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Array, Graph
    from spike_torch.lowering.sizes import Size


@lowering("_unsafe_view", samples="matmul")
@lowering("view", samples="view reshape")
def view(g: Graph, self: Array, size: Sequence[Size]) -> Array:
    return g.reshape(self, g.result.sizes)  # in which -1 is a number


@lowering("permute")
def permute(g: Graph, self: Array, dims: Sequence[int]) -> Array:
    return g.transpose(self, [g.axis(self, d) for d in dims])


@lowering("t")
def t(g: Graph, self: Array) -> Array:
    return g.transpose(self, range(self.ndim)[::-1])


@lowering("expand")
def expand(
    g: Graph, self: Array, size: Sequence[Size], *, implicit: bool = False
) -> Array:
    return g.expand(self, g.dims(g.result.sizes))
