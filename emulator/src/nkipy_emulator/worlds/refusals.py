"""What a rank 0 that cannot listen leaves for the others of its machine.

It is a file beside the locks of cores, as the process may have ended before others ask.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path

from nkipy.private_files import open_private, private_directory, write_private

_MAX_BYTES = 1 << 12
#: Clocks of files are coarser than those of processes.
_CLOCK_SECONDS = 1.0


def lock_directory() -> Path:
    """Where processes note what they have of the emulated machine."""
    given = os.environ.get("NKIPY_EMULATOR_LOCK_DIR")
    return Path(given or f"/tmp/nkipy-emulator-{os.getuid()}")


def _name(world: str) -> str:
    return f"world-{hashlib.sha256(world.encode()).hexdigest()[:24]}.refused"


def leave_word(world: str, reason: str) -> None:
    """Tell those who wait for rank 0 why it does not come, if that can be written.

    Args:
        world: what its ranks have in common.
        reason: a sentence.
    """
    data = json.dumps({"process": os.getpid(), "reason": reason[:1000]}).encode()
    with suppress(OSError), private_directory(lock_directory(), make=True) as directory:
        temporary = f".new-{os.urandom(8).hex()}"
        write_private(directory, _name(world), (data,), temporary)


def take_back(world: str) -> None:
    """Rank 0 listens now."""
    with suppress(OSError), private_directory(lock_directory()) as directory:
        os.unlink(_name(world), dir_fd=directory)


def find_word(world: str, since: float) -> str | None:
    """Why rank 0 does not come, if it has said so.

    Args:
        world: what its ranks have in common.
        since: what was said before, by ``time.time()``, counts only while the process
            that said it is there: another one may have taken its place.
    """
    try:
        with private_directory(lock_directory()) as directory:
            path = lock_directory() / _name(world)
            descriptor = open_private(directory, path.name, path)
            with os.fdopen(descriptor, "rb") as file:
                written = os.fstat(descriptor).st_mtime
                said = json.loads(file.read(_MAX_BYTES))
        process, reason = int(said["process"]), str(said["reason"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    is_new = since - _CLOCK_SECONDS <= written <= time.time() + _CLOCK_SECONDS
    return reason if is_new or _is_there(process) else None


def _is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (OSError, OverflowError):
        return False
    return process > 0
