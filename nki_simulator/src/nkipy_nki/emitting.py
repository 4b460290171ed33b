"""Makes instructions of what a kernel calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nkipy_nki.checking import operand_of
from nkipy_nki.engines import Engine
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.findings import Findings
from nkipy_nki.operators import find_operation, is_of_numpy
from nkipy_nki.ordering import NkiInstruction
from nkipy_nki.program import Line, Register, View, plain_view
from nkipy_nki.records import InstructionRecord, OperationRule
from nkipy_nki.running import Run, current, invalid, kernel_line

__all__ = ["emit"]


def emit(
    record: InstructionRecord,
    operands: Mapping[str, Any],
    attributes: dict[str, Any],
    name: str | None,
    line: Line | None = None,
) -> NkiInstruction:
    """Make an instruction of what a kernel calls, and add it to the current run.

    Its line is the one that the kernel is at, unless `line` is given.
    """
    run = current(f"nki.isa.{record.name}")
    for attribute, value in attributes.items():
        if type(value) not in _PLAIN and isinstance(value, _TO_MAKE_PLAIN):
            attributes[attribute] = _plain(value)
    engine = attributes.get("engine") or Engine.unknown
    if not isinstance(engine, Engine):
        text = _not_an_engine(record, engine)
        raise NkiValidationError(f"{text}\n  at {line or kernel_line()}")
    if name is not None and not isinstance(name, str):
        raise invalid(f"nki.isa.{record.name}: name is {name!r}, and must be a str")
    taken, owner = {}, run.owner
    for operand, given in operands.items():
        if isinstance(given, View) and given.allocation.owner is owner:
            taken[operand] = plain_view(given)
        else:
            taken[operand] = _own(given, record, operand, run, line)
    made = NkiInstruction(
        record,
        taken,
        attributes,
        engine,
        line or kernel_line(),
        name or "",
    )
    for attribute, rule in record.operations.items():
        if attributes[attribute] is not None:
            attributes[attribute] = _operation(made, attribute, rule, run.findings)
    made.number, made.scope = run.made, run.scope
    run.add(made)
    return made


def _own(
    given: Any, record: InstructionRecord, name: str, run: Run, line: Line | None
) -> Any:
    """An operand as a program has it, which must be of this run."""
    found = operand_of(given)
    if type(found) in _PLAIN:
        return found
    what = f"nki.isa.{record.name}: {name}"
    for part in found if isinstance(found, tuple) else (found,):
        if isinstance(part, View):
            run.require_own(part.allocation, what, line)
        elif isinstance(part, Register):
            run.require_own(part, what, line)
    return found


def _not_an_engine(record: InstructionRecord, given: Any) -> str:
    names = ", ".join(f"nisa.engine.{engine.name}" for engine in record.engines)
    return f"nki.isa.{record.name}: engine is {given!r}, and may be {names}"


_PLAIN = frozenset({type(None), bool, int, float, str, Engine})
_TO_MAKE_PLAIN = (list, tuple, np.generic, np.ndarray)


def _plain(value: Any) -> Any:
    """Numbers as Python's; lists and arrays, which the kernel may change, as tuples."""
    if isinstance(value, (list, tuple)):
        return tuple(map(_plain, value)) if value else ()
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    return value.item() if isinstance(value, np.generic) else value


def _operation(
    made: NkiInstruction, attribute: str, rule: OperationRule, findings: Findings
) -> str:
    """The name of the operation that an attribute is."""
    given, line, name = made.attributes[attribute], made.line, made.record.name
    try:
        found = find_operation(given, rule.kinds)
    except NkiValidationError as error:
        text = f"{attribute} {str(error).removeprefix('op ')}"
        findings.report("wrong-operand", text, line, name)
        raise
    # The first generation documented NumPy's functions as well.
    if not findings.is_first and (isinstance(given, str) or is_of_numpy(given)):
        findings.report(
            "would-not-compile",
            f"{attribute} is {given!r}, and must be an operation of nki.language, as "
            f"in {attribute}=nl.{found.name}",
            line,
            name,
        )
    return found.name
