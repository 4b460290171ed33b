"""Which programs stay loaded: the most recently used, up to a limit.

A loaded program occupies memory of its core: its code, its inputs, its outputs. A
program that has been unloaded loads again when it is next called.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from nkipy.execution.limits import Bounded

ENVIRONMENT_VARIABLE = "NKIPY_MAX_LOADED_KERNELS"
_DEFAULT_LIMIT = 256


class Unloadable(Protocol):
    """A program that can give its device memory back."""

    def unload_if_idle(self) -> bool:
        """Unload unless a call is running. Returns whether that was done.

        What cannot load again lets go of itself instead: it is unloaded if nobody
        else has it, and counts for as long as somebody does.
        """


class Residency(Bounded):
    """The loaded programs, least recently used first. Holds none of them alive.

    Args:
        limit: how many may be loaded; None: as the environment says when it is needed,
            since an import is no place to complain.
    """

    def __init__(self, limit: int | None = None) -> None:
        super().__init__(limit, ENVIRONMENT_VARIABLE, _DEFAULT_LIMIT)
        self._loaded: OrderedDict[int, weakref.ref[Unloadable]] = OrderedDict()
        #: The id of the program used last, which :meth:`use` has nothing to do for.
        self.newest = 0

    def __len__(self) -> int:
        return len(self._loaded)

    def check(self) -> None:
        """Raise ValueError, as :attr:`limit` does, if there is no limit to go by."""
        _ = self.limit

    def use(self, program: Unloadable) -> None:
        """`program` is loaded, and is being used now."""
        key = id(program)
        with self.lock:
            self.check()
            if key not in self._loaded:
                self._loaded[key] = weakref.ref(program, self._forgetter(key))
                self._evict(len(self._loaded) - self.limit, key)
            self._loaded.move_to_end(key)
            self.newest = key

    def discard(self, program: Unloadable) -> None:
        """`program` is not loaded any more."""
        self._forget(id(program))

    def evict(self, keep: Unloadable | None = None) -> int:
        """Unload all programs that are idle, `keep` excepted. Returns how many."""
        with self.lock:
            return self._evict(len(self._loaded), id(keep))

    def shrink(self, limit: int) -> None:
        """Unload those used least recently, until no more than that are loaded."""
        with self.lock:
            self._evict(len(self._loaded) - limit, keep=0)

    def _evict(self, count: int, keep: int) -> int:
        done = 0
        for key, reference in list(self._loaded.items()):
            if done >= count:
                break
            if key != keep and _is_gone(reference):
                self._forget(key)
                done += 1
        return done

    def _forget(self, key: int) -> None:
        with self.lock:
            self._loaded.pop(key, None)
            if self.newest == key:
                self.newest = 0

    def _forgetter(self, key: int) -> Callable[[weakref.ref[Unloadable]], None]:
        return lambda reference: self._forget(key)


def _is_gone(reference: weakref.ref[Unloadable]) -> bool:
    """Whether the program has been unloaded, or went when it was asked to."""
    program = reference()
    if program is not None and program.unload_if_idle():
        return True
    del program  # ours may be the last reference to what its owner has let go of
    return reference() is None


#: The programs of this process.
LOADED = Residency()
