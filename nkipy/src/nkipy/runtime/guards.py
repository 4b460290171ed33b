"""Notices when something that a kernel captured has changed since it was traced.

What a kernel takes from its globals and closure is part of its program: arrays,
scalars, functions, and what containers, objects, classes and modules hold of these. If
you rebind such a name, or write into such an array, the program is stale, and running
it would give a wrong number without an error. So they are remembered at trace time and
compared at each call. Of objects (arguments, too), classes and modules, those
attributes count that the code names which the kernel reaches; :mod:`.captured` says
what it reaches. A kernel that captures nothing pays nothing.

A kernel that draws random numbers is traced anew at each call: the state of the
generator is part of what it captured, and has moved on.
"""

from __future__ import annotations

import array
import functools
import hashlib
import math
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence, Set
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from nkipy.core.trace import is_array_like
from nkipy.core.tree import map_tree
from nkipy.runtime import captured
from nkipy.runtime.captured import Names, Read

_SCALARS = (
    *(bool, int, float, complex, str, bytes, type(None), type(...), range, slice),
    *(np.generic, np.dtype),
)
_MEMORY = (bytearray, memoryview, array.array)
_Check = Callable[[], bool]


class Guards:
    """The captured values of `func` at the time of construction.

    Args:
        func: the kernel; None captures nothing.
        arguments: static arguments, whose attributes may change.
    """

    def __init__(self, func: Callable[..., Any] | None, arguments: Any = ()) -> None:
        names, known = Names(), -1
        # Code found late may name attributes of objects found early.
        while known < len(names.all):
            known = len(names.all)
            walk = _Walk(names)
            if func is not None:
                walk.visit(lambda: func, within=False)
            for held in _objects(arguments):
                walk.visit(functools.partial(_same, held), within=False)
        if "random" in names.all:
            walk.checks += [
                _unchanged(np.random.get_state),
                _unchanged(random.getstate),
            ]
        self._checks = walk.checks
        #: Of what captured containers, objects, classes and modules hold.
        self._held = walk.held

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


