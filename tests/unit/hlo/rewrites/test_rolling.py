"""Repeated steps become loops."""

from __future__ import annotations

import operator
import random

import ml_dtypes
import numpy as np
import pytest

from nkipy.core.trace import trace_function
from nkipy.hlo.rewrites import repeated_steps
from nkipy.hlo.rewrites.rolling import roll_steps
from nkipy_emulator.engine import XlaCpuEngine

SHAPE = (4, 4)
STEPS = 61


def same(x, y):
    for _ in range(STEPS):
        x = np.maximum(x * 0.5 + y, -x) - 0.25
    return x


def varied(x, y):
    """Numbers that differ, two of them the same ones, one a zero."""
    for i in range(STEPS):
        x = x * (0.5 + i / 128) + (i - 3) / 4 - y * (0.5 + i / 128)
    return x


def delayed(x, y):
    """What a step reads of two and three steps before."""
    a = b = c = x * 1
    for _ in range(STEPS):
        a, b, c = a * 0.5 - b * 0.25 + c * y, a, b
    return a, c, b - a


def shifted(x, y):
    """Elements are moved, and what comes before is read both as it was and anew."""
    start = x * y
    x = start
    for _ in range(STEPS):
        x = x * 0.5 + np.roll(x.T, 1, axis=0) * 0.25 - start * 0.125 + x[::-1]
    return x + start


def some_in_between(x, y):
    """Of two runs, the first ends where something else is done."""
    for _ in range(STEPS):
        x = x * 0.5 + y
    middle = abs(x)
    for _ in range(STEPS):
        x, y = np.minimum(x - y, middle) * 0.5, y * 0.5 + x
    return x, middle, y


def nested(x, y):
    for i in range(12):
        for _ in range(9):
            x = x * 0.5 + 0.25
        x = x.T - y * i
    return x


def lagging(x, y):
    """What moves stops at one step, which is no step like the others."""
    before = x * 1
    for i in range(2 * STEPS):
        made = x * 0.5 - before * 0.25
        before = before if i == STEPS else x
        x = made
    return x, before


KERNELS = [same, varied, delayed, shifted, some_in_between, nested, lagging]


def traced(kernel, *arrays):
    return trace_function(kernel, arrays, {}).module


@pytest.fixture
def rolled(monkeypatch):
    """Modules with loops, of programs that are small enough to be tried."""
    monkeypatch.setattr(repeated_steps, "_FEWEST", 24)
    monkeypatch.setattr(repeated_steps, "_FEWEST_MOVING", 24)
    monkeypatch.setattr(repeated_steps, "_FEWEST_MOVING_SMALL", 24)
    monkeypatch.setattr(repeated_steps, "_IN_BODY", 10)

    def make(kernel, *arrays):
        return roll_steps(traced(kernel, *arrays))

    return make


def arrays(dtype=np.float32):
    rng = np.random.default_rng(3)
    return [(rng.standard_normal(SHAPE) * 4).astype(dtype) for _ in range(2)]


def check(module, kernel, given, rtol=0.0):
    expected = kernel(*given)
    expected = expected if isinstance(expected, tuple) else (expected,)
    results = [np.empty(e.shape, e.dtype) for e in expected]
    XlaCpuEngine().compile(module).run([a.copy() for a in given], results)
    for result, right in zip(results, expected):
        np.testing.assert_allclose(result, right, rtol=rtol)


def check_loop(rolled, kernel, *given, rtol=0.0):
    module = rolled(kernel, *given)
    module.verify()
    assert loops(module)
    check(module, kernel, given, rtol)


def loops(module):
    return [i for i in module.entry.instructions if i.opcode == "while"]


@pytest.mark.parametrize("kernel", KERNELS)
def test_loops_compute_what_numpy_does(rolled, kernel):
    given = arrays()
    module = rolled(kernel, *given)
    module.verify()
    assert len(loops(module)) == 2 - (kernel not in (some_in_between, lagging))
    check(module, kernel, given)


