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

__all__ = [
    "all_gather",
    "all_reduce",
    "all_to_all",
    "broadcast",
    "collective_permute",
    "rank",
    "reduce_scatter",
]
