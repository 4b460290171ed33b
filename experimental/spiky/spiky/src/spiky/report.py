"""What became of a model: its parts, buckets and masks, as :func:`explain` tells it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from inspect import getclosurevars
from typing import Any

import torch


@dataclass(frozen=True)
class Operation:
    """One operation of a graph.

    Attributes:
        name: torch's, such as ``"aten.mm.default"``.
        line: where the user has written it, ``"model.py:12: x = f(x)"``; may be empty.
    """

    name: str
    line: str = ""

    def __str__(self) -> str:
        return f"{self.name}    {self.line}" if self.line else self.name


@dataclass(frozen=True)
class Part:
    """Operations that run together.

    Attributes:
        is_compiled: whether it is a program of the core's, or eager.
        operations: in the graph's order.
        reason: why it is eager.
    """

    is_compiled: bool
    operations: tuple[Operation, ...]
    reason: str = ""


@dataclass(frozen=True)
class Mask:
    """Padding that is replaced before an operation that it would have reached.

    Attributes:
        operation: the operation.
        dimension: what is padded: the symbol, such as ``"s0"``.
        value: what the padding is replaced by.
    """

    operation: Operation
    dimension: str
    value: str


@dataclass(frozen=True)
class ExactSize:
    """A dimension that is compiled for each size, as no mask would be right.

    Attributes:
        operation: what needs the size.
        dimension: the symbol, such as ``"s0"``.
        reason: why.
    """

    operation: Operation
    dimension: str
    reason: str


@dataclass
class GraphReport:
    """Of one graph, forward or backward. Compiling adds to it, also later.

    Attributes:
        name: what it is, such as ``"forward"``.
        parts: in the order in which they run.
        buckets: by symbol, the sizes that were compiled.
        masks, exact: what was done about padding.
        notes: whatever else there is to know, such as an option without effect.
    """

    name: str = "forward"
    parts: list[Part] = field(default_factory=list)
    buckets: dict[str, list[int]] = field(default_factory=dict)
    masks: list[Mask] = field(default_factory=list)
    exact: list[ExactSize] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        compiled = sum(part.is_compiled for part in self.parts)
        eager = len(self.parts) - compiled
        title = f"{self.name}: {_count(compiled, 'part')} compiled, {eager} eager"
        return "\n".join((title, *(f"  {line}" for line in self._lines())))

    def _lines(self) -> Iterator[str]:
        for part in self.parts:
            kind = "compiled" if part.is_compiled else "eager"
            reason = f" ({part.reason})" if part.reason else ""
            yield f"{kind}, {_count(len(part.operations), 'operation')}{reason}"
            yield from (f"  {operation}" for operation in part.operations)
        for symbol, sizes in self.buckets.items():
            yield f"buckets of {symbol}: {', '.join(map(str, sizes))}"
        for mask in self.masks:
            yield f"masked along {mask.dimension} by {mask.value}: {mask.operation}"
        for exact in self.exact:
            yield f"exact size of {exact.dimension}: {exact.operation}"
            yield f"  {exact.reason}"
        for note in self.notes:
            yield f"note: {note}"


@dataclass(frozen=True)
class GraphBreak:
    """Where torch.compile ends a graph, and Python goes on.

    Attributes:
        reason: as torch says it.
        line: the user's.
    """

    reason: str
    line: str


@dataclass
class Report:
    """What :func:`explain` found; its text has all of it.

    Attributes:
        graphs: in the order in which they were compiled.
        breaks: between them, where Python runs.
    """

    graphs: list[GraphReport] = field(default_factory=list)
    breaks: list[GraphBreak] = field(default_factory=list)

    @property
    def compiled_parts(self) -> list[Part]:
        """Those that are programs of the core's."""
        return [p for graph in self.graphs for p in graph.parts if p.is_compiled]

    @property
    def eager_parts(self) -> list[Part]:
        """Those that torch runs, operation by operation."""
        return [p for graph in self.graphs for p in graph.parts if not p.is_compiled]

    def __str__(self) -> str:
        breaks = (f"graph break: {b.reason}\n  {b.line}" for b in self.breaks)
        title = f"{_count(len(self.graphs), 'graph')}"
        return "\n".join((title, *map(str, self.graphs), *breaks))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


