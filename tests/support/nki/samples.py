"""Runs an instruction on a sample's operands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from nkipy_nki.dtypes import find_dtype
from nkipy_nki.emitting import emit
from nkipy_nki.findings import Findings
from nkipy_nki.memory import Memory
from nkipy_nki.program import View
from nkipy_nki.records import InstructionRecord, Sample
from nkipy_nki.regions import ON_CHIP, MemoryRegion
from nkipy_nki.running import Run, running
from nkipy_nki.tensors import new_tensor

#: What is written, by operand, from a sample.
Expected: TypeAlias = Callable[[Sample], Mapping[str, np.ndarray]]

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


def run_sample(record: InstructionRecord, sample: Sample) -> dict[str, np.ndarray]:
    """What the operands hold that the instruction writes.

    Raises:
        NkiValidationError: it refuses them.
    """
    run, operands = prepared(record, sample)
    emit_sample(run, record, sample, operands)
    return written(run, record, operands)


def prepared(
    record: InstructionRecord, sample: Sample, strided: bool = False
) -> tuple[Run, dict[str, Any]]:
    """A run with a sample's operands.

    Args:
        record: the instruction's.
        sample: one of its.
        strided: each tile is a view of a larger one: of every second element, and
            where it has few partitions, not from the first on.
    """
    run = Run(sample.target, Findings({"would-not-compile": "off"}), Memory())
    make = _strided if strided else new_tensor
    with running(run):
        operands = {name: _operand(run, sample, name, make) for name in sample.operands}
    for name in record.operands.keys() - operands.keys():
        operands[name] = record.signature.parameters[name].default
    return run, operands


def emit_sample(
    run: Run, record: InstructionRecord, sample: Sample, operands: Mapping[str, Any]
) -> None:
    """Carry out the instruction on operands that are :func:`prepared`.

    Raises:
        NkiValidationError: it refuses them.
    """
    attributes = {
        name: parameter.default
        for name, parameter in record.signature.parameters.items()
        if name not in (*record.operands, "name")
    }
    with running(run):
        emit(record, operands, {**attributes, **sample.attributes}, None)


def written(
    run: Run, record: InstructionRecord, operands: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """What the operands hold that the instruction writes."""
    assert run.machine is not None
    return {
        name: run.machine.memory.values(operands[name])
        for name, rule in record.operands.items()
        if rule.written and isinstance(operands[name], View)
    }


#: Makes a tensor of a shape, a dtype, a region and a name.
Make: TypeAlias = Callable[[Any, Any, MemoryRegion, str], Any]


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
    if isinstance(given, list):
        return tuple(_tensor(run, sample, name, part, make) for part in given)
    if isinstance(given, (np.ndarray, tuple)):
        return _tensor(run, sample, name, given, make)
    return given


def _tensor(run: Run, sample: Sample, name: str, given: Any, make: Make) -> Any:
    region = sample.regions.get(name, MemoryRegion.sbuf)
    if isinstance(given, tuple):
        shape, dtype = given
        return make(shape, dtype, region, name)
    dtype = find_dtype(sample.dtypes.get(name, given.dtype))
    made = make(given.shape, dtype, region, name)
    assert run.machine is not None
    storage = run.machine.memory.storage(made.allocation)
    storage.elements(made)[...] = given.view(storage.elements(made).dtype)
    storage.mark(made)
    return made
