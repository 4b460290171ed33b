"""Runs an instruction on a sample's operands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from nkipy.chips import find_chip
from nkipy_nki.dtypes import find_dtype
from nkipy_nki.findings import Findings
from nkipy_nki.memory import Memory
from nkipy_nki.program import View
from nkipy_nki.records import InstructionRecord, Sample
from nkipy_nki.regions import MemoryRegion
from nkipy_nki.running import Run, emit, running
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
    chip = find_chip(sample.chip)
    assert chip is not None, sample.chip
    run = Run(chip, Findings({"would-not-compile": "off"}), Memory())
    with running(run):
        operands = {name: _operand(run, sample, name) for name in sample.operands}
        for name in record.operands.keys() - operands.keys():
            operands[name] = record.signature.parameters[name].default
        attributes = {
            name: parameter.default
            for name, parameter in record.signature.parameters.items()
            if name not in (*record.operands, "name")
        }
        emit(record, operands, {**attributes, **sample.attributes}, None)
    assert run.machine is not None
    written = [n for n, rule in record.operands.items() if rule.written]
    return {
        name: run.machine.memory.values(operands[name])
        for name in written
        if isinstance(operands[name], View)
    }


def _operand(run: Run, sample: Sample, name: str) -> Any:
    given = sample.operands[name]
    if isinstance(given, list):
        return tuple(_tensor(run, sample, name, part) for part in given)
    if isinstance(given, (np.ndarray, tuple)):
        return _tensor(run, sample, name, given)
    return given


def _tensor(run: Run, sample: Sample, name: str, given: Any) -> Any:
    region = sample.regions.get(name, MemoryRegion.sbuf)
    if isinstance(given, tuple):
        shape, dtype = given
        return new_tensor(shape, dtype, region, name)
    dtype = find_dtype(sample.dtypes.get(name, given.dtype))
    made = new_tensor(given.shape, dtype, region, name)
    assert run.machine is not None
    storage = run.machine.memory.storage(made.allocation)
    storage.elements(made)[...] = given.view(storage.elements(made).dtype)
    storage.mark(made)
    return made
