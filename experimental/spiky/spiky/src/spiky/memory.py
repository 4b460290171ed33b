"""The memory of the current core: one pool, which spike-torch's tensors take, too."""

from __future__ import annotations

import torch

import spike_torch


def get_memory_stats() -> dict[str, int]:
    """How much there is of the current core's memory in the pool, and how it was used.

    Returns:
        Bytes: ``used_bytes`` of tensors and programs' memory, ``cached_bytes`` that
        wait for more, ``total_bytes``, both; and counts since the start:
        ``allocation_count`` of blocks that libnrt was asked for, ``reuse_count`` of
        those that the pool had, ``cache_hit_count`` and ``cache_miss_count``, of
        requests that it could and could not serve.
    """
    stats = torch.accelerator.memory_stats(spike_torch.current_device())

    def number(key: str) -> int:  # there are none before the first tensor
        return int(stats.get(key, 0))

    total = number("reserved_bytes.all.current")
    used = number("allocated_bytes.all.current")
    segments = number("segment.all.allocated")
    hits = number("allocation.all.allocated") - segments
    return {
        "used_bytes": used,
        "cached_bytes": total - used,
        "total_bytes": total,
        "allocation_count": segments,
        "reuse_count": hits,
        "cache_hit_count": hits,
        "cache_miss_count": segments,
    }


def clear_memory_pool() -> None:
    """Give memory that nothing uses back, of all cores."""
    spike_torch.empty_cache()


def trim_memory_pool(target_bytes: int = 0) -> int:
    """Give memory of the current core that nothing uses back.

    Args:
        target_bytes: stop when the pool has no more than these, those in use among
            them.

    Returns:
        How many bytes were given back.

    Raises:
        TypeError: `target_bytes` is no integer.
        ValueError: it is negative.
    """
    return spike_torch.trim_cache(target_bytes)
