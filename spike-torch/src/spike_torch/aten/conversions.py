"""Copies: of the same elements, of another dtype, of another shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from spike_torch.aten.examples import given
from spike_torch.aten.pointwise import exact
from spike_torch.aten.record import lowering

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Array, Graph, Number


@lowering("_to_copy", samples=given("x", dtype=torch.float16))
def to_copy(g: Graph, self: Array, **_: Any) -> Array:
    """Where it is, and in which order, is the client's affair."""
    return g.convert(self, g.result.dtype)


@lowering("prims::convert_element_type", samples=given("y", torch.bfloat16))
def convert_element_type(g: Graph, a: Array, dtype: torch.dtype) -> Array:
    return g.convert(a, dtype)


@lowering("clone", samples=given("x"))
def clone(g: Graph, self: Array, *, memory_format: Any = None) -> Array:
    return self


@lowering("alias detach lift lift_fresh lift_fresh_copy alias_copy", samples=given("x"))
@lowering("detach_copy _conj_physical conj_physical positive", samples=given("x"))
def alias(g: Graph, self: Array) -> Array:
    return self


@lowering("copy", samples=given("x", "number"))
def copy(g: Graph, self: Array, src: Array, non_blocking: bool = False) -> Array:
    return g.expand(g.convert(src, self.dtype), self.dims)


@lowering("fill.Scalar", samples=given("x", 2))
@lowering("fill.Tensor", samples=given("x", "number"))
def fill(g: Graph, self: Array, value: Array | Number) -> Array:
    return g.expand(exact(g, value, self.dtype), self.dims)
