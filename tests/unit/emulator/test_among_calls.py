"""np.isin by the handler that looks elements up, and by XLA's comparisons."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.hlo import dtypes as dt
from nkipy.runtime import simulate_jit
from nkipy.testing import check_kernel
from nkipy_emulator.engine import XlaCpuEngine
from nkipy_emulator.executables import DirectExecutable
from nkipy_emulator.handler_programs import handler_program
from tests.support.fast_calls import MODES, by_handlers, run, targets, traced
from tests.support.writers import written_meanwhile

TARGET = "nkipy_among"


def check(x, tests):
    """By handlers alone, by one in a program of XLA's, and by XLA."""
    module = traced(np.isin, x, tests)
    assert targets(module) == [TARGET]
    expected = np.isin(x, tests)
    results = [by_handlers(module).run_new([x, tests])[0]]
    results += [run(module, [x, tests], mode)[0] for mode in MODES]
    for result in results:
        assert (result.dtype, result.shape) == (np.dtype(bool), x.shape)
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("dtype", dt.INTEGERS, ids=str)
def test_integers_near_each_other_and_far_apart(dtype, rng):
    """By a table of all values between, and by a hash table."""
    info = np.iinfo(dtype)
    low, high = max(info.min, -30), min(info.max, 100)
    near = rng.integers(low, high, (7, 50)).astype(dtype)
    check(near, near[2:4, ::3].copy())
    far = rng.integers(info.min, info.max, 3000, dtype, endpoint=True)
    tests = np.concatenate([far[::7], [info.min, info.max, 0]]).astype(dtype)
    check(far, tests)
    check(np.array([info.min, 0, 1, info.max], dtype), tests)


def test_floats_as_they_compare(rng):
    """NaN equals nothing, zeros of both signs each other, and no subnormal number
    is zero."""
    dtype = np.float32
    tiny = np.finfo(dtype).smallest_subnormal
    special = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, tiny, -tiny, 1.5], dtype)
    x = np.concatenate([special, rng.standard_normal(40_000).astype(dtype)])
    for tests in (special, *special[:6].reshape(3, 2), x[5:7], x[7::50].copy()):
        module = traced(np.isin, x, tests)
        (result,) = by_handlers(module).run_new([x, tests])
        np.testing.assert_array_equal(result, np.isin(x, tests))
        (result,) = run(module, [x, tests], "always")
        np.testing.assert_array_equal(result, np.isin(x, tests))


def test_keys_whose_hashes_are_next_to_each_other(rng):
    """Multiples of powers of two, and what is one off them."""
    for shift in (0, 12, 20, 27):
        tests = (np.arange(5000, dtype=np.int64) << shift).astype(np.int32)
        x = np.concatenate([tests, tests + 1, -tests]).astype(np.int32)
        module = traced(np.isin, x, tests)
        (result,) = by_handlers(module).run_new([x, tests])
        np.testing.assert_array_equal(result, np.isin(x, tests))


def test_bool(rng):
    for tests in ([True], [False], [True, False]):
        check(rng.random((3, 40)) > 0.5, np.array(tests * 9))


def test_a_mask_that_is_computed_with(rng):
    """In a program of XLA's, by itself and where others read it."""
    x, tests = (rng.integers(0, 9999, n).astype(np.int32) for n in (3000, 400))

    def kernel(x, tests):
        found = np.isin(x, tests, invert=True)
        return np.where(found, x + 1, -x) * 2, found

    for result, expected in zip(simulate_jit(kernel)(x, tests), kernel(x, tests)):
        assert result.dtype == expected.dtype
        np.testing.assert_array_equal(result, expected)
    assert TARGET in targets(traced(kernel, x, tests), "auto")


def test_which_calls_are_left_to_xla(rng):
    x = rng.integers(0, 99, 5000).astype(np.int32)
    for elements, tests in ((x, x[:8]), (x[:8], x)):
        module = traced(np.isin, elements, tests)
        assert handler_program(module) is None
        assert targets(module, "auto") == []
    executable = XlaCpuEngine(fast_calls="auto").compile(traced(np.isin, x, x[:50]))
    assert isinstance(executable, DirectExecutable)


def test_what_only_looks_like_it_is_computed_as_it_is(rng):
    """Other comparisons, of any and of all, along other axes."""
    x, y = (rng.integers(0, 9, n).astype(np.int32) for n in (30, 40))
    kernels = (
        lambda x, y: np.any(x[:, None] != y, axis=-1),
        lambda x, y: np.all(x[:, None] == y, axis=-1),
        lambda x, y: np.any(x[:, None] == y, axis=0),
        lambda x, y: np.any(x[:, None] < y, axis=-1),
        lambda x, y: np.any(x[None, :] == y[:30], axis=-1),
    )
    for kernel in kernels:
        module = traced(kernel, x, y)
        assert TARGET not in targets(module)
        (result,) = run(module, [x, y], "always")
        np.testing.assert_array_equal(result, kernel(x, y))


def test_simulated_and_on_the_device(rng):
    x, y = (rng.integers(0, 9999, n).astype(np.int32) for n in (3000, 400))
    check_kernel(lambda x, y: np.isin(x, y), x, y)
    check_kernel(
        lambda x, y: np.isin(x, y, invert=True),
        *(v.astype(np.float32) / 4 for v in (x, y)),
    )


@pytest.mark.parametrize("elements", [0, 29, -1])
def test_sizes_that_are_not_the_operands_are_refused(elements, rng):
    x = rng.integers(0, 9, 30).astype(np.int32)
    module = traced(np.isin, x, x[:20])
    program = handler_program(module, mode="always")
    assert program is not None
    ((target, attributes, operands, results),) = program.steps
    changed = tuple(sorted({**dict(attributes), "elements": elements}.items()))
    step = (target, changed, operands, results)
    executable = DirectExecutable(module, "handlers", program._replace(steps=(step,)))
    with pytest.raises(Exception, match="shapes") as raised:
        executable.run_new([x, x[:20]])
    assert type(raised.value).__name__ == "SimulationError"


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.float32])
def test_tests_that_are_written_to_meanwhile_give_some_mask(dtype, rng):
    """The table that is made of them has no place for what comes later."""
    x = rng.integers(0, 90, 3000).astype(dtype)
    tests = np.zeros(200_000, dtype)
    executable = by_handlers(traced(np.isin, x, tests))

    def write():
        tests[:] = np.iinfo(np.int8).min
        tests[::2] = 2
        tests[:] = 80 if dtype == np.int8 else 1 << 24

    with written_meanwhile(write):
        for _ in range(60):
            (result,) = executable.run_new([x, tests])
            assert not result[(x != 2) & (x != 0) & (x != 80)].any()
