"""Arrays that lie where they are hard to read."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np


def shifted(array, offset):
    """A copy of `array` that begins `offset` bytes behind a multiple of 64."""
    raw = np.full(array.nbytes + 128, 0x7F, np.uint8)
    start = -raw.ctypes.data % 64 + offset
    made = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    made[...] = array
    return made


def numbers(rng, shape, dtype=np.float32):
    return rng.integers(-50, 50, shape).astype(dtype)


def at_the_end_of_memory(array):
    """A copy of `array` behind which there is no memory."""
    page = mmap.PAGESIZE
    pages = -(-array.nbytes // page)
    memory = mmap.mmap(-1, (pages + 1) * page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    end = ctypes.c_void_p(address + pages * page)
    assert libc.mprotect(end, ctypes.c_size_t(page), 0) == 0  # no access
    start = pages * page - array.nbytes
    made = np.frombuffer(memory, array.dtype, array.size, start).reshape(array.shape)
    made[...] = array
    return made
