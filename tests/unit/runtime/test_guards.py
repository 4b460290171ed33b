"""A change of what a kernel captured, or of a static argument, is another program."""

from __future__ import annotations

import types

import numpy as np
import pytest

from nkipy.distributed.collectives import all_reduce
from nkipy.runtime import PerRank, simulate_jit

X = np.ones(2, np.float32)

SCALE = 1


def helper(x):
    return x * SCALE


def test_globals_of_helpers_and_the_helpers_themselves(monkeypatch):
    jitted = simulate_jit(lambda x: helper(x))
    assert (jitted(X) == 1).all()
    monkeypatch.setitem(globals(), "SCALE", 3)
    assert (jitted(X) == 3).all()
    monkeypatch.setitem(globals(), "helper", lambda x: x * 7)
    assert (jitted(X) == 7).all()


@pytest.mark.parametrize(
    ("captured", "change"),
    [
        ({"k": 1}, lambda c: c.update(k=3)),
        ({"k": X.copy()}, lambda c: c["k"].fill(3)),
        ({"k": [1]}, lambda c: c["k"].__setitem__(0, 3)),
        ({"k": 0.0}, lambda c: c.update(k=-0.0)),
    ],
)
def test_what_captured_containers_hold(captured, change):
    def kernel(x):
        k = captured["k"]
        return x / np.float32(k[0] if isinstance(k, list) else k)

    jitted = simulate_jit(kernel)
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(jitted(X), kernel(X))
        change(captured)
        np.testing.assert_array_equal(jitted(X), kernel(X))


def test_attributes_of_objects_captured_passed_or_bound():
    class Layer:
        def __init__(self):
            self.config = types.SimpleNamespace(eps=1)
            self.weights = [X * 2]

        def apply(self, x):
            return x * self.weights[0] + self.config.eps

        jitted = simulate_jit(apply)

    layer = Layer()
    kernels = [
        layer.jitted,
        simulate_jit(layer.apply),
        simulate_jit(lambda x: layer.weights[0] * x + layer.config.eps),
    ]
    for kernel in kernels:
        assert (kernel(X) == layer.apply(X)).all()
    layer.config.eps = 5
    layer.weights[0][:] = 9
    for kernel in kernels:
        np.testing.assert_array_equal(kernel(X), X * 14)


def test_what_the_kernel_changes_itself_is_no_reason_to_trace_again():
    calls, counts = [], {"n": 0}

    def kernel(x):
        calls.append(x)
        counts["n"] += 1
        return x

    jitted = simulate_jit(kernel)
    for _ in range(3):
        jitted(X)
    assert len(calls) == counts["n"] == 1


def test_static_values_are_told_apart():
    divided = simulate_jit(lambda x, s: x / s)
    assert (divided(X, np.float32(0.0)) == np.inf).all()
    assert (divided(X, np.float32(-0.0)) == -np.inf).all()
    for nan in (float("nan"), float("nan")):
        assert np.isnan(divided(X, nan)).all()
    assert divided.cache_size() == 3
    picked = simulate_jit(lambda d: d[1] if 1 in d else d["1"] * 2)
    assert (picked({1: X}) == 1).all()
    assert (picked({"1": X}) == 2).all()


def test_integers_that_32_bits_cannot_hold_are_refused_and_kept():
    def kernel(x):
        x[1] = 5

    x = np.array([2**40, 1])
    with (
        pytest.warns(UserWarning, match="int64"),
        pytest.raises(OverflowError, match="'x' holds values out of range for int32"),
    ):
        simulate_jit(kernel)(x)
    assert x.tolist() == [2**40, 1]


def test_a_jitted_kernel_within_a_kernel_is_part_of_it():
    @simulate_jit
    def inner(x, y):
        x += y
        return x * 2

    @simulate_jit
    def outer(x):
        made = np.zeros(2, np.float32)
        made[:] = x
        return inner(x, made), x

    x = X.copy()
    doubled, same = outer(x)
    assert same is x and (x == 2).all() and (doubled == 4).all()
    assert inner.cache_size() == 0


@pytest.mark.parametrize(("groups", "world"), [([[0, 1]], 1), ([[0, 1, 2]], 2)])
def test_collectives_over_other_ranks_than_those_that_run(groups, world):
    def kernel(x):
        return all_reduce(x, groups)

    with pytest.raises(ValueError, match=rf"(?s)world_size={world}.*test_guards.py"):
        simulate_jit(world_size=world)(kernel)(X)


def test_what_a_rank_writes_no_other_rank_sees():
    def kernel(x, y):
        x += all_reduce(y, [[0, 1]])

    x, y = X.copy(), X.copy()
    for first, second in (((x, x[:]), (X, X)), ((x, y), (y, x))):
        with pytest.raises(ValueError, match="which no other rank reads"):
            simulate_jit(world_size=2)(kernel)(PerRank(first), PerRank(second))
    assert (x == 1).all() and (y == 1).all()