class _Walk:
    """Checks that what is visited, and all that it leads to, is what it is now."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.checks: list[_Check] = []
        self.held: list[_Check] = []
        self._seen: dict[int, Any] = {}  # kept alive, so that no id comes twice

    def visit(self, read: Read, within: bool) -> None:
        """Add the checks for what `read` gives.

        Args:
            within: something else holds it.
        """
        value = read()
        checks = self.held if within else self.checks
        if isinstance(value, _SCALARS):
            checks.append(lambda: (now := read()) is value or _equal(now, value))
            return
        if isinstance(value, MethodType):  # a new one each time that it is asked for
            self.visit(lambda: _part(read(), "__func__"), within)
            self.visit(lambda: _part(read(), "__self__"), within)
            return
        if id(value) in self._seen:
            checks.append(lambda: read() is value)
            return
        self._seen[id(value)] = value
        if isinstance(value, (list, tuple, deque, Mapping, Set)) or (
            isinstance(value, Sequence) and not isinstance(value, _MEMORY)
        ):
            self._container(value, read)
            return
        checks.append(lambda: read() is value)
        state = _state_of(value)
        if state is not None:
            checks.append(_unchanged(state))
        else:
            self._lead_on(value)

    def _container(self, value: Any, read: Read) -> None:
        if isinstance(value, Mapping):
            keys = list(value)
            self.held.append(lambda: _all_equal(read(), type(value), keys))
            for key in keys:
                self.visit(functools.partial(_item, read, key), within=True)
            return
        items = list(value)
        if isinstance(value, Set) or all(isinstance(i, _SCALARS) for i in items):
            self.held.append(lambda: _all_equal(read(), type(value), items))
        if isinstance(value, Set):
            for item in items:
                self.visit(functools.partial(_same, item), within=True)
        elif not all(isinstance(i, _SCALARS) for i in items):
            self.held.append(lambda: _length(read(), type(value)) == len(items))
            for i in range(len(items)):
                self.visit(functools.partial(_item, read, i), within=True)

    def _lead_on(self, value: Any) -> None:
        """Visit what `value`, which is no data itself, leads to."""
        if isinstance(value, FunctionType):
            self._function(value)
        elif isinstance(value, functools.partial):
            for part in (value.func, value.args, value.keywords):
                self.visit(functools.partial(_same, part), within=False)
        elif isinstance(value, type):
            self._class(value)
        elif functions := captured.functions_of(value):
            for function in functions:
                self._function(function)
        else:
            self._object(value)

    def _function(self, function: FunctionType) -> None:
        if captured.is_constant(function.__globals__.get("__name__")):
            if hasattr(function, "__wrapped__"):  # of a decorator of functools or ours
                self.visit(lambda: function.__wrapped__, within=False)
            return
        self.names.add(function.__code__)
        for read in captured.outside_of(function, self.names):
            if captured.is_bound(read):
                self.visit(read, within=False)

    def _class(self, kind: type) -> None:
        for each, name in captured.class_members(kind, self.names):
            member = functools.partial(captured.class_member, each, name)
            self.visit(member, within=True)

    def _object(self, value: Any) -> None:
        if captured.is_constant(type(value).__module__):
            wrapped = getattr(value, "__wrapped__", None)
            if wrapped is not None:  # a compiled kernel within a kernel
                self.visit(functools.partial(_same, wrapped), within=False)
        if not isinstance(value, ModuleType):
            self.visit(lambda: type(value), within=True)
        names = captured.own_names(value, self.names)
        if names or not isinstance(value, ModuleType):
            self.held.append(lambda: captured.own_names(value, self.names) == names)
        for name in names:
            attribute = functools.partial(captured.own_attribute, value, name)
            self.visit(attribute, within=True)


def _objects(arguments: Any) -> list[Any]:
    objects: list[Any] = []

    def collect(path: Any, leaf: Any) -> None:
        if not is_array_like(leaf) and not isinstance(leaf, _SCALARS):
            objects.append(leaf)

    map_tree(collect, list(arguments))
    return objects


def _state_of(value: Any) -> Callable[[], Any] | None:
    """What reads the state of `value`, if it is data as a whole."""
    if isinstance(value, np.ndarray):
        return None if value.dtype.hasobject else functools.partial(_digest, value)
    if isinstance(value, _MEMORY):
        return functools.partial(bytes, value)
    if isinstance(value, np.random.Generator):
        return lambda: value.bit_generator.state
    if isinstance(value, np.random.RandomState):
        return value.get_state
    if isinstance(value, random.Random):
        return value.getstate
    return None


def _unchanged(read: Read) -> _Check:
    before = _frozen(read())
    return lambda: _frozen(read()) == before


def _frozen(state: Any) -> Any:
    """`state`, of arrays in dicts and tuples, as something that == compares."""
    if isinstance(state, dict):
        return [(key, _frozen(value)) for key, value in state.items()]
    if isinstance(state, tuple):
        return [_frozen(value) for value in state]
    return state.tobytes() if isinstance(state, np.ndarray) else state


def _all_equal(now: Any, kind: type, values: Sequence[Any]) -> bool:
    """Whether `now` is a container of that kind with just these scalars (or keys)."""
    if _length(now, kind) != len(values):
        return False
    return all(a is b or _equal(a, b) for a, b in zip(now, values))


def _length(now: Any, kind: type) -> int:
    """The length of `now`; -1 if it is not of that kind."""
    sized: Any = now
    return len(sized) if type(now) is kind else -1


def _item(read: Read, key: Any) -> Any:
    try:
        return read()[key]
    except LookupError:
        return _item


def _part(method: Any, name: str) -> Any:
    return getattr(method, name, _part)


def _same(value: Any) -> Any:
    return value


def _equal(now: Any, value: Any) -> bool:
    if type(now) is not type(value) or now != value:
        return False
    return now != 0 or isinstance(now, (str, bytes)) or _sign(now) == _sign(value)


def _sign(zero: Any) -> float:
    return math.copysign(1.0, zero) if isinstance(zero, (float, np.floating)) else 1.0


def _digest(array: np.ndarray) -> bytes:
    raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return hashlib.sha256(raw).digest()
