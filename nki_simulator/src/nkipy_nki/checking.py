"""Whether an instruction may be as it is, by its record."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

import numpy as np

from nkipy.chips import Chip
from nkipy_nki.dtypes import DTypeRecord
from nkipy_nki.engines import Engine
from nkipy_nki.findings import Findings
from nkipy_nki.geometry import start_problem
from nkipy_nki.limits import check_compiles
from nkipy_nki.operators import KINDS, OPERATIONS
from nkipy_nki.program import Instruction, Register, View, plain_view
from nkipy_nki.records import InstructionRecord, OperandRule, OperationRule, Rule
from nkipy_nki.regions import ON_CHIP, MemoryRegion

__all__ = ["check", "operand_of", "told", "way_out"]


def operand_of(given: Any) -> Any:
    """What a kernel gives for an operand, as a program has it.

    A number stays one; what has a ``register`` is that, a grid is its ``data``.
    """
    if isinstance(given, View):  # without what a kernel's own holds beside
        return given if type(given) is View else plain_view(given)
    if given is None or isinstance(given, (Register, int, float, str)):
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


def told(given: Any) -> str:
    """What a kernel gives, in few words: an array by its shape."""
    if isinstance(given, np.ndarray):
        return f"an ndarray {list(given.shape)} {given.dtype}"
    return repr(given)


def way_out(given: Any) -> str:
    """What to do where an array is given, and a tensor is wanted."""
    if not isinstance(given, np.ndarray):
        return ""
    return "; nl.shared_constant makes a tensor in HBM of an array"


@dataclass(frozen=True, eq=False, slots=True)
class Form:
    """What instructions of one form are, with which nothing is wrong on one chip.

    Attributes:
        engine: which carries them out.
        changed: the attributes that a rule has written otherwise.
    """

    engine: Engine
    changed: dict[str, Any]


#: By all that rules look at.
Sound: TypeAlias = dict[Any, Form]
#: So many forms are remembered.
_MOST_FORMS = 4096


def check(
    instruction: Instruction,
    chip: Chip,
    findings: Findings,
    sound: Sound | None = None,
) -> None:
    """Report what an instruction may not be, and choose its engine.

    Args:
        instruction: any.
        chip: the target.
        findings: where it is reported.
        sound: where forms that nothing is wrong with are remembered, as most
            instructions of a kernel are of few forms.

    Raises:
        NkiValidationError: there is something, and it is an error.
    """
    form = None if sound is None else _form(instruction)
    if sound is None or form is None:
        _check(instruction, chip, findings)
    elif (known := sound.get(form)) is not None:
        instruction.engine, instruction.form = known.engine, known
        if known.changed:
            instruction.attributes.update(known.changed)
    else:
        given, before = dict(instruction.attributes), findings.reports
        _check(instruction, chip, findings)
        if findings.reports == before and len(sound) < _MOST_FORMS:
            made = instruction.attributes.items()
            changed = {n: value for n, value in made if value is not given[n]}
            instruction.form = sound[form] = Form(instruction.engine, changed)


def _form(instruction: Instruction) -> tuple[Any, ...] | None:
    """All that rules look at; None if that is much.

    Of where a view lies they look at its partition, and in the PSUM at its bank.
    """
    form: list[Any] = [instruction.record, instruction.engine]
    for operand in instruction.operands.values():
        kind = type(operand)
        if kind is View:
            if operand.dynamic is not None:
                return None
            made, place = operand.allocation, operand.offset
            region = made.region
            form += (region, made.role, id(operand.dtype), operand.strides)
            form.append(tuple(operand.shape))
            if region is MemoryRegion.psum:
                form += (place, made.stored_partition_bytes, id(made.dtype))
            elif place and region.is_on_chip:
                size = made.stored_partition_bytes
                form.append(size and place * operand.dtype.itemsize // size)
        elif kind in _PLAIN:
            form += (kind, operand)
        else:
            return None
    for value in instruction.attributes.values():
        kind = type(value)
        if kind not in _PLAIN and (
            value != () if kind is tuple else not _is_enum(kind)
        ):
            return None
        form += (kind, value)
    return tuple(form)


#: Types whose values are equal only if they are the same to every rule.
_PLAIN = frozenset({type(None), bool, int, float, str})


def _is_enum(kind: type) -> bool:
    return issubclass(kind, Enum)


def _check(instruction: Instruction, chip: Chip, findings: Findings) -> None:
    """Report what is wrong."""
    record = instruction.record
    line, name = instruction.line, record.name
    if text := _generation(record, chip):
        findings.report("generation", text, line, name)
    for text in _dtype_generations(instruction, chip.generation):
        findings.report("generation", f"{text} ({chip.name})", line, name)
    for problem in _problems(instruction, chip):
        findings.report("wrong-operand", problem, line, name)
    for attribute in record.operations:
        operation = OPERATIONS.get(instruction.attributes[attribute])
        if operation is None or operation.compiles:
            continue
        # The first generation documented all of them for its language.
        if not findings.is_first:
            text = (
                f"{attribute} is {operation.name}, which no chip is documented to have"
            )
            findings.report("would-not-compile", text, line, name)
    check_compiles(instruction, chip, findings)


def _generation(record: InstructionRecord, chip: Chip) -> str:
    if record.since <= chip.generation <= (record.until or chip.generation):
        return ""
    return f"{_span(record, chip.generation)} ({chip.name})"


def _span(gated: InstructionRecord | DTypeRecord, target: int) -> str:
    """Which generations have an instruction, or an element type, and which is asked."""
    until = f" to gen{gated.until}" if gated.until else " and later"
    return f"is of gen{gated.since}{until}, and the target is gen{target}"


def _dtype_generations(instruction: Instruction, target: int) -> Iterator[str]:
    """Operands of element types that a generation does not have."""
    for name, operand in instruction.operands.items():
        if isinstance(operand, View):
            dtype = operand.dtype
            # Most types are of all generations: that is seen without a call.
            if (dtype.since > 2 or dtype.until is not None) and not dtype.is_of(target):
                yield f"{name} is {dtype.name}, which {_span(dtype, target)}"
        elif isinstance(operand, tuple):
            for view in operand:
                if isinstance(view, View) and not view.dtype.is_of(target):
                    yield f"{name} has {view.dtype.name}, which " + _span(
                        view.dtype, target
                    )


def _problems(instruction: Instruction, chip: Chip) -> Iterator[str]:
    record = instruction.record
    for name, rule in record.operands.items():
        operand = instruction.operands[name]
        if problem := _operand_problem(operand, rule):
            yield f"{name} {problem}"
            return
        if isinstance(operand, View) and operand.dtype.is_scalar_only:
            if "int64" not in rule.dtypes and Engine.dma not in record.engines:
                yield f"{name} is int64, which only scalars and copies by DMA are of"
                return
    for name, allowed in record.operations.items():
        if problem := _operation_problem(instruction.attributes[name], allowed, chip):
            yield f"{name} {problem}"
            return
    for name in record.flags:
        flag = instruction.attributes[name]
        if flag is not True and flag is not False:
            if problem := _flag_problem(record, name, flag):
                yield problem
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


def _flag_problem(record: InstructionRecord, name: str, flag: Any) -> str | None:
    """What is wrong with a truth value."""
    default = record.signature.parameters[name].default
    if flag in (0, 1) or (flag is None and default is None):
        return None
    return f"{name} is {flag!r}, and must be True or False"


def _operation_problem(name: Any, rule: OperationRule, chip: Chip) -> str | None:
    """What is wrong with an attribute that names an operation."""
    if name is None:
        return None if rule.optional else "is None, and must be an operation"
    operation = OPERATIONS.get(name)
    if operation is None:
        return f"is {name!r}, and must be an operation"
    since = [operation.since[kind] for kind in rule.kinds if kind in operation.since]
    if not since or (rule.names and name not in rule.names):
        allowed = rule.names or [KINDS[kind] for kind in rule.kinds]
        return f"is {name}, and may be {', '.join(sorted(allowed))} only"
    if min(since) > chip.generation:
        return f"is {name}, which is of gen{min(since)} and later, not of {chip.name}"
    if rule.arity and operation.arity != rule.arity:
        return f"is {name}, which takes {operation.arity} operands, not {rule.arity}"
    if rule.reduces and not operation.reduces:
        return f"is {name}, which does not reduce"
    return None


def _operand_problem(operand: Any, rule: OperandRule) -> str | None:
    """What is wrong with an operand."""
    if isinstance(operand, View):
        return _view_problem(operand, rule)
    if operand is None:
        return None if rule.optional else f"is None, and must be {rule.wanted}"
    if isinstance(operand, tuple) and rule.several:
        for view in operand:
            if isinstance(view, tuple):
                return "is a list that has another in it"
            if problem := _operand_problem(view, rule):
                return problem
        return None
    if isinstance(operand, Register):
        return None if rule.register else "is a register, and must be a tensor"
    if isinstance(operand, (int, float)):
        return None if rule.scalar else f"is {operand!r}, and must be {rule.wanted}"
    plain = isinstance(operand, (str, np.ndarray))
    given = told(operand) if plain else type(operand).__name__
    return f"is {given}, and must be {rule.wanted}{way_out(operand)}"


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
    if region not in ON_CHIP:
        return None
    if view.shape[0] > rule.partitions:
        return f"has {view.shape[0]} partitions, and may have {rule.partitions}"
    if rule.dims and len(view.shape) > rule.dims:
        return f"has {len(view.shape)} dimensions, and may have {rule.dims}"
    return _partition_problem(view) if rule.aligned else None


def _partition_problem(view: View) -> str | None:
    """What is wrong with the partitions that a view is in.

    Those that a register says are looked at when it is known, by the machine.
    """
    if view.dynamic is not None and _moves_partitions(view):
        return None
    return start_problem(view.first_partition, view.shape[0])


def _moves_partitions(view: View) -> bool:
    """Whether an index at run time says at which partition a view begins."""
    per_partition = view.partition_step
    assert view.dynamic is not None
    return any(
        link.axis is None and abs(link.step) >= per_partition
        for link in view.dynamic.chain()
    )


def at_most_one_in_psum(*names: str) -> Rule:
    """Of these operands, one at most is in the PSUM."""

    def rule(instruction: Instruction, chip: Chip) -> str | None:
        found = [n for n in names if _in_psum(instruction.operands[n])]
        if len(found) < 2:
            return None
        return f"{' and '.join(found)} are in psum, and one of them may be"

    return rule


def _in_psum(operand: Any) -> bool:
    return isinstance(operand, View) and operand.region is MemoryRegion.psum


def no_psum_by_gpsimd(instruction: Instruction, chip: Chip) -> str | None:
    """The GpSimd engine does not reach the PSUM."""
    if instruction.engine is not Engine.gpsimd:
        return None
    for name, view in instruction.views():
        if view.region is MemoryRegion.psum:
            return f"{name} is in psum, which the gpsimd engine does not reach"
    return None


# -- rules of several records ----------------------------------------------------------
def same_partitions(instruction: Instruction, chip: Chip) -> str | None:
    """All tiles have as many partitions, those of lists apart."""
    first, name_of_first = None, ""
    for name, view in instruction.operands.items():
        if not isinstance(view, View) or view.allocation.region not in ON_CHIP:
            continue
        if first is None:
            first, name_of_first = view.shape[0], name
        elif view.shape[0] != first:
            count = view.shape[0]
            return f"{name} has {count} partitions, and {name_of_first} has {first}"
    return None


def same_elements(instruction: Instruction, chip: Chip) -> str | None:
    """All tiles have as many elements in a partition, vectors and lists apart."""
    operands = instruction.record.operands
    shape: tuple[int, ...] | None = None
    name_of_first = ""
    for name, view in instruction.operands.items():
        if not isinstance(view, View):
            continue
        if operands[name].vector:
            if view.free_size != 1:
                return f"{name} has the shape {list(view.shape)}, and must be [P, 1]"
        elif shape is None:
            shape, name_of_first = view.shape, name
        elif view.shape != shape and view.free_size != math.prod(shape[1:]):
            return (
                f"{name} has {view.free_size} elements in a partition, and "
                f"{name_of_first} has {math.prod(shape[1:])}"
            )
    return None


def not_dynamic(made: Instruction, chip: Chip) -> str | None:
    """No operand is indexed at run time."""
    for name, view in made.views():
        if view.dynamic is not None:
            return f"{name} is indexed by a register or a tensor, and must not be"
    return None


def has_psum(made: Instruction) -> bool:
    """Whether an operand is in the PSUM."""
    return any(view.region is MemoryRegion.psum for _, view in made.views())
