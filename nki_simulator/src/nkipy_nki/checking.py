"""Whether an instruction may be as it is, by its record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nkipy.chips import Chip
from nkipy_nki.engines import Engine
from nkipy_nki.findings import Findings
from nkipy_nki.program import Instruction, Register, View
from nkipy_nki.records import InstructionRecord, OperandRule
from nkipy_nki.regions import MemoryRegion

__all__ = ["check", "operand_of"]


def operand_of(given: Any) -> Any:
    """What a kernel gives for an operand, as a program has it.

    A number stays one; what has a ``register`` is that, a grid is its ``data``.
    """
    if given is None or isinstance(given, (View, Register, int, float, str)):
        return given
    if isinstance(given, (tuple, list)):
        return tuple(operand_of(part) for part in given)
    if isinstance(given, np.generic) or (
        isinstance(given, np.ndarray) and given.ndim == 0
    ):
        return given.item()
    for name in ("register", "data"):
        if hasattr(given, name) and not isinstance(given, np.ndarray):
            return operand_of(getattr(given, name))
    return given


def check(instruction: Instruction, chip: Chip, findings: Findings) -> None:
    """Report what an instruction may not be.

    Raises:
        NkiValidationError: there is something, and it is an error.
    """
    record = instruction.record
    line, name = instruction.line, record.name
    if text := _generation(record, chip):
        findings.report("generation", text, line, name)
    for problem in _problems(instruction, chip):
        findings.report("wrong-operand", problem, line, name)


def _generation(record: InstructionRecord, chip: Chip) -> str:
    if record.since <= chip.generation <= (record.until or chip.generation):
        return ""
    until = f" to gen{record.until}" if record.until else ""
    return (
        f"is of gen{record.since}{until or ' and later'}, and the target is "
        f"{chip.nki_name} ({chip.name})"
    )


def _problems(instruction: Instruction, chip: Chip) -> Iterator[str]:
    record = instruction.record
    for name, rule in record.operands.items():
        operand = instruction.operands[name]
        if problem := _operand_problem(operand, rule):
            yield f"{name} {problem}"
            return
    engine = instruction.engine
    if engine.value and engine not in record.engines:
        names = ", ".join(e.name for e in record.engines)
        yield f"engine is {engine.name}, and not one of {names}"
    if record.choose_engine is not None:
        instruction.engine = record.choose_engine(instruction, chip)
    elif not engine.value:
        instruction.engine = record.engines[0]
    for rule_of_all in record.rules:
        if problem := rule_of_all(instruction, chip):
            yield problem


def _operand_problem(operand: Any, rule: OperandRule) -> str | None:
    """What is wrong with an operand."""
    if isinstance(operand, View):
        return _view_problem(operand, rule)
    if operand is None:
        return None if rule.optional else f"is None, and must be {rule.wanted}"
    if isinstance(operand, tuple) and rule.several:
        for view in operand:
            if problem := _operand_problem(view, rule):
                return problem
        return None
    if isinstance(operand, Register):
        return None if rule.register else "is a register, and must be a tensor"
    if isinstance(operand, (int, float)):
        return None if rule.scalar else f"is {operand!r}, and must be {rule.wanted}"
    return f"is {type(operand).__name__}, and must be {rule.wanted}"


def _view_problem(view: View, rule: OperandRule) -> str | None:
    region = view.allocation.region
    if not rule.regions:
        return f"is a tensor, and must be {rule.wanted}"
    if region not in rule.regions:
        names = sorted(r.value for r in rule.regions)
        return f"is in {region.value}, and may be in {', '.join(names)} only"
    if rule.dtypes and view.dtype.name not in rule.dtypes:
        return f"is {view.dtype.name}, and may be {', '.join(rule.dtypes)} only"
    if rule.written and 0 in view.strides:
        for count, stride in zip(view.shape, view.strides):
            if stride == 0 and count > 1:
                return "is written, and has elements that lie at one place"
    if not region.is_on_chip:
        return None
    if view.shape[0] > rule.partitions:
        return f"has {view.shape[0]} partitions, and may have {rule.partitions}"
    if rule.dims and len(view.shape) > rule.dims:
        return f"has {len(view.shape)} dimensions, and may have {rule.dims}"
    return _partition_problem(view) if rule.aligned else None


def _partition_problem(view: View) -> str | None:
    """What is wrong with the partitions that a view is in."""
    count, first = view.shape[0], view.first_partition
    allowed = (0,) if count > 64 else (0, 64) if count > 32 else (0, 32, 64, 96)
    if first in allowed:
        return None
    return (
        f"begins at partition {first}, and {count} partitions may begin at "
        f"{', '.join(map(str, allowed))} only"
    )


# -- rules of several records ----------------------------------------------------------
def same_partitions(instruction: Instruction, chip: Chip) -> str | None:
    """All tiles have as many partitions."""
    first: tuple[str, View] | None = None
    for name, view in instruction.views():
        if not view.allocation.region.is_on_chip:
            continue
        if first is None:
            first = name, view
        elif view.shape[0] != first[1].shape[0]:
            return (
                f"{name} has {view.shape[0]} partitions, and {first[0]} has "
                f"{first[1].shape[0]}"
            )
    return None


def same_elements(instruction: Instruction, chip: Chip) -> str | None:
    """All tiles have as many elements in a partition, vectors apart."""
    operands = instruction.record.operands
    first: tuple[str, View] | None = None
    for name, view in instruction.views():
        if operands[name].vector:
            if view.free_size != 1:
                return f"{name} has the shape {list(view.shape)}, and must be [P, 1]"
            continue
        if first is None:
            first = name, view
        elif view.free_size != first[1].free_size:
            return (
                f"{name} has {view.free_size} elements in a partition, and {first[0]} "
                f"has {first[1].free_size}"
            )
    return None


def gpsimd_reaches_no_psum(instruction: Instruction, chip: Chip) -> str | None:
    """The GpSimd engine has no access to the PSUM."""
    if instruction.engine is not Engine.gpsimd:
        return None
    for name, view in instruction.views():
        if view.region is MemoryRegion.psum:
            return f"{name} is in psum, which the gpsimd engine cannot reach"
    return None
