"""One line on a terminal while something takes long: what it is, and for how long.

Where stderr is no terminal, nothing is ever written.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from nkipy_emulator.apart import asker, start

#: Whoever waits no longer than this is told nothing.
AFTER_SECONDS = 3.0

#: Back to the beginning of the line, and away with what is there.
_ERASE = "\r\x1b[K"
#: Characters: a longer line would go on in the next, where it is not erased.
_MOST = 79
#: How often a thread that tells looks at the time.
_GLANCE = 0.25
#: Held by the one whose line it is: there is one terminal.
_terminal = threading.Lock()


class ProgressLine:
    """A line that is written anew while its owner waits, and erased in the end.

    It goes, too, when nobody waits any more for the thread that made it.

    Args:
        what: what takes long, such as ``compiling 'kernel'``.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._told = -1
        self._is_ours = False
        self._is_awaited = asker()

    def tell(self, seconds: float) -> None:
        """Say how long it takes by now; at most once in a second."""
        if not self._is_awaited():
            self.erase()
            return
        if seconds < AFTER_SECONDS or int(seconds) == self._told or not _is_terminal():
            return
        if not self._is_ours:
            self._is_ours = _terminal.acquire(blocking=False)
        if self._is_ours:
            self._told = int(seconds)
            text = f"{self._what}: {self._told} s; Ctrl-C ends it"
            _write(_ERASE + text[:_MOST])

    def erase(self) -> None:
        """Take the line away, if there is one."""
        if self._is_ours:
            self._is_ours = False
            _terminal.release()
            if _is_terminal():
                _write(_ERASE)


@contextmanager
def telling(what: str) -> Iterator[None]:
    """Have another thread tell how long what is done within takes.

    For Python code, which does not wait for anything that could tell.
    """
    line = ProgressLine(what)
    is_over, is_erased = threading.Lock(), threading.Lock()
    is_over.acquire()
    is_erased.acquire()

    def tell() -> None:
        begin = time.monotonic()
        try:
            while not is_over.acquire(timeout=_GLANCE):
                line.tell(time.monotonic() - begin)
        except (OSError, ValueError):  # the terminal is gone
            pass
        finally:
            with suppress(OSError, ValueError):
                line.erase()
            is_erased.release()

    thread = threading.Thread(target=tell, name="nkipy-progress", daemon=True)
    has_begun = start(thread)
    try:
        yield
    finally:
        is_over.release()
        if has_begun:
            is_erased.acquire()


# Nothing is caught here: what a handler of a signal raises meanwhile would be, too.
def _is_terminal() -> bool:
    """Whether stderr is one, and still there: one that has hung up is none."""
    stream = sys.stderr  # a program's own may have no more than write()
    is_terminal = getattr(stream, "isatty", None)
    if is_terminal is None or getattr(stream, "closed", False):
        return False
    return bool(is_terminal())


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def _release_after_fork() -> None:
    global _terminal
    _terminal = threading.Lock()


os.register_at_fork(after_in_child=_release_after_fork)
