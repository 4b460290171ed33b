"""Environment variables that are flags."""

from __future__ import annotations

import os

from nkipy_nki.errors import NkiValidationError

__all__ = ["flag"]

_NAMES = {"1": True, "true": True, "yes": True, "on": True}
_NAMES |= {"0": False, "false": False, "no": False, "off": False}


def flag(variable: str, default: bool) -> bool:
    """What a variable says, in whatever case; if it is empty or not set, the default.

    Raises:
        NkiValidationError: it is no flag.
    """
    text = os.environ.get(variable, "").strip().lower()
    if not text:
        return default
    if text not in _NAMES:
        raise NkiValidationError(f"{variable}={text!r} is neither 0 nor 1")
    return _NAMES[text]
