"""What writing and reading share: how the bytes begin, and names of types."""

from __future__ import annotations

import struct

from nkipy_nki.dtypes import DTypeRecord
from nkipy_nki.wire.fields import refuse

__all__ = ["HEADER", "KEPT", "MAGIC", "VERSION", "dtype_name", "is_program", "split"]

#: Of the format: it changes where older readers would misread what is written.
VERSION = 1
MAGIC = b"NKIPROG\0"
HEADER = struct.Struct("<8sIQ")
#: Ends the name of a type whose values are kept in float32 (``NKI_PRECISE_FP=0``).
KEPT = " in float32"


def is_program(data: bytes) -> bool:
    """Whether bytes begin as those of a program."""
    return data[: len(MAGIC)] == MAGIC


def dtype_name(dtype: DTypeRecord) -> str:
    """What a type is called in the text."""
    return f"{dtype.name}{KEPT if dtype.is_kept_in_float32 else ''}"


def split(data: bytes) -> tuple[bytes, memoryview]:
    """The text, and what stands behind it.

    Raises:
        WrongError: the bytes do not begin as a program's.
    """
    if len(data) < HEADER.size:
        refuse(f"{len(data)} bytes are too few")
    magic, version, size = HEADER.unpack_from(data)
    if magic != MAGIC:
        refuse("it does not begin as one")
    if version != VERSION:
        refuse(f"it is of version {version}, and this reads version {VERSION}")
    view = memoryview(data)[HEADER.size :]
    if size > len(view):
        refuse("it is cut off")
    return bytes(view[:size]), view[size:]
