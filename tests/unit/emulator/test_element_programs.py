"""Programs that are NumPy's functions alone: what is one; they run as others do."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from benchmarks.bench_fast_calls import arguments, lower
from nkipy.hlo.options import SimulationOptions
from nkipy_emulator import fast_calls
from nkipy_emulator.element_programs import element_program, is_faster
from nkipy_emulator.engine import XlaCpuEngine
from nkipy_emulator.executables import DirectExecutable
from tests.support.fast_calls import built

FUNCTIONS = sorted(fast_calls.known_functions())
#: Which many threads share.
LARGE = 200_003


def compiled(body, *arguments, mode="auto", options=None):
    module = built(body, *arguments)
    return XlaCpuEngine(fast_calls=mode).compile(module, options=options)


def is_element_program(body, *arguments):
    return element_program(built(body, *arguments)) is not None


def function(name):
    return lambda b, *operands: lower(b, name, *operands)


tangent = function("tan")


def same_bits(x, y):
    np.testing.assert_array_equal(x.view(np.uint32), y.view(np.uint32))


@pytest.mark.parametrize("size", [1, 37, 4096, 12_289])
def test_results_are_those_of_numpy_bit_by_bit(size):
    for name in FUNCTIONS:
        given = arguments(name, size)
        module = built(function(name), *given)
        program = element_program(module)
        assert program is not None, name
        (result,) = DirectExecutable(module, "elements", program).run_new(given)
        same_bits(result, getattr(np, name)(*given))


def test_functions_of_functions_and_several_results():
    x, y = np.random.default_rng(0).uniform(0.1, 0.9, (2, 30, 700)).astype("f4")

    def body(b, x, y):
        inner = b.unary("tan", x)
        return b.unary("log", inner), b.binary("power", inner, y), inner

    executable = compiled(body, x, y)
    assert isinstance(executable, DirectExecutable)
    log, power, inner = executable.run_new([x, y])
    same_bits(inner, np.tan(x))
    same_bits(log, np.log(inner))
    same_bits(power, inner**y)


@pytest.mark.parametrize("other", [np.ones(2, np.int32), np.ones(5, np.float32)])
def test_parameters_of_other_shapes_that_are_not_read(other):
    x = np.linspace(-1, 1, 40, dtype=np.float32)
    executable = compiled(lambda b, x, other: b.unary("tan", x), x, other)
    (result,) = executable.run_new([x, other])
    np.testing.assert_allclose(result, np.tan(x), rtol=1e-6)


def test_constants():
    x = np.linspace(-2, 2, 10_000, dtype=np.float32)

    def body(b, x):
        return b.binary("atan2", x, b.full_like(x, 0.3))

    executable = compiled(body, x)
    assert isinstance(executable, DirectExecutable)
    same_bits(executable.run_new([x])[0], np.arctan2(x, np.float32(0.3)))


def test_what_else_is_in_a_program_leaves_it_to_xla():
    x = np.ones(100, np.float32)
    assert is_element_program(tangent, x)
    assert not is_element_program(lambda b, x: b.negate(b.unary("tan", x)), x)
    assert not is_element_program(lambda b, x: b.unary("tan", b.negate(x)), x)
    assert not is_element_program(lambda b, x: (b.unary("tan", x), x), x)
    assert not is_element_program(lambda b, x: (r := b.unary("tan", x), r), x)
    assert not is_element_program(lambda b, x: x, x)
    assert not is_element_program(tangent, x.astype(np.float16))
    assert not is_element_program(
        lambda b, x: b.binary("power", x, b.full_like(x, 0.5)), x
    )
    assert not is_element_program(tangent, x[:0])


def test_what_may_take_long_is_left_to_xla():
    assert is_element_program(tangent, np.ones(1 << 20, np.float32))
    assert not is_element_program(tangent, np.ones((1 << 20) + 1, np.float32))


def test_what_xla_computes_faster_is_left_to_it():
    x = np.ones(100, np.float32)
    for name, is_left in (("logaddexp", True), ("arctan2", False)):
        program = element_program(built(function(name), x, x))
        assert is_faster(program) != is_left


def test_modes_and_casts_that_leave_a_program_to_xla():
    x = np.ones(100, np.float32)
    assert isinstance(compiled(tangent, x), DirectExecutable)
    casts = SimulationOptions(auto_cast="all", auto_cast_type="bf16")
    for how in ({"mode": "never"}, {"mode": "always"}, {"options": casts}):
        assert not isinstance(compiled(tangent, x, **how), DirectExecutable)


@pytest.mark.parametrize("offset", [0, 1, 2, 3, 4, 16])
@pytest.mark.parametrize("size", [100, LARGE])
def test_arrays_may_lie_anywhere(size, offset):
    raw, out = (np.empty(4 * size + 64, np.uint8) for _ in range(2))
    x = raw[offset : offset + 4 * size].view(np.float32)
    x[:] = np.linspace(-1, 1, size)
    made = out[offset : offset + 4 * size].view(np.float32)
    compiled(tangent, x).run([x], [made])
    same_bits(made.copy(), np.tan(x.copy()))


@pytest.mark.parametrize("shift", [-1, 0, 1, 5000])
def test_results_may_overlap_arguments(shift):
    memory = np.linspace(-1, 1, 30_000, dtype=np.float32)
    x = memory[6000:20_000]
    expected = np.tan(x)
    made = memory[6000 + shift : 20_000 + shift]
    compiled(tangent, x).run([x], [made])
    same_bits(made, expected)


def test_results_may_not_be_scattered_nor_read_only():
    x = np.ones(100, np.float32)
    executable = compiled(tangent, x)
    for wrong in (np.ones(200, np.float32)[::2], np.ones(99, np.float32), 3.0):
        with pytest.raises((ValueError, TypeError)):
            executable.run([x], [wrong])
        with pytest.raises((ValueError, TypeError)):
            executable.run([wrong], [np.empty_like(x)])
    made = np.zeros_like(x)
    made.setflags(write=False)
    with pytest.raises(ValueError, match="writeable"):
        executable.run([x], [made])


def test_flags_that_functions_raise_are_not_seen():
    x = np.array([-1, 0, np.inf], np.float32)
    executable = compiled(lambda b, x: b.unary("log", x), x)
    with np.errstate(all="raise"):
        (result,) = executable.run_new([x])
        np.ones(3) + np.ones(3)
    np.testing.assert_array_equal(result, [np.nan, -np.inf, np.inf])


def test_many_threads_at_once():
    x = np.linspace(-1, 1, LARGE, dtype=np.float32)
    executable = compiled(tangent, x)
    expected = np.tan(x)
    begin = threading.Barrier(6)

    def many_calls(number):
        begin.wait()
        for _ in range(15):
            same_bits(executable.run_new([x])[0], expected)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(many_calls, range(6)))


def _call_in_child(executable, x, queue):
    queue.put(executable.run_new([x])[0])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_threads_of_its_own():
    x = np.linspace(-1, 1, LARGE, dtype=np.float32)
    executable = compiled(tangent, x)
    for _ in range(20):
        expected = executable.run_new([x])[0]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_call_in_child, args=(executable, x, queue))
    child.start()
    same_bits(queue.get(timeout=30), expected)
    child.join(30)
    assert child.exitcode == 0
