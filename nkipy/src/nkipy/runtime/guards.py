"""Notices when something that a kernel captured has changed since it was traced.

What a kernel takes from its globals and closure is part of its program: arrays,
scalars, functions, and what containers, objects, classes and modules hold of these. If
you rebind such a name, or write into such an array, the program is stale, and running
it would give a wrong number without an error. So they are remembered at trace time and
compared at each call. Of objects (arguments, too), classes and modules, those
attributes count that the code names which the kernel reaches; :mod:`.captured` says
what it reaches. A kernel that captures nothing pays nothing.

A kernel that changes what it captured, a step counter say, is traced anew at each
call, and so is one that draws random numbers: the state of the generator is part of
what it captured, and has moved on.
"""

from __future__ import annotations

import array
import functools
import io
import math
import operator
import os
import random
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, MappingView, Sequence, Set
from contextvars import ContextVar
from types import (
    BuiltinMethodType,
    FunctionType,
    MethodType,
    MethodWrapperType,
    ModuleType,
)
from typing import Any

import numpy as np

from nkipy.core.arguments import is_array_like
from nkipy.core.tensor import NKIPyTensorRef
from nkipy.core.trace_array import TraceArray
from nkipy.core.tree import children, is_container, own_state
from nkipy.runtime import captured
from nkipy.runtime.captured import Names, Read

_SCALARS = (
    *(bool, int, float, complex, str, bytes, type(None), type(...), range, slice),
    *(np.generic, np.dtype),
)
#: Methods that are bound to an object, of types that are written in C.
_BOUND_IN_C = (BuiltinMethodType, MethodWrapperType)
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
                walk.visit(lambda: func)
            for held in _objects(arguments):
                walk.visit(functools.partial(_same, held))
            walk.run()
        if "random" in names.all:
            walk.draws += [
                _unchanged(np.random.get_state),
                _unchanged(random.getstate),
            ]
        if "environ" in names.all or "getenv" in names.all:
            walk.checks.append(_unchanged(lambda: dict(os.environ)))
        self._checks = walk.checks
        self._draws = walk.draws
        self._data = walk.data

    def put_back(self) -> str | None:
        """Undo that the kernel put traced values in the place of captured data.

        They have no value after the trace, and the data would be lost.

        Returns:
            In words, one such place; None if there is none.
        """
        replaced = [(read, was) for read, was in self._data if _is_traced(read())]
        for read, was in replaced:
            captured.write(read, was)
        return captured.describe(replaced[0][0]) if replaced else None

    @property
    def check(self) -> Callable[[], bool] | None:
        """:meth:`hold`; None if nothing was captured, which holds for ever."""
        return self.hold if self._checks or self._draws else None

    def hold(self) -> bool:
        """Whether everything is still what it was."""
        for check in self._checks:
            if not check():
                return False
        for check in self._draws:
            if not check():
                return False
        return True

    def changed(self) -> bool:
        """Whether something is not what it was, generators of random numbers aside."""
        return not all(check() for check in self._checks)


