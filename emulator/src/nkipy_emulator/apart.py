"""Runs what may take long on a thread of its own, which can be left behind.

XLA can be stopped neither in its compiler nor in what it has compiled, and jaxlib, if a
signal arrives while the main thread compiles, drops what the compiler is still using.
On another thread it is left alone: a caller that is interrupted, or has waited long
enough, goes on without it.
"""

from __future__ import annotations

import _thread
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from nkipy_emulator.errors import SettingError

T = TypeVar("T")

#: Seconds that the compiler has for each 1000 instructions, or fewer; 0: no limit.
VARIABLE = "NKIPY_EMULATOR_COMPILE_TIMEOUT"
_DEFAULT = 300.0
#: Seconds after which whoever waits looks for signals. One wakes him only if the kernel
#: hands it to his own thread.
_GLANCE = 0.1
#: Seconds in which a thread begins, unless there is no memory for its first frame.
_BEGINS_WITHIN = 10.0


def compile_seconds(instructions: int) -> float | None:
    """How long a module with that many instructions may be compiled; None: for ever.

    Raises:
        SettingError: the environment has something other than a number from 0 up.
    """
    text = os.environ.get(VARIABLE, "")
    try:
        seconds = float(text) if text else _DEFAULT
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise SettingError(f"{VARIABLE} must be a number from 0 up, but is {text!r}")
    return min(seconds * max(1.0, instructions / 1000), threading.TIMEOUT_MAX) or None


class NotDoneError(TimeoutError):
    """What was called takes longer than the caller wants to wait."""


class _Waiting(threading.local):
    """What has ended this thread's last waiting."""

    #: Of an exception of a signal's handler. Not that itself, which holds frames.
    interrupt_id: int | None = None


_waiting = _Waiting()


def forget_interrupt() -> None:
    """Make :func:`is_interrupt` false of whatever was raised before."""
    _waiting.interrupt_id = None


def is_interrupt(error: BaseException) -> bool:
    """Whether a signal's handler raised `error`, which has ended :func:`run_apart`.

    To be asked while `error` is on its way.
    """
    return _waiting.interrupt_id == id(error)


#: Keeps the object of a thread until the start of another one drops it. Python calls
#: a function of its own when such an object goes, and what a handler of a signal raises
#: in that, as it could in the main thread, is not passed on.
_recent: deque[threading.Thread] = deque(maxlen=64)


class _Task(Generic[T]):
    """A function, and what has become of it.

    Args:
        function: what to call.
        key: what it is found by while it goes on with nobody waiting; None: by nothing.
    """

    def __init__(self, function: Callable[[], T], key: Hashable | None = None) -> None:
        self._key = key
        self._above = _running.task
        self._is_abandoned = False
        self._is_done = False
        self._function = function
        self._result: list[T] = []
        self._error: BaseException | None = None
        #: Until it is done. An Event waits in Python code, with a lock in hand: see
        #: :func:`start`.
        self._is_under_way = threading.Lock()
        self._is_under_way.acquire()
        self._is_unclaimed = threading.Lock()  # taken by whoever runs it

    def run(self) -> None:
        """Call the function, unless another thread does or has done so."""
        if not self._is_unclaimed.acquire(blocking=False):
            return
        before, _running.task = _running.task, self
        try:
            self._result.append(self._function())
        except BaseException as error:
            self._error = error
        finally:
            _running.task = before
        self._is_done = True
        self._is_under_way.release()
        if self._is_abandoned:
            self._forget()

    def abandon(self) -> None:
        """Note that nobody waits any more. Until it is done, somebody else may."""
        self._is_abandoned = True
        if self._key is not None:
            _abandoned[self._key] = self
            if self._is_done:  # its thread may have looked before
                self._forget()

    def _forget(self) -> None:
        if self._key is not None and _abandoned.get(self._key) is self:
            _abandoned.pop(self._key, None)

    def adopt(self) -> None:
        """Wait for it in the place of whoever did before."""
        self._above = _running.task
        self._is_abandoned = False

    def is_awaited(self) -> bool:
        """Whether somebody waits for it, and for what that one does."""
        if self._is_abandoned:
            return False
        return self._above is None or self._above.is_awaited()

    def wait(
        self, seconds: float | None, tell: Callable[[float], None] | None = None
    ) -> bool:
        """Whether it is done in time; None: for ever. Handlers of signals may raise.

        `tell` is called now and then, with the seconds so far.
        """
        start = time.monotonic()
        end = float("inf") if seconds is None else start + seconds
        while not self._is_done:  # or who waited before may have taken the lock
            left = max(0.0, end - time.monotonic())
            if self._is_under_way.acquire(timeout=min(_GLANCE, left)):
                return True
            if time.monotonic() >= end:
                return False
            if tell is not None:
                tell(time.monotonic() - start)
        return True

    def result(self) -> T:
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # whose traceback has this frame
        return self._result.pop()  # the thread may be the last to drop this object


