"""Stores at places with equal distances, by the handler and by XLA's code."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from nkipy.core.trace import NKIPyKernel
from nkipy.hlo.rewrites import repeated_steps
from nkipy_emulator import strided_stores
from nkipy_emulator.custom_calls import CustomCalls
from nkipy_emulator.engine import XlaCpuEngine
from nkipy_emulator.errors import SimulationError
from nkipy_emulator.preparation import with_store

TARGET = "nkipy_strided_store"


def traced(function, *values):
    return NKIPyKernel.trace(function).specialize(*values)


def stores(module):
    made, _ = with_store(module, None, CustomCalls(), fast_calls="always")
    found = [i for i in made.instructions() if i.opcode == "custom-call"]
    return [i for i in found if i.attributes["custom_call_target"] == TARGET]


def check(function, *arguments, count=1):
    module = traced(function, *[a.copy() for a in arguments])
    assert len(stores(module)) == count
    given = [a.copy() for a in arguments]
    expected = function(*given)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for mode in ("never", "always"):
        executable = XlaCpuEngine(fast_calls=mode).compile(module)
        outputs = [executable.empty(r.shape, r.dtype) for r in module.results]
        executable.run([a.copy() for a in arguments], outputs)
        for output, right in zip(outputs, expected):
            np.testing.assert_array_equal(output, right)


def numbers(*shape, dtype=np.float32):
    return (np.arange(np.prod(shape)) % 100 + 1).reshape(shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, bool, np.int8])
@pytest.mark.parametrize(
    "index",
    [
        np.s_[3::5],
        np.s_[::-5],
        np.s_[10:30:7],
        np.s_[4::25],
    ],
)
def test_one_value_and_one_for_each_place(dtype, index):
    def kernel(x, v):
        x[index] = 0
        y = x * 1
        y[index] = v[: len(y[index])]
        return x, y

    check(kernel, numbers(30, dtype=dtype), numbers(30, dtype=dtype), count=2)


def test_several_axes():
    def kernel(x, v):
        x[::2, 1::3, ::4] = v
        x[1::2, ::2, 3::4] = -1
        return x

    check(kernel, numbers(5, 7, 9), -numbers(3, 2, 3), count=2)


def test_what_was_there_can_still_be_read():
    def kernel(x):
        y = x + 1
        z = y.copy()
        z[::4] = 7
        w = y.copy()
        w[1::5] = z[:6]
        return y, z, w, x

    check(kernel, numbers(30), count=2)


def test_what_is_stored_is_what_was_there_before():
    """NumPy reads elements of an array with one axis that it has just stored, if the
    steps differ."""
    x = numbers(90)
    for to, of in (
        (np.s_[9:17:2], np.s_[6:28:7]),
        (np.s_[40:80:5], np.s_[5:80:10]),
        (np.s_[8::-4], np.s_[0:3]),
    ):

        def kernel(x, to=to, of=of):
            x[to] = x[of]
            return x

        expected = x.copy()
        expected[to] = x[of]  # of an array that nobody stores into
        module = traced(kernel, x.copy())
        assert len(stores(module)) == 1
        for mode in ("never", "auto", "always"):
            executable = XlaCpuEngine(fast_calls=mode).compile(module)
            for result in executable.run_new([x.copy()]):
                np.testing.assert_array_equal(result, expected)


def test_in_loops(monkeypatch):
    monkeypatch.setattr(repeated_steps, "_FEWEST_MOVING_SMALL", 24)

    def kernel(x):
        for _ in range(40):
            x = x + 1
            x[2::4] = x[0]
            x = x * 0.5
        return x

    check(kernel, numbers(30), count=40)


def test_dense_values_are_left_to_loops():
    def kernel(x, v):
        x[::2] = v
        return x

    check(kernel, numbers(30), numbers(15), count=0)


@pytest.mark.parametrize(
    "places", ["30, 3, 5, 7", "30, -1, 5, 2", "31, 0, 1, 1", "30, 0, 0, 1", "30, 3, 5"]
)
def test_places_outside_are_refused(places, monkeypatch):
    def kernel(x):
        x[::3] = 0
        return x

    wrong = tuple(map(int, places.split(",")))
    find = strided_stores.store_of
    monkeypatch.setattr(
        strided_stores, "store_of", lambda inst: find(inst)._replace(places=wrong)
    )
    module = traced(kernel, numbers(30))
    executable = XlaCpuEngine(fast_calls="always").compile(module)
    with pytest.raises(SimulationError, match="places"):
        executable.run([numbers(30)], [executable.empty((30,), np.float32)])
