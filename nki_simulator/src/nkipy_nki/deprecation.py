"""Warnings about older forms of the language: one for each line of a kernel."""

from __future__ import annotations

import warnings
from weakref import WeakKeyDictionary

from nkipy_nki.findings import Findings
from nkipy_nki.program import Line
from nkipy_nki.running import current, is_running, kernel_line

__all__ = ["warn_deprecated"]

#: What was warned of, by the findings of a run, which its cores share.
_WARNED: WeakKeyDictionary[Findings, set[tuple[Line, str]]] = WeakKeyDictionary()


def warn_deprecated(text: str) -> None:
    """Warn of an older form at the kernel's line, once in a run."""
    line = kernel_line()
    if is_running():
        warned = _WARNED.setdefault(current().findings, set())
        if (line, text) in warned:
            return
        warned.add((line, text))
    warnings.warn_explicit(text, DeprecationWarning, line.file, line.number)
