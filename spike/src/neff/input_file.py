"""Files that a user names to be read."""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO


class NotRegularError(OSError):
    """A file is a directory, a device or a pipe."""


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file; do not wait, as opening a named pipe would.

    Raises:
        NotRegularError: it is none.
        OSError: it cannot be read. Both name it.
    """
    file = open(path, "rb", opener=_open_at_once)
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise NotRegularError(errno.EINVAL, "is no regular file", os.fspath(path))


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
