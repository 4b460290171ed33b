"""The caching pool: what it reuses, splits, joins, limits and counts."""

from __future__ import annotations

import threading

import pytest
import torch

import spike_torch

MIB = 1 << 20


def bytes_on_core(size: int) -> torch.Tensor:
    return torch.empty(size, dtype=torch.uint8, device="nkipy")


def test_what_is_freed_is_used_again() -> None:
    address = bytes_on_core(3 * MIB).data_ptr()
    assert bytes_on_core(3 * MIB - 5).data_ptr() == address


def test_neighbours_that_are_freed_become_one_block() -> None:
    spike_torch.empty_cache()
    parts = [bytes_on_core(4 * MIB) for _ in range(4)]
    begin = min(part.data_ptr() for part in parts)
    before = torch.nkipy.memory_reserved()
    parts.clear()
    whole = bytes_on_core(16 * MIB - 512)
    assert torch.nkipy.memory_reserved() in (before, before + 16 * MIB)
    if torch.nkipy.memory_reserved() == before:
        assert whole.data_ptr() == begin


def test_statistics_count_what_there_is() -> None:
    spike_torch.empty_cache()
    torch.nkipy.reset_peak_memory_stats()
    start = torch.nkipy.memory_allocated()
    held = bytes_on_core(1000)
    assert torch.nkipy.memory_allocated() - start == 1024
    stats = torch.nkipy.memory_stats()
    assert stats["requested_bytes.all.current"] >= 1000
    del held
    assert torch.nkipy.memory_allocated() == start
    assert torch.nkipy.max_memory_allocated() >= start + 1024


def test_emptying_gives_memory_back() -> None:
    held = bytes_on_core(30 * MIB)
    free, total = torch.nkipy.mem_get_info()
    assert 0 < free < total
    del held
    spike_torch.empty_cache()
    assert torch.nkipy.mem_get_info()[0] >= free + 30 * MIB


def test_trimming_stops_at_its_target() -> None:
    spike_torch.empty_cache()
    held = [bytes_on_core(20 * MIB) for _ in range(3)]
    reserved = torch.nkipy.memory_reserved()
    held.clear()
    given = spike_torch.trim_cache(reserved - 10 * MIB)
    assert 10 * MIB <= given < reserved
    assert torch.nkipy.memory_reserved() == reserved - given


def test_out_of_memory_empties_the_cache_first_and_then_says_how_much_there_is() -> (
    None
):
    spike_torch.empty_cache()
    limit = torch.nkipy.memory_reserved() + 64 * MIB
    spike_torch.set_memory_limit(limit)
    bytes_on_core(40 * MIB)  # is cached
    kept = bytes_on_core(60 * MIB)  # fits once what is cached was given back
    with pytest.raises(torch.OutOfMemoryError, match=r"Tried to allocate 50.00 MiB"):
        bytes_on_core(50 * MIB)
    assert bool((kept.fill_(3)[:: 1 << 16] == 3).all())
    assert torch.nkipy.memory_stats()["num_ooms"] >= 1


def test_more_than_any_core_has() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        bytes_on_core(1 << 50)
    assert bytes_on_core(8).fill_(1).sum().item() == 8


def test_nothing_has_no_memory() -> None:
    nothing = torch.empty(0, device="nkipy")
    assert nothing.data_ptr() == 0
    assert nothing.untyped_storage().nbytes() == 0


def test_bad_limits() -> None:
    with pytest.raises(ValueError, match="0 or more: got -1"):
        spike_torch.set_memory_limit(-1)
    with pytest.raises(ValueError, match="0 or more: got -2"):
        spike_torch.trim_cache(-2)
    with pytest.raises(ValueError, match="Invalid fraction value: 2"):
        torch.nkipy.set_per_process_memory_fraction(2)


def test_a_snapshot_has_what_is_in_use() -> None:
    held = bytes_on_core(700)
    blocks = {
        segment["address"] + sum(b["size"] for b in segment["blocks"][:place]): block
        for segment in torch.nkipy.memory_snapshot()
        for place, block in enumerate(segment["blocks"])
    }
    block = blocks[held.data_ptr()]
    assert (block["requested_size"], block["size"]) == (700, 1024)
    assert block["state"] == "active_allocated"


def test_threads_allocate_copy_and_free_side_by_side() -> None:
    wrong = []

    def work(seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for _ in range(60):
            size = int(torch.randint(1, 300_000, (), generator=generator))
            host = torch.full((size,), seed, dtype=torch.int32)
            if not bool((host.to("nkipy") == seed).all()):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_summary_is_text_with_figures() -> None:
    text = torch.nkipy.memory_summary()
    assert "taken by tensors" in text and "MiB are free" in text


def test_emptying_beside_threads_that_free_waits_for_no_one() -> None:
    """Python's lock and the pool's are never waited for with the other one held."""
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            held = [bytes_on_core(3 * MIB) for _ in range(3)]
            held.clear()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(200):
        spike_torch.trim_cache()
        spike_torch.get_cached_blocks()
    ended.set()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
