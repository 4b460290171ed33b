"""Arguments and results as trees: arrays inside dicts, lists, tuples, dataclasses."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from nkipy.core.errors import NKIPyValueError

Path = tuple[str, ...]


def is_container(value: Any) -> bool:
    """Whether :func:`map_tree` looks inside `value`."""
    return _holds_children(type(value))  # type: ignore[arg-type]


@lru_cache(maxsize=1024)
def _holds_children(kind: type) -> bool:
    if issubclass(kind, (list, tuple, dict)):
        return True
    return dataclasses.is_dataclass(kind) and not issubclass(kind, type)


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


def own_state(value: Any) -> dict[str, Any]:
    """Attributes that a container has besides its children."""
    if type(value) in (dict, list, tuple):
        return {}
    own = getattr(value, "__dict__", {})
    fields = getattr(type(value), "__dataclass_fields__", ())
    return {name: held for name, held in own.items() if name not in fields}


def map_tree(function: Callable[[Path, Any], Any], value: Any, path: Path = ()) -> Any:
    """`value` with each leaf replaced by ``function(path, leaf)``.

    Containers keep their type: dict subclasses, namedtuples, dataclasses included.

    Raises:
        ValueError: a container holds itself, or many are within each other.
    """
    if not is_container(value):
        return function(path, value)
    with finite(value, path):
        return _map_tree(function, value, path)


def _map_tree(function: Callable[[Path, Any], Any], value: Any, path: Path) -> Any:
    if not is_container(value):
        return function(path, value)
    made = [_map_tree(function, child, (*path, key)) for key, child in children(value)]
    return rebuild(value, made)


#: How many containers may be within each other, passed or captured: to walk them takes
#: some frames of Python's for each.
DEEPEST = 100


@contextmanager
def finite(tree: Any, path: Path = ()) -> Iterator[None]:
    """Where `tree` is walked: says what is wrong with it if that does not end.

    Args:
        tree: what is walked.
        path: where it is, for the message.

    Raises:
        ValueError: a container holds itself, or many are within each other.
        RecursionError: neither is so: it is who calls that is too deep in calls.
    """
    try:
        yield
    except RecursionError:
        problem = _endless(tree)
        if problem is None:
            raise
        where = f"'{path_name(path)}'" if path else "an argument or a result"
        raise NKIPyValueError(f"{where} {problem}") from None


def _endless(tree: Any) -> str | None:
    """Why a recursive walk over `tree` does not end, in words."""
    stack = [iter([tree])]
    within: list[int] = []  # the containers that the present one is in
    while stack:
        child = next(stack[-1], stack)
        if child is stack:
            stack.pop()
            del within[-1:]
        elif is_container(child):
            if id(child) in within:
                return f"holds a {type(child).__name__} that holds itself"
            if len(within) >= DEEPEST:
                return f"holds more than {DEEPEST} containers within each other"
            within.append(id(child))
            stack.append(held for _, held in children(child))
    return None


def rebuild(container: Any, made: list[Any]) -> Any:
    """A container like `container`, with `made` in place of its children.

    A subclass keeps what state it has besides them, a default factory say.
    """
    kind = type(container)
    if kind is dict:
        return dict(zip(container, made))
    if kind is list:
        return made
    if isinstance(container, tuple):
        if hasattr(container, "_fields"):
            return kind(*made)
        return tuple(made) if kind is tuple else kind(made)
    like = copy.copy(container)
    if isinstance(container, dict):
        like.update(zip(container, made))
    elif isinstance(container, list):
        like[:] = made
    else:
        for field, child in zip(dataclasses.fields(container), made):
            object.__setattr__(like, field.name, child)  # frozen ones, too
    return like


#: What is in no name of Python's, in whichever script.
_UNSAFE = re.compile(r"\W+")


@lru_cache(maxsize=8192)
def path_name(path: Path) -> str:
    """A path as a parameter name: ``layers.0.w``."""
    return ".".join(map(_identifier, path))


@lru_cache(maxsize=8192)
def _identifier(part: str) -> str:
    return _UNSAFE.sub("_", part) or "_"
