"""Writes to memory that the system notes, so that what is captured need not be read."""

from __future__ import annotations

import ctypes
import mmap
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nkipy.runtime.unwritten import Unwritten
from nkipy_emulator import _xla
from nkipy_emulator._xla import MemoryWatch

PAGE = mmap.PAGESIZE
SIZE = 4 << 20


def pages(size: int = SIZE) -> np.ndarray:
    """Whole pages of private memory, written to."""
    memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    made = np.frombuffer(memory, np.uint8)
    made[:] = 1
    return made


def watch(array: np.ndarray) -> MemoryWatch:
    """A watch of all of it; skips the test where the system can have none."""
    watched = MemoryWatch(array.ctypes.data, array.nbytes)
    if not watched.works:
        pytest.skip("no writes are noted: an older kernel, a sandbox, or pinned pages")
    return watched


def by_the_kernel(array: np.ndarray) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"2")
        file.seek(0)
        file.readinto(array[5:6].data)


def by_dropping_pages(array: np.ndarray) -> None:
    libc = ctypes.CDLL(None)
    libc.madvise(ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(PAGE), 4)


def by_moving_pages(array: np.ndarray) -> None:
    """Another page in the place of the second one."""
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x10  # MAP_FIXED
    place = ctypes.c_void_p(array.ctypes.data + PAGE)
    assert libc.mmap(place, ctypes.c_size_t(PAGE), 3, flags, -1, 0) == place.value


@pytest.mark.parametrize(
    "write",
    [
        lambda x: x.__setitem__(0, 2),
        lambda x: x.__setitem__(-1, 2),
        lambda x: x.fill(1),
        lambda x: ctypes.memset(x.ctypes.data + SIZE // 2, 2, 1),
        by_the_kernel,
        by_dropping_pages,
        by_moving_pages,
    ],
)
def test_writes_are_noted(write: Callable[[np.ndarray], object]) -> None:
    array = pages()
    watched = watch(array)
    assert watched.holds() and array.sum() == SIZE and watched.holds()
    write(array)
    assert not watched.holds()


def test_each_watch_has_a_beginning_of_its_own():
    array = pages()
    first, second = watch(array), watch(array)
    array[7] = 2
    third = watch(array)
    assert (first.holds(), second.holds(), third.holds()) == (False, False, True)
    del first, second
    assert third.holds()
    array[7] = 1
    assert not third.holds()
    assert not MemoryWatch(array.ctypes.data, SIZE // 2).works  # overlaps


def test_memory_that_others_write_to_is_not_watched(tmp_path):
    shared = np.frombuffer(mmap.mmap(-1, SIZE), np.uint8)
    path = Path(tmp_path, "file")
    path.write_bytes(bytes(SIZE))
    mapped = np.memmap(path, np.uint8, "c")
    for array in (shared, mapped):
        assert not MemoryWatch(array.ctypes.data, array.nbytes).works


def test_wrong_arguments():
    for address, size in ((1, PAGE), (PAGE, 1), (PAGE, 0), (2**64 - PAGE, 2 * PAGE)):
        with pytest.raises(ValueError, match="whole pages"):
            MemoryWatch(address, size)
    assert not MemoryWatch(PAGE, PAGE).works  # nothing is there


def test_a_fork_reads_memory_itself():
    array = pages()
    watched, is_unwritten = watch(array), unwritten(array)
    child = os.fork()
    if not child:
        array[0] = 2
        noticed = not watched.holds() and not is_unwritten()
        os._exit(0 if noticed and not MemoryWatch(array.ctypes.data, SIZE).works else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert watched.holds()


def unwritten(
    array: np.ndarray, watch: Callable[[int, int], MemoryWatch] = MemoryWatch
) -> Unwritten:
    made = Unwritten(array)
    made.keep_digest(_xla.digest, os.urandom(_xla.DIGEST_KEYS), watch)
    assert made() and made() and made()  # from now on it is watched
    return made


def test_an_array_is_read_once_after_each_write(monkeypatch):
    array = pages(SIZE + PAGE)[100 : SIZE + 50]
    read = []

    def digest(array: np.ndarray, keys: bytes) -> bytes:
        read.append(1)
        return _xla.digest(array, keys)

    made = Unwritten(array)
    made.keep_digest(digest, os.urandom(_xla.DIGEST_KEYS), MemoryWatch)
    watch(pages())
    assert made() and made() and made() and len(read) == 4
    for count in (5, 6, 7):
        assert made() and made() and len(read) == count
        array[SIZE // 2] = 1  # what it was
    for _ in range(2):  # it is no longer watched
        assert made()
    assert len(read) == 9


@pytest.mark.parametrize("at", [0, 1, PAGE, SIZE // 2, -PAGE, -1])
@pytest.mark.parametrize("offset", [0, 1, 16, PAGE - 1])
def test_each_byte_counts(at: int, offset: int) -> None:
    array = pages(SIZE + PAGE)[offset : SIZE + offset]
    is_unwritten = unwritten(array)
    for _ in range(5):
        assert is_unwritten() and is_unwritten()
        array[at] = 2
        assert not is_unwritten() and not is_unwritten()
        array[at] = 1


def test_an_array_that_moves_is_read_again():
    array = np.ones(SIZE, np.uint8)
    is_unwritten = unwritten(array)
    assert is_unwritten() and is_unwritten()
    array.resize(4 * SIZE, refcheck=False)
    assert not is_unwritten()
    array.resize(SIZE, refcheck=False)
    assert is_unwritten()
    array[3] = 2
    assert not is_unwritten()