#: What goes on with nobody waiting, by its key. Each step that changes it is one of the
#: interpreter's: no lock is needed, which a handler of a signal could leave closed.
_abandoned: dict[Hashable, _Task[Any]] = {}
os.register_at_fork(after_in_child=_abandoned.clear)  # whose threads it has not


class _Running(threading.local):
    """What this thread does for another one."""

    task: _Task[Any] | None = None


_running = _Running()


def asker() -> Callable[[], bool]:
    """What tells whether somebody still waits for what this thread does now.

    In a thread of the program's own it always says so.
    """
    task = _running.task
    return (lambda: True) if task is None else task.is_awaited


def start(thread: threading.Thread) -> bool:
    """Start a thread; False if there is none to be had, as when the interpreter ends.

    False also if it has not begun in time: without memory for its first frame a thread
    ends, and Python tells nobody. One that is only slow may still begin.

    What a handler of a signal raises meanwhile is raised; the thread starts all the
    same. Not so of ``thread.start()``, which waits with a lock in hand: it may raise
    an error of that lock's instead, and leave a thread that does nothing. So another
    thread, where no handler runs, calls that.
    """
    is_starting = threading.Lock()
    is_starting.acquire()
    refusals: list[Exception] = []

    def start_here() -> None:
        try:
            _recent.append(thread)
            thread.start()
        except (RuntimeError, MemoryError) as error:
            refusals.append(error)
        finally:
            is_starting.release()

    try:
        _thread.start_new_thread(start_here, ())
    except RuntimeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
            raise  # a handler has raised it
        return False
    # A thread holds its function until it ends.
    starter = weakref.ref(start_here)
    del start_here
    end = time.monotonic() + _BEGINS_WITHIN
    while not is_starting.acquire(timeout=_GLANCE):
        has_ended = starter() is None or time.monotonic() >= end
        if has_ended and not is_starting.acquire(blocking=False):
            return False
    return not refusals


def run_apart(
    function: Callable[[], T],
    seconds: float | None = None,
    name: str = "nkipy-compile",
    tell: Callable[[float], None] | None = None,
    key: Hashable | None = None,
) -> T:
    """``function()``, on a thread of its own.

    KeyboardInterrupt, and whatever else a signal's handler raises, ends the waiting at
    once; the function goes on, and its result is dropped, unless somebody asks for the
    same before it is done.

    Args:
        function: what to call.
        seconds: how long to wait; None: for ever.
        name: of the thread.
        tell: called while this waits, some times in a second, with the seconds so far.
        key: tells functions apart: of one that goes on since its caller has left it,
            the next caller with the same key gets the result. None: nobody does.

    Raises:
        NotDoneError: it takes longer. What the function raises is raised too.
    """
    forget_interrupt()
    left = _abandoned.pop(key, None) if _abandoned and key is not None else None
    task: _Task[T] = left or _Task(function, key)
    try:
        if left is not None:
            left.adopt()
        elif not start(threading.Thread(target=task.run, name=name, daemon=True)):
            task.run()
        is_done = task.wait(seconds, tell)
    except BaseException as error:
        task.abandon()
        _waiting.interrupt_id = id(error)
        raise
    if not is_done:
        task.abandon()
        raise NotDoneError(f"not done after {seconds:.0f} seconds")
    return task.result()
