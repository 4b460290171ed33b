"""Barriers where code would multiply from step to step."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.core.trace import trace_function
from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOComputation, HLOModule
from nkipy.hlo.rewrites.materializing import (
    MOST_IN_A_ROW,
    MOST_PLACES,
    bound_duplication,
)
from nkipy_emulator.engine import XlaCpuEngine

STEPS = 60
SQUARE, VECTOR = (6, 6), (16,)


def rolled(x):
    return 0.5 * x + 0.25 * (np.roll(x, 1) + np.roll(x, -1))


def padded(x):
    return 0.5 * x + 0.5 * np.pad(x[1:], (0, 1))


def stored(x):
    x[1:-1] = 0.5 * x[1:-1] + 0.25 * (x[:-2] + x[2:])
    return x


KINDS = [
    (rolled, VECTOR),
    (padded, VECTOR),
    (stored, VECTOR),
    (lambda x: 0.5 * x + 0.5 * x[::-1], VECTOR),
    (lambda x: 0.5 * x + 0.5 * x.T, SQUARE),
    (lambda x: 0.5 * x + 0.5 * np.stack([x[1], x[0], *x[2:]]), SQUARE),
]


def repeated(step, times):
    def kernel(x):
        for _ in range(times):
            x = step(x)
        return x

    return kernel


def traced(kernel, shape):
    return trace_function(kernel, (np.ones(shape, np.float32),), {}).module


def barriers(module):
    return [i for i in module.entry.instructions if i.opcode == "opt-barrier"]


def copies(module):
    """How often an instruction is written, in loops that go through to barriers."""
    users: dict = {}
    for inst in module.entry.instructions:
        for operand in inst.operands:
            users.setdefault(operand, []).append(inst)
    moves = {"slice", "concatenate", "reverse", "transpose", "pad", "reshape"}
    moves |= {"broadcast", "dynamic-update-slice"}
    written: dict = {}
    for inst in reversed(module.entry.instructions):
        readers = users.get(inst, [])
        if not readers or all(r.opcode == "opt-barrier" for r in readers):
            written[inst] = 1
            continue
        through = [written[r] for r in readers if r.opcode in moves]
        others = [written[r] for r in readers if r.opcode not in moves]
        written[inst] = sum(through) + max(others, default=0)
    computing = {"add", "multiply"}
    return max(n for inst, n in written.items() if inst.opcode in computing)


@pytest.mark.parametrize(("step", "shape"), KINDS)
def test_code_is_copied_a_bounded_number_of_times(step, shape):
    module = traced(repeated(step, STEPS), shape)
    bounded = bound_duplication(module)
    bounded.verify()
    assert copies(module) > 10 * MOST_PLACES
    assert copies(bounded) <= MOST_PLACES
    assert len(barriers(bounded)) <= 2 * STEPS


@pytest.mark.parametrize(("step", "shape"), KINDS)
def test_values_are_the_same(
    engine: XlaCpuEngine, results_of, rng: np.random.Generator, step, shape
):
    kernel = repeated(step, STEPS)
    x = rng.standard_normal(shape).astype(np.float32)
    module = bound_duplication(traced(kernel, shape))
    (out,) = outputs = results_of(module)
    engine.compile(module).run([x.copy()], outputs)
    np.testing.assert_allclose(out, kernel(x.copy()), rtol=1e-5, atol=1e-6)


def test_a_long_row_is_divided():
    steps = 4 * MOST_IN_A_ROW
    module = bound_duplication(traced(repeated(lambda x: x * 0.5, steps), VECTOR))
    assert len(barriers(module)) == 3


@pytest.mark.parametrize(
    "kernel",
    [
        repeated(lambda x: np.tanh(x) * x + x, 20),
        lambda x: [x[i : i + 8] * 2 for i in range(8)],
        lambda x: np.exp(x - x.max()) / np.exp(x - x.max()).sum(),
        repeated(rolled, 1),
    ],
)
def test_what_is_read_at_few_places_is_left_alone(kernel):
    module = traced(kernel, VECTOR)
    assert bound_duplication(module) is module


def test_barriers_go_into_called_computations():
    inner = traced(repeated(rolled, 8), VECTOR)
    called = HLOComputation("called")
    called.instructions = inner.entry.instructions
    called.parameters = inner.parameters
    (called.root,) = inner.results
    module = HLOModule("caller")
    x = module.add_parameter(VECTOR, dt.float32, "x")
    b = HLOBuilder(module.entry)
    y = b.emit("call", (x,), VECTOR, dt.float32, {"to_apply": called})
    module.set_results(y, ["y"])
    bounded = bound_duplication(module)
    bounded.verify()
    (call,) = [i for i in bounded.entry.instructions if i.opcode == "call"]
    inside = call.attributes["to_apply"].instructions
    assert sum(i.opcode == "opt-barrier" for i in inside) >= 3


def called(b, x):
    attributes = {"custom_call_target": "anything"}
    return b.emit("custom-call", (x,), x.shape, x.dtype, attributes)


@pytest.mark.parametrize("reshaped", [False, True])
def test_what_a_call_reads_is_not_computed_again_in_loops(reshaped):
    module = HLOModule("steps")
    b = HLOBuilder(module.entry)
    x = module.add_parameter((8,), dt.float32, "x")
    for _ in range(4):
        made = called(b, b.reshape(x, (2, 4)) if reshaped else x)
        x = b.add(b.multiply(b.reshape(made, (8,)), x), b.full_like(x, 1))
    module.set_results([x])
    kept = [i.operands[0] for i in barriers(bound_duplication(module))]
    # The last one is read by nothing, and the parameter is in memory.
    assert [i.opcode for i in kept] == ["add"] * 3


def test_what_only_a_call_reads_needs_no_barrier():
    module = HLOModule("step")
    b = HLOBuilder(module.entry)
    x = module.add_parameter((8,), dt.float32, "x")
    module.set_results([b.negate(called(b, b.negate(x)))])
    assert bound_duplication(module) is module


def inside(x):
    x[1:-1] = 0.5 * (x[:-2] + x[2:])
    return x


def doubled(x):
    x[1:-1] = 2 * x[1:-1]
    return x


def shifted(x):
    x[1:] = x[:-1]
    return x


@pytest.mark.parametrize(
    ("kernel", "shape", "count"),
    [
        (inside, (2000, 200), 1),
        (inside, (2000, 20), 0),  # copies cost less than a loop more
        (doubled, (2000, 200), 0),  # a loop in place reads what it replaces
        (shifted, (2000, 200), 0),  # which is a copy already
    ],
)
def test_what_is_stored_into_a_large_array_that_it_is_made_of(kernel, shape, count):
    module = bound_duplication(traced(kernel, shape))
    found = barriers(module)
    assert len(found) == count
    readers = [i for i in module.entry.instructions if set(found) & set(i.operands)]
    assert all(r.opcode == "dynamic-update-slice" for r in readers)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    result = np.empty_like(x)
    XlaCpuEngine().compile(module).run([x], [result])
    np.testing.assert_allclose(result, kernel(x.copy()), rtol=1e-6)
