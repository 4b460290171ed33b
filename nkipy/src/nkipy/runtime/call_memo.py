"""Remembers what calls of a function came to, so that an equal call need not trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from nkipy.execution.call_cache import CALLS, CallTable
from nkipy.runtime.call_key import CallSignature, UnhashableStatic, describe_arguments
from nkipy.runtime.guards import Guards


class _Calls:
    """The calls of one function, in the cache of the process."""

    def __init__(self, func: Callable[..., Any]) -> None:
        self.signature = CallSignature(func)
        self.results: CallTable[str] = CALLS.table()


_functions: WeakKeyDictionary[Callable[..., Any], _Calls] = WeakKeyDictionary()


class CallMemo:
    """A place for the result of one kind of call.

    Args:
        func: the function. Forgotten, with its results, when nobody else has it.
        args, kwargs: its arguments. Arrays are described by shape and dtype.
        how: whatever else the result depends on; hashable.

    Raises:
        TypeError: the arguments do not fit the function's signature.
    """

    def __init__(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        how: tuple[Any, ...],
    ) -> None:
        self._guards: Guards | None = None
        self._func = func
        self._arguments = (*args, *kwargs.values())
        self._calls = _calls_of(func)
        self._key: Any = None
        if self._calls is not None:
            arguments = self._calls.signature.arguments(args, kwargs)
            try:
                key, _ = describe_arguments(arguments)
            except UnhashableStatic:
                return
            self._key = (*how, key)

    def recall(self) -> str | None:
        """The result, if there is one and what the function captured is the same."""
        if self._calls is None or self._key is None:
            return None
        found = self._calls.results.find(self._key)
        if found is not None:
            return found
        # Before the work begins: a change while it goes on is noticed, too.
        self._guards = Guards(self._func, self._arguments)
        return None

    def remember(self, result: str) -> None:
        """Put the result of the work that :meth:`recall` found not done."""
        if self._calls is not None and self._guards is not None:
            self._calls.results.put(self._key, result, self._guards.check)


def _calls_of(func: Callable[..., Any]) -> _Calls | None:
    try:
        found = _functions.get(func)
        if found is None:
            found = _functions[func] = _Calls(func)
    except TypeError:  # no hash, or no weak references
        return None
    return found
