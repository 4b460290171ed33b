"""Reads a tar, gzipped or not, into a dict of bytes, within limits.

Not the standard library's tarfile: that accepts links, devices, sparse files, sizes and
extended headers of any length, and leaves it to the caller to notice.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from neff.errors import NeffError

Buffer = bytes | memoryview

_BLOCK = 512
_CHUNK = 1 << 18
_GZIP_MAGIC = b"\x1f\x8b"
_REGULAR = (b"0", b"\0")
_DIRECTORY = b"5"
_REFUSED = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a fifo",
    b"S": "a sparse file",
}


@dataclass(frozen=True)
class Limits:
    """The most that a reader takes on.

    Attributes:
        file_bytes: size of the file.
        total_bytes: size of all members together, decompressed.
        ratio: decompressed bytes to each compressed one, beyond `ratio_free_bytes`.
        ratio_free_bytes: decompressed size up to which any ratio will do.
        members: number of members, directories included.
        name_bytes: length of a member's name.
    """

    file_bytes: int = 1 << 34
    total_bytes: int = 1 << 34
    ratio: int = 100
    ratio_free_bytes: int = 1 << 28
    members: int = 1 << 16
    name_bytes: int = 1024


def read_members(payload: Buffer, limits: Limits) -> dict[str, Buffer]:
    """The regular files of a tar by their names, in its order.

    Of a tar that is not compressed, they are views of `payload`.

    Raises:
        NeffError: the tar is malformed, truncated or over a limit, or has a member that
            is no plain file below the root, or two of one name.
    """
    payload = memoryview(payload).cast("B")
    source: _Plain | _Gzip
    if bytes(payload[:2]) == _GZIP_MAGIC:
        source = _Gzip(payload, limits)
    else:
        source = _Plain(payload, limits)
    members: dict[str, Buffer] = {}
    for name, content in _Tar(source, limits).members():
        if name in members:
            raise NeffError(f"two members are called {name!r}")
        members[name] = content
    return members


class _Plain:
    """Successive pieces of memory, without copies."""

    def __init__(self, data: memoryview, limits: Limits) -> None:
        self.data = data
        self.position = 0
        self.most = min(len(data), limits.total_bytes)

    def read(self, size: int, what: str) -> Buffer:
        start, end = self.position, self.position + size
        if end > len(self.data):
            raise _truncated(what, size, len(self.data) - start)
        if end > self.most:
            raise NeffError(f"{what} goes beyond {self.most} bytes, the most allowed")
        self.position = end
        return self.data[start:end]

    def rest_is_zero(self) -> bool:
        chunks = range(self.position, len(self.data), _CHUNK)
        return not any(bytes(self.data[i : i + _CHUNK]).strip(b"\0") for i in chunks)


class _Gzip:
    """Successive pieces of what a gzip stream holds; inflates no more than asked."""

    def __init__(self, data: memoryview, limits: Limits) -> None:
        self.inflater = zlib.decompressobj(wbits=31)
        self.compressed = data
        self.limits = limits
        self.fed = 0
        self.pending = b""
        allowed = max(limits.ratio_free_bytes, limits.ratio * len(data))
        self.most = min(limits.total_bytes, allowed)
        self.inflated = 0

    def read(self, size: int, what: str) -> Buffer:
        # A size is not believed, and so not allocated, before that much is there.
        if self.inflated + size > self.most:
            raise NeffError(
                f"{what}, of {size} bytes, goes beyond the {self.most} that "
                f"{len(self.compressed)} compressed bytes may become"
            )
        pieces, missing = [], size
        while missing:
            piece = self._inflate(missing)
            if not piece:
                raise _truncated(what, size, size - missing)
            pieces.append(piece)
            missing -= len(piece)
        self.inflated += size
        return b"".join(pieces)

    def rest_is_zero(self) -> bool:
        while piece := self._inflate(_CHUNK):
            self.inflated += len(piece)
            if piece.strip(b"\0"):
                return False
            if self.inflated > self.most:
                raise NeffError(f"padding goes beyond {self.most} bytes")
        if not self.inflater.eof:
            raise NeffError("the gzip stream is truncated")
        # The vendor's files are padded with zeros.
        rest = (memoryview(self.inflater.unused_data), self.compressed[self.fed :])
        if not all(_Plain(part, self.limits).rest_is_zero() for part in rest):
            raise NeffError(f"{sum(map(len, rest))} bytes follow the gzip stream")
        return True

    def _inflate(self, most: int) -> bytes:
        """Up to `most` further bytes; none at the end."""
        while not self.inflater.eof:
            if not self.pending:
                self.pending = bytes(self.compressed[self.fed : self.fed + _CHUNK])
                self.fed += len(self.pending)
            at_end = not self.pending
            try:
                piece = self.inflater.decompress(self.pending, min(most, _CHUNK))
            except zlib.error as e:
                raise NeffError(f"the payload is no valid gzip stream: {e}") from None
            self.pending = self.inflater.unconsumed_tail
            if piece or at_end:
                return piece
        return b""


def _truncated(what: str, expected: int, found: int) -> NeffError:
    return NeffError(f"{what} is truncated: {expected} bytes expected, {found} found")


class _Tar:
    """Walks the members of a tar."""

    def __init__(self, source: _Plain | _Gzip, limits: Limits) -> None:
        self.source = source
        self.limits = limits

    def members(self) -> Iterator[tuple[str, Buffer]]:
        long_name: str | None = None
        for _ in range(self.limits.members + 1):
            block = bytes(self.source.read(_BLOCK, "a member's header"))
            if not any(block):
                self._end()
                return
            kind, size = _checked_header(block)
            if kind in (b"L", b"x"):
                long_name = self._long_name(kind, size) or long_name
            elif kind == b"g":
                self._extension(size)
            else:
                name = self._name(long_name or _header_name(block))
                long_name = None
                content = self._content(name, kind, size)
                if content is not None:
                    yield name, content
        raise NeffError(f"more than {self.limits.members} members")

    def _end(self) -> None:
        if not self.source.rest_is_zero():
            raise NeffError("data follows the end of the tar")

    def _content(self, name: str, kind: bytes, size: int) -> Buffer | None:
        """The bytes of a file; None of a directory."""
        if kind == _DIRECTORY:
            if size:
                raise NeffError(f"directory {name!r} has {size} bytes")
            return None
        if not name:
            raise NeffError("a member has no name")
        if kind not in _REGULAR:
            what = _REFUSED.get(kind, f"of unknown type {kind!r}")
            raise NeffError(f"member {name!r} is {what}; only plain files are read")
        content = self.source.read(size, f"member {name!r}")
        self.source.read(-size % _BLOCK, f"the padding of member {name!r}")
        return content

    def _extension(self, size: int) -> bytes:
        """An extended header; only a name is looked for in it."""
        if size > 2 * self.limits.name_bytes + _BLOCK:
            raise NeffError(f"an extended header of {size} bytes")
        raw = bytes(self.source.read(size, "an extended header"))
        self.source.read(-size % _BLOCK, "the padding of an extended header")
        return raw

    def _long_name(self, kind: bytes, size: int) -> str | None:
        raw = self._extension(size)
        if kind == b"x":
            return _pax_path(raw)
        return _decode(raw.split(b"\0", 1)[0])

    def _name(self, name: str) -> str:
        if len(name.encode()) > self.limits.name_bytes:
            raise NeffError(
                f"a member's name of {len(name)} characters; "
                f"{self.limits.name_bytes} bytes is most"
            )
        return _safe_name(name)


def _checked_header(block: bytes) -> tuple[bytes, int]:
    """Type and size from a member's header."""
    expected = sum(block[:148]) + 8 * ord(" ") + sum(block[156:])
    found = _octal(block[148:156], "checksum")
    if found != expected:
        raise NeffError(f"a member's header has checksum {found}, not {expected}")
    return block[156:157], _octal(block[124:136], "size")


