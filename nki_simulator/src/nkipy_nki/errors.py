"""What the language refuses."""

from __future__ import annotations

__all__ = ["NkiError", "NkiProgramError", "NkiValidationError"]


class NkiError(Exception):
    """What went wrong with a kernel."""


class NkiValidationError(NkiError, AssertionError):
    """A kernel does what the language, or the chip that it is for, does not allow.

    It is an AssertionError as well, which is what the vendor's simulator raises for a
    part of these; kernels and tests catch either.
    """


class NkiProgramError(NkiError, ValueError):
    """Bytes are no program of a kernel, or one that does what may not be."""