# -- who fills it ----------------------------------------------------------------------
_report: ContextVar[Report | None] = ContextVar("spiky_report", default=None)


def begin_graph(name: str = "forward") -> GraphReport:
    """The report of a graph, for who compiles it; it is kept where one is asked for."""
    graph, report = GraphReport(name), _report.get()
    if report is not None:
        report.graphs.append(graph)
    return graph


@contextmanager
def _collected() -> Iterator[Report]:
    report = Report()
    token = _report.set(report)
    try:
        yield report
    finally:
        _report.reset(token)


# -- who asks for it -------------------------------------------------------------------
def explain(f: Callable[..., Any], *extra_args: Any, **extra_kwargs: Any) -> Any:
    """Compile a model anew, run it once, and tell what became of it.

    Called as ``torch._dynamo.explain`` is: ``explain(model)(x)``, or
    ``explain(model, x)``. ``print`` shows what it returns.

    Args:
        f: a module or a function; or what :func:`spiky.compile`, or torch.compile with
            this backend, made of one, with its options.
        extra_args, extra_kwargs: its arguments.

    Returns:
        A :class:`Report`; without arguments, a function of them that returns one.

    Raises:
        TypeError: `f` cannot be called.
        RuntimeError: the backend is not initialized.
    """
    if not callable(f):
        raise TypeError(f"explain takes a module or a function: got {f!r}")

    def inner(*args: Any, **kwargs: Any) -> Report:
        return _explained(f, args, kwargs)

    return inner(*extra_args, **extra_kwargs) if extra_args or extra_kwargs else inner


def _explained(
    f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]
) -> Report:
    from spiky.compiled_model import compile_apart
    from spiky.torch._backend import nkipy

    asked = _asked(f)
    with _collected() as report:

        def compile_and_tell(
            gm: torch.fx.GraphModule, inputs: Sequence[Any]
        ) -> Callable[..., Any]:
            _note_break(report, gm)
            return nkipy(gm, inputs, options=asked.options)

        compile_apart(asked.model, compile_and_tell, asked.dynamic)(*args, **kwargs)
    return report


def _note_break(report: Report, gm: torch.fx.GraphModule) -> None:
    reason = getattr(gm, "compile_subgraph_reason", None)
    if reason is not None and reason.graph_break:
        stack = reason.user_stack
        line = f"{stack[-1].filename}:{stack[-1].lineno}" if stack else ""
        report.breaks.append(GraphBreak(str(reason.reason), line))


@dataclass(frozen=True)
class _Asked:
    model: Callable[..., Any]
    options: dict[str, Any] | None
    dynamic: bool | None


def _asked(f: Callable[..., Any]) -> _Asked:
    """The model below what compiles it, and how that does it.

    Raises:
        ValueError: another backend compiles it.
    """
    from spiky.compiled_model import CompiledModel

    if isinstance(f, CompiledModel):
        return _Asked(f.model, f.options, f.dynamic)
    model = getattr(f, "_torchdynamo_orig_callable", None)
    if model is None:
        return _Asked(f, None, None)
    wrapper = _wrapper(f)
    if getattr(wrapper, "compiler_name", None) != "nkipy":
        raise ValueError(
            f'{f!r} is compiled by another backend than "nkipy": give the model itself'
        )
    return _Asked(model, wrapper.kwargs.get("options"), wrapper.dynamic)


def _wrapper(f: Callable[..., Any]) -> Any:
    """What torch.compile has made of its arguments; None: it is not where it was."""
    context = getattr(f, "dynamo_ctx", None)
    found: Any = getattr(context, "callback", None)
    if context is None:  # a function, not a module
        found = getclosurevars(f).nonlocals.get("callback")
    while hasattr(found, "_torchdynamo_orig_backend"):
        found = found._torchdynamo_orig_backend
    return found
