"""Compiled artifacts on disk: content-addressed, complete or absent, made once.

An entry is a directory with one file that counts, its digest and, if asked for, what
else the compiler left. Whoever makes an entry holds a lock on it, so that processes
which need the same one wait and find it made; the kernel releases the lock of a process
that dies. Files are made in a scratch directory beside their place and renamed into it,
the one that counts last: a crash leaves no half-written result, only scratch, which the
next maker of the entry removes. Nothing else is ever deleted.

Entries are private, and are not used where another user can write: what is in them is
run. The file that counts is compared with its digest before it is first used. What it
was made for is in the digest, too: a copy of another entry does not pass for this one.
"""

from __future__ import annotations

import atexit
import errno
import fcntl
import hashlib
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO

from nkipy.private_files import (
    UnsafePathError,
    caches_of_user,
    open_private,
    private_directory,
    refuse_link,
    write_private,
)

logger = logging.getLogger("nkipy.baremetal")

ENVIRONMENT_VARIABLE = "NKIPY_CACHE_DIR"
_SCRATCH_PREFIX = ".nkipy-build-"


class ArtifactError(OSError):
    """A compiled artifact cannot be stored: no space, no permission, no directory.

    Attributes:
        is_unsafe: the directory, or the artifact, is another user's, or can be written
            by others, or is a link.
    """

    is_unsafe = False


def cache_directory() -> Path:
    """Where this user's compiled artifacts live.

    ``NKIPY_CACHE_DIR`` if set, else ``nkipy`` in the platform's cache directory
    (``$XDG_CACHE_HOME`` or ``~/.cache``; ``~/Library/Caches`` on macOS).

    Raises:
        ArtifactError: this user has no home directory, or the variable names one that
            there is not, or the working directory was deleted, which it is relative to.
    """
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    if named:
        return absolute(_expanded(named), ENVIRONMENT_VARIABLE)
    caches = caches_of_user()
    if caches is None:
        raise ArtifactError(
            errno.ENOENT,
            "cannot store compiled kernels: HOME is not set, and this user has no "
            "other home directory; set it, or name a directory in "
            f"{ENVIRONMENT_VARIABLE}",
        )
    return caches / "nkipy"


def _expanded(named: str) -> Path:
    """``~`` is the user's home directory, and ``~name`` another one's."""
    try:
        return Path(named).expanduser()
    except RuntimeError:
        raise ArtifactError(
            errno.ENOENT,
            f"cannot store compiled kernels in {named}: there is no such home "
            f"directory; name a whole path in {ENVIRONMENT_VARIABLE}",
        ) from None


def absolute(directory: Path, named_by: str) -> Path:
    """The path from the root.

    Raises:
        ArtifactError: it is relative to a working directory that was deleted.
    """
    try:
        return directory.absolute()
    except FileNotFoundError:
        raise ArtifactError(
            errno.ENOENT,
            f"cannot store compiled kernels in {directory}: the working directory was "
            f"deleted; change to another one, or name a whole path in {named_by}",
        ) from None


def is_cache_named() -> bool:
    """Whether the user chose where the artifacts live."""
    return bool(os.environ.get(ENVIRONMENT_VARIABLE))


@lru_cache(maxsize=1)
def process_directory() -> Path:
    """A directory for the artifacts of this process alone, which ends with it.

    Raises:
        OSError: none can be made.
    """
    directory = tempfile.mkdtemp(prefix="nkipy-cache-")
    atexit.register(_remove_with, os.getpid(), directory)
    return Path(directory)


def _remove_with(process: int, directory: str) -> None:
    if os.getpid() == process:  # not with a process that was forked from it
        shutil.rmtree(directory, ignore_errors=True)


def get_or_make(
    target: Path,
    make: Callable[[Path], Path],
    *,
    key: str = "",
    root: Path | None = None,
    keep_all: bool = False,
    again: bool = False,
    named_by: str = ENVIRONMENT_VARIABLE,
) -> Path:
    """`target`, made first if it does not exist, or is damaged.

    Args:
        target: the file, in a directory of its own.
        make: makes it in the empty directory that it is given, returns its path there.
        key: what the file is made for; one of another key counts as damaged.
        root: the directory above from which on all must be private; by default the
            target's own.
        keep_all: move everything that `make` left beside `target`, not just the file.
        again: make it even if it exists; the old one stays if that fails.
        named_by: with what the user can name another directory, for the error.

    Returns:
        `target`.

    Raises:
        ArtifactError: the directory cannot be written, or is full, or others can write
            it. Nothing is changed.
        Exception: what `make` raises. Nothing is changed.
    """
    entry = target.parent
    base = entry if root is None else root
    parts = entry.relative_to(base).parts
    if not again and _is_there(target, key, base, parts, named_by):
        return target
    with (
        _explained(entry, named_by),
        private_directory(base, *parts, make=True) as directory,
        _lock(directory, entry),
    ):
        if again or not _is_sound(directory, target, key):  # else another was faster
            _make(directory, target, key, make, keep_all)
    return target


def _is_there(
    target: Path, key: str, base: Path, parts: tuple[str, ...], named_by: str
) -> bool:
    """Whether `target` exists and is sound; an entry that is missing is neither."""
    with _explained(target.parent, named_by):
        try:
            with private_directory(base, *parts) as directory:
                return _is_sound(directory, target, key, tell=False)
        except (FileNotFoundError, NotADirectoryError):
            return False


#: What has been compared with its digest: device, inode, size, times, key; the digest.
_VERIFIED: dict[tuple[str | int, ...], str] = {}
_MOST_VERIFIED = 1 << 16
_CHUNK = 1 << 20
_DIGEST_BYTES = 64  # in hex


