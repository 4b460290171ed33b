"""Where statistics come from: spike-torch counts, whose C++ runs the programs."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any


def programs() -> ModuleType | None:
    """What runs compiled programs."""
    name = "spike_torch.programs"
    return import_module(name) if find_spec(name) is not None else None


def read() -> dict[str, Any]:
    """The fields of RuntimeStats."""
    counting = programs()
    if counting is None:
        return {}
    found: dict[str, Any] = counting.get_stats()
    hits = found["bucket_hits"].items()
    return {**found, "bucket_hits": {_bucket(key): count for key, count in hits}}


def _bucket(key: tuple[int, ...]) -> int | tuple[int, ...]:
    return key[0] if len(key) == 1 else key


def reset() -> None:
    """Begin to count at 0."""
    counting = programs()
    if counting is not None:
        counting.reset_stats()
