"""Arguments by name that a function does not have.

The first generation's functions were documented to take any, for the compiler. One that
is another's misspelt would be left out without a word, as ``maks=`` for ``mask=``.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from types import ModuleType
from typing import Any

from nkipy_nki.boundary import refusing_values
from nkipy_nki.findings import NkiWarning
from nkipy_nki.running import kernel_line

__all__ = ["lenient", "lenient_functions"]

#: What functions are documented to take that only name or place what they make.
_IGNORED = frozenset({"name", "buffer"})
#: What most functions have, and means something where it is given.
_COMMON = frozenset({"mask", "dtype"})


def lenient(module: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that takes arguments by name beyond its own.

    Args:
        module: where it is, for messages: ``"nl"``.
        function: the function.

    Returns:
        The same, which warns of further arguments by name, and leaves them out. It
        raises TypeError if one resembles an argument that there is.
    """
    known = frozenset(inspect.signature(function).parameters)
    name = f"{module}.{function.__name__}"
    guarded = refusing_values(name, function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not kwargs.keys() <= known:
            kwargs = _known(name, known, kwargs)
        return guarded(*args, **kwargs)

    return call


def _known(name: str, known: frozenset[str], kwargs: dict[str, Any]) -> dict[str, Any]:
    for keyword in kwargs.keys() - known - _IGNORED:
        meant = get_close_matches(keyword, known | _COMMON, 1, 0.7)
        if meant:
            hint = "" if keyword in meant else f": is {meant[0]} meant?"
            raise TypeError(
                f"{name} has no argument {keyword!r}{hint}\n  at {kernel_line()}"
            )
        line = kernel_line()
        text = f"{name}: the argument {keyword!r} is not known, and left out"
        warnings.warn_explicit(NkiWarning(text), None, line.file, line.number or 1)
    return {key: value for key, value in kwargs.items() if key in known}


def lenient_functions(
    module: str, chapters: Iterable[ModuleType]
) -> dict[str, Callable[..., Any]]:
    """The functions of modules, which take arguments by name beyond their own."""
    return {
        name: lenient(module, found)
        for chapter in chapters
        for name in chapter.__all__
        if inspect.isfunction(found := getattr(chapter, name))
    }
