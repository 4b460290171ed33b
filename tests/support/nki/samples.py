"""Runs an instruction on a sample's operands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from nkipy_nki.cores import Core, CoreGroup, run_cores
from nkipy_nki.dtypes import tensor_dtype
from nkipy_nki.emitting import emit
from nkipy_nki.findings import Findings
from nkipy_nki.memory import Memory
from nkipy_nki.program import Register, View
from nkipy_nki.records import INSTRUCTIONS, Held, InstructionRecord, Sample
from nkipy_nki.regions import ON_CHIP, MemoryRegion
from nkipy_nki.running import Run, running
from nkipy_nki.tensors import new_tensor

#: What is written, by operand, from a sample; of several cores, for each of them.
Expected: TypeAlias = Callable[
    [Sample], "Mapping[str, np.ndarray] | Sequence[Mapping[str, np.ndarray]]"
]

#: By instruction. Values need to be within one unit of float32, or of the dtype that
#: is written; `expects` says where they may be further apart.
EXPECTED: dict[str, tuple[Expected, float]] = {}


def expects(name: str, tolerance: float = 2e-7) -> Callable[[Expected], Expected]:
    """Let a function say what an instruction gives.

    Args:
        name: the instruction's.
        tolerance: of values before they are rounded, relative to the largest.
    """

    def declare(function: Expected) -> Expected:
        assert name not in EXPECTED, name
        EXPECTED[name] = function, tolerance
        return function

    return declare


#: Makes a tensor of a shape, a dtype, a region and a name.
Make: TypeAlias = Callable[[Any, Any, MemoryRegion, str], Any]


class Prepared(NamedTuple):
    """A core that is about to carry out an instruction.

    Attributes:
        run: of the core.
        sample: what it gives.
        operands: the same, as the run has it.
    """

    run: Run
    sample: Sample
    operands: dict[str, Any]


def run_sample(
    record: InstructionRecord, sample: Sample
) -> list[dict[str, np.ndarray]]:
    """What the operands hold that the instruction writes, for each core.

    Raises:
        NkiValidationError: it refuses them.
    """
    cores = prepared(record, sample)
    emit_sample(record, cores)
    return [written(record, core) for core in cores]


def prepared(
    record: InstructionRecord, sample: Sample, strided: bool = False
) -> list[Prepared]:
    """Runs with a sample's operands, one for each core.

    Args:
        record: the instruction's.
        sample: one of its.
        strided: each tile is a view of a larger one: of every second element, and
            where it has few partitions, not from the first on.
    """
    make = _strided if strided else new_tensor
    given = (sample, *sample.others)
    return [
        _prepared(record, one, core, make)
        for one, core in zip(given, cores_for(sample))
    ]


def cores_for(sample: Sample) -> Sequence[Core | None]:
    """The cores that carry out a sample; None of one that is alone."""
    count = 1 + len(sample.others)
    return CoreGroup(sample.lnc, count // sample.lnc).cores if count > 1 else (None,)


def _prepared(
    record: InstructionRecord, sample: Sample, core: Core | None, make: Make
) -> Prepared:
    findings = Findings({"would-not-compile": "off"})
    run = Run(sample.target, findings, Memory(), core=core)
    with running(run):
        operands = {name: _operand(run, sample, name, make) for name in sample.operands}
    for name in record.operands.keys() - operands.keys():
        operands[name] = record.signature.parameters[name].default
    return Prepared(run, sample, operands)


def emit_sample(record: InstructionRecord, cores: Sequence[Prepared]) -> None:
    """Carry out the instruction on operands that are :func:`prepared`.

    Raises:
        NkiValidationError: it refuses them.
    """
    run_cores(cores[0].run.core, [partial(_emit, record, core) for core in cores])


def _emit(record: InstructionRecord, prepared: Prepared) -> None:
    run, sample, operands = prepared
    attributes = {
        name: parameter.default
        for name, parameter in record.signature.parameters.items()
        if name not in (*record.operands, "name")
    }
    with running(run):
        if sample.after:
            before = INSTRUCTIONS[sample.after]
            emit(before, operands, {**attributes, **sample.attributes}, None)
        emit(record, operands, {**attributes, **sample.attributes}, None)


def written(record: InstructionRecord, prepared: Prepared) -> dict[str, np.ndarray]:
    """What the operands hold that the instruction writes."""
    machine = prepared.run.machine
    assert machine is not None
    found = {}
    for name, rule in record.operands.items():
        if not rule.written:
            continue
        operand = prepared.operands[name]
        if isinstance(operand, Register):
            found[name] = np.asarray(machine.registers[operand.id])
        for key, view in views_of(name, operand):
            found[key] = machine.memory.values(view)
    return found


def views_of(name: str, operand: Any) -> Iterator[tuple[str, View]]:
    """The views that an operand is, with a name for each: of a list, with a number."""
    if isinstance(operand, View):
        yield name, operand
    elif isinstance(operand, tuple):
        yield from ((f"{name}[{i}]", view) for i, view in enumerate(operand))


def _strided(shape: Any, dtype: Any, region: MemoryRegion, name: str) -> Any:
    """A view of such a shape, of a larger tensor."""
    larger, first = [*shape[:-1], 2 * shape[-1]], 0
    if region in ON_CHIP:
        first = 32 if shape[0] <= 32 else 64 if shape[0] <= 64 else 0
        larger[0] += first
    made = new_tensor(larger, dtype, region, name)
    if first:
        made = made.slice(0, first, first + shape[0])
    return made.slice(len(shape) - 1, 0, 2 * shape[-1], 2)


def _operand(run: Run, sample: Sample, name: str, make: Make) -> Any:
    given = sample.operands[name]
    if isinstance(given, Held):
        return _register(run, given)
    if isinstance(given, list):
        return tuple(_tensor(run, sample, name, part, make) for part in given)
    if isinstance(given, (np.ndarray, tuple)):
        return _tensor(run, sample, name, given, make)
    return given


def _register(run: Run, given: Held) -> Register:
    made = run.register(given.dtype)
    if given.value is not None:
        assert run.machine is not None
        run.machine.registers[made.id] = given.value
    return made


def _tensor(run: Run, sample: Sample, name: str, given: Any, make: Make) -> Any:
    region = sample.regions.get(name, MemoryRegion.sbuf)
    if isinstance(given, tuple):
        shape, dtype = given
        return make(shape, dtype, region, name)
    dtype = tensor_dtype(sample.dtypes.get(name, given.dtype), given.shape)
    made = make(given.shape, dtype, region, name)
    assert run.machine is not None
    storage = run.machine.memory.storage(made.allocation)
    storage.elements(made)[...] = given.view(storage.elements(made).dtype)
    storage.mark(made)
    return made
