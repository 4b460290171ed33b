"""Programs that are calls of handlers alone: what is one; they run as others do."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from nkipy.hlo import dtypes as dt
from nkipy.hlo.ir import HLOInstruction, HLOModule
from nkipy.hlo.options import SimulationOptions
from nkipy_emulator import _xla
from nkipy_emulator.engine import XlaCpuEngine
from nkipy_emulator.executables import DirectExecutable
from nkipy_emulator.handler_programs import handler_program
from tests.support.fast_calls import by_handlers, traced

rng = np.random.default_rng(0)


def normal(*shape, dtype=np.float32):
    """Numbers in a dtype of the device's."""
    return rng.standard_normal(shape).astype(dtype)


def is_direct(kernel, *arguments):
    return handler_program(traced(kernel, *arguments), mode="always") is not None


HOLES = np.array([3, np.nan, -np.inf, -0.0, 0.0, np.nan, np.inf, -2.5], np.float32)
INDICES = np.array([0, -1, 29, -30, 7, 7], np.int32)
KERNELS: dict[str, tuple[Any, tuple[np.ndarray, ...]]] = {
    "maxima of columns": (lambda x: np.max(x, axis=0), (normal(40, 30),)),
    "minimum of all": (lambda x: np.min(x), (normal(40, 30),)),
    "maximum with NaN": (lambda x: np.max(x, axis=1), (HOLES.reshape(2, 4),)),
    "argmax": (lambda x: np.argmax(x), (normal(1000),)),
    "argmax with NaN": (lambda x: np.argmax(x), (HOLES,)),
    "argmin of columns": (lambda x: np.argmin(x, axis=0), (normal(30, 5, 7),)),
    "argmin of rows": (
        lambda x: np.argmin(x, axis=1),
        (rng.integers(0, 9, (30, 40)).astype(np.int16),),
    ),
    "sort": (lambda x: np.sort(x, axis=1), (normal(20, 50),)),
    "sort with NaN": (lambda x: np.sort(x), (HOLES,)),
    "sort of bytes": (np.sort, (rng.integers(0, 255, 999).astype(np.uint8),)),
    "argsort": (lambda x: np.argsort(x, kind="stable"), (normal(500).round(1),)),
    "rows": (lambda x, i: x[i], (normal(30, 64), INDICES)),
    "short rows": (lambda x, i: x[i], (normal(30, 3), INDICES)),
    "rows of bool": (lambda x, i: x[i], (normal(30, 64) > 0, INDICES)),
    "elements": (lambda x, i: np.take(x, i), (normal(30), INDICES.reshape(2, 3))),
    "elements of 2 bytes": (
        lambda x, i: x[i],
        (normal(30, dtype=np.float16), INDICES),
    ),
    "running sums of integers": (
        np.cumsum,
        (rng.integers(0, 9, 999).astype(np.int32),),
    ),
    "running maximum": (np.maximum.accumulate, (normal(30, 20),)),
    "functions": (lambda x: np.sort(np.sin(x)), (normal(700),)),
    "several": (lambda x: (np.max(x), np.argmax(x), np.sort(x)), (normal(999),)),
    "result in another shape": (lambda x: np.sort(x).reshape(3, -1), (normal(99),)),
    "argument in another shape": (lambda x: np.sort(x.reshape(9, 11)), (normal(99),)),
    "constant": (lambda i: np.arange(30)[i], (INDICES,)),
}
ROUNDED: dict[str, tuple[Any, tuple[np.ndarray, ...]]] = {
    "sum": (np.sum, (normal(30_001),)),
    "sum of rows": (lambda x: np.sum(x, axis=1), (normal(70, 301),)),
    "sum of columns": (lambda x: np.sum(x, axis=0), (normal(71, 300),)),
    "inner product": (np.dot, (normal(1000), normal(1000))),
    "matrix by vector": (np.matmul, (normal(50, 70), normal(70))),
    "small products": (np.matmul, (normal(50, 4, 4), normal(50, 4, 4))),
    "products of matrices": (np.matmul, (normal(3, 40, 50), normal(3, 50, 60))),
    "running sum": (np.cumsum, (normal(999),)),
}


def as_list(made):
    return [np.asarray(x) for x in (made if isinstance(made, tuple) else (made,))]