def _is_sound(directory: int, target: Path, key: str, tell: bool = True) -> bool:
    """Whether the file is there and is what was made; each is read once per process.

    Raises:
        UnsafePathError: others can write it.
    """
    try:
        descriptor = open_private(directory, target.name, target)
    except (FileNotFoundError, IsADirectoryError):
        return False
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        identity = _identity(os.fstat(descriptor), key)
        expected = _read_digest(directory, target)
        if expected and _VERIFIED.get(identity) == expected:
            return True
        if expected == _digest(file, key):
            _remember(identity, expected)
            return True
    if tell:
        logger.warning("%s is damaged; compiling it again", target)
    return False


def _identity(status: os.stat_result, key: str) -> tuple[str | int, ...]:
    times = status.st_mtime_ns, status.st_ctime_ns
    return (status.st_dev, status.st_ino, status.st_size, *times, key)


def _digest(file: IO[bytes], key: str) -> str:
    """SHA-256 of the key and all that is left of a file, in hex."""
    sha = hashlib.sha256(len(key).to_bytes(8, "little") + key.encode())
    while chunk := file.read(_CHUNK):
        sha.update(chunk)
    return sha.hexdigest()


def _digest_name(target: Path) -> str:
    return f".{target.name[:200]}.sha256"


def _read_digest(directory: int, target: Path) -> str:
    """What is noted beside the file; empty if nothing is."""
    name = _digest_name(target)
    try:
        descriptor = open_private(directory, name, target.with_name(name))
    except FileNotFoundError:
        return ""
    with os.fdopen(descriptor, "rb") as file:
        return file.read(_DIGEST_BYTES).decode("ascii", errors="replace")


def _remember(identity: tuple[str | int, ...], digest: str) -> None:
    if len(_VERIFIED) >= _MOST_VERIFIED:
        _VERIFIED.clear()
    _VERIFIED[identity] = digest


def _make(
    directory: int,
    target: Path,
    key: str,
    make: Callable[[Path], Path],
    keep_all: bool,
) -> None:
    entry = target.parent
    _remove_scratch(entry)
    scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH_PREFIX, dir=entry))
    try:
        made = make(scratch)
        _make_private(scratch)
        digest = _flush(made, key)
        if keep_all:
            _move_others(scratch, made, entry)
        _put(directory, made, target, key, digest)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _put(directory: int, made: Path, target: Path, key: str, digest: str) -> None:
    """Its digest first: between the two, the old file is taken for a damaged one."""
    _refuse_irregular(target)
    write_private(directory, _digest_name(target), [digest.encode()])
    made.replace(target)
    with suppress(OSError):
        _remember(_identity(target.stat(), key), digest)


def _refuse_irregular(target: Path) -> None:
    """Raise OSError if what is there is no file: somebody has put it there."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "is no regular file", str(target))


def _make_private(directory: Path) -> None:
    """Whatever the umask is: modules hold weights, as NEFFs do."""
    for path, _, files in os.walk(directory):
        os.chmod(path, 0o700)
        for name in files:
            file = os.path.join(path, name)
            if not os.path.islink(file):
                os.chmod(file, 0o600)


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


def _flush(path: Path, key: str) -> str:
    """On disk before it gets its name, so that not even a power cut truncates it.

    Returns:
        The digest.
    """
    with open(path, "rb+") as file:
        os.fsync(file.fileno())
        return _digest(file, key)


#: What is there when a disk is full, of the user's share or of the limit on a file.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def refuse_full(directory: Path, nbytes: int) -> None:
    """Raise OSError if a file of so many bytes has no room in `directory`."""
    with tempfile.TemporaryFile(dir=directory) as file:
        try:
            os.posix_fallocate(file.fileno(), 0, nbytes)
        except OSError as error:
            if error.errno in _FULL:
                raise OSError(error.errno, error.strerror, str(directory)) from None


@contextmanager
def _lock(directory: int, entry: Path) -> Iterator[None]:
    """Exclusive among processes and threads; waits."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        file = os.open(".lock", flags, 0o600, dir_fd=directory)
    except OSError as error:
        path = entry / ".lock"
        refuse_link(path, ".lock", directory)
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("waiting for another process that compiles %s", entry)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


_ADVICE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EROFS: "make it writable",
    errno.EACCES: "make it writable",
    errno.EPERM: "make it writable",
    errno.ENOTDIR: "remove what is in its place",
    errno.EEXIST: "remove what is in its place",
    errno.EISDIR: "remove the directory in the file's place",
    errno.EINVAL: "remove what is in the file's place",
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
    except UnsafePathError as error:
        unsafe = ArtifactError(
            error.errno,
            f"cannot keep compiled kernels in {directory}: {error.filename} "
            f"{error.strerror}, or name another directory in {named_by}",
        )
        unsafe.is_unsafe = True
        raise unsafe from error
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0)
        if advice is None or not _concerns(error, directory):
            raise
        obstacle = _obstacle(directory)
        problem = obstacle[0] if obstacle else _problem(error)
        advice = obstacle[1] if obstacle else advice
        raise ArtifactError(
            error.errno,
            f"cannot store compiled kernels in {directory}: {problem}; {advice}, or "
            f"name another directory in {named_by}",
        ) from error


def _problem(error: OSError) -> str | None:
    if error.filename is not None:
        if error.errno == errno.EISDIR:
            return f"{error.strerror}: {error.filename}"
        if error.errno == errno.EINVAL:
            return f"{error.filename} {error.strerror}"
    return error.strerror


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
        return error.errno != errno.EINVAL  # which says little without a name
    named = Path(error.filename)
    return named.is_relative_to(directory) or directory.is_relative_to(named)
