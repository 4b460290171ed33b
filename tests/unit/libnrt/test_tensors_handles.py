"""Handles of tensors, batches, completion counters, tensor sets, and threads."""

from __future__ import annotations

import ctypes
import random
import threading
from collections.abc import Iterator
from ctypes import byref, c_int, c_uint64, c_void_p
from typing import Any

import pytest

from tests.support import libnrt
from tests.support.libnrt import INVALID, INVALID_HANDLE, SUCCESS, TIMEOUT, Nrt

SIZE_MAX = 2**64 - 1


def batch(tensor: c_void_p, *ops: tuple[int, int, int | None]) -> libnrt.Batch:
    """A batch of (offset, size, address)."""
    array = (libnrt.BatchOp * len(ops))(*ops)
    return libnrt.Batch(tensor, array, len(ops))


# --- Handles --------------------------------------------------------------------------


def every_use(lib: Any, handle: Any) -> list[int]:
    """The statuses of all functions that take a tensor."""
    buffer = ctypes.create_string_buffer(8)
    out, number = c_void_p(), c_int()
    info = libnrt.AllocationInfo()
    return [
        lib.nrt_tensor_read(handle, buffer, 0, 1),
        lib.nrt_tensor_write(handle, buffer, 0, 1),
        lib.nrt_tensor_memset(handle, 0, 0, 1),
        lib.nrt_tensor_copy(handle, 0, handle, 0, 1),
        lib.nrt_tensor_allocate_slice(handle, 0, 1, b"", byref(out)),
        lib.nrt_tensor_attach_buffer(handle, buffer, 8),
        lib.nrt_tensor_get_device_allocation_info(handle, byref(info)),
        lib.nrt_tensor_get_lnc_index(handle, byref(number)),
        lib.nrt_tensor_check_output_completion(handle, 0, 0),
        lib.nrt_tensor_reset_output_completion(handle),
    ]


def test_handles_that_name_no_tensor(nrt: Nrt) -> None:
    freed = nrt.allocate(8)
    stale = freed.value
    nrt.free(freed)
    successor = nrt.allocate(8)  # could take the freed one's place
    tensors = c_void_p()
    nrt.check(nrt.lib.nrt_allocate_tensor_set(byref(tensors)))
    for handle in (stale, tensors.value, 1, 0xDEADBEEF, SIZE_MAX, id(nrt)):
        assert set(every_use(nrt.lib, handle)) == {INVALID_HANDLE}
        assert nrt.lib.nrt_tensor_get_size(handle) == 0
        assert nrt.lib.nrt_tensor_get_va(handle) is None
    assert set(every_use(nrt.lib, None)) == {INVALID}
    nrt.free(successor)
    nrt.lib.nrt_destroy_tensor_set(byref(tensors))


def test_freeing_twice_or_nothing_is_harmless(nrt: Nrt) -> None:
    tensor = nrt.allocate(8)
    copy = c_void_p(tensor.value)
    nrt.free(tensor)
    nrt.free(tensor)
    nrt.free(copy)
    nrt.lib.nrt_tensor_free(None)
    nrt.lib.nrt_destroy_tensor_set(None)


# --- Batches --------------------------------------------------------------------------


@pytest.mark.parametrize("unsafe", [False, True])
def test_a_batch_moves_all_its_pieces(nrt: Nrt, unsafe: bool) -> None:
    one, two = nrt.allocate(16), nrt.allocate(16, core=1)
    buffer = ctypes.create_string_buffer(b"abcdefgh", 8)
    at = ctypes.addressof(buffer)
    batches = (libnrt.Batch * 2)(
        batch(one, (0, 2, at), (14, 2, at + 2)), batch(two, (4, 4, at + 4))
    )
    nrt.check(nrt.lib.nrt_tensor_write_batch(batches, 2, unsafe))
    assert nrt.read(one, 16) == b"ab" + bytes(12) + b"cd"
    assert nrt.read(two, 16) == bytes(4) + b"efgh" + bytes(8)
    back = ctypes.create_string_buffer(6)
    at = ctypes.addressof(back)
    batches = (libnrt.Batch * 2)(batch(two, (4, 4, at)), batch(one, (14, 2, at + 4)))
    nrt.check(nrt.lib.nrt_tensor_read_batch(batches, 2, unsafe))
    assert back.raw == b"efghcd"
    nrt.check(nrt.lib.nrt_tensor_read_batch(None, 0, unsafe))
    nrt.free(one)
    nrt.free(two)


def test_a_batch_with_one_bad_piece_moves_nothing(nrt: Nrt) -> None:
    tensor = nrt.allocate(16)
    buffer = ctypes.create_string_buffer(b"abcdefgh", 8)
    at = ctypes.addressof(buffer)
    write = nrt.lib.nrt_tensor_write_batch
    good = (0, 4, at)
    for bad in ((13, 4, at), (SIZE_MAX, 2, at), (0, 4, None)):
        batches = (libnrt.Batch * 1)(batch(tensor, good, bad))
        assert write(batches, 1, False) == INVALID
    batches = (libnrt.Batch * 2)(batch(tensor, good), batch(c_void_p(3), good))
    assert write(batches, 2, False) == INVALID_HANDLE
    assert write((libnrt.Batch * 1)(libnrt.Batch(tensor, None, 1)), 1, True) == INVALID
    assert write(None, 1, False) == INVALID
    assert nrt.read(tensor, 16) == bytes(16)
    nrt.free(tensor)


