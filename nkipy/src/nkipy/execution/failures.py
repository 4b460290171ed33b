"""Failures of a device, with what the device has failed for where that is known."""

from __future__ import annotations

from nkipy.hlo import run_errors
from spike import NrtError


def forget() -> None:
    """Before the device is called: what earlier calls failed for is not its cause."""
    if run_errors.has_noted:
        run_errors.forget()


def explain(error: NrtError) -> None:
    """Give `error` its cause, if the device is emulated in this process.

    Then what has been raised there, by a custom call for example, becomes the error's
    ``__cause__``. Its text is the end of the error's, in a child process too.
    """
    cause = run_errors.take(error.status)
    if cause is not None:
        error.__cause__ = cause
