"""Which operators torch puts together of others before they are lowered."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from torch._decomp import core_aten_decompositions

from spike_torch.aten import OPERATORS
from spike_torch.lowered.calls import name_of


@cache
def decompositions() -> dict[Any, Callable[..., Any]]:
    """torch's own, but of operators that are lowered as they are."""
    return {
        op: decomposition
        for op, decomposition in core_aten_decompositions().items()
        if not _is_lowered(op)
    }


def _is_lowered(op: Any) -> bool:
    record = OPERATORS.get(name_of(op)) if hasattr(op, "name") else None
    return record is not None and record.lower is not None and not record.decomposed
