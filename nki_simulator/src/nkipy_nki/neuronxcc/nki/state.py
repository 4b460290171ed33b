"""What a run of a first-generation kernel keeps beside its program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from nkipy_nki.errors import NkiValidationError
from nkipy_nki.neuronxcc.nki.faults import fault

__all__ = [
    "State",
    "keeping",
    "masking",
    "reducing",
    "settle",
    "state",
]

_STATE: ContextVar[State | None] = ContextVar("nkipy_nki_first", default=None)


@dataclass(eq=False)
class State:
    """The state of one run.

    Attributes:
        unsettled: a result whose place is not chosen yet; nothing was issued since.
        loops: those that are run, the outermost first.
        shared: tensors in shared_hbm, which all programs of a grid have, in order.
        place: how many of them the current program has made.
        reducing: by which operation what is issued adds to what it writes to, or "".
        mask: where what is issued is meant, if that is not what its views are.
        writes: how often instructions have written to a tensor, by its id.
        immutable: names of the arguments that must not be written, by allocation's id.
        by_reference: whether that is an error only of a kernel that returns something.
        written: the errors of those that were written nevertheless, by name.
    """

    unsettled: Any = None
    loops: list[Any] = field(default_factory=list)
    shared: list[Any] = field(default_factory=list)
    place: int = 0
    reducing: str = ""
    mask: Any = None
    writes: dict[int, int] = field(default_factory=dict)
    immutable: dict[int, str] = field(default_factory=dict)
    by_reference: bool = False
    written: dict[str, NkiValidationError] = field(default_factory=dict)


def state(what: str = "NKI") -> State:
    """The state of the run that the caller is part of.

    Raises:
        NkiValidationError: no kernel of the first generation is running.
    """
    found = _STATE.get()
    if found is None:
        raise fault(
            "nki_api_outside_of_nki_kernel",
            f"{what} is called outside of a kernel of neuronxcc.nki",
        )
    return found


def settle() -> None:
    """Choose the place of a result that waits for it, before something is issued."""
    found = state()
    if found.unsettled is not None:
        found.unsettled.settle()


@contextmanager
def keeping(made: State) -> Iterator[State]:
    """Let `made` be the current state."""
    token = _STATE.set(made)
    try:
        yield made
    finally:
        _STATE.reset(token)


@contextmanager
def reducing(name: str) -> Iterator[None]:
    """What is issued meanwhile adds to what it writes to, by an operation."""
    found = state()
    before, found.reducing = found.reducing, name
    try:
        yield
    finally:
        found.reducing = before


@contextmanager
def masking(mask: Any) -> Iterator[None]:
    """What is issued meanwhile is meant where a mask is true."""
    found = state()
    found.mask = mask
    try:
        yield
    finally:
        found.mask = None
