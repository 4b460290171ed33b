"""Operations on the data of several ranks; see :mod:`nkipy.core.ops.collectives`."""

from __future__ import annotations

from nkipy.core.ops import (
    all_gather,
    all_reduce,
    all_to_all,
    broadcast,
    collective_permute,
    rank,
    reduce_scatter,
)
from nkipy.distributed import processes as _processes

assert _processes  # which refuses these in a process that has other ranks

__all__ = [
    "all_gather",
    "all_reduce",
    "all_to_all",
    "broadcast",
    "collective_permute",
    "rank",
    "reduce_scatter",
]
