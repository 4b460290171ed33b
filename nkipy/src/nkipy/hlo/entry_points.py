"""Reads entry points: what installed packages offer under a group's name.

No package is imported before what it offers is wanted, and one that is broken breaks
nothing but that: the error names the entry point and the package that it comes from.

Where packages lie in directories, as installers put them, their entry points are read
here: to import importlib.metadata takes longer than all that a first call imports of
ours. What it finds besides, in archives or by finders of others, is left to it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from functools import lru_cache
from importlib import import_module
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from importlib.metadata import Distribution

#: An object as the specification of entry points writes it; what extras it would need
#: is not looked at.
_OBJECT = re.compile(r"([\w.]+)\s*(?::\s*([\w.]+)\s*)?(?:\[.*\])?")


class Offer(NamedTuple):
    """An entry point.

    Attributes:
        name: its name.
        value: the object that it names, ``module:attribute``.
        group: the group that it is in.
    """

    name: str
    value: str
    group: str

    @property
    def dist(self) -> Distribution | None:
        """The package that offers it; None if it is not installed any more."""
        from importlib.metadata import entry_points

        found = entry_points(group=self.group, name=self.name)
        return next((e.dist for e in found if e.value == self.value), None)

    def load(self) -> Any:
        """The object.

        Raises:
            ValueError: its name is none.
            ImportError, AttributeError: it is not there; and whatever else the module
                raises.
        """
        named = _OBJECT.fullmatch(self.value.strip())
        if named is None:
            raise ValueError(f"{self.value!r} names no object: module:attribute does")
        module, attribute = named.groups()
        made = import_module(module)
        for part in attribute.split(".") if attribute else ():
            made = getattr(made, part)
        return made


class EntryPointError(ImportError):
    """What an installed package offers cannot be loaded, or is not what it should be.

    Attributes:
        offer: the entry point.
    """

    def __init__(self, offer: Offer, problem: str) -> None:
        super().__init__(f"{describe(offer)} {problem}")
        self.offer = offer


def offers(group: str) -> tuple[Offer, ...]:
    """The entry points of a group, none of them loaded.

    The installed packages are looked through once for each ``sys.path``.
    """
    return _offers(group, tuple(sys.path))


@lru_cache(maxsize=32)
def _offers(group: str, path: tuple[str, ...]) -> tuple[Offer, ...]:
    if _are_all_in_directories(path):
        return tuple(_in_directories(group, path))
    from importlib.metadata import entry_points

    return tuple([Offer(e.name, e.value, e.group) for e in entry_points(group=group)])


def _are_all_in_directories(path: tuple[str, ...]) -> bool:
    """Whether nothing is installed in archives, eggs, or where only a finder knows."""
    if any(hasattr(f, "find_distributions") for f in sys.meta_path if f != PathFinder):
        return False
    return not any(p.endswith(".egg") or os.path.isfile(p) for p in path)


def _in_directories(group: str, path: tuple[str, ...]) -> Iterator[Offer]:
    """The group's entry points, of each package that which comes first in `path`."""
    seen = set()
    for directory in path:
        try:
            entries = os.listdir(directory or ".")
        except OSError:
            continue
        for entry in entries:
            stem, kind = os.path.splitext(entry.lower())
            if kind not in (".dist-info", ".egg-info"):
                continue
            package = re.sub("[-_.]+", "-", stem.partition("-")[0])
            if package not in seen:
                seen.add(package)
                yield from _in_package(group, os.path.join(directory, entry))


def _in_package(group: str, directory: str) -> Iterator[Offer]:
    try:
        with open(os.path.join(directory, "entry_points.txt"), "rb") as file:
            text = file.read()
    except OSError:
        return
    if group.encode() not in text:
        return
    section = None
    for line in map(str.strip, text.decode(errors="replace").splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif section == group and not line.startswith("#") and "=" in line:
            name, _, value = line.partition("=")
            yield Offer(name.strip(), value.strip(), group)


def load(offer: Offer) -> Any:
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


def describe(offer: Offer) -> str:
    """An entry point in words: name, group, object and package."""
    dist = offer.dist
    package = f", from {dist.name} {dist.version}" if dist else ""
    return f"entry point {offer.name!r} of {offer.group!r} ({offer.value}{package})"
