"""Loops, branches, calls: how often, and how they appear."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.hlo.ir import HLOModule
from nkipy_emulator.cost_model import estimate
from nkipy_emulator.cost_model.constants import CONTROL_NS
from nkipy_emulator.cost_model.control import MAX_COUNT, MAX_EVENTS, MAX_NS
from nkipy_emulator.cost_model.loops import trip_count
from tests.unit.hlo.sample import computation, instruction

STATE = "(s32[], f32[128,512])"
X = "f32[128,512]"


def constant(value: int):
    return ("constant", (), "s32[]", {"literal": np.array(value, np.int32)})


def element(index: int, shape: str):
    return ("get-tuple-element", (0,), shape, {"index": index})


def loop(begin=0, step=1, limit=10, direction="LT", update="add", swap=False):
    """A module with a loop that counts and applies exp to an array."""
    operands = (2, 1) if swap else (1, 2)
    condition = computation(
        "condition",
        STATE,
        element(0, "s32[]"),
        constant(limit),
        ("compare", operands, "pred[]", {"direction": direction}),
    )
    body = computation(
        "body",
        STATE,
        element(0, "s32[]"),
        element(1, X),
        constant(step),
        (update, (1, 3), "s32[]"),
        ("exponential", (2,), X),
        ("tuple", (4, 5), STATE),
    )
    module = HLOModule("loop")
    x = module.add_parameter((128, 512), np.float32, "x")
    count = module.add_operation(
        instruction("constant", (), "s32[]", {"literal": np.array(begin, np.int32)})
    )
    state = module.add_operation(instruction("tuple", (count, x), STATE))
    while_ = instruction(
        "while", (state,), STATE, {"condition": condition, "body": body}
    )
    module.add_operation(while_)
    result = instruction("get-tuple-element", (while_,), X, {"index": 1})
    module.set_results(module.add_operation(result))
    module.verify()
    return module, while_


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, 10),
        ({"begin": 4}, 6),
        ({"step": 3}, 4),
        ({"direction": "LE"}, 11),
        ({"direction": "NE", "step": 5}, 2),
        ({"direction": "NE", "step": 3}, None),
        ({"direction": "GT", "swap": True}, 10),
        ({"begin": 10, "limit": 0, "direction": "GT", "update": "subtract"}, 10),
        ({"begin": 10, "limit": 0, "direction": "GE", "step": -2}, 6),
        ({"begin": 20}, 0),
        ({"step": 0}, None),
        ({"step": -1}, None),
        ({"direction": "EQ"}, None),
        ({"update": "multiply"}, None),
    ],
)
def test_trip_counts(arguments, expected):
    _, while_ = loop(**arguments)
    assert trip_count(while_) == expected


def test_a_loop_takes_its_iterations():
    def time_of(limit):
        return estimate(loop(limit=limit)[0], launch_ns=0)

    one, two, many = time_of(1), time_of(2), time_of(11)
    iteration = two.total_ns - one.total_ns
    assert many.total_ns - one.total_ns == pytest.approx(10 * iteration, rel=1e-3)
    assert iteration > CONTROL_NS
    assert many.busy_ns["ScalarE"] == pytest.approx(11 * one.busy_ns["ScalarE"], abs=9)
    assert not many.notes


def test_iterations_after_the_first_are_one_event_per_engine():
    result = estimate(loop(limit=10)[0])
    scalar = [e for e in result.events if e.engine == "ScalarE"]
    assert [e.opcode for e in scalar] == ["exponential", "while"]
    assert scalar[1].name == "while: 9 iterations"
    assert scalar[1].duration_ns == pytest.approx(9 * scalar[0].duration_ns, abs=9)


def test_an_unknown_number_of_iterations_is_noted():
    result = estimate(loop(update="multiply")[0])
    (note,) = result.notes
    assert "number of iterations is not known" in note
    assert result.total_ns == estimate(loop(limit=1)[0]).total_ns


def test_a_loop_that_never_runs_costs_only_the_test():
    module, _ = loop(begin=20)
    result = estimate(module, launch_ns=0)
    assert not [e for e in result.events if e.engine == "ScalarE"]


def test_a_branch_counts_as_the_longest():
    def branch(name, opcode):
        return computation(name, X, (opcode, (0,), X))

    def time_of(*opcodes):
        module = HLOModule("branches")
        which = module.add_parameter((), np.int32, "which")
        x = module.add_parameter((128, 512), np.float32, "x")
        branches = tuple(branch(f"b{i}", o) for i, o in enumerate(opcodes))
        operands = (which, *[x] * len(opcodes))
        conditional = instruction("conditional", operands, X, {"branches": branches})
        module.set_results(module.add_operation(conditional))
        module.verify()
        return estimate(module).total_ns

    assert time_of("negate", "tan") == time_of("tan", "tan") > time_of("negate")


def test_calls_that_double_at_each_level_are_summed_up():
    callee = computation("level0", X, ("tan", (0,), X))
    for level in range(1, 60):
        call = ("call", (0,), X, {"to_apply": callee})
        again = ("call", (1,), X, {"to_apply": callee})
        callee = computation(f"level{level}", X, call, again)
    module = HLOModule("deep")
    x = module.add_parameter((128, 512), np.float32, "x")
    call = instruction("call", (x,), X, {"to_apply": callee})
    module.set_results(module.add_operation(call))
    result = estimate(module)
    assert len(result.events) < 2 * MAX_EVENTS
    assert result.total_ns <= 2 * MAX_NS
    assert all(e.flops <= MAX_COUNT for e in result.events)
    assert result.busy_ns["ScalarE"] == pytest.approx(MAX_NS)
