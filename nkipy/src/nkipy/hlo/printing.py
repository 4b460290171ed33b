"""Where kernels print that run inside of a program."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np

__all__ = ["PRINTER", "Printer"]

#: Called with a rank (0 of a call that each rank runs alone), a name and values. Says
#: whether it has taken them: if not, who runs the kernel prints them.
Printer: TypeAlias = "Callable[[int, str, np.ndarray], bool]"

#: What prints for the custom call that runs, if anything does.
PRINTER: ContextVar[Printer | None] = ContextVar("nkipy_printer", default=None)
