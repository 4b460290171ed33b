"""What a kernel returns as a tree: tensors in dicts, lists, tuples and dataclasses.

nkipy's results are trees of the same kinds, and this package does not import nkipy.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from nkipy_nki.errors import NkiValidationError

__all__ = ["leaves", "map_tree"]

#: How many containers may be within each other.
DEEPEST = 100


def map_tree(function: Callable[[Any], Any], value: Any) -> Any:
    """`value` with each leaf replaced by ``function(leaf)``.

    Containers keep their type: subclasses of dict, named tuples, dataclasses included.

    Raises:
        NkiValidationError: one holds itself, or many are within each other.
    """
    return _mapped(function, value, 0)


def leaves(value: Any) -> Iterator[Any]:
    """What is in a tree, in order.

    Raises:
        NkiValidationError: as of :func:`map_tree`.
    """
    found: list[Any] = []
    map_tree(found.append, value)
    yield from found


def _mapped(function: Callable[[Any], Any], value: Any, depth: int) -> Any:
    held = _held(value)
    if held is None:
        return function(value)
    if depth >= DEEPEST:
        raise NkiValidationError(
            f"the kernel returns a {type(value).__name__} that holds itself, or more "
            f"than {DEEPEST} containers within each other: return tensors in tuples"
        )
    return _rebuilt(value, [_mapped(function, part, depth + 1) for part in held])


def _held(value: Any) -> list[Any] | None:
    """What a container holds; None of a leaf, as is all that is the language's own."""
    kind = type(value)
    if kind.__module__.partition(".")[0] == __name__.partition(".")[0]:
        return None
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, (list, tuple)):
        return list(value)
    if dataclasses.is_dataclass(kind) and not isinstance(value, type):
        return [getattr(value, field.name) for field in dataclasses.fields(kind)]
    return None


def _rebuilt(container: Any, made: list[Any]) -> Any:
    """A container like another one, which holds something else."""
    kind = type(container)
    if isinstance(container, tuple):
        return kind(*made) if hasattr(container, "_fields") else kind(made)
    like = copy.copy(container)
    if isinstance(container, dict):
        like.update(zip(container, made))
    elif isinstance(container, list):
        like[:] = made
    else:
        for field, part in zip(dataclasses.fields(kind), made):
            object.__setattr__(like, field.name, part)  # frozen ones, too
    return like
