"""Locks that a forked child finds open.

A thread that holds one when another thread forks does not exist in the child, which
would wait for it for ever. What such a lock guards may be half done there: it belongs
to a device or to a simulator, and both refuse a child.
"""

from __future__ import annotations

import os
import threading
from typing import Any
from weakref import WeakSet

_locks: WeakSet[Any] = WeakSet()


def fork_lock() -> threading.Lock:
    """A new lock."""
    lock = threading.Lock()
    _locks.add(lock)
    return lock


def fork_rlock() -> Any:
    """A new lock that its owner may take again."""
    lock = threading.RLock()
    _locks.add(lock)
    return lock


def _open_all() -> None:
    for lock in list(_locks):
        if not _is_own(lock):
            lock._at_fork_reinit()  # as logging and threading do with theirs


def _is_own(lock: Any) -> bool:
    """The thread that has forked holds it, as in a kernel that forks; it lets it go."""
    return hasattr(lock, "_is_owned") and lock._is_owned()


os.register_at_fork(after_in_child=_open_all)
