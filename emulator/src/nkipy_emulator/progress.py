"""One line on a terminal while something takes long: what it is, and for how long.

Where stderr is no terminal, nothing is ever written.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

#: Whoever waits no longer than this is told nothing.
AFTER_SECONDS = 3.0

#: Back to the beginning of the line, and away with what is there.
_ERASE = "\r\x1b[K"
#: Held by the one whose line it is: there is one terminal.
_terminal = threading.Lock()


class ProgressLine:
    """A line that is written anew while its owner waits, and erased in the end.

    Args:
        what: what takes long, such as ``compiling 'kernel'``.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._told = -1
        self._is_ours = False

    def tell(self, seconds: float) -> None:
        """Say how long it takes by now; at most once in a second."""
        if seconds < AFTER_SECONDS or int(seconds) == self._told or not _is_terminal():
            return
        if not self._is_ours:
            self._is_ours = _terminal.acquire(blocking=False)
        if self._is_ours:
            self._told = int(seconds)
            text = f"{self._what}: {self._told} s; Ctrl-C ends it"
            _write(_ERASE + text[: _columns() - 1])

    def erase(self) -> None:
        """Take the line away, if there is one."""
        if self._is_ours:
            _write(_ERASE)
            self._is_ours = False
            _terminal.release()


def _is_terminal() -> bool:
    try:
        return sys.stderr is not None and sys.stderr.isatty()
    except ValueError:  # closed
        return False


def _columns() -> int:
    with suppress(OSError, ValueError, AttributeError):
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    return 80


def _write(text: str) -> None:
    # A terminal that is gone is no reason to give up what takes so long.
    with suppress(OSError, ValueError):
        sys.stderr.write(text)
        sys.stderr.flush()


def _release_after_fork() -> None:
    global _terminal
    _terminal = threading.Lock()


os.register_at_fork(after_in_child=_release_after_fork)
