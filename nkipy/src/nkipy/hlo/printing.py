"""Where kernels print that run inside of a program."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np

__all__ = ["PRINTER", "Printer"]

#: Called with a rank (0 of a call that each rank runs alone), a name and values.
Printer: TypeAlias = "Callable[[int, str, np.ndarray], None]"

#: What prints for the custom call that runs; None leaves it to who runs the kernel.
PRINTER: ContextVar[Printer | None] = ContextVar("nkipy_printer", default=None)
