"""Kernels that run on several ranks: who they are, and what they exchange."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nkipy.lazy import lazy_names

if TYPE_CHECKING:
    from nkipy.core.ops import (
        all_gather,
        all_reduce,
        all_to_all,
        broadcast,
        collective_permute,
        reduce_scatter,
    )
    from nkipy.distributed.processes import (
        barrier,
        rank,
        replica_groups,
        world_size,
    )
    from nkipy.distributed.sharding import shard, shards
    from nkipy.distributed.timelines import timeline

__all__ = [
    "all_gather",
    "all_reduce",
    "all_to_all",
    "barrier",
    "broadcast",
    "collective_permute",
    "rank",
    "reduce_scatter",
    "replica_groups",
    "shard",
    "shards",
    "timeline",
    "world_size",
]

_LAZY = {
    "all_gather": "nkipy.distributed.collectives",
    "all_reduce": "nkipy.distributed.collectives",
    "all_to_all": "nkipy.distributed.collectives",
    "barrier": "nkipy.distributed.processes",
    "broadcast": "nkipy.distributed.collectives",
    "collective_permute": "nkipy.distributed.collectives",
    "rank": "nkipy.distributed.processes",
    "reduce_scatter": "nkipy.distributed.collectives",
    "replica_groups": "nkipy.distributed.processes",
    "shard": "nkipy.distributed.sharding",
    "shards": "nkipy.distributed.sharding",
    "timeline": "nkipy.distributed.timelines",
    "world_size": "nkipy.distributed.processes",
}
__getattr__, __dir__ = lazy_names(__name__, globals(), _LAZY)
