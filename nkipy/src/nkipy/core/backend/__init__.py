"""The active trace, and what every backend's program has in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import get_ident
from typing import Any, Protocol

from nkipy.core.compatibility import names_for
from nkipy.hlo.ir import AliasInfo, SourceLocation, TensorPlaceholder

__all__ = [
    "AliasInfo",
    "TensorPlaceholder",
    "TraceContext",
    "get_backend",
    "set_source_location",
    "tracing",
]

__getattr__ = names_for(__name__)


class TraceContext(Protocol):
    """What a backend's trace offers to the op registry."""

    backend_name: str
    current_source_location: SourceLocation | None
    current_op: Any
    #: The thread that is tracing; None before and afterwards.
    thread: int | None


# A context variable: each thread, and each nested trace, sees its own.
_active_ctx: ContextVar[Any] = ContextVar("nkipy_active_trace", default=None)


@contextmanager
def tracing(ctx: TraceContext) -> Iterator[TraceContext]:
    """Make `ctx` the active trace of this thread; the former one returns on exit."""
    token = _active_ctx.set(ctx)
    ctx.thread = get_ident()
    try:
        yield ctx
    finally:
        ctx.thread = None
        _active_ctx.reset(token)


def get_backend() -> str:
    """Name of the active trace's backend, or "cpu" outside of a trace."""
    ctx = _active_ctx.get()
    return "cpu" if ctx is None else ctx.backend_name


def set_source_location(location: tuple[str, int] | None) -> None:
    """Attribute the instructions that follow to a (file, line); None ends that."""
    ctx = _active_ctx.get()
    if ctx is not None:
        ctx.current_source_location = location and SourceLocation(*location)
