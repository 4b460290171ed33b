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
import os
import sys
import weakref
from collections import deque
from collections.abc import (
    Callable,
    Collection,
    Iterator,
    Mapping,
    MappingView,
    Sequence,
    Set,
)
from contextvars import ContextVar
from operator import is_
from types import (
    BuiltinMethodType,
    FunctionType,
    MethodType,
    MethodWrapperType,
    ModuleType,
)
from typing import Any, cast

import numpy as np

from nkipy.core.arguments import is_array_like
from nkipy.core.tensor import NKIPyTensorRef, as_traced
from nkipy.core.tree import children, is_container, own_state
from nkipy.runtime import captured, places
from nkipy.runtime.call_key import holders_of_defaults, is_same_static
from nkipy.runtime.captured import Check, Names, Spaces
from nkipy.runtime.captured_arrays import CapturedArray
from nkipy.runtime.places import MISSING, Read
from nkipy.runtime.unwritten import Digest, Unwritten, Watch, fields_of, layout_of

_SCALARS = (
    *(bool, int, float, complex, str, bytes, type(None), type(...), range, slice),
    *(np.generic, np.dtype),
)
#: Methods that are bound to an object, of types that are written in C.
_BOUND_IN_C = (BuiltinMethodType, MethodWrapperType)
#: What functions and classes have that is neither in their namespace nor state.
_LABELS = ("__name__", "__qualname__", "__doc__", "__annotations__", "__module__")
_GROWING = (list, deque)  # no set takes a traced value
#: Methods that take out of these what a kernel may have put into them.
_REMOVING = frozenset(("clear", "pop", "popleft", "remove"))
_MEMORY = (bytearray, memoryview, array.array)
#: Modules whose functions draw from a generator of their own.
_DRAWING = frozenset({"random", "numpy.random"})


class Guards:
    """The captured values of `func` at the time of construction.

    Args:
        func: the kernel; None captures nothing.
        arguments: static arguments, whose attributes may change.
    """

    def __init__(self, func: Callable[..., Any] | None, arguments: Any = ()) -> None:
        names, known = Names(), None
        unwritten: dict[int, tuple[np.ndarray, Check]] = {}
        # Code found late may name attributes of objects found early.
        while known != names.extent:
            known = names.extent
            walk = _Walk(names, unwritten)
            if func is not None:
                walk.visit(lambda: func)
            for held in _objects(arguments):
                walk.visit(functools.partial(_same, held))
            walk.run()
        if "random" in names.all:
            import random

            walk.draws += [
                _unchanged(np.random.get_state),
                _unchanged(random.getstate),
            ]
        if "environ" in names.all or "getenv" in names.all:
            walk.checks.append(_unchanged(lambda: dict(os.environ)))
        self._values = walk.values
        self._checks = [*walk.checks, *walk.draws]
        self._settled = walk.checks
        self._data = walk.data
        self._memory = walk.memory
        unread = names.only_stored
        self._unread = [
            (read, read()) for held in walk.objects for read in _places_in(held, unread)
        ]
        self._containers = [] if names.all & _REMOVING else walk.containers
        self._holders = list(holders_of_defaults(func))

    def watch_variables(self, names: Collection[str]) -> None:
        """Have what these variables of the environment say be captured, too."""
        if names:
            self._checks.append(_unchanged(lambda: _variables(names)))

    def put_back(self) -> str | None:
        """Undo that the kernel put traced values in the place of captured data.

        They have no value after the trace, and the data would be lost. So it is of
        attributes that the kernel sets and never reads, and of lists and deques that it
        puts something into and takes nothing out of: what stands there is for
        others. In other places, layers keep what a backward pass reads.

        Returns:
            In words, where it put one; None if it did not.
        """
        replaced = [(read, was) for read, was in self._data if _is_traced(read())]
        replaced += [
            (read, was)
            for read, was in self._unread
            if (now := read()) is not was and _leads_to_traced(now)
        ]
        for read, was in replaced:
            places.write(read, was)
        grown = [held for held in self._containers if _has_gained_traced(*held)]
        for container, items in grown:
            _refill(container, items)
        self._unread, self._containers = [], []
        if replaced:
            return f"in the place of {places.describe(replaced[0][0])}"
        return f"into a {type(grown[0][0]).__name__}" if grown else None

    def arrays(self) -> list[CapturedArray]:
        """The memory that the kernel captured.

        Defaults of its own are arguments: they are not captured.
        """
        first: dict[int, Read] = {}
        for read, value in reversed(self._data):
            if not self._is_default(read):
                first[id(as_traced(value))] = read
        return [
            CapturedArray(first[id(value)], value, check)
            for value, check in self._memory
            if id(value) in first
        ]

    def _is_default(self, read: Read) -> bool:
        holder = places.holder_of_default(read)
        return any(holder is each for each in self._holders)

    def keep_digests(self, digest: Digest, keys: bytes, watch: Watch) -> None:
        """Have digests in the place of copies of large arrays.

        Args:
            digest: ``digest(array, keys)``, which reads an array once, where to compare
                it with a copy would be to read two.
            keys: what nobody knows who writes to the arrays.
            watch: ``watch(address, nbytes)``, which needs not read it at all.
        """
        for _, check in self._memory:
            if isinstance(check, Unwritten):
                check.keep_digest(digest, keys, watch)

    @property
    def check(self) -> Callable[[], bool] | None:
        """:meth:`hold`; None if nothing was captured, which holds for ever."""
        return self.hold if self._values or self._checks else None

    def hold(self) -> bool:
        """Whether everything is still what it was."""
        return _are_unchanged(self._values, self._checks)

    def changed(self) -> bool:
        """Whether something is not what it was, generators of random numbers aside."""
        return not _are_unchanged(self._values, self._settled)


