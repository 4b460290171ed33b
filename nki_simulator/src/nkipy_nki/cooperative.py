"""Cooperative threads: one runs at a time, and passes control on where it says so.

Which one runs next depends on what they do and on the order they were given, never on
time: the same functions give the same results whenever they are run.
"""

from __future__ import annotations

import contextvars
import ctypes
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from nkipy_nki.errors import NkiError, NkiValidationError

__all__ = ["CooperativeThreads"]

T = TypeVar("T")


class _Stopped(BaseException):
    """Ends a thread because another one failed, or the caller was interrupted."""


@dataclass(frozen=True)
class _Arrival:
    """One that waits at a rendezvous.

    Attributes:
        key: which rendezvous it is.
        members: who must come.
        offer: what it brings.
        place: where it waits, in words.
    """

    key: Hashable
    members: tuple[int, ...]
    offer: Any
    place: str


class CooperativeThreads:
    """Runs functions in cooperative threads, each with a number: its index among them.

    Args:
        names: what each is called, as in ``"core 1"``.
        order: round robin: their numbers; None is the order of the names.

    Raises:
        ValueError: `order` does not have each number once.
    """

    def __init__(
        self, names: Sequence[str], order: Sequence[int] | None = None
    ) -> None:
        numbers = list(range(len(names)))
        if order is not None and sorted(order) != numbers:
            raise ValueError(f"order is {list(order)}, and must have all of {numbers}")
        self._names = names
        self._order = list(numbers if order is None else order)
        self._resume = [threading.Semaphore(0) for _ in names]
        self._ready = deque(self._order)
        #: Those that go on when no other can.
        self._last = deque[int]()
        self._waiting: dict[int, _Arrival] = {}
        self._contributions: dict[int, dict[int, Any]] = {}
        self._ended: dict[int, str] = {}
        self._running: int | None = None
        self._failure: tuple[int | None, BaseException] | None = None
        self._stopped = False
        self._done = threading.Event()

    def run(
        self,
        functions: Sequence[Callable[[], T]],
        where: Callable[[int], str] = lambda number: "",
    ) -> list[T]:
        """Run the functions, each in a thread with a copy of the caller's context.

        Args:
            functions: as many as there are names.
            where: tells of one that has ended where that was, for a message.

        Returns:
            What each returned.

        Raises:
            NkiValidationError: one waits for another that never comes.
            BaseException: what a function raised, after all others were ended.
        """
        results: dict[int, T] = {}

        def work(number: int) -> None:
            self._resume[number].acquire()
            try:
                if not self._stopped:
                    results[number] = functions[number]()
                self._ended[number] = where(number)
            except _Stopped:
                pass
            except BaseException as error:
                self._fail(number, error)
            self._switch()

        threads = [
            threading.Thread(
                target=contextvars.copy_context().run,
                args=(work, number),
                name=f"nki {name}",
                daemon=True,
            )
            for number, name in enumerate(self._names)
        ]
        for thread in threads:
            thread.start()
        self._wait(threads)
        if self._failure is not None:
            raise self._named(*self._failure)
        return [results[number] for number in range(len(functions))]

    def _wait(self, threads: Sequence[threading.Thread]) -> None:
        """Let the first one begin, and wait for all."""
        try:
            self._switch()
            while not self._done.wait(0.2):  # so that signals arrive on every system
                pass
        except BaseException:  # such as KeyboardInterrupt
            self._stop()
            self._interrupt(threads)
            raise
        finally:
            for thread in threads:
                thread.join()

    def _interrupt(self, threads: Sequence[threading.Thread]) -> None:
        """End the one that runs, wherever it is."""
        running = self._running
        if running is None:
            return
        ident = threads[running].ident
        if ident is not None and threads[running].is_alive():
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(ident), ctypes.py_object(_Stopped)
            )

    def _named(self, number: int | None, error: BaseException) -> BaseException:
        """An error that says whose it is."""
        if number is not None and isinstance(error, NkiError) and error.args:
            error.args = (f"{self._names[number]}: {error.args[0]}", *error.args[1:])
        return error

    # -- rendezvous --------------------------------------------------------------------
    def rendezvous(
        self,
        me: int,
        key: Hashable,
        members: Sequence[int],
        offer: Any,
        place: str,
    ) -> dict[int, Any]:
        """Wait until all members have come to the same rendezvous.

        Args:
            me: the caller's number.
            key: which rendezvous it is.
            members: who must come, the caller among them.
            offer: what the caller brings.
            place: where it waits, in words, as in ``"core_barrier at k.py:7"``.

        Returns:
            What each member contributed.
        """
        everyone = tuple(sorted(members))
        self._waiting[me] = _Arrival((key, everyone), everyone, offer, place)
        if all(self._is_at(other, (key, everyone)) for other in everyone):
            offers = {other: self._waiting.pop(other).offer for other in everyone}
            for other in self._order:
                if other in offers:
                    self._contributions[other] = offers
                    self._ready.append(other)
        self._pass_on(me)
        return self._contributions.pop(me)

    def let_others(self, me: int) -> None:
        """Let all others run first, until each waits at a rendezvous or has ended."""
        self._last.append(me)
        self._pass_on(me)

    def _pass_on(self, me: int) -> None:
        """Let others run, until it is one's turn again."""
        self._switch()
        self._resume[me].acquire()
        if self._stopped:
            raise _Stopped

    def _is_at(self, number: int, key: Hashable) -> bool:
        arrival = self._waiting.get(number)
        return arrival is not None and arrival.key == key

    # -- scheduling --------------------------------------------------------------------
    def _switch(self) -> None:
        """Let the next one run; if there is none, it is over."""
        self._running = None
        if self._stopped:
            self._done.set()
            return
        if self._ready or self._last:
            self._running = (self._ready or self._last).popleft()
            self._resume[self._running].release()
            return
        if self._waiting:
            self._fail(None, NkiValidationError(self._missing()))
        self._done.set()

    def _missing(self) -> str:
        """Who waits where for whom."""
        parts = []
        for number, arrival in sorted(self._waiting.items()):
            missing = [
                self._names[other]
                for other in arrival.members
                if not self._is_at(other, arrival.key)
            ]
            parts.append(
                f"{self._names[number]} waits for {', '.join(missing)} in "
                f"{arrival.place}"
            )
        for number, place in sorted(self._ended.items()):
            parts.append(f"{self._names[number]} has ended{place and f' {place}'}")
        return "; ".join(parts)

    def _fail(self, number: int | None, error: BaseException) -> None:
        if self._failure is None:
            self._failure = number, error
        self._stop()

    def _stop(self) -> None:
        """End all that wait, now and afterwards."""
        self._stopped = True
        for semaphore in self._resume:
            semaphore.release()
