"""Each opcode has a cost class, and each class a way to be placed."""

from __future__ import annotations

import pytest

from nkipy.hlo.opcodes import OPCODES, CostKind
from nkipy_emulator.cost_model import estimate
from nkipy_emulator.cost_model.schedule import HANDLERS
from nkipy_emulator.cost_model.types import ENGINES
from tests.unit.hlo.samples import SAMPLES

FREE = {CostKind.SOURCE, CostKind.RENAME, CostKind.VIEW, CostKind.TUPLE}


@pytest.mark.parametrize("opcode", OPCODES)
def test_each_opcode_has_a_cost_class(opcode):
    cls = OPCODES[opcode].cost
    assert cls.kind in HANDLERS
    assert cls.engine in ENGINES
    assert cls.steps >= 1


@pytest.mark.parametrize("kind", CostKind)
def test_each_kind_is_used_and_placed(kind):
    assert kind in HANDLERS
    assert any(op.cost.kind is kind for op in OPCODES.values())


def test_samples_that_compute_take_time():
    for sample in SAMPLES:
        module = sample.build()
        kinds = {OPCODES[i.opcode].cost.kind for i in module.entry.instructions}
        if kinds - FREE:
            assert estimate(module, launch_ns=0).total_ns > 0, sample.label
