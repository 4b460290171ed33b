"""What is counted of the calls of compiled programs, and of their memory."""

from __future__ import annotations

from typing import Any

import spike_torch._C as _C


def get_stats() -> dict[str, Any]:
    """What was counted of all calls, by name.

    ``bucket_hits`` counts by buckets: tuples of one for each symbol; functions without
    symbols have none there. ``total_pad_ratio_sum`` sums bucket by size over calls: 1
    for one that is not padded. Times are in milliseconds.
    """
    return dict(_C.statistics())


def reset_stats() -> None:
    """Count from 0."""
    _C.reset_statistics()


def get_memory_stats() -> dict[str, int]:
    """What the cores' pools of memory have, in bytes, and how often they were asked.

    A miss is an allocation for which libnrt was asked for memory; all others were
    served with memory of the pool, which are hits and reuses.
    """
    from spike_torch.memory import memory_stats

    totals = {"allocation.all.allocated": 0, "num_device_alloc": 0}
    totals |= {"allocated_bytes.all.current": 0, "reserved_bytes.all.current": 0}
    for device in range(_C.device_count()):
        stats = memory_stats(device)
        for key in totals:
            totals[key] += int(stats.get(key, 0))
    used = totals["allocated_bytes.all.current"]
    total = totals["reserved_bytes.all.current"]
    count, missed = totals["allocation.all.allocated"], totals["num_device_alloc"]
    return {
        "used_bytes": used,
        "cached_bytes": total - used,
        "total_bytes": total,
        "allocation_count": count,
        "reuse_count": count - missed,
        "cache_hit_count": count - missed,
        "cache_miss_count": missed,
    }
