"""The memory of cores: one pool, which spike-torch's tensors take, too."""

from __future__ import annotations

import torch

import spike_torch
from spiky import _statistics


def get_memory_stats() -> dict[str, int]:
    """How much memory of this process's cores is in the pool, and how it was used.

    Returns:
        Bytes: ``used_bytes`` of tensors and of programs' memory, ``cached_bytes`` that
        wait for more, ``total_bytes``, both; and counts since the start:
        ``allocation_count`` of all that was asked for, ``reuse_count`` and
        ``cache_hit_count`` of that which the pool had, ``cache_miss_count`` of that
        for which libnrt was asked for memory.
    """
    counting = _statistics.programs()
    if counting is not None:
        found: dict[str, int] = counting.get_memory_stats()
        return found
    total = {"reserved_bytes.all.current": 0, "allocated_bytes.all.current": 0}
    total |= {"segment.all.allocated": 0, "allocation.all.allocated": 0}
    for device in range(spike_torch.device_count()):
        stats = torch.accelerator.memory_stats(device)
        for key in total:  # there are none before the first tensor
            total[key] += int(stats.get(key, 0))
    reserved, used, missed, asked = total.values()
    return {
        "used_bytes": used,
        "cached_bytes": reserved - used,
        "total_bytes": reserved,
        "allocation_count": asked,
        "reuse_count": asked - missed,
        "cache_hit_count": asked - missed,
        "cache_miss_count": missed,
    }


def clear_memory_pool() -> None:
    """Give memory that nothing uses back, of all cores."""
    spike_torch.empty_cache()


def trim_memory_pool(target_bytes: int = 0) -> int:
    """Give memory that nothing uses back, of all cores.

    Args:
        target_bytes: stop at a core when the pool has no more than these of it, those
            in use among them.

    Returns:
        How many bytes were given back.

    Raises:
        TypeError: `target_bytes` is no integer.
        ValueError: it is negative.
    """
    devices = range(spike_torch.device_count())
    return sum(spike_torch.trim_cache(target_bytes, device) for device in devices)