# --- Completion counters --------------------------------------------------------------


def test_waiting_for_an_execution_that_does_not_come(nrt: Nrt) -> None:
    tensor = nrt.allocate(8)
    wait = nrt.lib.nrt_tensor_check_output_completion
    assert wait(tensor, 0, 0) == SUCCESS
    assert wait(tensor, 0, 1) == TIMEOUT
    assert wait(tensor, 20_000, 1) == TIMEOUT
    nrt.check(nrt.lib.nrt_tensor_reset_output_completion(tensor))
    nrt.free(tensor)


# --- Tensor sets ----------------------------------------------------------------------


@pytest.fixture
def tensors(nrt: Nrt) -> Iterator[c_void_p]:
    """A tensor set."""
    handle = c_void_p()
    nrt.check(nrt.lib.nrt_allocate_tensor_set(byref(handle)))
    yield handle
    nrt.lib.nrt_destroy_tensor_set(byref(handle))
    assert handle.value is None


def test_a_set_finds_tensors_by_its_own_names(nrt: Nrt, tensors: c_void_p) -> None:
    one, two = nrt.allocate(8, name="own"), nrt.allocate(8)
    add, get = (
        nrt.lib.nrt_add_tensor_to_tensor_set,
        nrt.lib.nrt_get_tensor_from_tensor_set,
    )
    found = c_void_p(77)
    assert get(tensors, b"x", byref(found)) == libnrt.FAILURE
    assert found.value == 77
    nrt.check(add(tensors, b"x", one))
    nrt.check(add(tensors, b"y", one))
    nrt.check(get(tensors, b"x", byref(found)))
    assert found.value == one.value
    assert get(tensors, b"own", byref(found)) == libnrt.FAILURE
    nrt.check(add(tensors, b"x", two))
    nrt.check(get(tensors, b"x", byref(found)))
    assert found.value == two.value
    nrt.free(one)
    nrt.free(two)


def test_a_set_does_not_keep_tensors(nrt: Nrt, tensors: c_void_p) -> None:
    before = nrt.memory().bytes_used
    tensor, found = nrt.allocate(1000), c_void_p(77)
    nrt.check(nrt.lib.nrt_add_tensor_to_tensor_set(tensors, b"x", tensor))
    nrt.free(tensor)
    assert nrt.memory().bytes_used == before
    get = nrt.lib.nrt_get_tensor_from_tensor_set
    assert get(tensors, b"x", byref(found)) == INVALID_HANDLE
    assert found.value == 77


def test_sets_check_what_they_get(nrt: Nrt, tensors: c_void_p) -> None:
    tensor, found = nrt.allocate(8), c_void_p()
    add, get = (
        nrt.lib.nrt_add_tensor_to_tensor_set,
        nrt.lib.nrt_get_tensor_from_tensor_set,
    )
    assert add(tensors, None, tensor) == INVALID
    assert add(tensors, b"x", None) == INVALID
    assert add(tensors, b"x", tensors) == INVALID_HANDLE
    assert add(tensor, b"x", tensor) == INVALID_HANDLE
    assert add(None, b"x", tensor) == INVALID
    assert get(tensors, None, byref(found)) == INVALID
    assert get(tensors, b"x", None) == INVALID
    assert get(c_void_p(5), b"x", byref(found)) == INVALID_HANDLE
    assert nrt.lib.nrt_allocate_tensor_set(None) == INVALID
    nrt.free(tensor)


# --- Threads --------------------------------------------------------------------------


def work(nrt: Nrt, seed: int, failures: list[str]) -> None:
    """Allocate, write, read, slice and free at random; note what was read wrongly."""
    choose = random.Random(seed)
    for turn in range(60):
        size = choose.choice([1, 100, 5000, 200_000])
        tensor = nrt.allocate(size, core=choose.randrange(2))
        data = choose.randbytes(size)
        nrt.write(tensor, data)
        offset = choose.randrange(size)
        part = nrt.slice(tensor, offset, size - offset)
        nrt.free(tensor)
        if nrt.read(part, size - offset) != data[offset:]:
            failures.append(f"thread {seed}, turn {turn}")
        nrt.free(part)


def test_threads_do_not_disturb_each_other(nrt: Nrt) -> None:
    used = [nrt.memory(core).bytes_used for core in (0, 1)]
    failures: list[str] = []
    threads = [
        threading.Thread(target=work, args=(nrt, seed, failures)) for seed in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [nrt.memory(core).bytes_used for core in (0, 1)] == used


def test_a_handle_freed_by_many_threads_is_freed_once(nrt: Nrt) -> None:
    used = nrt.memory().bytes_used
    tensor = nrt.allocate(1 << 20)
    statuses: list[int] = []

    def use_and_free() -> None:
        copy, count = c_void_p(tensor.value), c_uint64()
        statuses.append(nrt.lib.nrt_tensor_write(copy, byref(count), 0, 8))
        nrt.lib.nrt_tensor_free(byref(copy))

    threads = [threading.Thread(target=use_and_free) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {SUCCESS, INVALID_HANDLE}
    assert nrt.memory().bytes_used == used
