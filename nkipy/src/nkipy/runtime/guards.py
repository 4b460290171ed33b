"""Notices when something that a kernel captured has changed since it was traced.

What a kernel takes from its globals and closure is part of its program: arrays,
scalars, functions, and what lists, dicts, objects and modules hold of these. If you
rebind such a name, or write into such an array, the program is stale, and running it
would give a wrong number without an error. So they are remembered at trace time and
compared at each call. Of objects (arguments, too) and modules, those attributes count
that the code names. A kernel that captures nothing pays nothing.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import math
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from nkipy.core.trace import is_array_like
from nkipy.core.tree import map_tree

_SCALARS = (bool, int, float, str, bytes, type(None), np.generic, np.dtype)
#: Modules whose attributes no kernel's author changes.
_CONSTANT = frozenset(("numpy", "nkipy", "ml_dtypes", "math", "builtins"))
#: How deep to look into containers and objects.
_DEPTH = 4
_Read = Callable[[], Any]
_Check = Callable[[], bool]


class Guards:
    """The captured values of `func` at the time of construction.

    Args:
        func: the kernel; functions that it calls by a global name count too.
        arguments: static arguments, whose attributes may change.
    """

    def __init__(self, func: Callable[..., Any], arguments: Any = ()) -> None:
        self._checks: list[_Check] = []
        #: Of what captured containers and objects hold.
        self._held: list[_Check] = []
        for check, depth in _checks_of(func, arguments):
            (self._checks if depth == _DEPTH else self._held).append(check)

    def settle(self) -> None:
        """Tracing is over: what a container holds and the kernel itself has changed,
        by an append say, is no reason to trace again."""
        self._held = [check for check in self._held if check()]

    def hold(self) -> bool:
        """Whether everything is still what it was."""
        for check in self._checks:
            if not check():
                return False
        for check in self._held:
            if not check():
                return False
        return True


def _checks_of(
    func: Callable[..., Any], arguments: Any
) -> Iterator[tuple[_Check, int]]:
    function, instance = _function_of(func)
    functions = _functions(function)
    names = frozenset(name for f in functions for name in _names(f.__code__))
    for held in (instance, *_objects(arguments)):
        yield from _checks(functools.partial(_same, held), names, _DEPTH)
    for each in functions:
        for read in _readers(each):
            if _bound(read):
                yield from _checks(read, names, _DEPTH)


def _functions(first: FunctionType | None) -> list[FunctionType]:
    """`first`, and the functions of its module that it calls, and so on."""
    found: list[FunctionType] = []
    pending: list[Any] = [first]
    while pending:
        function = pending.pop()
        if not isinstance(function, FunctionType) or function in found:
            continue
        if first is not None and function.__globals__ is first.__globals__:
            found.append(function)
            pending.extend(read() for read in _readers(function) if _bound(read))
    return found


def _objects(arguments: Any) -> list[Any]:
    objects: list[Any] = []

    def collect(path: Any, leaf: Any) -> None:
        if not is_array_like(leaf) and not isinstance(leaf, _SCALARS):
            objects.append(leaf)

    map_tree(collect, list(arguments))
    return objects


def _same(value: Any) -> Any:
    return value


def _bound(read: _Read) -> bool:
    try:
        read()
    except (KeyError, ValueError):  # a global or a cell that has no value as yet
        return False
    return True


def _checks(
    read: _Read, names: frozenset[str], depth: int
) -> Iterator[tuple[_Check, int]]:
    """Checks that what `read` gives, and what that holds, is what it is now.

    Args:
        names: attributes that count.
        depth: how deep to look; comes back with each check.
    """
    value = read()
    if isinstance(value, np.ndarray):
        digest = _digest(value)
        yield lambda: (now := read()) is value and _digest(now) == digest, depth
    elif isinstance(value, _SCALARS):
        yield lambda: (now := read()) is value or _equal(now, value), depth
    elif isinstance(value, (FunctionType, type, functools.partial)):
        yield lambda: read() is value, depth
    elif depth and isinstance(value, (list, tuple, dict)):
        keys = list(value) if isinstance(value, dict) else range(len(value))
        yield lambda: _has_keys(read(), type(value), keys), depth - 1
        for key in keys:
            yield from _checks(functools.partial(_item, read, key), names, depth - 1)
    elif depth and (attributes := _attributes(value, names)):
        yield lambda: read() is value, depth
        for name in attributes:
            yield from _checks(
                functools.partial(_attribute, value, name), names, depth - 1
            )


def _has_keys(now: Any, kind: type, keys: Any) -> bool:
    if type(now) is not kind:
        return False
    items: Any = now
    if len(items) != len(keys):
        return False
    return not isinstance(now, dict) or all(key in now for key in keys)


def _item(read: _Read, key: Any) -> Any:
    try:
        return read()[key]
    except LookupError:
        return _item


def _attribute(value: Any, name: str) -> Any:
    return getattr(value, "__dict__", {}).get(name, _attribute)


def _attributes(value: Any, names: frozenset[str]) -> list[str]:
    """Names among `names` that are attributes of an object's own, or a module's."""
    if isinstance(value, ModuleType):
        if value.__name__.partition(".")[0] in _CONSTANT:
            return []
    return sorted(names & getattr(value, "__dict__", {}).keys())


def _equal(now: Any, value: Any) -> bool:
    if type(now) is not type(value) or now != value:
        return False
    return now != 0 or isinstance(now, (str, bytes)) or _sign(now) == _sign(value)


def _sign(zero: Any) -> float:
    return math.copysign(1.0, zero) if isinstance(zero, (float, np.floating)) else 1.0


def _digest(array: np.ndarray) -> bytes:
    raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return hashlib.sha256(raw).digest()


def _function_of(func: Any) -> tuple[FunctionType | None, Any]:
    """The function that a call of `func` runs, and the instance that it is bound to."""
    while isinstance(func, functools.partial):
        func = func.func
    func = inspect.unwrap(func)
    instance = getattr(func, "__self__", None)
    found = getattr(func, "__func__", func)
    if not isinstance(found, FunctionType):
        found, instance = type(found).__call__, found
    return (found if isinstance(found, FunctionType) else None), instance


def _readers(function: FunctionType) -> Iterator[_Read]:
    names = set(_names(function.__code__)) & function.__globals__.keys()
    for name in sorted(names):
        yield functools.partial(function.__globals__.__getitem__, name)
    for cell in function.__closure__ or ():
        yield functools.partial(getattr, cell, "cell_contents")


def _names(code: CodeType) -> Iterator[str]:
    """Globals and attributes that the code names, and functions within it."""
    yield from code.co_names
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _names(const)
