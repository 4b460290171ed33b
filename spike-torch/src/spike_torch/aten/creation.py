"""Operators that make arrays of nothing but numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from spike_torch.aten.record import lowering

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Array, Graph, Number
    from spike_torch.lowering.sizes import Size


@lowering("full")
def full(g: Graph, size: Sequence[Size], fill_value: Number, **_: Any) -> Array:
    return g.full(size, fill_value, g.result.dtype)
