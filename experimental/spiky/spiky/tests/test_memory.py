"""The pool's numbers, which are spike-torch's, too; and statistics."""

from __future__ import annotations

import pytest
import torch

import spike_torch
import spiky

KEYS = {
    *("used_bytes", "cached_bytes", "total_bytes", "allocation_count", "reuse_count"),
    *("cache_hit_count", "cache_miss_count"),
}
MIB = 1 << 20


@pytest.mark.smoke
def test_the_pool_is_that_of_the_devices_tensors(backend: None) -> None:
    spiky.clear_memory_pool()
    before = spiky.get_memory_stats()
    assert set(before) == KEYS and all(type(n) is int for n in before.values())
    x = torch.empty(16 * MIB, dtype=torch.int8, device="nkipy")
    there = spiky.get_memory_stats()
    assert there["used_bytes"] - before["used_bytes"] == 16 * MIB
    assert there["total_bytes"] == there["used_bytes"] + there["cached_bytes"]
    assert there["cache_miss_count"] - before["cache_miss_count"] == 1
    assert there["allocation_count"] - before["allocation_count"] == 1
    del x
    freed = spiky.get_memory_stats()
    assert freed["used_bytes"] == before["used_bytes"]
    assert freed["cached_bytes"] >= 16 * MIB
    y = torch.empty(16 * MIB, dtype=torch.int8, device="nkipy")
    assert y.nbytes == 16 * MIB
    again = spiky.get_memory_stats()
    assert again["cache_hit_count"] - there["cache_hit_count"] == 1
    assert again["reuse_count"] - there["reuse_count"] == 1
    assert again["cache_miss_count"] == there["cache_miss_count"]


def test_it_can_be_trimmed_and_cleared(backend: None) -> None:
    x = torch.empty(16 * MIB, dtype=torch.int8, device="nkipy")
    del x
    total = spiky.get_memory_stats()["total_bytes"]
    assert spiky.trim_memory_pool(target_bytes=total) == 0
    assert spiky.trim_memory_pool(target_bytes=0) >= 16 * MIB
    assert spiky.get_memory_stats()["cached_bytes"] == 0
    x = torch.empty(16 * MIB, dtype=torch.int8, device="nkipy")
    del x
    spiky.clear_memory_pool()
    assert spiky.get_memory_stats()["cached_bytes"] == 0
    assert spike_torch.get_cached_blocks() == 0
    with pytest.raises(ValueError):
        spiky.trim_memory_pool(-1)
    with pytest.raises(TypeError):
        spiky.trim_memory_pool("all")  # type: ignore[arg-type]


def test_statistics_begin_at_nothing(backend: None) -> None:
    spiky.reset_stats()
    stats = spiky.get_stats()
    assert stats == spiky.RuntimeStats()
    assert (stats.total_executions, dict(stats.bucket_hits)) == (0, {})
    with pytest.raises(AttributeError):
        stats.total_executions = 1  # type: ignore[misc]
