"""The memory of cores: one pool, which spike-torch's tensors take, too."""

from __future__ import annotations

import spike_torch
from spike_torch import programs


def get_memory_stats() -> dict[str, int]:
    """How much memory of this process's cores is in the pool, and how it was used.

    Returns:
        Bytes: ``used_bytes`` of tensors and of programs' memory, ``cached_bytes`` that
        wait for more, ``total_bytes``, both; and counts since the start:
        ``allocation_count`` of all that was asked for, ``reuse_count`` and
        ``cache_hit_count`` of that which the pool had, ``cache_miss_count`` of that
        for which libnrt was asked for memory.
    """
    return programs.get_memory_stats()


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
