"""What a user's mistake raises where torch would hide it.

torch wraps what a backend raises into ``BackendCompilerFailed``, but for exceptions of
a class of its own: these are, and reach whoever calls the compiled function.
"""

from __future__ import annotations

from torch._dynamo.exc import ShortenTraceback


class BackendError(ShortenTraceback):
    """The backend cannot be used as it is: a RuntimeError."""

    def __init__(self, text: str) -> None:
        super().__init__(text, first_useful_frame=None)


class OptionError(BackendError, ValueError):
    """An option that there is not, or a value that it cannot have: a ValueError."""


class OptionTypeError(OptionError, TypeError):
    """An option's value is of another type: a TypeError, and a ValueError."""


class KernelError(BackendError, ValueError):
    """An NKI kernel does not take what its operator is given: a ValueError."""


class UnsupportedOperationError(BackendError, NotImplementedError):
    """An operation has no lowering, and the option 'unsupported' is "error"."""
