"""What a package gives out that takes its names from its chapters."""

from __future__ import annotations
import __future__

from collections.abc import Mapping
from types import ModuleType
from typing import Any

__all__ = ["public_names"]


def public_names(namespace: Mapping[str, Any]) -> list[str]:
    """The names of a module that are for users: no modules, and none of Python's.

    Args:
        namespace: the module's globals.
    """
    others = ModuleType, type(__future__.annotations)
    return sorted(
        name
        for name, value in namespace.items()
        if not name.startswith("_") and not isinstance(value, others)
    )
