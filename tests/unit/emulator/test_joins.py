"""Concatenations by a handler; rolls as slices of a copy that is longer."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.core.trace import NKIPyKernel
from nkipy.hlo import dtypes as dt
from nkipy_emulator.custom_calls import CustomCalls
from nkipy_emulator.engine import XlaCpuEngine
from nkipy_emulator.preparation import with_store

SHAPES = [((97,), 0), ((5, 40), 1), ((40, 7), 0), ((3, 50, 4), 1), ((2, 130_000), 1)]


def kernel(function, *values):
    return NKIPyKernel.trace(function).specialize(*values)


def joins(module, mode="always"):
    made, _ = with_store(module, None, CustomCalls(), fast_calls=mode)
    calls = [i for i in made.instructions() if i.opcode == "custom-call"]
    return [c for c in calls if c.attributes["custom_call_target"] == "nkipy_join"]


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
    assert [r.shape[axis] - shape[axis] for r in joins(module)] == [5, 1]
    assert not joins(module, "never")
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
def test_no_longer_copy_is_made_where_it_would_be_no_faster(function, rng):
    x = numbers(1000, np.int32, rng)
    module = kernel(function, x)
    assert all(call.shape == x.shape for call in joins(module))
    np.testing.assert_array_equal(run(module, x)[0], function(x))


def test_bits_are_kept(rng):
    """Of NaN with a payload, and of subnormal numbers."""
    x = rng.integers(0, 2**32, 1000, dtype=np.uint32).view(np.float32)
    mask = rng.integers(0, 2, 1000).astype(bool)

    def either(mask, x):
        return np.where(mask, x, np.roll(x, 1))

    module = kernel(either, mask, x)
    assert joins(module)
    (got,) = run(module, mask, x)
    np.testing.assert_array_equal(got.view("u4"), either(mask, x.view("u4")))


def test_each_step_has_a_copy_of_its_own(rng):
    x = numbers(500, np.int32, rng)
    module = kernel(neighbours(0), x)
    (once,) = run(module, x)
    (twice,) = run(module, once)
    both = kernel(lambda a: neighbours(0)(neighbours(0)(a)), x)
    assert len(joins(both)) == 4
    np.testing.assert_array_equal(run(both, x)[0], twice)


# -- concatenations --------------------------------------------------------------------
def ends(x, y):
    return np.concatenate([x[-3:], x, y[:5], x[:1]]) + 1


def beside(x, y):
    return np.concatenate([x[:, 3:], y, x[:, 1:2], y[:, :2]], axis=1)


def between(x, y):
    """Of which each row is of two dimensions."""
    parts = x.reshape(4, -1, 5), y.reshape(4, -1, 5)
    return np.concatenate(parts, axis=1)[::-1]


@pytest.mark.parametrize("dtype", [dt.int8, dt.float32, dt.bfloat16], ids=str)
@pytest.mark.parametrize("function", [ends, beside, between])
def test_concatenations_are_those_of_numpy(function, dtype, rng):
    x, y = numbers((40, 10), dtype, rng), numbers((40, 25), dtype, rng)
    if function is ends:
        x, y = x.reshape(-1), y.reshape(-1)
    module = kernel(function, x, y)
    assert len(joins(module)) == 1
    for mode in ("always", "never"):
        (got,) = run(module, x, y, mode=mode)
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, function(x, y))


@pytest.mark.parametrize("offset", [0, 4, 20, 60])
def test_large_pieces_are_read_where_they_lie(offset, rng):
    memory = np.empty(4 * 200_000 + 128, np.uint8)
    start = -memory.ctypes.data % 64 + offset
    x, y = memory[start : start + 800_000].view(np.int32).reshape(2, -1)
    x[:], y[:] = numbers((2, 100_000), np.int32, rng)
    module = kernel(ends, x, y)
    np.testing.assert_array_equal(run(module, x, y)[0], ends(x, y))


@pytest.mark.parametrize("part", [lambda x: x * 2, lambda x: x[::2]])
def test_what_is_computed_is_not_made_to_be_joined(part, rng):
    x, y = numbers((2, 1000), np.float32, rng)
    module = kernel(lambda x, y: np.concatenate([part(x), y]), x, y)
    assert not joins(module)


def test_more_arrays_than_a_handler_takes(rng):
    arrays = numbers((17, 1000), np.float32, rng)
    for count in (16, 17):
        module = kernel(lambda *xs: np.concatenate(xs), *arrays[:count])
        assert len(joins(module)) == (count == 16)
        (got,) = run(module, *arrays[:count])
        np.testing.assert_array_equal(got, arrays[:count].reshape(-1))
