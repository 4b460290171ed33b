"""Makes an instruction's record, and its public function, of a signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeAlias, TypeVar

from nkipy_nki.emitting import emit
from nkipy_nki.engines import Engine
from nkipy_nki.records import (
    INSTRUCTIONS,
    Choice,
    Cost,
    InstructionRecord,
    Meaning,
    OperandRule,
    OperationRule,
    Rule,
    Samples,
    TransferTime,
)

__all__ = ["instruction"]

#: Makes operands and attributes of what a function is given for them.
Prepare: TypeAlias = Callable[
    [dict[str, Any], dict[str, Any]], "tuple[dict[str, Any], dict[str, Any]]"
]

P = ParamSpec("P")
R = TypeVar("R")


def instruction(
    *engines: Engine,
    rules: Sequence[Rule] = (),
    meaning: Meaning,
    cost: Cost,
    samples: Samples,
    refused: Samples,
    choose_engine: Choice | None = None,
    operations: Mapping[str, OperationRule] | None = None,
    transfer_ns: TransferTime | None = None,
    prepare: Prepare | None = None,
    since: int = 2,
    until: int | None = None,
    **operands: OperandRule,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a record of a function's signature, and give the public function.

    Args:
        engines, rules, meaning, cost: see :class:`InstructionRecord`.
        samples, refused, choose_engine, operations: see there.
        transfer_ns, since, until, operands: see there.
        prepare: makes the instruction's operands and attributes of what the function
            is given for them; None if they are that.

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
            operations=operations or {},
            signature=inspect.signature(function),
            doc=inspect.getdoc(function) or "",
            rules=tuple(rules),
            meaning=meaning,
            cost=cost,
            samples=samples,
            refused=refused,
            transfer_ns=transfer_ns,
            since=since,
            until=until,
            module=function.__module__,
        )
        _check(record)
        INSTRUCTIONS[record.name] = record
        return _public(function, record, prepare)

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
        "has an operation that its signature lacks": not (
            record.operations.keys() <= record.signature.parameters.keys()
        ),
    }
    for problem, holds in problems.items():
        if holds:
            raise ValueError(f"the record of instruction {record.name} {problem}")


def _public(
    function: Callable[P, R], record: InstructionRecord, prepare: Prepare | None
) -> Callable[P, R]:
    """The function that emits the instruction, with the signature of `function`.

    It is compiled from that, as a call that is bound by hand takes longer than all
    checks.
    """
    names = [name for name in record.signature.parameters if name != "name"]
    operands = ", ".join(f"{n!r}: {n}" for n in names if n in record.operands)
    attributes = ", ".join(f"{n!r}: {n}" for n in names if n not in record.operands)
    parameters, defaults = _parameters(record.signature)
    given = f"{{{operands}}}, {{{attributes}}}"
    if prepare is not None:
        given = f"*prepare({given})"
    source = (
        f"def {record.name}({parameters}):\n    return emit(record, {given}, name)\n"
    )
    scope: dict[str, Any] = {"emit": emit, "record": record, "defaults": defaults}
    scope["prepare"] = prepare
    exec(compile(source, f"<nki.isa.{record.name}>", "exec"), scope)
    made = scope[record.name]
    made.__doc__ = record.doc
    made.__module__ = function.__module__
    made.__annotations__ = function.__annotations__
    made.__signature__ = record.signature
    made.__wrapped__ = function  # in whose module the annotations are evaluated
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
