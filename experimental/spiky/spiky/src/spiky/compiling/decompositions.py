"""Which operators torch puts together of others before they are lowered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch._decomp import core_aten_decompositions
from torch.fx.experimental.symbolic_shapes import statically_known_true

from spike_torch.aten import OPERATORS
from spike_torch.lowered.calls import name_of
from spiky.compiling.recurrent_cells import decompositions_of_cells


@cache
def decompositions() -> dict[Any, Callable[..., Any]]:
    """torch's own, but of operators that are lowered as they are; and ours."""
    theirs = {
        op: decomposition
        for op, decomposition in core_aten_decompositions().items()
        if not _is_lowered(op)
    }
    ours = {torch.ops.aten.as_strided.default: _as_strided}
    return {**theirs, **ours, **decompositions_of_cells()}


def decompositions_of(gm: torch.fx.GraphModule) -> dict[Any, Callable[..., Any]]:
    """Those for a captured graph: what it returns by ``as_strided`` stays a view.

    torch makes such a result again by its strides, which a copy does not have.
    """
    (end,) = gm.graph.find_nodes(op="output")
    placed = [n for n in gm.graph.nodes if n.target in ("as_strided", torch.as_strided)]
    returned = {_storage(n) for n in end.all_input_nodes} - {None}
    if returned.isdisjoint(map(_storage, placed)):
        return decompositions()
    return {
        op: made for op, made in decompositions().items() if made is not _as_strided
    }


def _storage(node: torch.fx.Node) -> int | None:
    value = node.meta.get("example_value")
    if not isinstance(value, torch.Tensor) or value.layout != torch.strided:
        return None
    return value.untyped_storage()._cdata


def _is_lowered(op: Any) -> bool:
    record = OPERATORS.get(name_of(op)) if hasattr(op, "name") else None
    return record is not None and record.lower is not None and not record.decomposed


def _as_strided(
    self: torch.Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    storage_offset: int | None = None,
) -> Any:
    """Elements by their places in memory, where that is in the tensor's own order."""
    offset: Any = storage_offset
    if offset is None:
        offset = self.storage_offset()
    if self.storage_offset() != 0 or not self.is_contiguous():
        return NotImplemented
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if not all(statically_known_true(n > 0) for n in size):
        return NotImplemented
    if not statically_known_true(last < self.numel()):  # of what it is a part of
        return NotImplemented
    place = torch.full((), offset, dtype=torch.int64, device=self.device)
    for count, step in zip(size, stride, strict=True):
        along = torch.arange(count, device=self.device) * step
        place = place.unsqueeze(-1) + along
    return torch.take(self, place)
