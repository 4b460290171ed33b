"""What is made of docstrings before napoleon reads them."""

from __future__ import annotations

import re
from typing import Any

#: ``TypeError, ValueError: why``, indented.
_SEVERAL = re.compile(r"^(\s+)((?:\w+, )+\w+)(: .*)$")


def setup(app: Any) -> None:
    """Sphinx calls this."""
    before_napoleon = 100
    app.connect("autodoc-process-docstring", one_by_one, priority=before_napoleon)


def one_by_one(*event: Any) -> None:
    """What a docstring says of several errors at once, said of each.

    Headings with parentheses are none to napoleon, and lose them.
    """
    lines: list[str] = event[-1]
    heading, known = "Raises (on a call):", "Raises on a call:"
    lines[:] = [line.replace(heading, known) for line in lines]
    for i in reversed(range(len(lines))):
        found = _SEVERAL.match(lines[i])
        if found and _section_of(lines, i).startswith("Raises"):
            each = [f"{found[1]}{name}{found[3]}" for name in found[2].split(", ")]
            end = _end_of(lines, i)
            more = lines[i + 1 : end]
            lines[i:end] = [line for first in each for line in (first, *more)]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _section_of(lines: list[str], i: int) -> str:
    """The heading that line `i` is under."""
    above = (line for line in reversed(lines[:i]) if line.strip())
    outer = (line.strip() for line in above if _indent(line) < _indent(lines[i]))
    return next(outer, "")


def _end_of(lines: list[str], i: int) -> int:
    """The line after those that go on with line `i`."""
    end = i + 1
    while end < len(lines) and _indent(lines[end]) > _indent(lines[i]):
        end += 1
    return end
