"""Collectives by the ring model, computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.hlo.ir import HLOModule
from nkipy_emulator.cost_model import TARGETS, estimate
from nkipy_emulator.cost_model.collectives import group_size, ring_ns
from tests.unit.hlo.sample import instruction, reducer

TRN2 = TARGETS["trn2"]  # 160 bytes a ns to the neighbour, 1500 ns a hop
GROUP = (tuple(range(8)),)
MIB = 1 << 20


def collective(opcode: str, groups=GROUP, dims: str = "f32[512,512]", result: str = ""):
    module = HLOModule("collective")
    attributes = {"replica_groups": groups}
    if opcode == "collective-permute":
        attributes = {"source_target_pairs": ((0, 1), (1, 0))}
    elif opcode not in ("all-reduce", "collective-broadcast"):
        attributes["dimensions"] = (0,)
    if opcode in ("all-reduce", "reduce-scatter"):
        attributes["to_apply"] = reducer()
    x = module.add_parameter((512, 512), np.float32, "x")
    inst = instruction(opcode, (x,), result or dims, attributes)
    module.set_results(module.add_operation(inst))
    return module, inst


@pytest.mark.parametrize(
    ("opcode", "result", "expected"),
    [
        ("all-reduce", "", 2 * 7 * (1500 + MIB / 8 / 160)),
        ("reduce-scatter", "f32[64,512]", 7 * (1500 + MIB / 8 / 160)),
        ("all-gather", "f32[4096,512]", 7 * (1500 + MIB / 160)),
        ("all-to-all", "", 7 * (1500 + MIB / 8 / 160)),
        ("collective-broadcast", "", 2 * 7 * (1500 + MIB / 8 / 160)),
        ("collective-permute", "", 1500 + MIB / 160),
    ],
)
def test_rings_of_eight(opcode, result, expected):
    module, inst = collective(opcode, result=result)
    assert ring_ns(inst, group_size(inst, 8), TRN2) == pytest.approx(expected)
    result = estimate(module, launch_ns=0)
    assert result.busy_ns["collectives"] == round(expected)


def test_one_core_needs_no_communication():
    _, inst = collective("all-reduce", groups=((0,), (1,)))
    assert ring_ns(inst, group_size(inst, 8), TRN2) == 0


def test_no_groups_are_all_ranks():
    module, inst = collective("all-reduce", groups=())
    assert group_size(inst, 4) == 4
    few, many = (estimate(module, ranks=n).busy_ns["collectives"] for n in (2, 8))
    assert few < many
    assert estimate(module, replicas=8).busy_ns["collectives"] == many


def test_between_instances_the_network_decides():
    _, inst = collective("all-reduce", groups=(tuple(range(256)),))
    hop = 15000 + MIB / 256 / TRN2.network_gb_s
    assert ring_ns(inst, 256, TRN2) == pytest.approx(2 * 255 * hop)
