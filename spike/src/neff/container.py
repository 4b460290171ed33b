"""The container of a NEFF: a header of 1024 bytes, then a tar, mostly gzipped.

Nothing in a file is trusted: sizes are compared with what is there before memory is
taken, members only ever become bytes in a dict, and no file is made of any.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from neff.errors import NeffError
from neff.input_file import NotRegularError, open_regular
from neff.tar import Buffer, Limits, read_members

#: The header's fields, little-endian and without gaps: see docs/neff.md.
HEADER = struct.Struct("<5Q128sI32s16s256sI64sQI468s")
HEADER_SIZE = 1024
assert HEADER.size == HEADER_SIZE

#: The bit by which our own NEFFs ask for a feature that no runtime but ours has.
EMULATOR_FEATURE_BIT = 1 << 62

Source = str | os.PathLike[str] | bytes | bytearray | memoryview


@dataclass(frozen=True)
class NeffHeader:
    """The fields of the header, by the names that its documentation gives them.

    Attributes:
        pkg_version: 1 or 2; says how `hash` is made.
        header_size: 1024.
        data_size: bytes after the header.
        neff_version: (major, minor).
        build_version: free text of the compiler's.
        num_tpb: cores that the program uses.
        hash: 32 bytes, digest of what follows the header.
        uuid: 16 bytes.
        name: the NEFF's file name when it was made.
        requested_tpb_count: cores asked for.
        tpb_per_node: 64 bytes.
        feature_bits: what a runtime has to know in order to run it.
        lnc_size: physical cores to a logical one; 0 in files older than the field.
    """

    pkg_version: int
    header_size: int
    data_size: int
    neff_version: tuple[int, int]
    build_version: str
    num_tpb: int
    hash: bytes
    uuid: bytes
    name: str
    requested_tpb_count: int
    tpb_per_node: bytes
    feature_bits: int
    lnc_size: int

    def pack(self) -> bytes:
        """The header's 1024 bytes.

        Raises:
            ValueError: a field does not fit its place.
        """
        try:
            return HEADER.pack(
                self.pkg_version,
                self.header_size,
                self.data_size,
                *self.neff_version,
                _fixed("build_version", self.build_version.encode(), 128),
                self.num_tpb,
                _fixed("hash", self.hash, 32),
                _fixed("uuid", self.uuid, 16),
                _fixed("name", self.name.encode(), 256),
                self.requested_tpb_count,
                _fixed("tpb_per_node", self.tpb_per_node, 64),
                self.feature_bits,
                self.lnc_size,
                b"",
            )
        except struct.error as e:
            raise ValueError(f"a NEFF header cannot hold {self}: {e}") from None

    @classmethod
    def unpack(cls, raw: Buffer, total_size: int) -> NeffHeader:
        """The header at the start of a file of `total_size` bytes.

        Raises:
            NeffError: it is no header, or not that of a file of this size.
        """
        if len(raw) < HEADER_SIZE:
            raise NeffError(
                f"a NEFF starts with a header of {HEADER_SIZE} bytes; found {len(raw)}"
            )
        (
            pkg_version,
            header_size,
            data_size,
            major,
            minor,
            build_version,
            num_tpb,
            digest,
            uuid,
            name,
            requested_tpb_count,
            tpb_per_node,
            feature_bits,
            lnc_size,
            _padding,
        ) = HEADER.unpack(raw[:HEADER_SIZE])
        _check_sizes(pkg_version, header_size, data_size, total_size)
        return cls(
            pkg_version=pkg_version,
            header_size=header_size,
            data_size=data_size,
            neff_version=(major, minor),
            build_version=_text(build_version),
            num_tpb=num_tpb,
            hash=digest,
            uuid=uuid,
            name=_text(name),
            requested_tpb_count=requested_tpb_count,
            tpb_per_node=tpb_per_node,
            feature_bits=feature_bits,
            lnc_size=lnc_size,
        )


def _check_sizes(
    pkg_version: int, header_size: int, data_size: int, total_size: int
) -> None:
    # The format has no magic number: these three together stand for one.
    if header_size != HEADER_SIZE:
        raise NeffError(
            f"not a NEFF: the header size is {header_size}, expected {HEADER_SIZE}"
        )
    if pkg_version not in (1, 2):
        raise NeffError(f"package version {pkg_version} is unknown; expected 1 or 2")
    if data_size != total_size - HEADER_SIZE:
        raise NeffError(
            f"the header announces {data_size} bytes of data, but "
            f"{total_size - HEADER_SIZE} follow it: truncated, or not a NEFF"
        )


def _fixed(field: str, value: bytes, size: int) -> bytes:
    if len(value) > size:
        raise ValueError(f"{field} has {len(value)} bytes; {size} is most")
    return value


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("utf-8", errors="replace")


@dataclass(frozen=True)
class Container:
    """A header, and the members of the tar by their names."""

    header: NeffHeader
    members: Mapping[str, Buffer]


def read_container(
    source: Source, *, validate_hash: bool = False, limits: Limits | None = None
) -> Container:
    """Read a NEFF, as it is or gzipped, into memory.

    Raises:
        NeffError: it is malformed, over a limit, or (`validate_hash`) altered.
        OSError: the file cannot be read.
    """
    limits = limits or Limits()
    data = _load(source, limits)
    header = NeffHeader.unpack(data, len(data))
    payload = data[HEADER_SIZE:]
    if validate_hash:
        check_hash(header, payload)
    return Container(header, read_members(payload, limits))


def read_header(path: str | os.PathLike[str]) -> NeffHeader:
    """Only the header of a file; reads 1024 bytes.

    Raises:
        NeffError: it is no header, or not that of a file of this size.
        OSError: the file cannot be read.
    """
    with _open(path) as (file, size):
        return NeffHeader.unpack(file.read(HEADER_SIZE), size)


@contextmanager
def _open(path: str | os.PathLike[str]) -> Iterator[tuple[BinaryIO, int]]:
    """A file and its size."""
    try:
        file = open_regular(path)
    except NotRegularError as error:
        raise NeffError(f"{error.filename} {error.strerror}") from None
    with file:
        yield file, os.fstat(file.fileno()).st_size


def _load(source: Source, limits: Limits) -> memoryview:
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = memoryview(source).cast("B")
        _check_file_size(len(data), limits)
        return data
    with _open(source) as (file, size):
        _check_file_size(size, limits)
        NeffHeader.unpack(file.read(HEADER_SIZE), size)
        file.seek(0)
        # One byte more than there should be: a file that grows is noticed.
        return memoryview(file.read(size + 1))


def _check_file_size(size: int, limits: Limits) -> None:
    if size > limits.file_bytes:
        raise NeffError(f"a file of {size} bytes; {limits.file_bytes} is most")


def payload_hash(parts: Iterable[Buffer], pkg_version: int) -> bytes:
    """The header's 32-byte `hash`: MD5 for version 2, SHA-256 for version 1.

    Of the MD5, each 32-bit word stands with its bytes in reverse order, as in the
    files that the vendor's compiler writes.

    Args:
        parts: the payload, in pieces.
        pkg_version: of the header.
    """
    md5 = pkg_version == 2
    digest = hashlib.md5(usedforsecurity=False) if md5 else hashlib.sha256()
    for part in parts:
        digest.update(part)
    raw = digest.digest()
    return _swap_words(raw) + bytes(16) if md5 else raw


def check_hash(header: NeffHeader, payload: Buffer) -> None:
    """Compare the header's hash with that of `payload`.

    Words in either byte order will do: that of version 1 is not documented.

    Raises:
        NeffError: they differ.
    """
    found = payload_hash((payload,), header.pkg_version)
    if header.hash not in (found, _swap_words(found)):
        raise NeffError(
            "the file is damaged, or was changed after it was made: what follows the "
            f"header has the {_hash_text(found, header)}, and the header expects "
            f"{_hash_text(header.hash, header)}"
        )


def _hash_text(stored: bytes, header: NeffHeader) -> str:
    """A header's hash as md5sum or sha256sum would print it."""
    if header.pkg_version == 2:
        return f"MD5 {_swap_words(stored[:16]).hex()}"
    return f"SHA-256 {stored.hex()}"


def _swap_words(digest: bytes) -> bytes:
    return b"".join(digest[i : i + 4][::-1] for i in range(0, len(digest), 4))
