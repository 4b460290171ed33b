"""The caching pool: what it reuses, splits, joins, limits and counts."""

from __future__ import annotations

import random
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


def test_memory_that_is_reserved_is_used_before_there_is_none() -> None:
    """Also a part of what is too large to be taken for so little otherwise."""
    spike_torch.empty_cache()
    reserved = torch.nkipy.memory_reserved()
    bytes_on_core(100 * MIB)  # is cached
    kept = bytes_on_core(12 * MIB)
    spike_torch.set_memory_limit(reserved + 100 * MIB)
    found = bytes_on_core(5 * MIB)
    assert (
        kept.data_ptr() + kept.nbytes
        <= found.data_ptr()
        < kept.data_ptr() + 100 * (MIB)
    )
    with pytest.raises(torch.OutOfMemoryError):
        bytes_on_core(90 * MIB)


def test_storms_of_random_sizes_waste_little_and_overlap_nowhere() -> None:
    spike_torch.empty_cache()
    before = torch.nkipy.memory_allocated(), torch.nkipy.memory_reserved()
    torch.nkipy.reset_peak_memory_stats()
    draw = random.Random(0)
    held: list[torch.Tensor] = []
    for _ in range(4000):
        if held and (len(held) > 200 or draw.random() < 0.4):
            held.pop(draw.randrange(len(held)))
        else:
            held.append(bytes_on_core(int(2 ** draw.uniform(0, 23))))
    places = sorted((tensor.data_ptr(), tensor.nbytes) for tensor in held)
    for (begin, size), (after, _) in zip(places, places[1:]):
        assert begin + size <= after
    stats = torch.nkipy.memory_stats()
    assert stats["requested_bytes.all.current"] >= sum(t.nbytes for t in held)
    assert stats["reserved_bytes.all.peak"] < 1.7 * stats["allocated_bytes.all.peak"]
    held.clear()
    spike_torch.empty_cache()
    assert torch.nkipy.memory_allocated() == before[0]
    assert torch.nkipy.memory_reserved() == before[1]


def test_what_splits_leave_over_is_what_a_snapshot_has_beside_tensors() -> None:
    spike_torch.empty_cache()
    torch.nkipy.reset_peak_memory_stats()
    sizes = [700, 300_000, 3 * MIB, 5 * MIB, 4_000, 2 * MIB]
    held = [bytes_on_core(size) for size in sizes * 3]
    for place in (16, 11, 7, 3, 2, 0):
        del held[place]
    stats = torch.nkipy.memory_stats()
    free = [
        block["size"]
        for segment in torch.nkipy.memory_snapshot()
        for block in segment["blocks"]
        if block["state"] == "inactive" and segment["active_size"]
    ]
    assert stats["inactive_split.all.current"] == len(free)
    assert stats["inactive_split_bytes.all.current"] == sum(free)
    assert stats["inactive_split_bytes.all.peak"] >= sum(free)
    held.clear()
    spike_torch.empty_cache()


@pytest.mark.parametrize("sizes", [(1 << 62,), (1 << 32, 1 << 32), (1 << 31, 1 << 30)])
def test_sizes_that_no_memory_has(sizes: tuple[int, ...]) -> None:
    there = torch.arange(3.0, device="nkipy")
    for make in (
        lambda: torch.empty(sizes, device="nkipy"),
        lambda: torch.empty(sizes, dtype=torch.uint8, device="nkipy"),
        lambda: there.new_empty(3).resize_(sizes),
        lambda: torch.empty_strided(sizes, [1 << 40] * len(sizes), device="nkipy"),
    ):
        with pytest.raises(RuntimeError):  # of which OutOfMemoryError is one
            make()
    assert there.tolist() == [0, 1, 2]


def test_a_tensor_that_cannot_grow_stays_as_it_is() -> None:
    there = torch.arange(6.0, device="nkipy").reshape(2, 3)
    storage = there.untyped_storage()
    for grow in (
        lambda: there.resize_(1 << 40),
        lambda: there.resize_(1 << 32, 1 << 32),
        lambda: there.set_(storage, 0, (1 << 20, 1 << 20), (1 << 20, 1)),
        lambda: storage.resize_(1 << 50),
    ):
        with pytest.raises(RuntimeError):
            grow()
        assert (there.shape, there.stride()) == ((2, 3), (3, 1))
        assert there.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_statistics_have_the_names_that_torch_cuda_documents() -> None:
    bytes_on_core(8)
    stats = torch.nkipy.memory_stats()
    kinds = ("allocation", "segment", "active", "inactive_split")
    amounts = ("allocated", "reserved", "active", "inactive_split", "requested")
    for name in (*kinds, *(f"{amount}_bytes" for amount in amounts)):
        for pool in ("all", "large_pool", "small_pool"):
            now, peak, allocated, freed = (
                stats[f"{name}.{pool}.{figure}"]
                for figure in ("current", "peak", "allocated", "freed")
            )
            assert 0 <= now <= peak and min(allocated, freed) >= 0
    for name in ("num_alloc_retries", "num_ooms", "num_device_alloc"):
        assert stats[name] >= 0
    nested = torch.nkipy.memory_stats_as_nested_dict()
    assert nested["reserved_bytes"]["all"]["peak"] == stats["reserved_bytes.all.peak"]
    assert nested["num_ooms"] == stats["num_ooms"]


def test_a_share_of_the_memory() -> None:
    assert torch.nkipy.get_per_process_memory_fraction() == 1
    total = torch.nkipy.mem_get_info()[1]
    torch.nkipy.set_per_process_memory_fraction(0.25)
    assert torch.nkipy.get_per_process_memory_fraction() == 0.25
    with pytest.raises(torch.OutOfMemoryError, match="this process may reserve"):
        bytes_on_core(total // 2)
    spike_torch.set_memory_limit(None)
    assert torch.nkipy.get_per_process_memory_fraction() == 1
    with pytest.raises(TypeError, match="must be `float`: got 'x'"):
        torch.nkipy.set_per_process_memory_fraction("x")


def test_limits_that_are_no_numbers_of_bytes() -> None:
    with pytest.raises(TypeError, match="limit is a number of bytes: got '3'"):
        spike_torch.set_memory_limit("3")
    with pytest.raises(TypeError, match=r"target is a number of bytes: got 1\.5"):
        spike_torch.trim_cache(1.5)
    spike_torch.set_memory_limit(1 << 70)  # more than there is: no limit
    assert bytes_on_core(1).numel() == 1


def test_a_summary_may_be_asked_to_be_short() -> None:
    assert "taken by tensors" in torch.nkipy.memory_summary(0, abbreviated=True)


def test_peaks_and_sums_begin_anew() -> None:
    bytes_on_core(30 * MIB)
    torch.nkipy.reset_peak_memory_stats()
    torch.nkipy.reset_accumulated_memory_stats()
    stats = torch.nkipy.memory_stats()
    for name in ("allocated_bytes", "reserved_bytes", "inactive_split_bytes"):
        now = stats[f"{name}.all.current"]
        assert stats[f"{name}.all.peak"] == now
        assert stats[f"{name}.all.allocated"] == stats[f"{name}.all.freed"] == 0
    held = bytes_on_core(MIB)
    assert torch.nkipy.max_memory_allocated() == torch.nkipy.memory_allocated()
    del held
