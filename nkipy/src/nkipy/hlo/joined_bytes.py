"""Joins long buffers to bytes, in memory of large pages where the system has them."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Sequence

from nkipy.hlo.proto_literals import Buffer

#: Bytes from which on NumPy, too, asks the system for large pages. It takes longer to
#: make small ones than to fill them.
_LARGE = 1 << 22


def join(parts: Sequence[Buffer]) -> bytes:
    """The bytes of all parts, one after the other."""
    sizes = [memoryview(part).nbytes for part in parts]
    size = sum(sizes)
    if size < _LARGE:
        return b"".join(parts)
    # What C code does to make bytes: it asks for them without contents, and fills them
    # before anybody else has them.
    made = _new_bytes(None, size)
    address = _address(made)
    _ask_for_large_pages(address, size)
    whole = memoryview((ctypes.c_ubyte * size).from_address(address)).cast("B")
    start = 0
    for part, nbytes in zip(parts, sizes):
        whole[start : start + nbytes] = memoryview(part).cast("B")
        start += nbytes
    return made


_new_bytes = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_ssize_t)(
    ("PyBytes_FromStringAndSize", ctypes.pythonapi)
)
_address = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object)(
    ("PyBytes_AsString", ctypes.pythonapi)
)


def _ask_for_large_pages(address: int, size: int) -> None:
    """Does nothing where there are none."""
    advice = getattr(mmap, "MADV_HUGEPAGE", None)
    madvise = getattr(ctypes.CDLL(None), "madvise", None)
    if advice is None or madvise is None:
        return
    first = -(-address // mmap.PAGESIZE) * mmap.PAGESIZE
    end = (address + size) // mmap.PAGESIZE * mmap.PAGESIZE
    madvise(ctypes.c_void_p(first), ctypes.c_size_t(end - first), ctypes.c_int(advice))