def _are_unchanged(values: list[tuple[Read, Any]], checks: list[Check]) -> bool:
    try:
        for read, value in values:
            now = read()
            if now is not value and not _is_equal(now, value):
                return False
        for check in checks:
            if not check():
                return False
    except Exception:  # what cannot be read as it was is not what it was
        return False
    return True


class _Walk:
    """Checks that what is visited, and all that it leads to, is what it is now.

    Attributes:
        values: what stands in which place; scalars are compared, all else is the same.
        checks: all that is not known by one value in one place.
        draws: checks of generators of random numbers.
        data: the scalars and arrays, with their places.
        objects: what has attributes that can be set.
        containers: lists and deques, and what they hold.
        memory: the arrays, and what else has memory, with their checks.
    """

    def __init__(
        self, names: Names, unwritten: dict[int, tuple[np.ndarray, Check]]
    ) -> None:
        self.names = names
        #: Arrays, by id, whose check an earlier walk has made, with a copy of them.
        self._unwritten = unwritten
        self.values: list[tuple[Read, Any]] = []
        self.checks: list[Check] = []
        self.draws: list[Check] = []
        self.data: list[tuple[Read, Any]] = []
        self.memory: list[tuple[Any, Check]] = []
        self.objects: list[Any] = []
        self.containers: list[tuple[Any, list[Any]]] = []
        self._pending: deque[Read] = deque()
        #: Each object, kept alive so that no id comes twice, and its first place.
        self._seen: dict[int, tuple[Any, Read]] = {}
        self._spaces = Spaces()

    def visit(self, read: Read) -> None:
        """Have :meth:`run` add the checks for what `read` gives."""
        self._pending.append(read)

    def run(self) -> None:
        """Visit all that is pending, and what it leads to."""
        # No recursion: a chain of objects, linked each to the next, may be long.
        while self._pending:
            read = self._pending.popleft()
            try:
                self._check(read)
            except RecursionError:
                places.refuse_deep(read)
                raise
        self.checks += self._spaces.checks()

    def _check(self, read: Read) -> None:
        value = read()
        if _is_traced(value):
            # Left by an earlier trace: to use it is an error, so that it is as good as
            # any other. Layers keep what a backward pass needs in such places.
            self.checks.append(lambda: _is_traced(read()))
        elif isinstance(value, np.void):
            self._record(value, read)
        elif isinstance(value, MethodType):  # a new one each time that it is asked for
            self.visit(functools.partial(_part, read, "__func__"))
            self.visit(functools.partial(_part, read, "__self__"))
        elif _is_container(value):
            self._container(value, read)
        else:
            kinds = np.ndarray, NKIPyTensorRef, *_MEMORY, *_SCALARS
            if isinstance(value, kinds) and value is not None:
                self.data.append((read, value))
            self.values.append((read, value))
            if _is_plain_scalar(value):
                self._scalar(value)
            elif self._is_new(value, read):
                self._lead_on(value)

    def _is_new(self, value: Any, read: Read) -> bool:
        """Whether `value` was not visited before."""
        return self._seen.setdefault(id(value), (value, read))[1] is read

    def _scalar(self, value: Any) -> None:
        if isinstance(value, np.dtype) and value.names:
            self.checks.append(_unchanged(functools.partial(fields_of, value)))

    def _record(self, value: np.void, read: Read) -> None:
        """A scalar of a structured dtype, which may be a view of an array."""
        dtype, fields = value.dtype, fields_of(value.dtype)
        self.checks.append(
            lambda: (
                getattr(read(), "dtype", None) == dtype and fields_of(dtype) == fields
            )
        )
        if not dtype.hasobject:
            kept = value.tobytes()
            check = functools.partial(_holds_bytes, read, kept)
            self.checks.append(check)
            self.data.append((read, value))
            self.memory.append((value, check))
            return
        for name in dtype.names or ():
            self.visit(functools.partial(places.item, read, name))

    def _container(self, value: Any, read: Read) -> None:
        if not self._is_new(value, read):
            # In two places, of which one may get an equal one.
            self.values += [(read, value), (self._seen[id(value)][1], value)]
            return
        is_plain = captured.is_constant(type(value).__module__)
        if not is_plain:
            self.values.append((read, value))  # for the attributes it has
        for part in captured.parts_of(value):
            self.visit(part)
        if isinstance(value, Mapping):
            self._keys(value, read)
        else:
            self._items(value, read)
        if not is_plain:
            self._object(value)

    def _keys(self, value: Mapping[Any, Any], read: Read) -> None:
        keys = list(value)
        self.checks.append(lambda: _all_equal(read(), type(value), keys))
        for key in keys:
            if not _is_plain_scalar(key):
                self.visit(functools.partial(_same, key))
            self.visit(functools.partial(places.item, read, key))

    def _items(self, value: Any, read: Read) -> None:
        items = list(value)
        if isinstance(value, _GROWING):
            self.containers.append((value, items))
        are_scalars = all(map(_is_plain_scalar, items))
        if isinstance(value, Set) or are_scalars:
            self.checks.append(lambda: _all_equal(read(), type(value), items))
        if isinstance(value, Set):
            for item in items:
                self.visit(functools.partial(_same, item))
        elif not are_scalars:
            self.checks.append(lambda: _length(read(), type(value)) == len(items))
            for i in range(len(items)):
                self.visit(functools.partial(places.item, read, i))

    def _lead_on(self, value: Any) -> None:
        """Visit what `value`, of one object, leads to."""
        value = as_traced(value)  # the array, of one that an earlier trace has left
        state = _state_of(value)
        if isinstance(value, np.ndarray):
            self._array(value)
        elif state is not None:
            check = _unchanged(state)
            if isinstance(value, _MEMORY):
                self.checks.append(check)
                self.memory.append((value, check))
            else:
                self.draws.append(check)
            if not captured.is_constant(type(value).__module__):
                self._object(value)
        elif isinstance(value, FunctionType):
            self._function(value)
        elif isinstance(value, type):
            self._class(value)
        elif isinstance(value, MappingView):
            self.visit(functools.partial(_mapping_of, value))
        elif isinstance(value, _BOUND_IN_C):
            self._bound_in_c(value)
        elif isinstance(value, ContextVar):
            self.visit(functools.partial(value.get, MISSING))
        elif isinstance(value, weakref.ref):
            self.visit(value)
        elif isinstance(value, Iterator) and not isinstance(value, io.IOBase):
            self.checks.append(lambda: False)  # nobody knows what comes next
        elif captured.reaches_by_text(value):
            self.names.add_dynamic()
        else:
            for part in captured.parts_of(value):
                self.visit(part)
            self._object(value)

    def _array(self, value: np.ndarray) -> None:
        if value.dtype.hasobject:
            self.checks.append(_unchanged(functools.partial(layout_of, value)))
            for i in range(value.size):
                self.visit(functools.partial(value.flat.__getitem__, i))
        else:
            known = self._unwritten.get(id(value))
            check = known[1] if known is not None else Unwritten(value)
            self._unwritten[id(value)] = value, check
            self.checks.append(check)
            self.memory.append((value, check))
        if type(value) is not np.ndarray:
            self._object(value)

    def _function(self, function: FunctionType) -> None:
        if captured.is_constant(function.__globals__.get("__name__")):
            # Made by a decorator of functools, or ours.
            for name in ("__wrapped__", "registry"):
                if name in vars(function):
                    self.visit(functools.partial(places.own_attribute, function, name))
            return
        self.names.add(function.__code__)
        self.checks.append(captured.is_whole(function, self.names))
        self._labels(function)
        for read in captured.outside_of(function, self.names):
            self.visit(read)
        for read in self._spaces.add(function):
            self.visit(read)

    def _bound_in_c(self, value: Any) -> None:
        if captured.reaches_by_text(value):
            self.names.add_dynamic()
        elif not captured.is_only_write(value):
            self.visit(functools.partial(_same, value.__self__))

    def _labels(self, value: Any) -> None:
        """The name of a function or class, and the like, where code reads such."""
        for name in sorted(self.names.all.intersection(_LABELS)):
            self.visit(functools.partial(getattr, value, name, MISSING))

    def _class(self, kind: type) -> None:
        if captured.is_constant(kind.__module__):
            return
        self.objects.append(kind)
        self.checks.append(captured.is_same_class(kind))
        self._labels(kind)
        for read in captured.class_members(kind, self.names):
            self.visit(read)

    def _object(self, value: Any) -> None:
        self.objects.append(value)
        if captured.is_constant(type(value).__module__):
            wrapped = places.own_attribute(value, "__wrapped__")
            if wrapped is not MISSING:  # a compiled kernel within a kernel
                self.visit(functools.partial(_same, wrapped))
        else:
            self.visit(functools.partial(type, value))
        if isinstance(value, ModuleType) and value.__name__ in _DRAWING:
            self.names.all.add("random")
        self._keeps_names(value)
        for name in captured.own_names(value, self.names):
            self.visit(functools.partial(places.own_attribute, value, name))

    def _keeps_names(self, value: Any) -> None:
        check = captured.keeps_names(value, self.names)
        if check is not None:
            self.checks.append(check)


