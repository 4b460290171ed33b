"""Compiled artifacts on disk: content-addressed, complete or absent, made once.

An entry is a directory with one file that counts and, if asked for, what else the
compiler left. Whoever makes an entry holds a lock on it, so that processes which need
the same one wait and find it made; the kernel releases the lock of a process that dies.
Files are made in a scratch directory beside their place and renamed into it, the one
that counts last: a crash leaves no half-written result, only scratch, which the next
maker of the entry removes. Nothing else is ever deleted.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

logger = logging.getLogger("nkipy.baremetal")

ENVIRONMENT_VARIABLE = "NKIPY_CACHE_DIR"
_SCRATCH_PREFIX = ".nkipy-build-"


class ArtifactError(OSError):
    """A compiled artifact cannot be stored: no space, no permission, no directory."""


def cache_directory() -> Path:
    """Where this user's compiled artifacts live.

    ``NKIPY_CACHE_DIR`` if set, else ``nkipy`` in the platform's cache directory
    (``$XDG_CACHE_HOME`` or ``~/.cache``; ``~/Library/Caches`` on macOS).
    """
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    if named:
        return Path(named).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "nkipy"
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The convention says to ignore relative paths.
    root = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    return root / "nkipy"


def get_or_make(
    target: Path,
    make: Callable[[Path], Path],
    *,
    keep_all: bool = False,
    again: bool = False,
    named_by: str = ENVIRONMENT_VARIABLE,
) -> Path:
    """`target`, made first if it does not exist.

    Args:
        target: the file, in a directory of its own.
        make: makes it in the empty directory that it is given, returns its path there.
        keep_all: move everything that `make` left beside `target`, not just the file.
        again: make it even if it exists; the old one stays if that fails.
        named_by: with what the user can name another directory, for the error.

    Returns:
        `target`.

    Raises:
        ArtifactError: the directory cannot be written, or is full. Nothing is changed.
        Exception: what `make` raises. Nothing is changed.
    """
    if not again and target.is_file():
        return target
    with ExitStack() as locked:
        with _explained(target.parent, named_by):
            target.parent.mkdir(parents=True, exist_ok=True)
            locked.enter_context(_lock(target.parent))
        if again or not target.is_file():  # else another process was faster
            _make(target, make, keep_all, named_by)
    return target


def _make(
    target: Path, make: Callable[[Path], Path], keep_all: bool, named_by: str
) -> None:
    entry = target.parent
    with _explained(entry, named_by):
        _remove_scratch(entry)
        scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH_PREFIX, dir=entry))
    try:
        with _explained(entry, named_by):
            made = make(scratch)
            _flush(made)
            if keep_all:
                _move_others(scratch, made, entry)
            made.replace(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _move_others(scratch: Path, made: Path, entry: Path) -> None:
    """Move all but `made`; files replace files of the same name."""
    for path in scratch.iterdir():
        if path == made:
            continue
        if path.is_dir() and (entry / path.name).exists():
            shutil.copytree(path, entry / path.name, dirs_exist_ok=True)
        else:
            path.replace(entry / path.name)


def _remove_scratch(entry: Path) -> None:
    """What a maker that was killed left. We hold the lock: nobody is at work there."""
    for path in entry.glob(_SCRATCH_PREFIX + "*"):
        shutil.rmtree(path, ignore_errors=True)


def _flush(path: Path) -> None:
    """On disk before it gets its name, so that not even a power cut truncates it."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


@contextmanager
def _lock(entry: Path) -> Iterator[None]:
    """Exclusive among processes and threads; waits."""
    with open(entry / ".lock", "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("waiting for another process that compiles %s", entry)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


_ADVICE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EROFS: "make it writable",
    errno.EACCES: "make it writable",
    errno.EPERM: "make it writable",
    errno.ENOTDIR: "remove what is in its place",
    errno.EEXIST: "remove what is in its place",
    errno.EISDIR: "remove the directory in the file's place",
    errno.EFBIG: "raise the limit on the size of files",
    errno.ENOENT: "make its parent directory",
    errno.ENAMETOOLONG: "shorten its path",
    errno.ELOOP: "repair the link",
}


@contextmanager
def _explained(directory: Path, named_by: str) -> Iterator[None]:
    """Errors of the file system about `directory`, with what to do about them."""
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0)
        if advice is None or not _concerns(error, directory):
            raise
        obstacle = _obstacle(directory)
        problem = obstacle[0] if obstacle else error.strerror
        advice = obstacle[1] if obstacle else advice
        raise ArtifactError(
            error.errno,
            f"cannot store compiled kernels in {directory}: {problem}; {advice}, or "
            f"name another directory in {named_by}",
        ) from error


def _obstacle(directory: Path) -> tuple[str, str] | None:
    """What stands where `directory` or one above it should be, and what helps."""
    for path in (directory, *directory.parents):
        try:
            if path.is_symlink() and not path.exists():
                target = os.readlink(path)
                return (
                    f"{path} is a link to {target}, which does not exist",
                    "make that directory, or remove the link",
                )
            if path.exists():
                if path.is_dir():
                    return None
                return f"{path} is no directory", "remove the file in its place"
        except OSError:  # may not be looked at, or is a link to itself
            return None
    return None


def _concerns(error: OSError, directory: Path) -> bool:
    """Not a compiler that may not be executed, say."""
    if isinstance(error, ArtifactError):
        return False
    if not isinstance(error.filename, (str, Path)):
        return True
    named = Path(error.filename)
    return named.is_relative_to(directory) or directory.is_relative_to(named)