def _octal(field: bytes, what: str) -> int:
    digits = field.strip(b" \0")
    if not digits or digits.strip(b"01234567"):
        raise NeffError(f"a member's {what} is {field!r}, no octal number")
    return int(digits, 8)


def _header_name(block: bytes) -> str:
    name = block[:100].split(b"\0", 1)[0]
    if block[257:263] == b"ustar\0":
        prefix = block[345:500].split(b"\0", 1)[0]
        name = prefix + b"/" + name if prefix else name
    return _decode(name)


def _decode(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise NeffError(f"a member's name is not UTF-8: {raw[:80]!r}") from None


def _pax_path(raw: bytes) -> str | None:
    """The path in records of the form ``"<length> <key>=<value>\\n"``."""
    path, position = None, 0
    while position < len(raw):
        space = raw.find(b" ", position, position + 10)
        digits = raw[position:space] if space > 0 else b""
        end = position + int(digits) if digits.isdigit() else 0
        if not space < end <= len(raw) or raw[end - 1 : end] != b"\n":
            raise NeffError("a malformed extended header")
        key, _, value = raw[space + 1 : end - 1].partition(b"=")
        if key == b"path":
            path = _decode(value)
        elif key == b"size" or key.startswith(b"GNU.sparse"):
            raise NeffError(f"an extended header sets {key.decode()!r}")
        position = end
    return path


def _safe_name(name: str) -> str:
    """`name` without leading "./"; refused if it could lead out of a directory."""
    if name.startswith("/"):
        raise NeffError(f"member {name!r} has an absolute path")
    parts = [p for p in name.split("/") if p not in ("", ".")]
    if ".." in parts:
        raise NeffError(f"member {name!r} leads to a parent directory")
    if "\\" in name or not name.isprintable():
        raise NeffError(f"member {name!r} has characters that no name should have")
    return "/".join(parts)
