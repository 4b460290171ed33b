"""Lets one process compile what others want at the same time, as ranks of a job do.

A turn is a lock on a file beside the code that is kept, and ends with the process that
has it, however that ends. Who finds it taken waits, and looks for the code then. If
there is none, as XLA cannot write it down or the one that compiled was killed, it is
compiled without a turn: nobody waits twice.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nkipy.private_files import check_private, private_directory
from nkipy_emulator._xla import apart_until_the_end
from nkipy_emulator.apart import asker

_FILE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: Digits of a key that name the file: there are few. If others have the same, one waits
#: for nothing, once.
_DIGITS = 2
_GLANCE = 0.002


@contextmanager
def turn(directory: Path, key: str, seconds: float | None) -> Iterator[bool]:
    """A turn for an entry; whether another process, or thread, has had it meanwhile.

    Args:
        directory: where entries are kept.
        key: the entry's.
        seconds: how long to wait for the others; None: for ever.
    """
    descriptor = _opened(directory, key)
    if descriptor is None:
        yield False
    elif _is_had(descriptor, fcntl.LOCK_EX):
        try:
            yield False
        finally:
            # Not by closing it alone: a child that was forked meanwhile has it, too.
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)
    else:
        end = float("inf") if seconds is None else time.monotonic() + seconds
        apart_until_the_end(lambda: _wait(descriptor, end), None, "nkipy-turn")
        yield True


def _opened(directory: Path, key: str) -> int | None:
    """A descriptor of the file that is locked; None if there is none to be had."""
    name = f".turn-{key[:_DIGITS]}"
    try:
        with private_directory(directory, make=True) as above:
            descriptor = os.open(name, _FILE, 0o600, dir_fd=above)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        check_private(directory / name, status)
        if stat.S_ISREG(status.st_mode):
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def _is_had(descriptor: int, kind: int) -> bool:
    """Whether there is a lock now; also where there are no locks, as on some disks."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _wait(descriptor: int, end: float) -> None:
    """Until the turn is over, or `end`, or nobody waits for this any more."""
    is_awaited = asker()
    try:
        while not _is_had(descriptor, fcntl.LOCK_SH):
            if time.monotonic() >= end or not is_awaited():
                break
            time.sleep(_GLANCE)
    finally:
        os.close(descriptor)
