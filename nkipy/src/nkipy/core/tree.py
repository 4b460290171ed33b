"""Arguments and results as trees: arrays inside dicts, lists, tuples, dataclasses."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from typing import Any

Path = tuple[str, ...]


def is_container(value: Any) -> bool:
    """Whether :func:`map_tree` looks inside `value`."""
    kind = type(value)
    if kind in (list, tuple, dict):
        return True
    if isinstance(value, (list, tuple, dict)):
        return True
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def children(value: Any) -> Iterator[tuple[str, Any]]:
    """(key, child) of a container, keys as text."""
    if isinstance(value, dict):
        yield from ((str(k), v) for k, v in value.items())
    elif isinstance(value, (list, tuple)):
        fields = getattr(value, "_fields", None)
        names = fields if fields is not None else map(str, range(len(value)))
        yield from zip(names, value)
    else:
        for field in dataclasses.fields(value):
            yield field.name, getattr(value, field.name)


def map_tree(function: Callable[[Path, Any], Any], value: Any, path: Path = ()) -> Any:
    """`value` with each leaf replaced by ``function(path, leaf)``.

    Containers keep their type: dict subclasses, namedtuples, dataclasses included.
    """
    if not is_container(value):
        return function(path, value)
    made = [map_tree(function, child, (*path, key)) for key, child in children(value)]
    return rebuild(value, made)


def rebuild(container: Any, made: list[Any]) -> Any:
    """A container like `container`, with `made` in place of its children."""
    if isinstance(container, dict):
        pairs = dict(zip(container, made))
        if type(container) is dict:
            return pairs
        copy = container.copy()  # keeps a subclass's state, a default factory say
        copy.update(pairs)
        return copy
    if isinstance(container, tuple):
        if hasattr(container, "_fields"):
            return type(container)(*made)
        return tuple(made) if type(container) is tuple else type(container)(made)
    if isinstance(container, list):
        return made if type(container) is list else type(container)(made)
    copy = object.__new__(type(container))
    copy.__dict__.update(getattr(container, "__dict__", {}))
    for field, child in zip(dataclasses.fields(container), made):
        object.__setattr__(copy, field.name, child)
    return copy


_UNSAFE = re.compile(r"[^A-Za-z0-9_]+")


def path_name(path: Path) -> str:
    """A path as a parameter name: ``layers.0.w``."""
    return ".".join(_UNSAFE.sub("_", part) or "_" for part in path)
