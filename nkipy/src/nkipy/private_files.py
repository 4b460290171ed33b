"""Directories and files that nobody but this user, and root, can have written.

A directory is opened first, without following a link, and looked at then: what is
checked is what is used, whoever renames things meanwhile. Files in it are reached
through its descriptor. That its parents can be written by others, as ``/tmp`` can, does
no harm: what they put in its place is theirs, or a link, and is refused.

The places themselves are here as well: where a user's caches are.
"""

from __future__ import annotations

import errno
import os
import pwd
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Opening does not wait, as that of a named pipe would.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class UnsafePathError(PermissionError):
    """Another user owns a file or a directory, or can write it, or it is a link."""


def caches_of_user() -> Path | None:
    """The directory for this user's caches, by the convention of the system.

    ``$XDG_CACHE_HOME`` or ``~/.cache``; ``~/Library/Caches`` on macOS. None if the user
    has no home directory. Relative paths count as not set: they would be another place
    in each working directory.
    """
    if sys.platform != "darwin":
        base = os.environ.get("XDG_CACHE_HOME", "")
        if os.path.isabs(base):
            return Path(base)
    home = home_of_user()
    if home is None:
        return None
    return home / "Library" / "Caches" if sys.platform == "darwin" else home / ".cache"


def home_of_user() -> Path | None:
    """``$HOME``, else what the list of users says; None if there is neither."""
    home = os.environ.get("HOME", "")
    if not os.path.isabs(home):
        try:
            home = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:  # a number without a name, as containers have
            return None
    return Path(home) if os.path.isabs(home) else None


@contextmanager
def private_directory(base: Path, *parts: str, make: bool = False) -> Iterator[int]:
    """The descriptor of ``base/part/part...``, each of which is private.

    Args:
        base: the first directory that must be private; those above it need not be.
        parts: names below it.
        make: make what is missing, with the permissions 0700; parents of `base` with
            the usual ones.

    Raises:
        UnsafePathError: one is another user's, or can be written by others, or a link.
        OSError: one is missing, or no directory, or cannot be made.
    """
    if make:
        base.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _open_directory(base, os.fspath(base), None, make)
    try:
        path = base
        for part in parts:
            path = path / part
            below = _open_directory(path, part, descriptor, make)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def _open_directory(path: Path, name: str, above: int | None, make: bool) -> int:
    if make:
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=above)
    try:
        descriptor = os.open(name, _DIRECTORY, dir_fd=above)
    except OSError as error:
        refuse_link(path, name, above)
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None
    try:
        check_private(path, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def refuse_link(path: Path, name: str, above: int | None = None) -> None:
    """Raise UnsafePathError if `name`, in the directory `above`, is a link."""
    try:
        target = os.readlink(name, dir_fd=above)
    except OSError:
        return
    raise UnsafePathError(
        errno.EPERM,
        f"is a link, to {target}, and links are not followed here; name the directory "
        "itself",
        os.fspath(path),
    )


def check_private(path: Path, status: os.stat_result) -> None:
    """Raise UnsafePathError unless what `status` tells of is this user's alone."""
    mode = stat.S_IMODE(status.st_mode)
    told = f"belongs to user {status.st_uid} and has mode {mode:04o}"
    if status.st_uid != os.geteuid():
        problem = f"{told}, but this process runs as user {os.geteuid()}"
        advice = "use a directory of your own"
    elif mode & _OTHERS:
        problem = f"{told}: other users can write it"
        advice = f"if you trust what is in it, run chmod go-w {path}"
    else:
        return
    raise UnsafePathError(errno.EPERM, f"{problem}; {advice}", os.fspath(path))


def open_private(directory: int, name: str, path: Path) -> int:
    """A descriptor, to read, of a file in a directory that is open.

    Args:
        directory: the directory's descriptor.
        name: of the file in it.
        path: of the file, for messages.

    Raises:
        UnsafePathError: as of :func:`private_directory`.
        OSError: it is missing, or no regular file.
    """
    try:
        descriptor = os.open(name, _FILE, dir_fd=directory)
    except OSError as error:
        refuse_link(path, name, directory)
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, "Is a directory", os.fspath(path))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "is no regular file", os.fspath(path))
        check_private(path, status)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def write_private(
    directory: int, name: str, parts: Iterable[bytes], temporary: str | None = None
) -> None:
    """Put a file into a directory that is open, with permissions 0600, in one step.

    Args:
        directory: the directory's descriptor.
        name: of the file in it.
        parts: the content.
        temporary: its name while it is written. It is removed if that fails.

    Raises:
        OSError: it cannot be written. What was there is as it was.
    """
    temporary = temporary or f".{name}.{os.urandom(8).hex()}"
    descriptor = os.open(temporary, _NEW_FILE, 0o600, dir_fd=directory)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(parts)
        os.replace(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=directory)
        raise
