"""Arguments of public functions: what is no good is refused with a clear text.

A function's annotations say what it takes. :func:`checked` compares before each call,
for functions that are called now and then. :func:`explained` compares when a call has
failed, which costs next to nothing before, for those that build instructions.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import lru_cache, wraps
from inspect import signature
from types import NoneType, UnionType
from typing import (
    Any,
    NoReturn,
    ParamSpec,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import numpy as np

from nkipy.hlo.errors import HLOArgumentError, HLOArgumentValueError

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=type)

#: What Python and NumPy raise by themselves, without knowing of what they speak.
_RAW = (
    *(TypeError, AttributeError, ValueError, AssertionError),
    *(IndexError, KeyError, RuntimeError, StopIteration),
)
#: Those that a value has to be of another kind for.
_OF_KIND = (TypeError, AttributeError, AssertionError)
_LONGEST = 60


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """The function, refusing arguments that are not what its annotations say.

    A call raises :class:`HLOArgumentError` for one.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        _check(function, args, kwargs)
        return function(*args, **kwargs)

    return call


def explained(function: Callable[P, R]) -> Callable[P, R]:
    """The function, with an error of ours in the place of Python's own.

    A call raises :class:`HLOArgumentError` or :class:`HLOArgumentValueError` for it.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except (HLOArgumentError, HLOArgumentValueError) as error:
            # Of a function that this one calls: the argument may have come to this one.
            cause = error.__cause__
            _check(function, args, kwargs)
            if not isinstance(cause, Exception):
                raise
            _explain(function, args, kwargs, cause)
        except _RAW as error:
            if type(error) not in _RAW or not _fits_signature(function, args, kwargs):
                raise  # an error of ours, or Python's for a wrong number of arguments
            _explain(function, args, kwargs, error)

    return call


def explained_methods(cls: C) -> C:
    """The class, whose public methods are :func:`explained`."""
    for name, value in list(vars(cls).items()):
        if not name.startswith("_") and callable(value):
            setattr(cls, name, explained(value))
    return cls


def expect(value: Any, kind: Any, function: str, name: str) -> None:
    """Refuse a `value` for the parameter `name` that is not of `kind`, an annotation.

    Raises:
        HLOArgumentError: it is not.
    """
    if not fits(value, kind):
        raise HLOArgumentError(
            f"{function}() takes {describe_kind(kind)} for {name!r}, but received "
            f"{describe(value)}"
        )


def fits(value: Any, kind: Any) -> bool:
    """Whether a value is what an annotation says.

    A number that can be an index is an int; a dtype is one of NumPy's objects.
    """
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any or isinstance(kind, TypeVar):
        return True
    if kind is None or kind is NoneType:
        return value is None
    if origin in (Union, UnionType):
        return any(fits(value, part) for part in parts)
    if kind is int:
        return hasattr(value, "__index__") and not isinstance(value, np.ndarray)
    if origin is tuple:
        return _fits_tuple(value, parts)
    if kind is Hashable:
        return _is_hashable(value)
    if origin is not None and issubclass(origin, Sequence):
        if isinstance(value, (str, bytes)) or not _is_sequence(value):
            return False
        return all(fits(item, parts[0]) for item in value)
    if origin is not None:
        return isinstance(value, origin)
    return not isinstance(kind, type) or isinstance(value, kind)


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _is_sequence(value: Any) -> bool:
    return isinstance(value, (Sequence, np.ndarray, range)) and (
        not isinstance(value, np.ndarray) or value.ndim == 1
    )


def _fits_tuple(value: Any, parts: tuple[Any, ...]) -> bool:
    if not isinstance(value, (tuple, list)):
        return False
    if len(parts) == 2 and parts[1] is Ellipsis:
        return all(fits(item, parts[0]) for item in value)
    return len(value) == len(parts) and all(map(fits, value, parts))


def describe_kind(kind: Any) -> str:
    """An annotation in words: "a sequence of ints"."""
    origin, parts = get_origin(kind), get_args(kind)
    if kind is None or kind is NoneType:
        return "None"
    if origin in (Union, UnionType):
        return " or ".join(map(describe_kind, parts))
    if kind is np.dtype or origin is np.dtype:
        return "a NumPy dtype"
    if origin is tuple and parts[-1:] != (Ellipsis,):
        return f"a tuple of {len(parts)}"
    if origin is Mapping:
        return "a mapping"
    if origin is not None and issubclass(origin, (Sequence, tuple)):
        return f"a sequence of {_plural(parts[0])}"
    name = getattr(origin or kind, "__name__", str(kind))
    return f"{'an' if name[:1] in 'aeioAEIOH' else 'a'} {name}"


def _plural(kind: Any) -> str:
    words = describe_kind(kind)
    return f"{words.partition(' ')[2] or words}s"


def describe(value: Any) -> str:
    """What was received: a short text, and its type."""
    kind = type(value).__name__
    if isinstance(value, np.ndarray):
        return f"an ndarray {value.dtype.name}{list(value.shape)}"
    text = repr(value)
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}..."
    return text if value is None or text.startswith("<") else f"{text} ({kind})"


# -- calls -----------------------------------------------------------------------------
@lru_cache(maxsize=1024)
def _kinds(function: Callable[..., Any]) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The names of the parameters, and their annotations."""
    hints = get_type_hints(function)
    hints.pop("return", None)
    return tuple(signature(function).parameters), hints


def _given(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
    """Name, value and annotation of each argument that has one."""
    names, kinds = _kinds(function)
    for name, value in (*zip(names, args), *kwargs.items()):
        if name in kinds:
            yield name, value, kinds[name]


def _check(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    for name, value, kind in _given(function, args, kwargs):
        expect(value, kind, function.__name__, name)


def _fits_signature(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> bool:
    try:
        signature(function).bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def _explain(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    error: Exception,
) -> NoReturn:
    """Raise what names the argument that is no good, or all if none is of another
    kind."""
    _check(function, args, kwargs)
    given = ", ".join(
        f"{n}={describe(v)}" for n, v, _ in _given(function, args, kwargs)
    )
    kind = HLOArgumentError if type(error) in _OF_KIND else HLOArgumentValueError
    raise kind(
        f"{function.__name__}() cannot do with {given}: {type(error).__name__}: {error}"
    ) from error
