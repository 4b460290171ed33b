"""Handlers of ours that read their operands where they lie."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.core.trace import NKIPyKernel
from nkipy.hlo.ir import HLOInstruction
from nkipy_emulator.custom_calls import CustomCalls
from nkipy_emulator.engine import XlaCpuEngine
from nkipy_emulator.handler_calls import attributes_of, handler
from nkipy_emulator.memory import ZERO_COPY_BYTES
from nkipy_emulator.preparation import with_store
from tests.support.memory import at_the_end_of_memory, numbers, shifted

LARGE = ZERO_COPY_BYTES

HANDLED = {
    "function": lambda a, i: np.tan(a),
    "function of two": lambda a, i: np.arctan2(a, a),
    "sort": lambda a, i: np.sort(a.reshape(-1)),
    "sorts of rows": lambda a, i: np.sort(a, axis=1),
    "order": lambda a, i: np.argsort(a.reshape(-1), kind="stable"),
    "extremes": lambda a, i: np.argmax(a, axis=1),
    "extremes of columns": lambda a, i: np.argmin(a, axis=0),
    "running sums": lambda a, i: np.cumsum(a, axis=1),
    "running sums of columns": lambda a, i: np.cumsum(a, axis=0),
    "rows": lambda a, i: np.take(a, i, axis=0),
    "small products": lambda a, i: a.reshape(-1, 6, 6) @ a.reshape(-1, 6, 6),
}


def handled(a, i):
    return [kernel(a, i) for kernel in HANDLED.values()]


def handled_inputs(rng, rows=LARGE // 144 + 1):
    indices = rng.integers(0, rows, LARGE // 4 + 3).astype(np.int32)
    return numbers(rng, (rows, 36)), indices


def compiled(inputs, mode):
    module = NKIPyKernel.trace(handled).specialize(*inputs)
    return XlaCpuEngine(fast_calls=mode).compile(module)


def check_handled(executable, inputs, wanted):
    for name, got, expected in zip(HANDLED, executable.run_new(inputs), wanted):
        assert got.shape == expected.shape, name
        if not np.array_equal(got, expected):  # which takes less time
            np.testing.assert_allclose(got, expected, 1e-5, err_msg=name)


@pytest.mark.parametrize("name", HANDLED)
def test_handlers_read_memory(name, rng):
    inputs = handled_inputs(rng)
    module = NKIPyKernel.trace(HANDLED[name]).specialize(*inputs)
    made, sliced = with_store(module, None, CustomCalls(), fast_calls="always")
    assert 0 in sliced
    readers = [i for i in made.instructions() if made.parameters[0] in i.operands]
    calls = [i.attributes.get("custom_call_target") for i in readers]
    assert any(calls), calls


@pytest.mark.parametrize(
    ("mode", "offsets"),
    [
        ("always", (*range(0, 64, 4), 17)),
        pytest.param("never", (0, 16, 17), marks=pytest.mark.slow),
    ],
)
def test_handlers_of_every_offset(mode, offsets, rng):
    a, i = handled_inputs(rng)
    wanted = handled(a, i)
    executable = compiled((a, i), mode)
    for offset in offsets:
        inputs = [shifted(a, offset), shifted(i, 60 - offset % 61)]
        before = [x.tobytes() for x in inputs]
        check_handled(executable, inputs, wanted)
        assert [x.tobytes() for x in inputs] == before


@pytest.mark.parametrize("more", [1, 2, 4])
def test_handlers_read_nothing_behind_an_argument(more, rng):
    inputs = handled_inputs(rng, LARGE // 144 + more)
    executable = compiled(inputs, "always")
    check_handled(executable, [*map(at_the_end_of_memory, inputs)], handled(*inputs))


def test_argument_that_a_handler_reads_and_a_store_overwrites(rng):
    x = numbers(rng, LARGE)
    module = NKIPyKernel.trace(np.sort).specialize(x)
    given = shifted(x, 16)
    XlaCpuEngine(fast_calls="always").compile(module).run([given], [given])
    np.testing.assert_array_equal(given, np.sort(x))


def test_attributes_are_read_as_they_are_written():
    config = 'by = "add", axes = array<i64: 1, -20, 3>, none = array<i64>, n = -7 : i64'
    call = HLOInstruction(
        "custom-call", (), (1,), np.dtype(np.uint8), handler("nkipy_scan", config)
    )
    assert attributes_of(call) == {
        "words": (),
        "by": "add",
        "axes": (1, -20, 3),
        "none": (),
        "n": -7,
    }
