"""Why an execution failed, from who runs HLO to who asked for it, in one process.

Between them may be an interface that carries nothing but a number, as libnrt's does. It
calls in one thread, which is how the two find each other.
"""

from __future__ import annotations

import threading


class _Noted(threading.local):
    error: BaseException | None = None
    status: int = 0


_noted = _Noted()


def note(error: BaseException, status: int) -> None:
    """For who runs: `error` is what this thread's call is going to fail with `status`
    for."""
    _noted.error, _noted.status = error, status


def take(status: int) -> BaseException | None:
    """What this thread's call has failed for, once; None if nobody has said so.

    Args:
        status: with which it has failed.
    """
    error, _noted.error = _noted.error, None
    return error if _noted.status == status else None
