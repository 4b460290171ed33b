"""Why an execution failed, from who runs HLO to who asked for it, in one process.

Between them may be an interface that carries nothing but a number, as libnrt's does. It
calls in one thread, which is how the two find each other. Who calls forgets first what
earlier calls have failed for: that of others, which ask nobody for the cause, stays.
"""

from __future__ import annotations

import threading


class _Noted(threading.local):
    error: BaseException | None = None
    status: int = 0


_noted = _Noted()
#: Whether anything has ever been noted, in any thread: asked before each call, where
#: a thread's own state takes longer to look at.
has_noted = False


def note(error: BaseException, status: int) -> None:
    """For who runs: `error` is what this thread's call is going to fail with `status`
    for."""
    global has_noted
    has_noted = True
    _noted.error, _noted.status = error, status


def forget() -> None:
    """For who asks: what follows fails for reasons of its own, in this thread."""
    _noted.error = None


def take(status: int) -> BaseException | None:
    """What this thread's call has failed for, once; None if nobody has said so.

    Args:
        status: with which it has failed.
    """
    error, _noted.error = _noted.error, None
    return error if _noted.status == status else None
