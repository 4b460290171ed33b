"""What ``import nki`` reaches in this Python, and why."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.metadata import packages_distributions, version

from nkipy_nki_names import STANDS_FOR, finding

#: What the public index has as ``nki``.
_PLACEHOLDER = ("nki", "0.0.1")


@dataclass(frozen=True)
class Answer:
    """What is behind the names.

    Attributes:
        whose: ``ours``, ``others`` or ``nobody``.
        works: whether ``import nki`` works.
        lines: the same for people: each name, and then why.
    """

    whose: str
    works: bool
    lines: tuple[str, ...]


def answer(at_start: bool) -> Answer:
    """Who has the names.

    Args:
        at_start: whether our finder was there when Python had started.
    """
    elsewhere = {top: finding.found_elsewhere(top) for top in STANDS_FOR}
    if any(elsewhere.values()):
        return _of_others({top: spec for top, spec in elsewhere.items() if spec})
    why = _why_not(at_start)
    notes = tuple(_about_folders(is_ours=not why))
    if why:
        lines = tuple(f"{top}: not there" for top in STANDS_FOR)
        return Answer("nobody", False, (*lines, f"why: {why}", *notes))
    lines = tuple(f"{top}: nkipy's, {_place_of_ours(top)}" for top in STANDS_FOR)
    return Answer("ours", True, (*lines, "why: the vendor's are not installed", *notes))


def _why_not(at_start: bool) -> str:
    """Why the names are not ours; "" if they are."""
    if finding.is_switched_off():
        value = os.environ[finding.VARIABLE]
        return f"{finding.VARIABLE}={value} switches the names off"
    if finding.own_spec(STANDS_FOR["nki"]) is None:
        return "nkipy-nki, which they stand for, is not installed"
    try:
        finding.check_variable()
    except ImportError as error:
        return str(error)
    if not at_start:
        return (
            "Python has not read nkipy_nki_names.pth, as with -S, or where it is not "
            "in a site directory; `python -m nkipy_nki_names run SCRIPT` needs no such "
            "file"
        )
    return ""


def _about_folders(is_ours: bool) -> Iterator[str]:
    for top in STANDS_FOR:
        for folder in finding.folders(top):
            if is_ours:
                yield f"passed over: {folder}, a folder without __init__.py"
            else:
                yield f"in the way: Python takes the folder {folder} for {top}"


def _place_of_ours(top: str) -> str:
    spec = finding.own_spec(STANDS_FOR[top])
    return _place(spec) if spec is not None else "but not there"


def _of_others(found: dict[str, ModuleSpec]) -> Answer:
    placeholder = "nki" in found and _distribution("nki") == _PLACEHOLDER
    lines = [
        f"{top}: {_described(top, found[top])}"
        if top in found
        else f"{top}: not there, for both names are the vendor's or both are nkipy's"
        for top in STANDS_FOR
    ]
    lines.append(f"why: {' and '.join(found)} {_were_found(len(found))}")
    return Answer("others", "nki" in found and not placeholder, tuple(lines))


def _were_found(count: int) -> str:
    return "are installed" if count > 1 else "is installed"


def _described(top: str, spec: ModuleSpec) -> str:
    found = _distribution(top)
    if found is None:
        return f"of no distribution, {_place(spec)}"
    name = " ".join(found)
    if top == "nki" and found == _PLACEHOLDER:
        return (
            f"{name}, {_place(spec)}: the public index's placeholder, which only "
            "raises "
            "ImportError. `pip uninstall nki` lets nkipy's have the name"
        )
    return f"the vendor's {name}, {_place(spec)}"


def _distribution(top: str) -> tuple[str, str] | None:
    """Name and version of the distribution that has a top-level name."""
    names = packages_distributions().get(top)
    return (names[0], version(names[0])) if names else None


def _place(spec: ModuleSpec) -> str:
    places = [spec.origin] if spec.origin else spec.submodule_search_locations
    return ", ".join(places or ["a place that is not told"])
