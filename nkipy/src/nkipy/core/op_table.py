"""The tables that the op registry fills and tensors look up.

They stand alone so that neither side imports the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Callee(Protocol):
    """What tensors know of an op: how to call it, and what part of NumPy it is of."""

    chapter: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

    def called(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """``self(*args, **kwargs)``, called for the user by one other function."""


#: Every op with a record, by name.
OPS: dict[str, Callee] = {}
#: NumPy's functions and ufuncs, each to the op that answers it.
NUMPY_TABLE: dict[Callable[..., Any], Callee] = {}
