"""Where statistics come from."""

from __future__ import annotations

from typing import Any


def read() -> dict[str, Any]:
    """The fields of RuntimeStats that have been counted."""
    return {}


def reset() -> None:
    """Begin to count at 0."""
