"""Compiled code on disk, so that a program is compiled once per machine and user.

Code is made here and read here; none ever comes from a NEFF. An entry's name is a hash
of all that the code depends on, so entries never become wrong, only unused. A digest of
the name and the whole entry is looked at before anything is made of it: it tells damage
and files under another's name. Whoever can write to the directory could as well write
what passes; that is the user alone, or nothing is read.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import stat
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from nkipy.private_files import (
    UnsafePathError,
    caches_of_user,
    open_private,
    private_directory,
    write_private,
)
from nkipy_emulator.apart import start

logger = logging.getLogger("nkipy.emulator")

#: A directory for the entries; ``off`` keeps none.
VARIABLE = "NKIPY_EMULATOR_CODE_CACHE"
#: When there is more, the entries unused for longest are removed.
MAX_BYTES = 512 << 20
#: The same of entries: a directory is looked through in milliseconds.
MAX_ENTRIES = 20_000
#: Code beyond this takes as long to load as to compile.
MAX_ENTRY_BYTES = 32 << 20

#: By then, a program's first execution is mostly over.
_DELAY_SECONDS = 0.3

_MAGIC = b"nkipy-code-1\n"
_HEAD_BYTES = len(_MAGIC) + hashlib.sha256().digest_size
#: The exact forms of the cache's names: nothing else is its own to remove.
_ENTRY = re.compile(r"[0-9a-f]{64}")
_TEMPORARY = re.compile(r"\.new-[0-9a-f]{16}")
#: No entry takes that long to write.
_ABANDONED_SECONDS = 3600
#: How often a process looks through a directory that it keeps entries in.
_PRUNING_SECONDS = 5.0
_PEEK = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class CodeCache:
    """Entries in one directory. Safe to use from many processes.

    What goes wrong with the disk is no error: then there is no entry, or none is kept.
    Nor is a directory that others can write: it is not used, with one warning. Files
    that are not the cache's are never touched, nor what is no file but has an entry's
    name.
    """

    def __init__(self, directory: Path, is_named: bool = False) -> None:
        """A cache.

        Args:
            directory: for the entries; it is made when the first one is kept.
            is_named: whether the user has named it, and wants to know if none can be.
        """
        self.directory = directory
        self._is_named = is_named

    def get(self, key: str) -> bytes | None:
        """The entry, or None if there is none, or a damaged one."""
        try:
            with private_directory(self.directory) as directory:
                descriptor = open_private(directory, key, self.directory / key)
                with os.fdopen(descriptor, "rb") as file:
                    data = file.read(_HEAD_BYTES + MAX_ENTRY_BYTES + 1)
                    os.utime(descriptor)
        except UnsafePathError as error:
            _warn(error)
            return None
        except OSError:
            return None
        head, code = data[:_HEAD_BYTES], data[_HEAD_BYTES:]
        if head == _MAGIC + _digest(key, code):
            return code
        logger.warning("%s is damaged; compiling it again", self.directory / key)
        return None

    def put(self, key: str, code: bytes) -> None:
        """Keep an entry, in one step for those who read."""
        if len(code) > MAX_ENTRY_BYTES:
            return
        parts = (_MAGIC, _digest(key, code), code)
        temporary = f".new-{os.urandom(8).hex()}"
        try:
            with private_directory(self.directory, make=True) as directory:
                _refuse_others(directory, key, self.directory / key)
                write_private(directory, key, parts, temporary)
                if self._is_time_to_prune():
                    _prune(directory)
        except UnsafePathError as error:
            _warn(error)
        except OSError as error:
            if self._is_named:
                self._warn_of(error)

    def _warn_of(self, error: OSError) -> None:
        _warn_once(
            f"compiled code is not kept in {self.directory}, which {VARIABLE} names: "
            f"{error.strerror}; name a directory that you can write, or 'off'"
        )

    def _is_time_to_prune(self) -> bool:
        now, before = time.monotonic(), _pruned_at.get(self.directory)
        if before is not None and now < before + _PRUNING_SECONDS:
            return False
        _pruned_at[self.directory] = now
        return True

    def turn(self, key: str, seconds: float | None) -> AbstractContextManager[bool]:
        """A turn to make an entry: :func:`nkipy_emulator.code_turns.turn`."""
        # Imported here, as it is for ranks.
        from nkipy_emulator.code_turns import turn

        return turn(self.directory, key, seconds)

    def keep(self, key: str, make: Callable[[], bytes], now: bool = True) -> None:
        """Keep the entry that `make` makes, unless XLA cannot make it."""
        try:
            code = make()
        except (RuntimeError, ValueError) as error:
            logger.info("no code is kept of a program: %s", error)
        else:
            self.put(key, code)


def _digest(key: str, code: bytes) -> bytes:
    """Of an entry and its name: one that was renamed is another program's."""
    whole = hashlib.sha256(f"{len(key)} {key}".encode())
    whole.update(code)
    return whole.digest()


