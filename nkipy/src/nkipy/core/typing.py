"""Annotations for kernels' parameters. They inform readers; tracing ignores them.

What a kernel writes into is found by tracing it, whatever its annotations say::

    def update(weights: tensor[mutable], gradient: tensor): ...
"""

from __future__ import annotations

from types import GenericAlias
from typing import Any

__all__ = ["immutable", "mutable", "mutable_tensor", "tensor"]


class mutable:
    """Marks an array that the kernel writes into."""


class immutable:
    """Marks an array that the kernel only reads."""


class tensor:
    """An array argument; ``tensor[mutable]``, ``tensor[dtype, shape]`` say more."""

    def __class_getitem__(cls, parameters: Any) -> GenericAlias:
        return GenericAlias(cls, parameters)


class mutable_tensor(tensor):
    """An array argument that the kernel writes into."""
