"""Rolls that loops read: slices of a copy that is longer at both ends."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.core.trace import NKIPyKernel
from nkipy.hlo import dtypes as dt
from nkipy_emulator.custom_calls import CustomCalls
from nkipy_emulator.engine import XlaCpuEngine, _with_store

SHAPES = [((97,), 0), ((5, 40), 1), ((40, 7), 0), ((3, 50, 4), 1), ((2, 130_000), 1)]


def kernel(function, *values):
    return NKIPyKernel.trace(function).specialize(*values)


def rings(module, mode="always"):
    made, _ = _with_store(module, None, CustomCalls(), fast_calls=mode)
    calls = [i for i in made.instructions() if i.opcode == "custom-call"]
    return [c for c in calls if c.attributes["custom_call_target"] == "nkipy_ring"]


def run(module, *arguments, mode="always"):
    return XlaCpuEngine(fast_calls=mode).compile(module).run_new(arguments)


def numbers(shape, dtype, rng):
    return rng.integers(0, 100, shape).astype(dtype)


def neighbours(axis):
    """Of two steps before, and three behind; of integers, so that all are exact."""

    def step(x):
        y = x + np.roll(x, 2, axis) * 2 + np.roll(x, -3, axis) * 3
        return y + np.roll(y, 1, axis)

    return step


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
@pytest.mark.parametrize("dtype", [dt.int32, dt.uint8, dt.float32], ids=str)
def test_neighbours_are_those_of_numpy(shape, axis, dtype, rng):
    x = numbers(shape, dtype, rng)
    module = kernel(neighbours(axis), x)
    assert [r.shape[axis] - shape[axis] for r in rings(module)] == [5, 1]
    assert not rings(module, "never")
    expected = neighbours(axis)(x)
    for mode in ("always", "never"):
        (got,) = run(module, x, mode=mode)
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("offset", [0, 4, 20, 60])
def test_an_array_is_read_where_it_lies(offset, rng):
    memory = np.empty(4 * 100_000 + 128, np.uint8)
    start = -memory.ctypes.data % 64 + offset
    x = memory[start : start + 400_000].view(np.int32)
    x[:] = numbers(x.shape, np.int32, rng)
    module = kernel(neighbours(0), x)
    np.testing.assert_array_equal(run(module, x)[0], neighbours(0)(x))


def far(x):
    return x + np.roll(x, x.size // 2)


def moved_only(x):
    return np.roll(x, 1)


def summed(x):
    return np.roll(x, 1).sum()


@pytest.mark.parametrize("function", [far, moved_only, summed])
def test_what_a_copy_would_make_no_faster_is_left(function, rng):
    x = numbers(1000, np.int32, rng)
    module = kernel(function, x)
    assert not rings(module)
    np.testing.assert_array_equal(run(module, x)[0], function(x))


def test_bits_are_kept(rng):
    """Of NaN with a payload, and of subnormal numbers."""
    x = rng.integers(0, 2**32, 1000, dtype=np.uint32).view(np.float32)
    mask = rng.integers(0, 2, 1000).astype(bool)

    def either(mask, x):
        return np.where(mask, x, np.roll(x, 1))

    module = kernel(either, mask, x)
    assert rings(module)
    (got,) = run(module, mask, x)
    np.testing.assert_array_equal(got.view("u4"), either(mask, x.view("u4")))


def test_each_step_has_a_copy_of_its_own(rng):
    x = numbers(500, np.int32, rng)
    module = kernel(neighbours(0), x)
    (once,) = run(module, x)
    (twice,) = run(module, once)
    both = kernel(lambda a: neighbours(0)(neighbours(0)(a)), x)
    assert len(rings(both)) == 4
    np.testing.assert_array_equal(run(both, x)[0], twice)
