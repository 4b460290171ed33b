"""What a process has been warned of, which it is once, until the backend is reset."""

from __future__ import annotations

_told: set[tuple[str, ...]] = set()


def is_new(*what: str) -> bool:
    """Whether it has not been told; from now on it has."""
    count = len(_told)
    _told.add(what)
    return len(_told) > count


def forget() -> None:
    """Tell everything again."""
    _told.clear()
