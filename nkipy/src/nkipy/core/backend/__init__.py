"""The active trace, and what every backend's program has in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, runtime_checkable

from nkipy.hlo.ir import AliasInfo, SourceLocation, TensorPlaceholder

__all__ = [
    "AliasInfo",
    "ComputationIR",
    "TensorPlaceholder",
    "TraceContext",
    "get_backend",
    "prepare_io_mapping",
    "set_source_location",
    "tracing",
]


class TraceContext(Protocol):
    """What a backend's trace offers to the op registry."""

    backend_name: str
    current_source_location: SourceLocation | None


# A context variable: each thread, and each nested trace, sees its own.
_active_ctx: ContextVar[Any] = ContextVar("nkipy_active_trace", default=None)


@contextmanager
def tracing(ctx: TraceContext) -> Iterator[TraceContext]:
    """Make `ctx` the active trace of this thread; the former one returns on exit."""
    token = _active_ctx.set(ctx)
    try:
        yield ctx
    finally:
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


@runtime_checkable
class ComputationIR(Protocol):
    """What compilation needs to know of a traced program."""

    @property
    def inputs(self) -> list[TensorPlaceholder]: ...

    @property
    def outputs(self) -> list[TensorPlaceholder]: ...

    aliases: list[AliasInfo]

    @property
    def auto_aliased_indices(self) -> set[int]: ...

    def content_hash(self, compiler_args: str) -> str: ...


def prepare_io_mapping(
    inputs: Sequence[TensorPlaceholder],
    aliases: Sequence[AliasInfo],
    original_inputs: Sequence[Any],
) -> tuple[Mapping[str, Any], dict[int, str]]:
    """Pair the arrays of a call with the names that the program knows them by.

    Args:
        inputs: the program's inputs.
        aliases: its aliases.
        original_inputs: one array per input, in order.

    Returns:
        Input name to array, and output index to the name of the input it aliases.

    Raises:
        RuntimeError: the number of arrays is not the number of inputs.
    """
    if len(inputs) != len(original_inputs):
        raise RuntimeError(
            f"Expected {len(inputs)} tensor arguments, got {len(original_inputs)}"
        )
    by_name = {p.name: array for p, array in zip(inputs, original_inputs)}
    return by_name, {a.output_index: inputs[a.param_index].name for a in aliases}
