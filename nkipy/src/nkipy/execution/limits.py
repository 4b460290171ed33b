"""Limits of what a process keeps, as the environment says."""

from __future__ import annotations

import os

from nkipy.execution.fork_locks import fork_rlock
from nkipy.hlo.arguments import expect


def limit_from_environment(variable: str, default: int) -> int:
    """The number in an environment variable, or `default` where it is not set.

    Raises:
        ValueError: it has something other than a number from 1 up.
    """
    text = os.environ.get(variable, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise ValueError(f"{variable} must be a number from 1 up, but is {text!r}")
    return int(text)


def _check(limit: int) -> None:
    expect(limit, int, "limit", "limit")
    if limit < 1:
        raise ValueError(f"the limit must be at least 1, but received {limit}")


class Bounded:
    """What a process keeps only so many of. Safe to use from several threads.

    Args:
        limit: how many; None: as the environment says when it is needed, since an
            import is no place to complain.
        variable: of the environment.
        default: where the variable is not set.
    """

    def __init__(self, limit: int | None, variable: str, default: int) -> None:
        if limit is not None:
            _check(limit)
        self._limit = limit
        self._variable = variable
        self._default = default
        self.lock = fork_rlock()

    @property
    def limit(self) -> int:
        """How many are kept. To set a lower one drops what is above it at once.

        Raises:
            ValueError: it is set to less than 1, or the environment has something
                other than a number from 1 up.
        """
        if self._limit is None:
            self._limit = limit_from_environment(self._variable, self._default)
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        _check(limit)
        with self.lock:
            self._limit = limit
            self.shrink(limit)

    def shrink(self, limit: int) -> None:
        """Drop what was used least recently, until no more than that are kept."""
        raise NotImplementedError
