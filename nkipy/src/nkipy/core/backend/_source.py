"""Finds the line of the user's program that is being traced."""

from __future__ import annotations

import sys
import warnings
from types import CodeType
from typing import Any

from nkipy.core.roles import BY_FILE, role_of_frame
from nkipy.hlo.ir import SourceLocation

# The line of a code object's position is decoded from a table; a loop asks for the same
# few positions again and again. The code object is kept so that its id stays its own.
# Only positions in the user's code are among them.
LINES: dict[tuple[int, int], tuple[CodeType, SourceLocation]] = {}
_MAX_CACHED_LINES = 65_536
_warned: dict[str, dict[Any, Any]] = {}  # by file, what it has been warned of


def caller_location(depth: int = 1) -> SourceLocation | None:
    """Source line of the nearest frame that runs the user's code.

    Args:
        depth: how many of the nearest frames are known to be inside.
    """
    frame = sys._getframe(depth)
    while frame is not None:
        code = frame.f_code
        hidden = BY_FILE.get(code.co_filename)
        if hidden is None:
            hidden = role_of_frame(frame)
        if not hidden:
            key = (id(code), frame.f_lasti)
            found = LINES.get(key)
            if found is None:
                found = (code, SourceLocation(code.co_filename, frame.f_lineno))
                if len(LINES) >= _MAX_CACHED_LINES:
                    LINES.clear()
                LINES[key] = found
            return found[1]
        frame = frame.f_back  # type: ignore[assignment]
    return None


def raised_location(error: BaseException) -> SourceLocation | None:
    """The innermost line of the user's code that an error has passed."""
    found, entry = None, error.__traceback__
    while entry is not None:
        if not role_of_frame(entry.tb_frame):
            found = SourceLocation(entry.tb_frame.f_code.co_filename, entry.tb_lineno)
        entry = entry.tb_next
    return found


def warn_caller(message: str) -> None:
    """A warning at the caller's line: no fixed depth of the stack leads there."""
    filename, line = caller_location() or ("<unknown>", 0)
    registry = _warned.setdefault(filename, {})
    warnings.warn_explicit(message, UserWarning, filename, line, registry=registry)
