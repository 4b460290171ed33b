"""Marks where a graph may be divided: an identity, with a gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from spike_torch.aten.record import lowering

if TYPE_CHECKING:
    from spike_torch.lowering import Array, Graph

#: The operator that a marker is in a graph.
NAME = "nkipy::mark_subgraph_identity"


@torch.library.custom_op(NAME, mutates_args=())
def _mark(x: torch.Tensor) -> torch.Tensor:
    """A copy: an operator of torch's may not return what it was given."""
    return x.clone()


@_mark.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


def _backward(_: Any, gradient: torch.Tensor) -> torch.Tensor:
    return gradient


_mark.register_autograd(_backward)


@lowering(NAME)
def _lower(g: Graph, x: Array) -> Array:
    return x


def mark_subgraph_identity(x: torch.Tensor) -> torch.Tensor:
    """`x` as it is, of the same shape and dtype, in memory of its own.

    Marks the end of a part of a model, such as of one of many equal layers. The
    gradient of the result is that of `x`.

    Raises:
        TypeError: `x` is no tensor.
    """
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"expected a tensor, got {type(x).__name__} {x!r}")
    return _mark(x)
