"""Cycles of every instruction on every sample of its record, as documents have them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nkipy.chips import CHIPS
from nkipy_nki.program import Instruction, View
from nkipy_nki.records import INSTRUCTIONS, InstructionRecord, Sample
from tests.support.nki.cycles import DOCUMENTED, UNDOCUMENTED, documented_cycles
from tests.support.nki.samples import emit_sample, prepared

RECORDS = dict(sorted(INSTRUCTIONS.items()))


def test_cycles_are_documented_or_known_not_to_be() -> None:
    assert RECORDS.keys() - UNDOCUMENTED == DOCUMENTED
    assert UNDOCUMENTED <= RECORDS.keys()


@pytest.mark.parametrize("name", RECORDS)
def test_an_instruction_costs_what_is_documented(name: str) -> None:
    record, costs = RECORDS[name], set()
    for sample in record.samples():
        for strided in (False, True):
            costs |= _compare(record, sample, strided)
    assert costs


def _compare(record: InstructionRecord, sample: Sample, strided: bool) -> set[float]:
    """The costs of a sample, on its tiles and on far wider ones, for each chip."""
    cores = prepared(record, sample, strided and not sample.dense)
    emit_sample(record, cores)
    *_, instruction = cores[0].run.program.instructions()
    costs = set()
    for made in (instruction, _wider(instruction, 48)):
        for chip in CHIPS:
            cost = record.cost(made, chip)
            costs.add(cost)
            assert 0 <= cost < 1e6
            if record.name in DOCUMENTED:
                wanted = documented_cycles(made, chip.generation)
                told = chip.name, sample.label, strided
                assert cost == pytest.approx(wanted), told
    return costs


def _wider(made: Instruction, times: int) -> Instruction:
    """An instruction on tiles that are so many times as wide, for its cycles alone."""
    operands = dict(made.operands)
    for name, view in operands.items():
        if isinstance(view, View) and len(view.shape) > 1:
            shape = (*view.shape[:-1], view.shape[-1] * times)
            outer = [stride * times for stride in view.strides[:-1]]
            operands[name] = View(
                view.allocation, view.dtype, 0, shape, (*outer, view.strides[-1])
            )
    return replace(made, operands=operands)
