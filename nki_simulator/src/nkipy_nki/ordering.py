"""The order that a kernel asks for: of instructions, by their handles or by names.

Instructions are always carried out as the kernel makes them. What is asked for beside
that becomes edges of the program, which estimated times go by. An edge cannot turn
around what data ask for, nor what ``no_reorder`` keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from itertools import count
from typing import Any, NamedTuple, NoReturn, TypeVar

from nkipy_nki.conflicts import Unordered, in_order, turned
from nkipy_nki.deprecation import warn_deprecated
from nkipy_nki.modes import dependency
from nkipy_nki.program import Edge, Instruction, Loop, Program, Step
from nkipy_nki.running import current, invalid

__all__ = ["Asked", "NkiInstruction", "add_edges", "asked_of", "scheduled"]

F = TypeVar("F", bound=Callable[..., Any])


class NkiInstruction(Instruction):
    """An instruction that a kernel has made: what the functions of ``nisa`` return.

    Attributes:
        number: how many the run had made before it, those of loops' bodies once.
        scope: what stands for the run, and the loops over registers that it is in.
    """

    __slots__ = ("number", "scope")
    number: int
    scope: tuple[object, ...]

    def __repr__(self) -> str:
        return f"<instruction {_told(self)}>"

    def depends_on(
        self, *producers: NkiInstruction, kind: dependency | None = None
    ) -> NkiInstruction:
        """Let this instruction run after others, which were made before it.

        Args:
            producers: the others: in the same loops over registers, or in fewer.
            kind: ``dependency.runtime``, which waits until they are done; or
                ``dependency.schedule``, which issues this one after them. None is
                runtime, and deprecated.

        Returns:
            This instruction.

        Raises:
            NkiValidationError: one was made after this one, by another run, or in a
                loop that this one is not in; or the arguments are none of these.
        """
        if kind is None:
            warn_deprecated(
                "depends_on without kind is deprecated: say "
                "kind=nisa.dependency.runtime or nisa.dependency.schedule"
            )
            kind = dependency.runtime
        _require_kind(kind)
        for producer in producers:
            self._require_before(producer)
        self.after += tuple(Edge(producer, kind) for producer in producers)
        return self

    def _require_before(self, producer: Any) -> None:
        if not isinstance(producer, NkiInstruction):
            raise invalid(
                "depends_on takes instructions, as functions of nisa return them, not "
                f"{producer!r}"
            )
        what = f"{_told(self)} cannot depend on {_told(producer)}"
        if self.scope[0] is not producer.scope[0]:
            raise invalid(f"{what}, which another run makes")
        if producer.number >= self.number:
            raise invalid(f"{what}, which is made no earlier: make that one first")
        if self.scope[: len(producer.scope)] != producer.scope:
            raise invalid(f"{what}, which is in a loop that it is not in")


def _told(step: Instruction) -> str:
    name = f" {step.name!r}" if step.name else ""
    return f"{step.record.name}{name} at {step.line}"


def _require_kind(kind: Any) -> None:
    if not isinstance(kind, dependency):
        raise invalid(
            f"kind is {kind!r}, and must be nisa.dependency.runtime or "
            "nisa.dependency.schedule"
        )


# -- schedules by names ----------------------------------------------------------------
class Asked(NamedTuple):
    """An edge between instructions that are named.

    Attributes:
        consumer: the name of the one that comes after.
        producer: the name of the one before.
        kind: how.
    """

    consumer: str
    producer: str
    kind: dependency


def asked_of(edges: Iterable[Any], kind: dependency) -> Iterator[Asked]:
    """What a schedule says: each edge with one producer.

    Args:
        edges: pairs of a name, and a name or a list of names; or triples with a kind.
        kind: of pairs.

    Raises:
        NkiValidationError: it is something else.
    """
    _require_kind(kind)
    for edge in edges:
        if not isinstance(edge, (tuple, list)) or len(edge) not in (2, 3):
            _refuse(edge)
        consumer, producers, own = (*edge, kind)[:3]
        _require_kind(own)
        if isinstance(producers, str):
            producers = (producers,)
        if not isinstance(producers, (tuple, list)):
            _refuse(edge)
        if not all(isinstance(n, str) and n for n in (consumer, *producers)):
            _refuse(edge)
        yield from (Asked(consumer, name, own) for name in producers)


def _refuse(edge: Any) -> NoReturn:
    raise invalid(
        "with_schedule takes edges, each the name of an instruction and the name, or a "
        f"list of names, of those that it comes after, not {edge!r}"
    )


def scheduled(function: F, asked: Sequence[Asked]) -> F:
    """A kernel's function that adds edges to the instructions that it has made."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        run = current("a schedule")
        before = run.made
        returned = function(*args, **kwargs)
        named: dict[str, list[NkiInstruction]] = {}
        for step in run.program.instructions():
            if step.name and isinstance(step, NkiInstruction) and step.number >= before:
                named.setdefault(step.name, []).append(step)
        for consumer, producer, kind in asked:
            edge = Edge(_only(named, producer), kind)
            problem = add_edges(run.program, {_only(named, consumer): (edge,)})
            if problem:
                raise invalid(f"with_schedule: {problem}")
        return returned

    return call  # type: ignore[return-value]


def _only(named: Mapping[str, Sequence[NkiInstruction]], name: str) -> NkiInstruction:
    found = named.get(name, ())
    if len(found) == 1:
        return found[0]
    if not found:
        names = ", ".join(sorted(named)) or "none is named"
        raise invalid(f"with_schedule: no instruction is called {name!r}: {names}")
    lines = " and ".join(str(step.line) for step in found[:2])
    raise invalid(
        f"with_schedule: {len(found)} instructions are called {name!r}, at {lines}: "
        "give each a name of its own"
    )


# -- edges of a program ----------------------------------------------------------------
def add_edges(
    program: Program, edges: Mapping[Instruction, Sequence[Edge]]
) -> str | None:
    """Add edges to instructions of a program: what is wrong with one, or None."""
    bodies = dict(_bodies(program.body, (), count()))
    turns: dict[int, tuple[Sequence[Step], Instruction, Edge]] = {}
    for consumer, its in edges.items():
        for edge in its:
            if edge.producer is consumer:
                return f"{_told(consumer)} cannot come after itself"
            where, other = bodies[consumer], bodies[edge.producer]
            if where.loops[: len(other.loops)] != other.loops:
                return _told_of(consumer, edge, "which is in a loop that it is not in")
            if other.number >= where.number and where.body is not other.body:
                return _told_of(consumer, edge, "which is made after the loop it is in")
            consumer.after += (edge,)
            turns[id(where.body)] = where.body, consumer, edge
    for body, consumer, edge in turns.values():
        if bounds := turned(body):
            try:
                in_order(body[slice(*bounds)])
            except Unordered as error:
                return _told_of(consumer, edge, f"which is made later: {error}")
    return None


def _told_of(consumer: Instruction, edge: Edge, why: str) -> str:
    return f"{_told(consumer)} cannot come after {_told(edge.producer)}, {why}"


class _Where(NamedTuple):
    """Where an instruction is.

    Attributes:
        number: how many come before it, those of loops' bodies once.
        body: the steps that it is one of.
        loops: those that it is in.
    """

    number: int
    body: Sequence[Step]
    loops: tuple[Loop, ...]


def _bodies(
    body: Sequence[Step], loops: tuple[Loop, ...], numbers: Iterator[int]
) -> Iterator[tuple[Instruction, _Where]]:
    for step in body:
        if isinstance(step, Loop):
            yield from _bodies(step.body, (*loops, step), numbers)
        else:
            yield step, _Where(next(numbers), body, loops)
