"""What stands in a program's text: each thing is looked at before it is used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from reprlib import Repr
from typing import Any, NoReturn, TypeVar

from nkipy_nki.errors import NkiProgramError

__all__ = [
    "INT64",
    "Place",
    "WrongError",
    "dict_of",
    "entry_of",
    "integer_of",
    "integers_of",
    "member_of",
    "refusal",
    "refuse",
    "row_of",
    "shown",
    "string_of",
]

INT64 = 1 << 63


class WrongError(ValueError):
    """Something in a program is wrong."""


class Place:
    """What is read: for the text of an error.

    Attributes:
        core: which program.
        path: the table and the row; of a step in loops, each of their rows.
    """

    def __init__(self) -> None:
        self.core = 0
        self.path: list[str] = []

    def __str__(self) -> str:
        where = "".join(self.path)
        if not where:
            return ""
        return f"{f'core {self.core}, ' if self.core else ''}{where}: "

    def each(self, name: str, rows: Sequence[Any]) -> Iterator[Any]:
        """The rows of a table, each while it is what is read."""
        for number, row in enumerate(rows):
            self.path.append(f"{name}[{number}]")
            yield row
            self.path.pop()


def refusal(why: str) -> NkiProgramError:
    """The error that says why bytes are no program."""
    return NkiProgramError(f"this is no NKI program that can be run: {why}")


def refuse(why: str) -> NoReturn:
    """Say what is wrong; the reader adds where."""
    raise WrongError(why)


_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 60
_SHORT.maxlevel = 3


def shown(found: Any) -> str:
    """Anything from a program, in a text."""
    return _SHORT.repr(found)


def row_of(found: Any, what: str, fields: str, optional: int = 0) -> list[Any]:
    """A list that must have these fields, the last ones of which may be missing."""
    names = fields.split()
    if type(found) is list and len(names) - optional <= len(found) <= len(names):
        return found
    refuse(f"{shown(found)} is no {what}: that is a list of {', '.join(names)}")


_Member = TypeVar("_Member", bound=Enum)
_Entry = TypeVar("_Entry")


def member_of(kind: type[_Member], value: Any, what: str) -> _Member:
    """The member of an enumeration that has a value."""
    for member in kind:
        if type(member.value) is type(value) and member.value == value:
            return member
    names = ", ".join(str(member.value) for member in kind)
    refuse(f"{what} is {shown(value)}, and must be one of {names}")


def string_of(value: Any, what: str) -> str:
    """A text."""
    if type(value) is not str:
        refuse(f"{what} is {shown(value)}, and must be a text")
    return value


def dict_of(found: Any, **kinds: type) -> dict[str, Any]:
    """A dict's values, which must be of these kinds."""
    if not isinstance(found, dict):
        refuse(f"a {type(found).__name__} stands for a dict")
    for name, kind in kinds.items():
        if type(found.get(name)) is not kind:
            refuse(f"{name} is {type(found.get(name)).__name__}, not {kind.__name__}")
    return found


def integer_of(value: Any, what: str, low: int = -INT64, high: int = INT64) -> int:
    """An int from `low` on, below `high`."""
    if type(value) is not int or not low <= value < high:
        wanted = f"must be a whole number from {low} on, below {high}"
        refuse(f"{what} is {shown(value)}, and {wanted}")
    return value


def integers_of(
    values: Any, what: str, low: int = -INT64, high: int = INT64
) -> tuple[int, ...]:
    """A list of at most 32 such ints."""
    if type(values) is not list or len(values) > 32:
        refuse(f"{what} is {shown(values)}, and must be a list of at most 32")
    return tuple(integer_of(value, what, low, high) for value in values)


def entry_of(table: Sequence[_Entry], number: Any, what: str) -> _Entry:
    """The entry of a table that is referred to by number."""
    return table[integer_of(number, what, 0, len(table))]