#: When this process last looked through a directory; it has few.
_pruned_at: dict[Path, float] = {}
_warned: set[str] = set()


def _warn(error: UnsafePathError) -> None:
    text = f"compiled code is not kept: {error.filename} {error.strerror}"
    if VARIABLE not in text:
        text = f"{text}; {VARIABLE} names another directory"
    _warn_once(text)


def _warn_once(text: str) -> None:
    if text not in _warned:
        _warned.add(text)
        logger.warning("%s", text)


def _refuse_others(directory: int, name: str, path: Path) -> None:
    """Raise OSError if `name` is in the directory, and no entry, damaged or not."""
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        text = f"{path} is no file of the cache's, and is left"
        raise FileExistsError(errno.EEXIST, text, os.fspath(path))


def _prune(directory: int) -> None:
    """Remove the entries unused for longest, and what killed processes left."""
    entries = []
    with os.scandir(directory) as found:
        listed = list(found)
    for entry in listed:
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:  # others rename and remove theirs meanwhile
            continue
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            continue
        if _ENTRY.fullmatch(entry.name):
            entries.append((status.st_mtime, status.st_size, entry.name))
        elif _TEMPORARY.fullmatch(entry.name):
            is_old = status.st_mtime < time.time() - _ABANDONED_SECONDS
            if is_old and _is_ours(directory, entry.name, may_be_cut=True):
                with suppress(FileNotFoundError):
                    os.unlink(entry.name, dir_fd=directory)
    if not _are_too_many(len(entries), sum(size for _, size, _ in entries)):
        return
    entries = sorted(entry for entry in entries if _is_ours(directory, entry[2]))
    total = sum(size for _, size, _ in entries)
    for place, (_, size, name) in enumerate(entries):
        if not _are_too_many(len(entries) - place, total):
            break
        with suppress(OSError):
            os.unlink(name, dir_fd=directory)
        total -= size


def _are_too_many(entries: int, total: int) -> bool:
    return entries > MAX_ENTRIES or total > MAX_BYTES


def _is_ours(directory: int, name: str, may_be_cut: bool = False) -> bool:
    """Whether a file begins as those of the cache do.

    One that `may_be_cut` may have less than that: none of it, if its writer was killed
    before the first write.
    """
    with suppress(OSError):
        with os.fdopen(os.open(name, _PEEK, dir_fd=directory), "rb") as file:
            head = file.read(len(_MAGIC))
            return head == _MAGIC or (may_be_cut and _MAGIC.startswith(head))
    return False


class LateCodeCache(CodeCache):
    """A cache that makes its entries on another thread, a moment later.

    Serialising code takes XLA as long as some executions, and nobody waits for it; but
    someone waits for the program's first results. A process that ends keeps its entries
    before, at once; one that is killed, or leaves by ``os._exit``, keeps none of this
    last moment, and neither does a forked child, which has no such thread and no XLA.
    """

    def keep(self, key: str, make: Callable[[], bytes], now: bool = False) -> None:
        """Keep the entry that `make` makes, unless XLA cannot make it.

        If it is to be there `now`, this waits until it is.
        """
        if now:
            super().keep(key, make)
            return
        thread = threading.Thread(target=self._keep_soon, args=(key, make))
        if not start(thread):
            logger.info("no code is kept of a program: there is no thread to be had")

    def _keep_soon(self, key: str, make: Callable[[], bytes]) -> None:
        # Whatever the main thread waits for in the end waits no longer than needed.
        threading.main_thread().join(_DELAY_SECONDS)
        super().keep(key, make)


def user_cache() -> CodeCache | None:
    """The cache that the environment names, else the user's.

    None if it says so, or if the user has no home directory.

    Raises:
        UnsafePathError: the directory that it names is another user's, or can be
            written by others, or is a link.
    """
    named = os.environ.get(VARIABLE, "")
    if named.lower() in ("off", "0", "no", "false"):
        return None
    if named:
        return LateCodeCache(_checked(Path(named)), is_named=True)
    caches = caches_of_user()
    return None if caches is None else LateCodeCache(caches / "nkipy" / "emulator-code")


def cache_of_simulations() -> CodeCache | None:
    """The same, for who only wants to be faster; None, with a warning, instead of an
    error."""
    try:
        return user_cache()
    except UnsafePathError as error:
        _warn(error)
        return None


def _checked(directory: Path) -> Path:
    """`directory`, unless it is there and others can put code into it."""
    try:
        with private_directory(directory):
            pass
    except UnsafePathError as error:
        raise UnsafePathError(
            error.errno, f"{error.strerror} ({VARIABLE} names it)", error.filename
        ) from None
    except OSError:  # not there yet, or never to be used: then nothing is kept
        pass
    return directory
