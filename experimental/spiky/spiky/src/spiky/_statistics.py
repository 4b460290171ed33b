"""Where statistics come from: spike-torch counts, whose C++ runs the programs."""

from __future__ import annotations

from typing import Any

from spike_torch import programs


def read() -> dict[str, Any]:
    """The fields of RuntimeStats."""
    found = programs.get_stats()
    hits = found["bucket_hits"].items()
    return {**found, "bucket_hits": {_bucket(key): count for key, count in hits}}


def _bucket(key: tuple[int, ...]) -> int | tuple[int, ...]:
    return key[0] if len(key) == 1 else key


def reset() -> None:
    """Begin to count at 0."""
    programs.reset_stats()
