"""How long a kernel may run inside of a program."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

__all__ = ["GO_ON"]

#: Who runs a kernel for the custom call that runs calls this between instructions, if
#: there is anything: it raises a TimeoutError if the program takes longer than it may.
GO_ON: ContextVar[Callable[[], None] | None] = ContextVar("nkipy_go_on", default=None)
