"""Damages what programs are written as: nothing but an error may come of it."""

from __future__ import annotations

import random
from typing import Any

__all__ = ["damage"]

_ODD = (None, True, -1, 0, 1, 7, 1 << 40, 1 << 70, 0.5, "", "sbuf", [], {}, [[]])


def _places(found: Any) -> list[tuple[Any, Any]]:
    """Every container of a document, with each of its keys."""
    items: Any = ()
    if isinstance(found, dict):
        items = list(found.items())
    elif isinstance(found, list):
        items = list(enumerate(found))
    return [(found, k) for k, _ in items] + [p for _, v in items for p in _places(v)]


def damage(document: Any, rng: random.Random) -> None:
    """Put something odd in one or two places of a document, as JSON has it."""
    for _ in range(rng.randint(1, 2)):
        container, key = rng.choice(_places(document))
        container[key] = rng.choice(_ODD)
