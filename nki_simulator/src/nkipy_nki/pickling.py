"""Kernels are pickled by name, and a copy of one is itself, as with functions."""

from __future__ import annotations

import importlib
from functools import reduce
from pickle import PicklingError
from typing import Any, TypeVar

__all__ = ["ByName"]

S = TypeVar("S", bound="ByName")


class ByName:
    """What a decorator makes of a function, whose names it takes.

    It is pickled as the name of what it is in its module; or, if that is its function
    or another kernel of it, as that name and what else it is made of.

    Attributes:
        __wrapped__: the function, as ``functools.update_wrapper`` sets it.
    """

    __wrapped__: Any

    def __reduce__(self) -> tuple[Any, ...]:
        """How it is pickled.

        Raises:
            PicklingError: its name is that of something else, or of nothing.
        """
        place = self.__module__, getattr(self, "__qualname__", "")
        try:
            found = _named(*place)
        except (AttributeError, ImportError):
            found = None
        if found is self:
            return _named, place
        made = self._made_of()
        if made is None or found is None or _function(found) is not _function(self):
            raise PicklingError(
                f"{self!r} cannot be pickled: it is not what {'.'.join(place)} names; "
                "kernels are pickled by name, so make it at the top of a module, under "
                "its function's name"
            )
        return _again, (type(self), *place, made)

    def _made_of(self) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """What it was made of beside its function; None if it is pickled by name only.

        Returns:
            Arguments by position, and those by name.
        """
        return None

    def __copy__(self: S) -> S:
        return self

    def __deepcopy__(self: S, memo: Any) -> S:
        return self


def _named(module: str, name: str) -> Any:
    return reduce(getattr, name.split("."), importlib.import_module(module))


def _function(made: Any) -> Any:
    """The function of a kernel, or of itself."""
    return made.__wrapped__ if isinstance(made, ByName) else made


def _again(
    kind: type, module: str, name: str, made: tuple[tuple[Any, ...], dict[str, Any]]
) -> Any:
    args, kwargs = made
    return kind(_function(_named(module, name)), *args, **kwargs)
