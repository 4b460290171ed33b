"""What became of a model: its parts, buckets and masks, as explain tells it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Operation:
    """One operation of a graph.

    Attributes:
        name: torch's, such as ``"aten.mm.default"``.
        line: where the user has written it, ``"model.py:12"``, or ``"Cell In[3], line
            2"`` of a notebook; may be empty.
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


@dataclass(repr=False)
class Report:
    """What :func:`spiky.explain` found; its text, which that writes, has all of it.

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

    def __repr__(self) -> str:
        """A line, which an interactive session shows below what explain has written."""
        graphs = _count(len(self.graphs), "graph")
        compiled = _count(len(self.compiled_parts), "part")
        return f"<{graphs}: {compiled} compiled, {len(self.eager_parts)} eager>"

    def __str__(self) -> str:
        breaks = (f"graph break: {b.reason}\n  {b.line}" for b in self.breaks)
        title = _count(len(self.graphs), "graph")
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
def collected() -> Iterator[Report]:
    """A report that graphs are added to which are begun meanwhile."""
    report = Report()
    token = _report.set(report)
    try:
        yield report
    finally:
        _report.reset(token)
