"""Finds the line of the user's program that is being traced."""

from __future__ import annotations

import os
import sys
import warnings
from types import CodeType
from typing import Any

import numpy as np

import nkipy
from nkipy.hlo.ir import SourceLocation

# Frames of nkipy itself, and of NumPy's Python layer above our protocols, are not the
# user's. Prefixes end in a separator: a user's path that merely contains the name of
# the package is not ours.
_OURS = tuple(
    os.path.join(os.path.abspath(package.__path__[0]), "") for package in (nkipy, np)
)
_is_ours: dict[str, bool] = {}
# The line of a code object's position is decoded from a table; a loop asks for the same
# few positions again and again. The code object is kept so that its id stays its own.
# No position of ours, or of NumPy's, is among them.
LINES: dict[tuple[int, int], tuple[CodeType, SourceLocation]] = {}
_MAX_CACHED_LINES = 65_536
_warned: dict[str, dict[Any, Any]] = {}  # by file, what it has been warned of


def caller_location(depth: int = 1) -> SourceLocation | None:
    """Source line of the nearest frame outside of nkipy and NumPy.

    Args:
        depth: how many of the nearest frames are known to be inside.
    """
    frame = sys._getframe(depth)
    while frame is not None:
        code = frame.f_code
        name = code.co_filename
        ours = _is_ours.get(name)
        if ours is None:
            ours = _is_ours[name] = os.path.abspath(name).startswith(_OURS)
        if not ours:
            key = (id(code), frame.f_lasti)
            found = LINES.get(key)
            if found is None:
                found = (code, SourceLocation(name, frame.f_lineno))
                if len(LINES) >= _MAX_CACHED_LINES:
                    LINES.clear()
                LINES[key] = found
            return found[1]
        frame = frame.f_back  # type: ignore[assignment]
    return None


def warn_caller(message: str) -> None:
    """A warning at the caller's line: no fixed depth of the stack leads there."""
    filename, line = caller_location() or ("<unknown>", 0)
    registry = _warned.setdefault(filename, {})
    warnings.warn_explicit(message, UserWarning, filename, line, registry=registry)
