"""What distinguishes one call of a kernel from another: the key of its cached program.

A key holds the structure of the arguments, shape and dtype of each array, strides of
those that are not C-contiguous, and every static value; the arrays themselves come back
beside it, in parameter order.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from inspect import Parameter
from operator import is_
from types import FunctionType, MethodType
from typing import Any

import numpy as np

from nkipy.core.arguments import bind, is_array_like, signature_of
from nkipy.core.tree import children, finite, is_container, map_tree, own_state
from nkipy.runtime.captured import is_constant, slots_of
from nkipy.runtime.places import own_attribute

#: Classes whose objects are the same in all that code can see, if they are equal.
_PLAIN = frozenset((bool, int, str, bytes, type(None), type(...)))


class CallSignature:
    """Puts the arguments of a function's calls in the order of its parameters."""

    def __init__(self, func: Callable[..., Any]) -> None:
        self._func = func
        self._holders = list(holders_of_defaults(func))
        self._read()

    def _read(self) -> None:
        self._defaults = self._defaults_now()
        self._signature = signature_of(self._func)
        kinds = [p.kind for p in self._signature.parameters.values()]
        plain = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
        self._plain_arity = len(kinds) if all(k in plain for k in kinds) else -1

    def _defaults_now(self) -> list[Any]:
        """What defaults can be told by, each an object of its own."""
        now: list[Any] = []
        for holder in self._holders:
            if isinstance(holder, functools.partial):
                now += holder.keywords.values()
            else:
                now += (holder.__code__, holder.__defaults__)
                now += (holder.__kwdefaults__ or {}).values()
        return now

    def arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The value of each parameter, defaults included.

        Raises:
            TypeError: the arguments do not fit the function's signature.
        """
        if not kwargs and len(args) == self._plain_arity:
            return args
        now = self._defaults_now()
        if len(now) != len(self._defaults) or not all(map(is_, now, self._defaults)):
            self._read()
        bound = bind(self._signature, self._func, args, kwargs)
        return bound.arguments.values()


def holders_of_defaults(func: Any) -> Iterator[Any]:
    """Functions and partial functions which defaults of `func` may come from."""
    seen: set[int] = set()
    while func is not None and id(func) not in seen:
        seen.add(id(func))
        if isinstance(func, functools.partial):
            yield func
            func = func.func
        elif isinstance(func, MethodType):
            func = func.__func__
        elif isinstance(func, FunctionType):
            yield func
            func = getattr(func, "__wrapped__", None)
        else:
            call = type(func).__call__
            func = call if isinstance(call, FunctionType) else None


class UnhashableStatic(TypeError):
    """A static argument cannot be part of a key; the call cannot be cached."""


def describe_arguments(arguments: Any) -> tuple[tuple[Any, ...], list[Any]]:
    """Key and arrays of the arguments of a call.

    Args:
        arguments: a sequence of argument values, in the order of the signature.

    Raises:
        UnhashableStatic: a static value has no hash.
        ValueError: a container holds itself, or many are within each other.
    """
    key: list[Any] = []
    arrays: list[Any] = []
    for value in arguments:
        if type(value) is np.ndarray:
            key.append(_array_key(value))
            arrays.append(value)
        elif is_container(value):
            with finite(value):
                _describe(value, key, arrays)
        else:
            _describe(value, key, arrays)
    return tuple(key), arrays


def _array_key(array: np.ndarray) -> tuple[Any, ...]:
    """What a trace knows of an array: strides decide which reshapes are views."""
    if array.flags.c_contiguous:
        return array.shape, array.dtype
    return array.shape, array.dtype, array.strides


def arrays_of(arguments: Any) -> list[Any]:
    """The arrays of the arguments of a call, in parameter order."""
    arrays: list[Any] = []

    def collect(path: Any, leaf: Any) -> None:
        if is_array_like(leaf):
            arrays.append(leaf)

    for value in arguments:
        map_tree(collect, value)
    return arrays


def _describe(value: Any, key: list[Any], arrays: list[Any]) -> None:
    if is_container(value):
        key.append((type(value), len(key)))
        names = value if isinstance(value, dict) else ()  # 1 and "1" differ
        for name in names:
            key.extend(_identity_of(name))
        for name, child in children(value):
            key.append(name)
            _describe(child, key, arrays)
        for name, held in own_state(value).items():
            key.extend((name, _static(held)))
        key.append(None)
    elif isinstance(value, np.ndarray):
        key.append((type(value), *_array_key(value)))
        arrays.append(value)
    elif is_array_like(value):
        key.append((tuple(value.shape), value.dtype, type(value)))
        arrays.append(value)
    else:
        key.append(_static(value))


def _static(value: Any) -> tuple[Any, ...]:
    """Static values are equal only with their type: 1, 1.0 and True differ."""
    known = _identity_of(value)
    try:
        hash(known)
    except TypeError:
        raise UnhashableStatic(type(value).__name__) from None
    kind: Any = type(value)
    if kind.__module__ == "builtins" or kind.__eq__ is object.__eq__:
        return known
    if is_constant(kind.__module__):
        return known
    return (*(part for part in known if part is not value), _Compared(value))


class _Compared:
    """An object whose class says what it is equal to.

    It may say so in an array, and leave out attributes that a kernel reads. Objects
    are the same here if nothing tells them apart.
    """

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return repr(self.value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Compared):
            return NotImplemented
        a, b = self.value, other.value
        return a is b or (
            type(a) is type(b) and (a == b) is True and _has_same_state(a, b)
        )


def _has_same_state(a: Any, b: Any) -> bool:
    """Whether two objects of a class have the same attributes of their own."""
    kind: Any = type(a)
    own, others = (getattr(x, "__dict__", {}) for x in (a, b))
    pairs = [(own_attribute(a, n), own_attribute(b, n)) for n in slots_of(kind)]
    pairs += zip(own.values(), others.values())
    return [*own] == [*others] and all(
        x is y or (_is_plain(x) and is_same_static(x, y)) for x, y in pairs
    )


def _is_plain(value: Any) -> bool:
    return isinstance(value, (bool, int, float, complex, str, bytes, np.generic))


def is_same_static(a: Any, b: Any) -> bool:
    """Whether two static values make the same program."""
    return type(a) is type(b) and bool(_identity_of(a) == _identity_of(b))


def _identity_of(value: Any) -> tuple[Any, ...]:
    """What a static value is known by; -0.0 is not 0.0, and NaN is NaN."""
    if isinstance(value, np.generic):
        return type(value), value.dtype.str, value.tobytes()
    if isinstance(value, float):
        return type(value), value if value == value else "nan", math.copysign(1, value)
    if isinstance(value, complex):
        return type(value), _identity_of(value.real), _identity_of(value.imag)
    kind: Any = type(value)
    if kind in _PLAIN or kind.__eq__ is object.__eq__ or isinstance(value, np.dtype):
        return kind, value
    text = _standard_text(value)
    return (kind, value) if text is None else (kind, value, text)


def _standard_text(value: Any) -> str | None:
    """What a class of Python's writes of its object; None of a class without such.

    Ranges, decimals, times and frozen sets call each other equal although their
    attributes or elements differ: `range(0, 3, 2)` and `range(0, 4, 2)`.
    """
    for kind in type(value).__mro__:
        if kind is not object and "__repr__" in vars(kind):
            if is_constant(kind.__module__):
                return str(vars(kind)["__repr__"](value))
    return None