def _is_container(value: Any) -> bool:
    """Whether `value` is looked into for what it holds, as a list or a dict."""
    if isinstance(value, _SCALARS) or isinstance(value, _MEMORY):
        return False
    return isinstance(value, (list, tuple, deque, Mapping, Set, Sequence)) and (
        not isinstance(value, MappingView)
    )


def _is_plain_scalar(value: Any) -> bool:
    """Whether `value` is known by its type and value, having no attributes to set."""
    return isinstance(value, _SCALARS) and captured.is_constant(type(value).__module__)


def _is_traced(value: Any) -> bool:
    return isinstance(value, NKIPyTensorRef) and not value._is_known


def _holds_bytes(read: Read, kept: bytes) -> bool:
    return read().tobytes() == kept


def _places_in(held: Any, names: set[str]) -> Iterator[Read]:
    """Readers of the attributes of those names that `held` may get."""
    place = places.class_member if isinstance(held, type) else places.own_attribute
    for name in sorted(names):
        yield functools.partial(place, held, name)


def _leads_to_traced(value: Any) -> bool:
    """Whether `value` is traced, or holds what is in containers."""
    pending, seen = [value], set()
    while pending:
        value = pending.pop()
        if _is_traced(value):
            return True
        if isinstance(value, (list, tuple, deque, dict)) and id(value) not in seen:
            seen.add(id(value))
            pending += value.values() if isinstance(value, dict) else value
    return False


