"""What is recorded of an instruction: one record, which everything reads.

A record is made by :func:`instruction` from a function whose signature and docstring are
those of the language, and whose body is not run::

    @instruction(
        Engine.vector,
        dst=writes(ON_CHIP),
        data=reads(ON_CHIP),
        rules=[same_partitions, same_elements],
        meaning=_reciprocal,
        cost=...,
        samples=...,
        refused=...,
    )
    def reciprocal(dst, data, name=None):
        \"\"\"...\"\"\"

A parameter that is named among the operands is one; all others are attributes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from nkipy_nki.engines import Engine
from nkipy_nki.regions import ON_CHIP, MemoryRegion

if TYPE_CHECKING:
    from nkipy.chips import Chip

    from nkipy_nki.machine import Call
    from nkipy_nki.program import Instruction

P = ParamSpec("P")
R = TypeVar("R")

#: A condition: raises NkiValidationError, or says what is wrong by a text.
Rule = "Callable[[Instruction, Chip], str | None]"


@dataclass(frozen=True)
class OperandRule:
    """What an operand may be.

    Attributes:
        read: its elements are read, and must have been written.
        written: its elements are written.
        regions: where it may lie.
        dtypes: names of the element types that it may have; empty if any.
        scalar: it may be a number (for a register, `register`).
        register: it may be a register.
        vector: it may be one element for each partition, ``[P, 1]``.
        several: it is a list of tensors.
        optional: it may be None.
        partitions: at most so many, on the chip.
        dims: at most so many dimensions, on the chip; 0 if any.
    """

    read: bool = False
    written: bool = False
    regions: Collection[MemoryRegion] = ON_CHIP
    dtypes: tuple[str, ...] = ()
    scalar: bool = False
    register: bool = False
    vector: bool = False
    several: bool = False
    optional: bool = False
    partitions: int = 128
    dims: int = 0


def reads(
    regions: Collection[MemoryRegion] = ON_CHIP, *dtypes: str, **others: Any
) -> OperandRule:
    """An operand that is read."""
    return OperandRule(read=True, regions=regions, dtypes=dtypes, **others)


def writes(
    regions: Collection[MemoryRegion] = ON_CHIP, *dtypes: str, **others: Any
) -> OperandRule:
    """An operand that is written."""
    return OperandRule(written=True, regions=regions, dtypes=dtypes, **others)


@dataclass(frozen=True, eq=False)
class Sample:
    """Operands to try an instruction with.

    Attributes:
        operands: by name: an array to read (with `regions`, where it lies), or a number.
            Of those that are written, a shape and a dtype; or an array, if what was
            there before matters.
        attributes: by name.
        regions: of operands that are not in the SBUF.
        chip: the target.
        label: what it shows.
        message: of a sample that must be refused: part of what is said.
    """

    operands: Mapping[str, Any]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    regions: Mapping[str, MemoryRegion] = field(default_factory=dict)
    chip: str = "trn2"
    label: str = ""
    message: str = ""


@dataclass(frozen=True, eq=False)
class InstructionRecord:
    """An instruction of the language.

    Attributes:
        name: its name in ``nki.isa``.
        engines: those that can carry it out, the one that does unless told first; or
            a function that says which does.
        operands: what each operand may be, by name, in the order of the signature.
        signature: that of the public function.
        doc: its description.
        rules: further conditions, over several operands or attributes.
        meaning: what it does.
        cost: cycles of its engine; of a transfer, nanoseconds, by ``timing``'s rules.
        samples: operands to try it with.
        refused: operands that must be refused.
        since: the first generation that has it.
        until: the last one, if any.
    """

    name: str
    engines: tuple[Engine, ...]
    choose_engine: Callable[[Instruction, Chip], Engine] | None
    operands: Mapping[str, OperandRule]
    signature: inspect.Signature
    doc: str
    rules: tuple[Callable[[Instruction, Chip], str | None], ...]
    meaning: Callable[[Call], None]
    cost: Callable[[Instruction, Chip], float]
    samples: Callable[[], Iterable[Sample]]
    refused: Callable[[], Iterable[Sample]]
    since: int = 2
    until: int | None = None

    def __repr__(self) -> str:
        return f"<record of {self.name}>"


#: Every instruction, by name. :func:`instruction` adds to it; nothing else may.
INSTRUCTIONS: dict[str, InstructionRecord] = {}


def instruction(
    *engines: Engine,
    rules: Sequence[Callable[[Instruction, Chip], str | None]] = (),
    meaning: Callable[[Call], None],
    cost: Callable[[Instruction, Chip], float],
    samples: Callable[[], Iterable[Sample]],
    refused: Callable[[], Iterable[Sample]],
    choose_engine: Callable[[Instruction, Chip], Engine] | None = None,
    since: int = 2,
    until: int | None = None,
    **operands: OperandRule,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a record of a function's signature, and give the public function.

    Raises:
        ValueError: the record does not fit the signature, lacks a description, or its
            name is taken.
    """

    def declare(function: Callable[P, R]) -> Callable[P, R]:
        record = InstructionRecord(
            name=function.__name__,
            engines=engines,
            choose_engine=choose_engine,
            operands=operands,
            signature=inspect.signature(function),
            doc=inspect.getdoc(function) or "",
            rules=tuple(rules),
            meaning=meaning,
            cost=cost,
            samples=samples,
            refused=refused,
            since=since,
            until=until,
        )
        _check(record)
        INSTRUCTIONS[record.name] = record
        return _public(function, record)

    return declare


def _check(record: InstructionRecord) -> None:
    problems = {
        "has no description": not record.doc,
        "is declared twice": record.name in INSTRUCTIONS,
        "has no engine": not record.engines,
        "takes no name": "name" not in record.signature.parameters,
        "has an operand that its signature lacks": not (
            record.operands.keys() <= record.signature.parameters.keys()
        ),
    }
    for problem, holds in problems.items():
        if holds:
            raise ValueError(f"the record of instruction {record.name} {problem}")


def _public(function: Callable[P, R], record: InstructionRecord) -> Callable[P, R]:
    """The function that emits the instruction, with the signature of `function`.

    It is compiled from that, as a call that is bound by hand takes longer than all
    checks.
    """
    from nkipy_nki.running import emit

    names = [name for name in record.signature.parameters if name != "name"]
    operands = ", ".join(f"{n!r}: {n}" for n in names if n in record.operands)
    attributes = ", ".join(f"{n!r}: {n}" for n in names if n not in record.operands)
    parameters, defaults = _parameters(record.signature)
    source = (
        f"def {record.name}({parameters}):\n"
        f"    return emit(record, {{{operands}}}, {{{attributes}}}, name)\n"
    )
    scope: dict[str, Any] = {"emit": emit, "record": record, "defaults": defaults}
    exec(compile(source, f"<nki.isa.{record.name}>", "exec"), scope)
    made = scope[record.name]
    made.__doc__ = record.doc
    made.__module__ = function.__module__
    made.__annotations__ = function.__annotations__
    made.__signature__ = record.signature
    made.record = record
    return made


def _parameters(signature: inspect.Signature) -> tuple[str, list[Any]]:
    """A signature's text, its default values by their place in a list."""
    parts: list[str] = []
    defaults: list[Any] = []
    for parameter in signature.parameters.values():
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
            raise ValueError(f"{parameter} must be given by position or by name")
        text = parameter.name
        if parameter.default is not parameter.empty:
            text += f"=defaults[{len(defaults)}]"
            defaults.append(parameter.default)
        parts.append(text)
    return ", ".join(parts), defaults
