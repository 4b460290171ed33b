"""The source of kernels, as far as a report shows it."""

from __future__ import annotations

import ast
import linecache
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence

__all__ = ["shown_lines", "source_of"]

#: Lines that are shown around those that have times and are in no function.
_AROUND = 2
#: About how many lines of a file are shown at most.
_LINES = 2000
#: Lines of a file in which functions are looked for at most.
_PARSED = 50_000


def source_of(file: str) -> list[str]:
    """The lines of a Python file; none if it is not there, or is no Python file.

    A program may come from others and name any file: none but sources are shown. A
    notebook's cells are known by the names that Python has for them.
    """
    is_source = file.endswith(".py") and os.path.isabs(file)
    if is_source or file in linecache.cache:
        return linecache.getlines(file)
    return []


def shown_lines(text: Sequence[str], times: Iterable[int]) -> list[int]:
    """The numbers of a file's lines that are shown.

    They are the functions that those with times are in, as a whole; where there is no
    function, or too long a one, some lines around.

    Args:
        text: the file's lines.
        times: the numbers of those with times, the most important first.
    """
    functions = list(_functions(text))
    shown: set[int] = set()
    for number in times:
        if len(shown) >= _LINES:
            break
        found = [lines for lines in functions if number in lines]
        around = range(number - _AROUND, number + _AROUND + 1)
        more = max(found, key=len, default=around)
        if len(shown) + len(more) > _LINES:
            more = around
        shown.update(n for n in more if n > 0 or n == number)
    return sorted(shown)


def _functions(text: Sequence[str]) -> Iterator[range]:
    """The lines of each function, decorators included; none where it is no Python."""
    if len(text) > _PARSED:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the file's own
            tree = ast.parse("".join(text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # a notebook's cell with commands, or a file that has changed since
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            yield range(first, (node.end_lineno or node.lineno) + 1)
