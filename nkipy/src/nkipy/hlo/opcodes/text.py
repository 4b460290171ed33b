"""Pieces of HLO's text form."""

from __future__ import annotations

from collections.abc import Iterable


def braces(values: Iterable[int]) -> str:
    """``{1,2}``"""
    return "{" + ",".join(map(str, values)) + "}"


def quoted(value: str | bytes) -> str:
    """A string literal with C escapes."""
    data = value.encode() if isinstance(value, str) else value
    return '"' + "".join(map(_escaped, data)) + '"'


def _escaped(byte: int) -> str:
    char = chr(byte)
    if char in '"\\':
        return "\\" + char
    return char if 32 <= byte < 127 else f"\\{byte:03o}"


def string_map(pairs: Iterable[tuple[str, str]]) -> str:
    """``{name="value",...}``"""
    return "{" + ",".join(f"{key}={quoted(value)}" for key, value in pairs) + "}"