def _has_gained_traced(container: Any, items: list[Any]) -> bool:
    """Whether more is in `container` than `items`, and of that something is traced."""
    if len(container) <= len(items):
        return False
    known = {id(item) for item in items}
    return any(id(now) not in known and _leads_to_traced(now) for now in container)


def _refill(container: Any, items: list[Any]) -> None:
    """Have `container` hold `items` again."""
    container.clear()
    container.extend(items)


def _objects(arguments: Any) -> list[Any]:
    """Static objects among the arguments, and classes of containers of the user's."""
    objects: list[Any] = []
    seen: set[int] = set()  # an attribute may lead back to its container

    def collect(value: Any) -> None:
        if is_container(value):
            if id(value) in seen:
                return
            seen.add(id(value))
            if type(value) not in (dict, list, tuple):
                objects.append(type(value))
            for held in own_state(value).values():
                collect(held)
            for _, child in children(value):
                collect(child)
        elif not is_array_like(value) and not _is_plain_scalar(value):
            objects.append(value)

    for argument in arguments:
        collect(argument)
    return objects


def _state_of(value: Any) -> Callable[[], Any] | None:
    """What reads the state of `value`, if it is data as a whole."""
    if isinstance(value, _MEMORY):
        return functools.partial(bytes, value)
    if _is_of(value, "numpy.random", "Generator"):
        return lambda: value.bit_generator.state
    if _is_of(value, "numpy.random", "RandomState"):
        return cast("Read", value.get_state)
    if _is_of(value, "random", "Random"):
        return cast("Read", value.getstate)
    return None


def _is_of(value: Any, module: str, name: str) -> bool:
    """Whether `value` is of a class of a module, without importing that."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(value, getattr(loaded, name, ()))


def _variables(names: Collection[str]) -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in names}


def _unchanged(read: Read) -> Check:
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
    return all(map(is_, now, values)) or all(map(is_same_static, now, values))


def _length(now: Any, kind: type) -> int:
    """The length of `now`; -1 if it is not of that kind."""
    sized: Any = now
    return len(sized) if type(now) is kind else -1


def _mapping_of(view: Any) -> Any:
    """The mapping that keys, values or items are a view of."""
    return view.mapping if hasattr(view, "mapping") else getattr(view, "_mapping", None)


def _part(read: Read, name: str) -> Any:
    """A part of the method that `read` gives."""
    return getattr(read(), name, MISSING)


def _same(value: Any) -> Any:
    return value


def _is_equal(now: Any, value: Any) -> bool:
    """Whether `now` is as good as the scalar `value`; nothing is as good as others."""
    return _is_plain_scalar(value) and is_same_static(now, value)
