"""Each opcode has a cost class, and each class a way to be placed."""

from __future__ import annotations

import pytest

from nkipy.hlo.opcodes import OPCODES
from nkipy_emulator.cost_model import estimate
from nkipy_emulator.cost_model.classes import COST_CLASSES, Kind
from nkipy_emulator.cost_model.schedule import HANDLERS
from nkipy_emulator.cost_model.types import ENGINES
from tests.unit.hlo.samples import SAMPLES

FREE = {Kind.SOURCE, Kind.VIEW, Kind.TUPLE}


@pytest.mark.parametrize("opcode", OPCODES)
def test_each_opcode_has_a_cost_class(opcode):
    cls = COST_CLASSES[opcode]
    assert cls.kind in HANDLERS
    assert cls.engine in ENGINES
    assert cls.steps >= 1


def test_no_class_is_for_an_opcode_that_there_is_not():
    assert set(COST_CLASSES) == set(OPCODES)


@pytest.mark.parametrize("kind", Kind)
def test_each_kind_is_used_and_placed(kind):
    assert kind in HANDLERS
    assert any(cls.kind is kind for cls in COST_CLASSES.values())


def test_samples_that_compute_take_time():
    for sample in SAMPLES:
        module = sample.build()
        kinds = {COST_CLASSES[i.opcode].kind for i in module.entry.instructions}
        if kinds - FREE:
            assert estimate(module, launch_ns=0).total_ns > 0, sample.label
