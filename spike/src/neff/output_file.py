"""Writes to a path that a user names: whole or not at all, and only what was meant.

A regular file is replaced in one step and keeps its permissions and, where that is
allowed, its owner. A link stays, and the file that it leads to is written. A device or
a pipe is written to as it is. A directory is refused. What is appended is whole, too.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

#: Here names stand for what is open already, whatever it is.
_NEVER_REPLACED = (Path("/dev"), Path("/proc"))


def is_same_file(one: Path, other: Path) -> bool:
    """Whether two paths, by a link or another spelling, are one regular file.

    Files that do not exist yet are compared by name.
    """
    try:
        status = os.stat(one)
        return stat.S_ISREG(status.st_mode) and os.path.samefile(one, other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


def write_atomically(path: Path, *parts: bytes | memoryview) -> None:
    """Put `parts` at `path` in one step; nothing is left behind if that fails.

    Raises:
        OSError: it is a directory or write-protected, or cannot be written; `path` is
            the file that the error names.
    """
    try:
        _write(path, parts)
    except OSError as error:  # which may name nothing, or the temporary file
        raise OSError(error.errno, error.strerror, str(path)) from None


def append_whole(path: str | Path, record: bytes) -> None:
    """Append a record, or nothing of it; the file is made if it is missing.

    Raises:
        OSError: `path` is a link, or cannot be written; the error names it.
    """
    # In a directory of everybody's, another user may have put a link there.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o666)
    done = 0
    try:
        while done < len(record):
            done += os.write(descriptor, record[done:])
    except OSError as error:
        with suppress(OSError):
            _take_back(descriptor, done)
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        os.close(descriptor)


def _take_back(descriptor: int, count: int) -> None:
    """Remove the bytes that were just appended, unless others follow them."""
    end = os.lseek(descriptor, 0, os.SEEK_CUR)
    if os.fstat(descriptor).st_size == end:
        os.ftruncate(descriptor, end - count)


def _write(path: Path, parts: tuple[bytes | memoryview, ...]) -> None:
    existing = _status(path)
    if existing is not None and stat.S_ISDIR(existing.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if _is_written_in_place(path, existing):
        with open(path, "wb") as file:
            file.writelines(parts)
        return
    if existing is not None and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    _replace(Path(os.path.realpath(path)), existing, parts)


def _status(path: Path) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _is_written_in_place(path: Path, existing: os.stat_result | None) -> bool:
    if existing is None:
        return False
    named = Path(os.path.abspath(path))
    is_open_already = any(named.is_relative_to(place) for place in _NEVER_REPLACED)
    in_memory = named.is_relative_to("/dev/shm")
    return not stat.S_ISREG(existing.st_mode) or (is_open_already and not in_memory)


def _replace(
    path: Path, existing: os.stat_result | None, parts: tuple[bytes | memoryview, ...]
) -> None:
    handle, temporary = tempfile.mkstemp(prefix=".neff-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(parts)
            _set_rights(file.fileno(), existing)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _set_rights(descriptor: int, existing: os.stat_result | None) -> None:
    """Those of the file that is replaced, else those of any new file."""
    if existing is None:
        os.fchmod(descriptor, 0o666 & ~_umask())
        return
    for user, group in ((existing.st_uid, -1), (-1, existing.st_gid)):
        with suppress(OSError):  # only root may give files away
            os.fchown(descriptor, user, group)
    mode = stat.S_IMODE(existing.st_mode)
    with suppress(OSError):
        os.fchmod(descriptor, mode)


def _umask() -> int:
    # Setting it is the portable way to read it, but would change other threads' files.
    with open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(b"Umask:"):
                return int(line.split()[1], 8)
    return 0o077
