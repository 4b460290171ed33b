"""Programs that are too large for XLA."""

from __future__ import annotations

import numpy as np
import pytest

from neff.status import NrtStatus
from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOComputation, HLOModule
from nkipy_emulator.device.status import status_of
from nkipy_emulator.errors import ProgramSizeError
from nkipy_emulator.program_size import (
    LONG_LOOP,
    MANY_KINDS,
    MAX_DEPTH,
    MAX_INSTRUCTIONS,
    SMALL_ARRAY,
    check_size,
    has_odd_loops,
    is_small,
    is_varied,
    takes_longer_to_compile,
)


def doubling(steps):
    """A module whose first computation is called 2**steps times."""
    called = HLOComputation("c0")
    parameter = called.add_parameter((4,), dt.float32, "x")
    called.root = HLOBuilder(called).unary("tanh", parameter)
    for i in range(steps):
        caller = HLOComputation(f"c{i + 1}")
        value = caller.add_parameter((4,), dt.float32, "x")
        for _ in range(2):
            value = call(HLOBuilder(caller), value, called)
        caller.root, called = value, caller
    module = HLOModule("doubling")
    value = module.add_parameter((4,), dt.float32, "x")
    module.set_results(call(HLOBuilder(module.entry), value, called))
    return module


def call(b, x, computation):
    return b.emit("call", (x,), x.shape, x.dtype, {"to_apply": computation})


@pytest.mark.parametrize("steps", [20, 60])
def test_chains_of_calls_that_double(engine, steps):
    with pytest.raises(ProgramSizeError, match=f"{MAX_INSTRUCTIONS:,}") as caught:
        engine.compile(doubling(steps))
    assert status_of(caught.value, "load") is NrtStatus.RESOURCE


def test_a_short_chain_is_computed(engine):
    module = doubling(3)
    # Two instructions at the bottom, three in each caller: one parameter, two calls.
    assert check_size(module) == 2 + 8 * 2 + (1 + 2 + 4) * 3
    x, out = np.full(4, 0.5, np.float32), np.empty(4, np.float32)
    engine.compile(module).run([x], [out])
    expected = x
    for _ in range(8):
        expected = np.tanh(expected)
    np.testing.assert_allclose(out, expected, rtol=1e-5)


def test_many_in_a_row(engine, module_of):
    def body(b, x):
        for _ in range(MAX_DEPTH // 2 + 1):  # no loop has barriers
            x = b.emit("opt-barrier", (b.negate(x),), x.shape, x.dtype)
        return x

    with pytest.raises(ProgramSizeError, match="in a row"):
        engine.compile(module_of(body, np.ones(4, np.float32)))


def rows(module_of, numbers):
    def body(b, x):
        return b.concatenate([b.slice(x, (i, 0), (i + 1, 4)) for i in numbers], 0)

    return module_of(body, np.zeros((2 * MANY_KINDS, 4), np.float32))


def test_many_instructions_that_differ(engine, module_of):
    numbers = list(range(MANY_KINDS, -1, -1))
    module = rows(module_of, numbers)
    assert is_varied(module)
    x = np.arange(8 * MANY_KINDS, dtype=np.float32).reshape(-1, 4)
    out = np.empty((len(numbers), 4), np.float32)
    engine.compile(module).run([x], [out])
    np.testing.assert_array_equal(out, x[numbers])


def test_many_instructions_of_few_kinds(module_of):
    assert not is_varied(rows(module_of, [3, 4] * MANY_KINDS))

    def sums(b, x):  # each has a computation of its own
        return [b.reduce(x, "add", 0, (0,)) for _ in range(MANY_KINDS)]

    assert not is_varied(module_of(sums, np.zeros((3, 4), np.float32)))


@pytest.mark.parametrize(("size", "expected"), [(SMALL_ARRAY, True), (5000, False)])
def test_a_module_of_small_arrays_is_small(size, expected):
    module = HLOModule("one")
    x = module.add_parameter((size,), dt.float32, "x")
    module.set_results(HLOBuilder(module.entry).unary("tanh", x))
    assert is_small(module) is expected


@pytest.mark.parametrize(
    ("size", "products", "expected"),
    [
        (4, 64, True),
        (4, 8, False),
        (SMALL_ARRAY, 100, False),
        (SMALL_ARRAY + 1, 64, False),
    ],
)
def test_many_products_of_small_arrays_take_longer_to_compile(
    module_of, size, products, expected
):
    def body(b, x):
        for _ in range(products):
            product = b.dot(x, x, ((0,), (0,)), ((), ()), dt.float32)
            x = b.multiply(x, b.broadcast_to(product, x.shape))
        return x

    module = module_of(body, np.ones(size, np.float32))
    assert takes_longer_to_compile(module, module) is expected


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((LONG_LOOP + 1,), True),
        ((1, LONG_LOOP + 1, 1), True),
        ((LONG_LOOP + 2,), False),
        ((LONG_LOOP - 1,), False),
        ((129, LONG_LOOP // 64 + 1), False),
    ],
)
def test_loops_of_an_odd_number_of_elements(engine, shape, expected):
    module = HLOModule("odd")
    x = module.add_parameter(shape, dt.float32, "x")
    b = HLOBuilder(module.entry)
    module.set_results(b.add(b.multiply(x, x), x))
    assert has_odd_loops(module) is expected
    value = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) % 97
    (made,) = engine.compile(module).run_new([value])
    np.testing.assert_array_equal(made, value * value + value)
