"""Reads entry points: what installed packages offer under a group's name.

No package is imported before what it offers is wanted, and one that is broken breaks
nothing but that: the error names the entry point and the package that it comes from.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


class EntryPointError(ImportError):
    """What an installed package offers cannot be loaded, or is not what it should be.

    Attributes:
        offer: the entry point.
    """

    def __init__(self, offer: EntryPoint, problem: str) -> None:
        super().__init__(f"{describe(offer)} {problem}")
        self.offer = offer


def offers(group: str) -> tuple[EntryPoint, ...]:
    """The entry points of a group, none of them loaded.

    The installed packages are looked through once for each ``sys.path``.
    """
    return _offers(group, tuple(sys.path))


@lru_cache(maxsize=32)
def _offers(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    from importlib.metadata import entry_points  # takes longer than our own modules

    return tuple(entry_points(group=group))


def load(offer: EntryPoint) -> Any:
    """The object that an entry point names.

    Raises:
        EntryPointError: importing it failed, in whatever way.
    """
    try:
        return offer.load()
    except Exception as e:
        problem = f"cannot be loaded: {type(e).__name__}: {e}"
        raise EntryPointError(offer, problem) from e


def load_first(group: str, name: str | None = None) -> Any:
    """The first object of a group that can be loaded; None if nobody offers any.

    Args:
        group: the entry points' group.
        name: takes only those of this name.

    Raises:
        EntryPointError: none of those offered can be loaded; it names the first.
    """
    errors = []
    for offer in offers(group):
        if name in (None, offer.name):
            try:
                return load(offer)
            except EntryPointError as e:
                errors.append(e)
    if errors:
        raise errors[0]
    return None


def describe(offer: EntryPoint) -> str:
    """An entry point in words: name, group, object and package."""
    package = f", from {offer.dist.name} {offer.dist.version}" if offer.dist else ""
    return f"entry point {offer.name!r} of {offer.group!r} ({offer.value}{package})"
