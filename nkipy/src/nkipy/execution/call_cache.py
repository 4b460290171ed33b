"""What calls have come to, kept for as long as it holds and there is room.

One cache serves all functions of a process: a call is known by its function and a key
(the structure of the arguments, say), its value may be used while its guard holds, and
when there are too many calls, the one that was used least recently goes first.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar
from weakref import WeakSet

from nkipy.execution.limits import Bounded
from nkipy.hlo.arguments import checked, expect, explained

VARIABLE = "NKIPY_CALL_CACHE_SIZE"
_DEFAULT_LIMIT = 1024

Value = TypeVar("Value")
_tick = itertools.count(1).__next__


class _Call(Generic[Value]):
    """One call: its value, what says whether that still holds, when it was used."""

    __slots__ = ("value", "holds", "used")

    def __init__(self, value: Value, holds: Callable[[], bool] | None) -> None:
        self.value = value
        self.holds = holds
        self.used = _tick()


class CallTable(Generic[Value]):
    """The calls of one function in a cache; they go with it.

    Made by :meth:`CallCache.table`. Safe to use from several threads.
    """

    def __init__(self, cache: CallCache) -> None:
        self._cache = cache
        self._calls: dict[Hashable, _Call[Value]] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def find(self, key: Hashable) -> Value | None:
        """The value of an equal call, if there is one and its guard holds.

        Raises:
            HLOArgumentError: `key` cannot be hashed.
            ValueError: as :attr:`CallCache.limit`, if there is none: before the work
                begins whose result could not be put.
        """
        try:
            call = self._calls.get(key)
        except TypeError:
            expect(key, Hashable, "find", "key")
            raise
        if call is None:
            _ = self._cache.limit
            return None
        if call.holds is not None and not call.holds():
            return None
        call.used = _tick()
        return call.value

    @explained
    def stale(self, key: Hashable) -> Value | None:
        """The value of an equal call, whether or not its guard holds."""
        call = self._calls.get(key)
        return None if call is None else call.value

    def put(
        self, key: Hashable, value: Value, holds: Callable[[], bool] | None = None
    ) -> None:
        """Remember a call, in the place of an equal one.

        Args:
            key: tells it apart from the function's other calls.
            value: what it came to.
            holds: its guard, called before each use; None: it always holds.

        Raises:
            HLOArgumentError: `key` cannot be hashed, or `holds` cannot be called.
            ValueError: as :attr:`CallCache.limit`.
        """
        expect(key, Hashable, "put", "key")
        expect(holds, Callable[[], bool] | None, "put", "holds")
        limit = self._cache.limit
        with self._cache.lock:
            self._calls.pop(key, None)  # the newest key is the last
            self._calls[key] = _Call(value, holds)
            self._cache.shrink(limit)

    def newest_key(self) -> Hashable | None:
        """The key that was put last; None if there are none."""
        return next(reversed(list(self._calls)), None)

    def values(self) -> list[Value]:
        """The values of all calls, those put last at the end."""
        return [call.value for call in list(self._calls.values())]

    def items(self) -> list[tuple[Hashable, Value]]:
        """Keys and values of all calls, those put last at the end."""
        return [(key, call.value) for key, call in list(self._calls.items())]

    def clear(self) -> None:
        """Forget all calls."""
        with self._cache.lock:
            self._calls.clear()

    def ages(self) -> Iterator[tuple[int, Hashable]]:
        """When each call was last used, on a clock of the cache's, and its key."""
        # A copy: drop() is called without the lock.
        for key, call in list(self._calls.items()):
            yield call.used, key

    @explained
    def drop(self, key: Hashable) -> None:
        """Forget a call."""
        self._calls.pop(key, None)


class CallCache(Bounded):
    """The calls of many functions, of which the most recently used are kept.

    Args:
        limit: how many calls are kept; None: as ``NKIPY_CALL_CACHE_SIZE`` says when it
            is needed.
    """

    def __init__(self, limit: int | None = None) -> None:
        super().__init__(limit, VARIABLE, _DEFAULT_LIMIT)
        self._tables: WeakSet[CallTable] = WeakSet()

    def __len__(self) -> int:
        with self.lock:
            return sum(map(len, self._tables))

    def table(self) -> CallTable:
        """A place for the calls of one function."""
        made: CallTable = CallTable(self)
        with self.lock:
            self._tables.add(made)
        return made

    @checked
    def shrink(self, limit: int) -> None:
        """Forget the calls used least recently, until there are no more than that."""
        excess = len(self) - limit
        if excess <= 0:
            return
        with self.lock:
            tables = list(self._tables)
            ages = [(used, i, k) for i, t in enumerate(tables) for used, k in t.ages()]
            for _, i, key in sorted(ages, key=lambda age: age[0])[:excess]:
                tables[i].drop(key)


#: The calls of this process: of decorated kernels and of DeviceKernel.
CALLS = CallCache()
