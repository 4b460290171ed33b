"""What the language refuses."""

from __future__ import annotations

from typing import Any

__all__ = [
    "NkiError",
    "NkiProgramError",
    "NkiValidationError",
    "add_calls",
    "add_line",
    "has_line",
]


class NkiError(Exception):
    """What went wrong with a kernel."""


class NkiValidationError(NkiError, AssertionError):
    """A kernel does what the language, or the chip that it is for, does not allow.

    It is an AssertionError as well, which is what the vendor's simulator raises for a
    part of these; kernels and tests catch either.

    Attributes:
        finding: of an error of a kernel's run, the
            :class:`~nkipy_nki.findings.Finding`: its kind, place and details as data.
            None of any other.
        documented: the name that the first generation's documentation explains it by,
            such as ``"err_1d_arange_not_supported"``; or "".
    """

    finding: Any = None
    documented: str = ""


#: What stands before a line of the kernel in an error's text.
_AT = "\n  at "


def add_line(error: Exception, line: Any) -> None:
    """Let an error say the kernel's line, unless it does already."""
    if not has_line(error):
        error.args = (f"{error}{_AT}{line}",)


def add_calls(error: Exception, line: Any) -> None:
    """Let an error that says `line` say which lines of the kernel call its function."""
    text = str(error)
    at = f"{_AT}{line}"
    if line.calls and at in text and "\n  called at " not in text:
        calls = "".join(f"\n  called at {c} in {c.function}" for c in line.calls)
        error.args = (text + calls,)


def has_line(error: Exception) -> bool:
    """Whether an error says a line of the kernel."""
    return _AT in str(error)


class NkiProgramError(NkiError, ValueError):
    """Bytes are no program of a kernel, or one that does what may not be."""
