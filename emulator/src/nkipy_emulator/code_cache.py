"""Compiled code on disk, so that a program is compiled once per machine and user.

Code is made here and read here; none ever comes from a NEFF. An entry's name is a hash
of all that the code depends on, so entries never become wrong, only unused.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

#: A directory for the entries; ``off`` keeps none.
VARIABLE = "NKIPY_EMULATOR_CODE_CACHE"
#: When there is more, the entries unused for longest are removed.
MAX_BYTES = 512 << 20
#: Code beyond this takes as long to load as to compile.
MAX_ENTRY_BYTES = 32 << 20

#: By then, a program's first execution has begun.
_DELAY_SECONDS = 0.1

_MAGIC = b"nkipy-code-1\n"
_DIGEST_BYTES = hashlib.sha256().digest_size


class CodeCache:
    """Entries in one directory. Safe to use from many processes.

    What goes wrong with the disk is no error: then there is no entry, or none is kept.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def get(self, key: str) -> bytes | None:
        """The entry, or None if there is none, or a damaged one."""
        path = self.directory / key
        try:
            if not self._is_private():
                return None
            data = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        head, code = data[: len(_MAGIC) + _DIGEST_BYTES], data[len(_MAGIC) :]
        code = code[_DIGEST_BYTES:]
        return code if head == _MAGIC + hashlib.sha256(code).digest() else None

    def put(self, key: str, code: bytes) -> None:
        """Keep an entry, in one step for those who read."""
        if len(code) > MAX_ENTRY_BYTES:
            return
        with suppress(OSError):
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._is_private():
                return
            self._write(key, _MAGIC + hashlib.sha256(code).digest() + code)
            self._prune()

    def keep(self, key: str, make: Callable[[], bytes]) -> None:
        """Keep the entry that `make` makes."""
        self.put(key, make())

    def _write(self, key: str, data: bytes) -> None:
        descriptor, name = tempfile.mkstemp(dir=self.directory, prefix=".new-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            os.replace(name, self.directory / key)
        except BaseException:
            os.unlink(name)
            raise

    def _is_private(self) -> bool:
        """Nobody else may put code there that we would run."""
        status = os.lstat(self.directory)
        writable = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        is_ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
        return is_ours and not writable

    def _prune(self) -> None:
        entries = sorted(
            (entry.stat().st_mtime, entry.stat().st_size, entry.path)
            for entry in os.scandir(self.directory)
        )
        total = sum(size for _, size, _ in entries)
        for _, size, path in entries:
            if total <= MAX_BYTES:
                break
            with suppress(OSError):
                os.unlink(path)
            total -= size


class LateCodeCache(CodeCache):
    """A cache that makes its entries on another thread, a moment later.

    Serialising code takes XLA as long as some executions, and nobody waits for it; but
    someone waits for the program's first results. A process that ends keeps its entries
    before.
    """

    def keep(self, key: str, make: Callable[[], bytes]) -> None:
        """Keep the entry that `make` makes, unless that fails."""
        with suppress(RuntimeError):  # an interpreter that ends starts no thread
            threading.Timer(_DELAY_SECONDS, self._keep_now, (key, make)).start()

    def _keep_now(self, key: str, make: Callable[[], bytes]) -> None:
        with suppress(RuntimeError, ValueError):
            self.put(key, make())


def user_cache() -> CodeCache | None:
    """The cache that the environment names, else the user's; None if it says so."""
    named = os.environ.get(VARIABLE, "")
    if named.lower() in ("off", "0", "no", "false"):
        return None
    if named:
        return LateCodeCache(Path(named))
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return LateCodeCache(Path(home) / "nkipy" / "emulator-code")
