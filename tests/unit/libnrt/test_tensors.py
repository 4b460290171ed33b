"""Tensors: bytes in and out, copies, slices, buffers, capacity.

All of it in one process, which is initialised once: a test must leave no trace but in
its own tensors.
"""

from __future__ import annotations

import ctypes
import random
from ctypes import byref, c_int, c_size_t, c_void_p

import pytest

from tests.support import libnrt
from tests.support.libnrt import (
    DEVICE,
    HOST,
    INVALID,
    RESOURCE,
    SUCCESS,
    VIRTUAL,
    Nrt,
)

SIZE_MAX = 2**64 - 1


def pattern(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


# --- Reading and writing --------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 63, 64, 4095, 4096, 4097, 1 << 17, (5 << 20) + 3])
@pytest.mark.parametrize("placement", [DEVICE, HOST, VIRTUAL])
def test_a_fresh_tensor_is_zero_and_keeps_what_is_written(
    nrt: Nrt, placement: int, size: int
) -> None:
    tensor = nrt.allocate(size, placement=placement)
    assert nrt.read(tensor, size) == bytes(size)
    data = pattern(size)
    nrt.write(tensor, data)
    assert nrt.read(tensor, size) == data
    assert nrt.lib.nrt_tensor_get_size(tensor) == size
    nrt.free(tensor)


@pytest.mark.parametrize("size", [1, 4096, 100_000, 1 << 20])
def test_storage_is_aligned(nrt: Nrt, size: int) -> None:
    tensor = nrt.allocate(size)
    alignment = 4096 if size >= 4096 else 64
    assert nrt.lib.nrt_tensor_get_va(tensor) % alignment == 0
    nrt.free(tensor)


def test_a_piece_is_read_and_written_in_place(nrt: Nrt) -> None:
    tensor = nrt.allocate(100)
    nrt.write(tensor, b"abc", offset=97)
    nrt.write(tensor, b"x", offset=0)
    assert nrt.read(tensor, 100) == b"x" + bytes(96) + b"abc"
    assert nrt.read(tensor, 2, offset=98) == b"bc"
    assert nrt.lib.nrt_tensor_write(tensor, None, 100, 0) == SUCCESS
    nrt.free(tensor)


OUT_OF_BOUNDS = [
    (0, 101),
    (1, 100),
    (100, 1),
    (101, 0),
    (50, SIZE_MAX - 49),  # the sum is 0 again
    (50, SIZE_MAX - 48),
    (SIZE_MAX, 1),
    (SIZE_MAX, SIZE_MAX),
    (SIZE_MAX - 10, 20),
    (2**63, 2**63),
]


@pytest.mark.parametrize(("offset", "size"), OUT_OF_BOUNDS)
def test_nothing_moves_out_of_bounds(nrt: Nrt, offset: int, size: int) -> None:
    tensor, other = nrt.allocate(100), nrt.allocate(100)
    nrt.write(tensor, b"\x07" * 100)
    buffer = ctypes.create_string_buffer(b"\x01" * 200, 200)
    lib = nrt.lib
    assert lib.nrt_tensor_write(tensor, buffer, offset, size) == INVALID
    assert lib.nrt_tensor_read(tensor, buffer, offset, size) == INVALID
    assert lib.nrt_tensor_memset(tensor, offset, 9, size) == INVALID
    assert lib.nrt_tensor_copy(tensor, 0, other, offset, size) == INVALID
    assert lib.nrt_tensor_copy(other, offset, tensor, 0, size) == INVALID
    slice_ = c_void_p(77)
    status = lib.nrt_tensor_allocate_slice(tensor, offset, size, b"s", byref(slice_))
    assert (status, slice_.value) == (INVALID, 77)
    address = lib.nrt_tensor_get_va(tensor)
    destination = c_void_p((address + offset) % 2**64)
    if size:
        status = lib.nrt_memcpy_to_device(destination, buffer, size)
        assert status == INVALID
    assert nrt.read(tensor, 100) == b"\x07" * 100
    assert nrt.read(other, 100) == bytes(100)
    assert buffer.raw == b"\x01" * 200
    nrt.free(tensor)
    nrt.free(other)


def test_no_buffer_is_an_error(nrt: Nrt) -> None:
    tensor = nrt.allocate(8)
    assert nrt.lib.nrt_tensor_read(tensor, None, 0, 8) == INVALID
    assert nrt.lib.nrt_tensor_write(tensor, None, 0, 8) == INVALID
    nrt.free(tensor)


def test_memory_copied_to_an_address_is_the_tensors(nrt: Nrt) -> None:
    tensor = nrt.allocate(100)
    address = nrt.lib.nrt_tensor_get_va(tensor)
    nrt.check(nrt.lib.nrt_memcpy_to_device(address + 90, b"0123456789", 10))
    assert nrt.read(tensor, 10, offset=90) == b"0123456789"
    assert ctypes.string_at(address + 90, 10) == b"0123456789"
    nrt.free(tensor)
    assert nrt.lib.nrt_memcpy_to_device(address, b"0", 1) == INVALID


def test_memory_of_the_host_is_no_destination_of_a_device_copy(nrt: Nrt) -> None:
    tensor = nrt.allocate(100, core=-1, placement=HOST)
    buffer = ctypes.create_string_buffer(10)
    address = nrt.lib.nrt_tensor_get_va(tensor)
    assert nrt.lib.nrt_memcpy_to_device(address, b"0123456789", 10) == INVALID
    assert nrt.lib.nrt_memcpy_to_device(buffer, b"0123456789", 10) == INVALID
    assert nrt.lib.nrt_memcpy_to_device(None, b"0123456789", 10) == INVALID
    nrt.free(tensor)


def test_memset_fills_bytes(nrt: Nrt) -> None:
    tensor = nrt.allocate(10)
    nrt.check(nrt.lib.nrt_tensor_memset(tensor, 2, 0x1FF, 3))
    assert nrt.read(tensor, 10) == b"\0\0\xff\xff\xff\0\0\0\0\0"
    nrt.free(tensor)


# --- Copying --------------------------------------------------------------------------


def test_copy_moves_a_piece_and_allows_overlap(nrt: Nrt) -> None:
    data = pattern(1000)
    source, target = nrt.allocate(1000), nrt.allocate(500)
    nrt.write(source, data)
    nrt.check(nrt.lib.nrt_tensor_copy(source, 700, target, 100, 300))
    assert nrt.read(target, 500) == bytes(100) + data[700:] + bytes(100)
    nrt.check(nrt.lib.nrt_tensor_copy(source, 0, source, 10, 900))
    assert nrt.read(source, 1000) == data[:10] + data[:900] + data[910:]
    nrt.free(source)
    nrt.free(target)


@pytest.mark.parametrize(
    ("source", "target", "status"),
    [
        ((DEVICE, 0), (DEVICE, 1), INVALID),
        ((DEVICE, 1), (DEVICE, 1), SUCCESS),
        ((DEVICE, 0), (HOST, -1), SUCCESS),
        ((HOST, 1), (DEVICE, 0), SUCCESS),
        ((HOST, -1), (VIRTUAL, -1), SUCCESS),
    ],
)
def test_copy_is_within_a_core_or_with_the_host(
    nrt: Nrt, source: tuple[int, int], target: tuple[int, int], status: int
) -> None:
    from_ = nrt.allocate(8, placement=source[0], core=source[1])
    to = nrt.allocate(8, placement=target[0], core=target[1])
    nrt.write(from_, b"12345678")
    assert nrt.lib.nrt_tensor_copy(from_, 0, to, 0, 8) == status
    assert nrt.read(to, 8) == (b"12345678" if status == SUCCESS else bytes(8))
    nrt.free(from_)
    nrt.free(to)


# --- Slices and attached buffers ------------------------------------------------------


def test_a_slice_shares_storage_and_outlives_its_source(nrt: Nrt) -> None:
    before = nrt.memory().bytes_used
    whole = nrt.allocate(1000)
    part = nrt.slice(whole, 100, 200)
    piece = nrt.slice(part, 50, 10)
    va = nrt.lib.nrt_tensor_get_va
    assert va(piece) == va(whole) + 150
    nrt.write(piece, b"0123456789")
    assert nrt.read(whole, 10, offset=150) == b"0123456789"
    nrt.free(whole)
    nrt.free(part)
    assert nrt.read(piece, 10) == b"0123456789"
    assert nrt.memory().bytes_used == before + 1000
    assert nrt.lib.nrt_tensor_read(piece, ctypes.create_string_buffer(11), 0, 11) == (
        INVALID
    )
    nrt.free(piece)
    assert nrt.memory().bytes_used == before


def test_an_empty_tensor_has_no_bytes_until_it_gets_a_buffer(nrt: Nrt) -> None:
    tensor = c_void_p()
    nrt.check(nrt.lib.nrt_tensor_allocate_empty(b"e", byref(tensor)))
    buffer = ctypes.create_string_buffer(b"0123456789", 10)
    assert nrt.lib.nrt_tensor_get_size(tensor) == 0
    assert nrt.lib.nrt_tensor_get_va(tensor) is None
    assert nrt.lib.nrt_tensor_read(tensor, buffer, 0, 0) == INVALID
    nrt.check(nrt.lib.nrt_tensor_attach_buffer(tensor, buffer, 10))
    assert nrt.lib.nrt_tensor_get_size(tensor) == 10
    assert nrt.lib.nrt_tensor_get_va(tensor) == ctypes.addressof(buffer)
    nrt.write(tensor, b"ab", offset=8)
    nrt.free(tensor)
    assert buffer.raw == b"01234567ab"


def test_attaching_a_buffer_gives_the_storage_back(nrt: Nrt) -> None:
    before = nrt.memory().bytes_used
    tensor = nrt.allocate(5000)
    buffer = ctypes.create_string_buffer(4)
    core = c_int(5)
    assert nrt.lib.nrt_tensor_attach_buffer(tensor, None, 4) == INVALID
    assert nrt.lib.nrt_tensor_attach_buffer(tensor, buffer, 0) == INVALID
    assert nrt.memory().bytes_used == before + 5000
    nrt.check(nrt.lib.nrt_tensor_attach_buffer(tensor, buffer, 4))
    assert nrt.memory().bytes_used == before
    nrt.check(nrt.lib.nrt_tensor_get_lnc_index(tensor, byref(core)))
    assert core.value == -1
    nrt.free(tensor)


# --- Placement and capacity -----------------------------------------------------------


@pytest.mark.parametrize(
    ("placement", "core", "size"),
    [
        (DEVICE, -1, 8),
        (DEVICE, 2, 8),
        (DEVICE, 2**31 - 1, 8),
        (DEVICE, -(2**31), 8),
        (HOST, 2, 8),
        (HOST, -2, 8),
        (3, 0, 8),
        (-1, 0, 8),
        (DEVICE, 0, 0),
        (HOST, -1, 0),
    ],
)
def test_what_cannot_be_allocated(
    nrt: Nrt, placement: int, core: int, size: int
) -> None:
    tensor = c_void_p(77)
    lib = nrt.lib
    status = lib.nrt_tensor_allocate(placement, core, size, b"t", byref(tensor))
    assert (status, tensor.value) == (INVALID, 77)
    assert lib.nrt_tensor_allocate(DEVICE, 0, 8, b"t", None) == INVALID


def test_a_core_holds_what_it_has_and_no_more(nrt: Nrt) -> None:
    empty = nrt.memory()
    assert empty.bytes_limit == 64 << 20
    rest = empty.bytes_limit - empty.bytes_used
    most = nrt.allocate(rest - 10)
    tensor = c_void_p(77)
    for size in (11, SIZE_MAX, 2**63):
        status = nrt.lib.nrt_tensor_allocate(DEVICE, 0, size, b"t", byref(tensor))
        assert (status, tensor.value) == (RESOURCE, 77)
    last, elsewhere = nrt.allocate(10), nrt.allocate(11, core=1)
    assert nrt.memory().bytes_used == empty.bytes_limit
    for each in (most, last, elsewhere):
        nrt.free(each)
    assert nrt.memory().bytes_used == empty.bytes_used


def test_more_host_memory_than_there_is(nrt: Nrt) -> None:
    tensor = c_void_p()
    for size in (2**62, SIZE_MAX):
        status = nrt.lib.nrt_tensor_allocate(HOST, -1, size, None, byref(tensor))
        assert status == RESOURCE


def test_where_a_tensor_lies(nrt: Nrt) -> None:
    info, core = libnrt.AllocationInfo(), c_int()
    tensor, host = nrt.allocate(24, core=1), nrt.allocate(24, 1, HOST)
    ask = nrt.lib.nrt_tensor_get_device_allocation_info
    nrt.check(ask(tensor, byref(info)))
    assert (info.size, info.hbm_index) == (24, 0)  # two cores share a bank on trn2
    assert info.physical_address != 0
    assert ask(host, byref(info)) == INVALID
    nrt.check(nrt.lib.nrt_tensor_get_lnc_index(tensor, byref(core)))
    assert core.value == 1
    nrt.check(nrt.lib.nrt_tensor_get_lnc_index(host, byref(core)))
    assert core.value == -1
    nrt.free(tensor)
    nrt.free(host)


def test_memory_statistics_fit_the_callers_record(nrt: Nrt) -> None:
    stats = libnrt.MemoryStats(1, 2)
    written = c_size_t()
    ask = nrt.lib.nrt_get_vnc_memory_stats
    nrt.check(ask(1, byref(stats), 8, byref(written)))
    assert (written.value, stats.bytes_used, stats.bytes_limit) == (8, 0, 2)
    nrt.check(ask(1, byref(stats), 1000, None))
    assert stats.bytes_limit == 64 << 20
    assert ask(2, byref(stats), 16, None) == INVALID
    assert ask(0, None, 16, None) == INVALID