@pytest.mark.parametrize("dtype", [np.int32, ml_dtypes.bfloat16])
def test_dtypes(rolled, dtype):
    def kernel(x, y):
        for i in range(STEPS):
            x = np.maximum(x - y, y) + dtype(i % 3)
        return x

    given = arrays(dtype)
    module = rolled(kernel, *given)
    assert loops(module)
    check(module, kernel, given)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_what_is_read_of_every_step(rolled, axis):
    def kernel(x):
        seen = [x * 2]
        for _ in range(STEPS):
            x = x * 0.5 + 0.25
            seen.append(x)
        back = np.concatenate(
            [*seen[20:10:-1], *seen[12:20], seen[20], seen[3]], axis % 2
        )
        return np.stack(seen, axis), np.stack(seen[::-1], axis), back, seen[7]

    check_loop(rolled, kernel, arrays()[0])


def test_what_is_read_of_every_step_is_bounded(rolled, monkeypatch):
    monkeypatch.setattr(repeated_steps, "_MOST_COLLECTED", 100)

    def kernel(x):
        seen = [x]
        for _ in range(STEPS):
            seen.append(seen[-1] * 0.5 + 0.25)
        return np.stack(seen)

    assert not loops(rolled(kernel, arrays()[0]))


def test_constants_that_differ_are_bounded(rolled, monkeypatch):
    tables = np.random.default_rng(2).standard_normal((STEPS, 4)).astype(np.float32)

    def kernel(x):
        for table in tables:
            x = np.maximum(x * table, table) - 0.25
        return x

    check_loop(rolled, kernel, arrays()[0])
    monkeypatch.setattr(repeated_steps, "_MOST_VARIED", 100)
    assert not loops(rolled(kernel, arrays()[0]))


def test_places_may_differ(rolled):
    """Of slices, with strides too, of stores, and of masks."""

    def kernel(table, x):
        made = np.zeros((STEPS, 4), np.float32)
        for i in range(STEPS):
            x = np.minimum(x * 0.5 + table[i, ::2], x[::-1] - table[2 * i % 7, 1:5])
            x = np.where(np.arange(4) == i % 4, x, x * 0.25)
            made[STEPS - 1 - i] = x
        return x, made

    table = np.arange(STEPS * 8, dtype=np.float32).reshape(STEPS, 8)
    check_loop(rolled, kernel, table, arrays()[0][0])


def test_sums_and_products(rolled):
    def kernel(a, v):
        norms = []
        for _ in range(STEPS):
            v = a @ v
            norms.append(np.sqrt(np.sum(v * v)))
            v = np.sort(v / norms[-1])
        return v, np.array(norms)

    check_loop(rolled, kernel, np.abs(arrays()[0]), arrays()[1][0], rtol=1e-5)


def test_products_with_other_constants_in_each_step(rolled):
    """Such as the gains of a Kalman filter, which no argument is needed for."""
    gains = np.random.default_rng(4).standard_normal((STEPS, 4, 4)) * 0.3
    gains = gains.astype(np.float32)

    def kernel(x, v):
        for gain in gains:
            v = gain @ v + x[0]
        return v

    check_loop(rolled, kernel, arrays()[0], arrays()[1][0], rtol=1e-5)


def test_sorts_of_several_operands(rolled):
    """Instructions with several results, which no iteration hands to the next."""

    def kernel(x):
        for _ in range(STEPS):
            x = x[np.argsort(x)] * 0.5 - x
        return x

    check_loop(rolled, kernel, arrays()[0][0])


def test_indices_that_are_checked_stay_where_they_are(rolled):
    def kernel(x, i):
        for _ in range(STEPS):
            x = x[i] * 0.5 + x
        return x

    given = arrays()[0][0], np.array([1, 3, 0, 2], np.int32)
    module = traced(kernel, *given)
    assert loops(roll_steps(module))
    assert not loops(roll_steps(module, check_bounds=True))
    check_loop(rolled, kernel, *given)


def test_short_programs_are_as_they_were():
    module = traced(operator.add, *arrays())
    assert roll_steps(module) is module


