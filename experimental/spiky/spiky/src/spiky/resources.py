"""Programs that a compiled model has on the core, so that it can let go of them."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol


class Program(Protocol):
    """What runs one graph, in all of its buckets."""

    def close(self) -> None:
        """Give back what it has on the core; calling it again does nothing."""


#: Programs of one model. They live as long as torch's cache has their functions.
Programs = weakref.WeakSet[Program]

_owner: ContextVar[Programs | None] = ContextVar("spiky_programs", default=None)


def hold(program: Program) -> None:
    """Have the model that is being compiled close this program when it is closed.

    Does nothing where torch.compile itself was called, whose functions are never
    closed.
    """
    programs = _owner.get()
    if programs is not None:
        programs.add(program)


def owner() -> Programs | None:
    """What programs are added to now, for who compiles more of them later."""
    return _owner.get()


@contextmanager
def owned_by(programs: Programs | None) -> Iterator[None]:
    """Add what is held meanwhile to `programs`."""
    token = _owner.set(programs)
    try:
        yield
    finally:
        _owner.reset(token)
