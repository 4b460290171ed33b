"""Limits of what a process keeps, as the environment says."""

from __future__ import annotations

import os


def limit_from_environment(variable: str, default: int) -> int:
    """The number in an environment variable, or `default` where it is not set.

    Raises:
        ValueError: it has something other than a number from 1 up.
    """
    text = os.environ.get(variable, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise ValueError(f"{variable} must be a number from 1 up, but is {text!r}")
    return int(text)