def random_kernel(seed):
    """Steps of a few operations, on what other steps before have made."""
    r = random.Random(seed)
    width = r.randint(1, 3)
    plan = [
        (r.choice(["add", "sub", "max", "T", "flip"]), r.randrange(5), r.randrange(5))
        for _ in range(r.randint(1, 4))
    ]
    odd = r.choice([-1, 0, 17, STEPS - 1])
    scales = r.choice([[0.5], [0.5, 0.25], [i / 64 for i in range(STEPS)]])

    def kernel(x, y):
        known = [x, y, *(x - y for _ in range(width))]
        for i in range(STEPS):
            made = known[-1] * scales[i % len(scales)]
            for kind, a, b in plan:
                p, q = known[a % len(known)], known[-1 - b % len(known)]
                if kind == "T":
                    made = made + p.T * 0.5
                elif kind == "flip":
                    made = made - q[::-1] * 0.5
                elif kind == "max":
                    made = np.maximum(made, q * 0.5)
                elif kind == "add":
                    made = made * 0.5 + p
                else:
                    made = made - q * 0.25
            known = [*known[:2], *known[3:], made if i != odd else -made]
        return tuple(known[2:])

    return kernel


@pytest.mark.parametrize(
    "seed", [110, *(pytest.param(n, marks=pytest.mark.slow) for n in range(20))]
)
def test_random_steps(rolled, seed):
    kernel, given = random_kernel(seed), arrays()
    module = rolled(kernel, *given)
    module.verify()
    check(module, kernel, given)


def test_arrays_that_are_taken_apart_first(rolled):
    """Slices go to their readers, each behind what it is of."""

    def kernel(x, y):
        rows = [row[::-1][1:] + row[1:][::-1] for row in x]
        halves = [(y[i : i + 3], y[i : i + 3][::2]) for i in range(STEPS)]
        made = rows[0]
        for row, (half, some) in zip(rows, halves):
            made = np.maximum(made * 0.5 + row, half - made) + some[0] * some[1]
        return made

    x = np.arange(STEPS * 4, dtype=np.float32).reshape(STEPS, 4) % 7
    check_loop(rolled, kernel, x, np.arange(STEPS + 3, dtype=np.float32) % 5)


def test_many_keys(rolled):
    """What has several results is read in the step that it is made in."""
    keys = np.random.default_rng(1).integers(0, 2, (80, 30)).astype(np.int32)
    module = rolled(np.lexsort, keys)
    module.verify()
    assert loops(module)
    check(module, lambda k: np.lexsort(k).astype(np.int32), [keys])


def test_a_loop_directly_behind_another(rolled):
    """It keeps values of three iterations, of which the first three are not there:
    what the loop before made has been read in that loop alone."""

    def step(x, y, operations):
        for number in operations:
            x = (x + y, x * 0.5, abs(x), np.minimum(x, y), -x)[number]
        return x

    r = random.Random(0)
    runs = [([r.randrange(5) for _ in range(50)], times) for times in (12, 8)]

    def kernel(x, y):
        made = [x]
        for operations, times in runs:
            for _ in range(times):
                made.append(step(made[-1], y, operations))
        return tuple(made[:-5:-1])

    check_loop(rolled, kernel, *arrays())


def test_what_a_step_is_like_is_asked_of_each_value_once(monkeypatch):
    """However many places a step may begin in: random steps took seconds."""
    asked = []
    is_heavy = repeated_steps._is_heavy
    monkeypatch.setattr(
        repeated_steps, "_is_heavy", lambda x: asked.append(x) or is_heavy(x)
    )
    chosen = random.Random(0)

    def anything(x):
        for _ in range(200):
            x = chosen.choice([np.sin, np.exp, abs])(np.roll(x, 1, chosen.randrange(2)))
        return x

    module = trace_function(anything, [np.ones((3, 4), np.float32)], {}).module
    steps = repeated_steps.Steps(module)
    list(steps.runs())
    assert len(asked) == len(steps.values)
