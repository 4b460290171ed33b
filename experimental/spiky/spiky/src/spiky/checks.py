"""Checks of arguments, by the errors that Python has for them."""

from __future__ import annotations

import operator
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def checked_flag(name: str, value: Any) -> bool:
    """`value`, which is True or False.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} is True or False: got {value!r}")
    return value


def checked_number(name: str, value: Any, least: int) -> int:
    """`value`, an integer from `least` on.

    Raises:
        TypeError: it is no integer.
        ValueError: it is less.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(f"{name} is an integer from {least} on: got {value!r}")
    if number < least:
        raise ValueError(f"{name} is an integer from {least} on: got {number}")
    return number


def checked_text(name: str, value: Any) -> str:
    """`value`, a text.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} is a text: got {value!r}")
    return value


def checked_name(name: str, value: Any, names: Sequence[str]) -> str:
    """`value`, one of `names`.

    Raises:
        TypeError: it is no text.
        ValueError: it is another one.
    """
    either = " or ".join(map(repr, names))
    if not isinstance(value, str):
        raise TypeError(f"{name} is {either}: got {value!r}")
    if value not in names:
        raise ValueError(f"{name} is {either}: got {value!r}")
    return value


def checked_path(name: str, value: Any) -> Path | None:
    """A path from the root on, or None.

    Raises:
        TypeError: it is no path.
        ValueError: it is an empty one, or names a home directory that there is not.
    """
    if value is None:
        return None
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} is the path of a directory: got {value!r}")
    if not os.fspath(value):
        raise ValueError(f"{name} is the path of a directory: got {value!r}")
    try:
        return Path(value).expanduser().absolute()
    except RuntimeError:
        raise ValueError(f"{name} names no home directory: got {value!r}") from None