@pytest.mark.parametrize("name", KERNELS)
def test_results_are_those_of_numpy_and_of_xlas_way(name):
    kernel, arguments = KERNELS[name]
    results = by_handlers(traced(kernel, *arguments)).run_new(arguments)
    by_xla = XlaCpuEngine(fast_calls="never").compile(traced(kernel, *arguments))
    expected = as_list(kernel(*arguments))
    for result, other, wanted in zip(
        results, by_xla.run_new(arguments), expected, strict=True
    ):
        assert (result.shape, result.dtype) == (other.shape, other.dtype)
        assert result.shape == wanted.shape
        if name == "functions":
            np.testing.assert_array_max_ulp(result, wanted, 1)
            continue
        np.testing.assert_array_equal(result, wanted.astype(result.dtype))
        np.testing.assert_array_equal(result, other)


@pytest.mark.parametrize("name", ROUNDED)
def test_sums_and_products(name):
    kernel, arguments = ROUNDED[name]
    (result,) = by_handlers(traced(kernel, *arguments)).run_new(arguments)
    exact = kernel(*[a.astype(np.longdouble) for a in arguments])
    size = kernel(*[abs(a.astype(np.longdouble)) for a in arguments])
    assert result.shape == exact.shape
    assert result.dtype == arguments[0].dtype
    error = abs(result - exact) / size
    assert np.max(error) < 20 * np.finfo(result.dtype).eps


def test_the_engine_runs_without_xla_what_is_faster_so(monkeypatch):
    x = normal(300, 300)

    def refuse(*args, **kwargs):
        raise AssertionError("XLA is asked to compile")

    monkeypatch.setattr(_xla, "compile_proto", refuse)
    for kernel in (lambda x: np.max(x, axis=0), np.sort, np.sum):
        executable = XlaCpuEngine().compile(traced(kernel, x))
        assert isinstance(executable, DirectExecutable)
        (got,) = executable.run_new([x])
        error = abs(got - kernel(x.astype(np.float64)))
        limit = np.spacing(np.float32(np.abs(x).sum())) if kernel is np.sum else 0
        assert np.max(error) <= limit


def test_what_else_is_in_a_program_leaves_it_to_xla():
    x = normal(30, 40)
    assert is_direct(np.sort, x)
    assert not is_direct(lambda x: np.sort(x) + x[0], x)
    assert not is_direct(lambda x: np.sort(np.sign(x)), x)
    assert not is_direct(lambda x: (np.sort(x), np.sign(x)), x)
    assert not is_direct(np.sort, x[:0])
    assert not is_direct(lambda x: np.sign(x).reshape(40, 30), x)


def test_one_array_twice_and_arguments_are_left_to_xla():
    x = normal(30)

    def twice(x):
        y = np.sort(x)
        return y, y.reshape(5, 6)

    assert not is_direct(twice, x)
    module = traced(np.sort, x)
    module.set_results([*module.results, *module.parameters])
    assert handler_program(module, mode="always") is None


def test_what_may_take_long_is_left_to_xla():
    assert is_direct(np.sort, np.zeros((100, 1000), np.float32))
    assert not is_direct(np.sort, np.zeros((1000, 1000), np.float32))
    assert not is_direct(np.matmul, *[np.zeros((9, 512, 512), np.float32)] * 2)


def test_a_call_that_was_in_the_program_is_none_of_ours():
    module = HLOModule("hostile")
    x = module.add_parameter((10,), dt.float32)
    attributes = _xla.handler_call("nkipy_sort", b"{words = array<i64>}")
    call = HLOInstruction("custom-call", (x,), (10,), dt.float32, attributes)
    module.add_operation(call)
    module.set_results([call])
    assert handler_program(module, mode="always") is None


def test_modes_casts_and_bounds_that_leave_a_program_to_xla():
    x, i = normal(300, 64), np.zeros(9, np.int32)

    def is_compiled(kernel, *arguments, mode=None, **how):
        engine = XlaCpuEngine(fast_calls=mode)
        made = engine.compile(traced(kernel, *arguments), **how)
        return not isinstance(made, DirectExecutable)

    casts = SimulationOptions(auto_cast="all", auto_cast_type="bf16")
    assert not is_compiled(np.sort, x)
    assert is_compiled(np.sort, x, mode="never")
    assert is_compiled(np.sort, x, mode="always")
    assert is_compiled(np.sort, x, options=casts)
    assert is_compiled(lambda x, i: x[i], x, i, check_bounds=True)