class _Walk:
    """Checks that what is visited, and all that it leads to, is what it is now."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.checks: list[_Check] = []
        self.draws: list[_Check] = []  # of generators of random numbers
        self.data: list[tuple[Read, Any]] = []  # of scalars and arrays
        self._pending: deque[Read] = deque()
        self._seen: dict[int, Any] = {}  # kept alive, so that no id comes twice

    def visit(self, read: Read) -> None:
        """Have :meth:`run` add the checks for what `read` gives."""
        self._pending.append(read)

    def run(self) -> None:
        """Visit all that is pending, and what it leads to."""
        # No recursion: a chain of objects, linked each to the next, may be long.
        while self._pending:
            self._check(self._pending.popleft())

    def _check(self, read: Read) -> None:
        value = read()
        checks = self.checks
        if _is_traced(value):
            # Left by an earlier trace: to use it is an error, so that it is as good as
            # any other. Layers keep what a backward pass needs in such places.
            checks.append(lambda: _is_traced(read()))
            return
        if isinstance(value, np.void):
            self._record(value, read)
            return
        if isinstance(value, (np.ndarray, *_SCALARS)) and value is not None:
            self.data.append((read, value))
        if isinstance(value, _SCALARS):
            checks.append(lambda: (now := read()) is value or _equal(now, value))
            return
        if value is getattr or isinstance(value, operator.attrgetter):
            self.names.all.add("getattr")
            return
        if isinstance(value, MethodType):  # a new one each time that it is asked for
            self.visit(lambda: _part(read(), "__func__"))
            self.visit(lambda: _part(read(), "__self__"))
            return
        if id(value) in self._seen:
            checks.append(lambda: read() is value)
            return
        self._seen[id(value)] = value
        if isinstance(value, MappingView):
            checks.append(lambda: read() is value)
            self.visit(functools.partial(_mapping_of, value))
            return
        if isinstance(value, (list, tuple, deque, Mapping, Set)) or (
            isinstance(value, Sequence) and not isinstance(value, _MEMORY)
        ):
            self._container(value, read)
            if not captured.is_constant(type(value).__module__):
                checks.append(lambda: read() is value)  # for the attributes it has
                self._object(value)
            return
        checks.append(lambda: read() is value)
        if isinstance(value, np.ndarray) and not value.dtype.hasobject:
            checks.append(_is_unwritten(value))
            if not captured.is_constant(type(value).__module__):
                self._object(value)
            return
        state = _state_of(value)
        if state is not None:
            draws = not isinstance(value, _MEMORY)
            (self.draws if draws else checks).append(_unchanged(state))
            if not captured.is_constant(type(value).__module__):
                self._object(value)
        else:
            self._lead_on(value)

    def _record(self, value: np.void, read: Read) -> None:
        """A scalar of a structured dtype, which may be a view of an array."""
        dtype = value.dtype
        self.checks.append(lambda: getattr(read(), "dtype", None) == dtype)
        if not dtype.hasobject:
            kept = value.tobytes()
            self.checks.append(lambda: read().tobytes() == kept)
            return
        for name in dtype.names or ():
            self.visit(functools.partial(captured.item, read, name))

    def _container(self, value: Any, read: Read) -> None:
        if isinstance(value, Mapping):
            keys = list(value)
            self.checks.append(lambda: _all_equal(read(), type(value), keys))
            for key in keys:
                self.visit(functools.partial(captured.item, read, key))
            return
        items = list(value)
        if isinstance(value, Set) or all(isinstance(i, _SCALARS) for i in items):
            self.checks.append(lambda: _all_equal(read(), type(value), items))
        if isinstance(value, Set):
            for item in items:
                self.visit(functools.partial(_same, item))
        elif not all(isinstance(i, _SCALARS) for i in items):
            self.checks.append(lambda: _length(read(), type(value)) == len(items))
            for i in range(len(items)):
                self.visit(functools.partial(captured.item, read, i))

    def _lead_on(self, value: Any) -> None:
        """Visit what `value`, which is no data itself, leads to."""
        if isinstance(value, FunctionType):
            self._function(value)
        elif isinstance(value, functools.partial):
            for part in (value.func, value.args, value.keywords):
                self.visit(functools.partial(_same, part))
        elif isinstance(value, type):
            self._class(value)
        elif isinstance(value, np.ndarray):  # of objects
            for i in range(value.size):
                self.visit(functools.partial(value.flat.__getitem__, i))
        elif isinstance(value, _BOUND_IN_C):
            if not captured.is_only_write(value):
                self.visit(functools.partial(_same, value.__self__))
        elif isinstance(value, ContextVar):
            self.visit(functools.partial(value.get, None))
        elif isinstance(value, weakref.ref):
            self.visit(value)
        elif isinstance(value, Iterator) and not isinstance(value, io.IOBase):
            self.checks.append(lambda: False)  # nobody knows what comes next
        elif functions := captured.functions_of(value):
            for function in functions:
                self._function(function)
        else:
            self._object(value)

    def _function(self, function: FunctionType) -> None:
        if captured.is_constant(function.__globals__.get("__name__")):
            if hasattr(function, "__wrapped__"):  # of a decorator of functools or ours
                self.visit(lambda: function.__wrapped__)
            return
        self.names.add(function.__code__)
        self.checks.append(captured.is_whole(function, self.names))
        for read in captured.outside_of(function, self.names):
            if captured.is_bound(read):
                self.visit(read)

    def _class(self, kind: type) -> None:
        for each in captured.changing(kind):
            self.checks.append(
                _unchanged(functools.partial(captured.known_names, each, self.names))
            )
        for each, name in captured.class_members(kind, self.names):
            member = functools.partial(captured.class_member, each, name)
            self.visit(member)

    def _object(self, value: Any) -> None:
        if captured.is_constant(type(value).__module__):
            wrapped = getattr(value, "__wrapped__", None)
            if wrapped is not None:  # a compiled kernel within a kernel
                self.visit(functools.partial(_same, wrapped))
        if not isinstance(value, ModuleType):
            self.visit(lambda: type(value))
        names = captured.own_names(value, self.names)
        if names or not isinstance(value, ModuleType):
            self.checks.append(lambda: captured.own_names(value, self.names) == names)
        for name in names:
            attribute = functools.partial(captured.own_attribute, value, name)
            self.visit(attribute)


def _is_traced(value: Any) -> bool:
    if isinstance(value, TraceArray):
        value = value._as_traced_operand()
    return isinstance(value, NKIPyTensorRef)


def _objects(arguments: Any) -> list[Any]:
    """Static objects among the arguments, and classes of containers of the user's."""
    objects: list[Any] = []

    def collect(value: Any) -> None:
        if is_container(value):
            if type(value) not in (dict, list, tuple):
                objects.append(type(value))
            for held in own_state(value).values():
                collect(held)
            for _, child in children(value):
                collect(child)
        elif not is_array_like(value) and not isinstance(value, _SCALARS):
            objects.append(value)

    for argument in arguments:
        collect(argument)
    return objects


def _state_of(value: Any) -> Callable[[], Any] | None:
    """What reads the state of `value`, if it is data as a whole."""
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


def _mapping_of(view: Any) -> Any:
    """The mapping that keys, values or items are a view of."""
    return view.mapping if hasattr(view, "mapping") else getattr(view, "_mapping", None)


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


def _is_unwritten(array: np.ndarray) -> _Check:
    """Whether the array holds what it does now, of which a copy is kept."""
    # A bytearray compares with any buffer as C's memcmp does, at the speed of memory.
    kept, shape, dtype = bytearray(_bytes_of(array)), array.shape, array.dtype
    return lambda: (
        kept == _bytes_of(array) and array.shape == shape and array.dtype == dtype
    )


def _bytes_of(array: np.ndarray) -> memoryview:
    """What the array holds, in C order; not copied if it lies so."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
