"""What Python and NumPy raise of values that a function cannot take.

A function of the language says itself what it refuses, where there is something to say.
Of all other values (an array for a truth value, a text for a size) this makes the
language's error, at the kernel's line, of what Python or NumPy found.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from nkipy_nki.errors import NkiError, add_line, has_line
from nkipy_nki.running import invalid, kernel_line

__all__ = ["refusing_values"]

_RAISED = (
    *(TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError),
    *(ZeroDivisionError, MemoryError, OSError),
)
#: How much of an argument a message shows.
_SHOWN = 60


def refusing_values(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose errors are all the language's, if values are why.

    That arguments are missing, or unknown, stays Python's TypeError, with the line.

    Args:
        name: for messages: ``"nl.sum"``.
        function: the function, which calls none of the kernel's.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except NkiError:
            raise
        except _RAISED as error:
            if not _fit(function, args, kwargs):
                add_line(error, kernel_line())
            if has_line(error):
                raise
            shown = [_shown(value) for value in args]
            shown += [f"{key}={_shown(value)}" for key, value in kwargs.items()]
            text = f"{name}({', '.join(shown)}) is refused: {error}"
            raise invalid(text) from error

    return call


def _fit(function: Callable[..., Any], args: Any, kwargs: Any) -> bool:
    """Whether a function has parameters for arguments."""
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