def test_indices_out_of_bounds_are_moved_inside():
    x = np.arange(10, dtype=np.float32)
    i = np.array([10, 99, -11, -99, 2**31 - 1, -(2**31)], np.int32)
    for mode in (None, "never"):
        executable = XlaCpuEngine(fast_calls=mode).compile(
            traced(lambda x, i: x[i], x, i)
        )
        (result,) = executable.run_new([x, i])
        np.testing.assert_array_equal(result, [9, 9, 0, 0, 9, 0])


@pytest.mark.parametrize("offset", [0, 1, 2, 3, 4, 16])
def test_arrays_may_lie_anywhere(offset):
    size = 30_000
    raw, out = (np.empty(4 * size + 64, np.uint8) for _ in range(2))
    x = raw[offset : offset + 4 * size].view(np.float32).reshape(100, -1)
    x[:] = normal(*x.shape)
    made = out[offset : offset + 4 * size].view(np.float32).reshape(100, -1)
    by_handlers(traced(np.sort, x)).run([x], [made])
    np.testing.assert_array_equal(made, np.sort(x))
    largest = out[offset : offset + 1200].view(np.float32)
    by_handlers(traced(lambda x: np.max(x, axis=0), x)).run([x], [largest])
    np.testing.assert_array_equal(largest, np.max(x, axis=0))


@pytest.mark.parametrize("shift", [-1, 0, 1, 500])
def test_results_may_overlap_arguments(shift):
    memory = normal(3000)
    x = memory[600:2000]
    expected = np.sort(x)
    made = memory[600 + shift : 2000 + shift]
    by_handlers(traced(np.sort, x)).run([x], [made])
    np.testing.assert_array_equal(made, expected)


def test_several_results_in_one_memory_are_written_one_after_another():
    x = normal(100)
    memory = np.empty(100, np.float32)
    module = traced(lambda x: (np.sort(x), np.maximum.accumulate(x)), x)
    executable = by_handlers(module)
    executable.run([x], [memory, memory])
    np.testing.assert_array_equal(memory, np.maximum.accumulate(x))


def test_many_threads_at_once():
    x = normal(100, 1000)
    executable = by_handlers(traced(lambda x: (np.sort(x), np.max(x, axis=0)), x))
    expected = np.sort(x), np.max(x, axis=0)
    begin = threading.Barrier(4)

    def many_calls(number):
        begin.wait()
        for _ in range(5):
            for made, wanted in zip(executable.run_new([x]), expected):
                np.testing.assert_array_equal(made, wanted)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(many_calls, range(4)))


def _call_in_child(executable, x, queue):
    queue.put(executable.run_new([x]))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_threads_of_its_own():
    x = normal(300, 2000)
    executable = by_handlers(traced(lambda x: (np.max(x, axis=0), np.sum(x)), x))
    for _ in range(20):
        expected = executable.run_new([x])
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_call_in_child, args=(executable, x, queue))
    child.start()
    for made, wanted in zip(queue.get(timeout=30), expected):
        np.testing.assert_array_equal(made, wanted)
    child.join(30)
    assert child.exitcode == 0


def test_a_handler_that_fails_raises():
    x = normal(30)
    module = traced(np.sort, x)
    program = handler_program(module, mode="always")
    ((target, _, operands, results),) = program.steps
    step = (target, (("descending", 0),), operands, results)
    executable = DirectExecutable(module, "handlers", program._replace(steps=(step,)))
    with pytest.raises(Exception, match="attributes") as raised:
        executable.run_new([x])
    assert type(raised.value).__name__ == "SimulationError"


def test_programs_that_do_not_fit_are_refused():
    x = normal(30)
    module = traced(np.sort, x)
    program = handler_program(module, mode="always")
    target, attributes, _, results = program.steps[0]
    for wrong in (
        program._replace(steps=((target, attributes, (7,), results),)),
        program._replace(results=(0,)),
        program._replace(results=(9,)),
        program._replace(values=(*program.values[:1], (11, (30,), 5))),
        program._replace(values=(*program.values[:1], (11, (31,), 0))),
    ):
        with pytest.raises(ValueError):
            DirectExecutable(module, "handlers", wrong)
