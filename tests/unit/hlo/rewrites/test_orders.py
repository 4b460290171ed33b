"""Results whose axes lie in another order: what is computed, and that nothing moves."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.core.trace import trace_function
from nkipy.hlo.rewrites.orders import turn_results
from nkipy.runtime import simulate_jit

SHAPE = (4, 5, 6)


def laid_out(function, *arrays):
    """The module that is compiled, and the strides of what simulation gives."""
    trace = trace_function(function, arrays, {})
    module = turn_results(trace.module, trace.orders)
    module.verify()
    return module, simulate_jit(function)(*arrays)


def opcodes(module):
    return {i.opcode for i in module.instructions()}


MOVES_NOTHING = [
    lambda x, y: np.transpose(x) * 1.0,
    lambda x, y: x.T,
    lambda x, y: np.transpose(x, (2, 0, 1)) + np.transpose(x, (2, 0, 1)),
    lambda x, y: np.where(x.T > 0, np.exp(x.T), y[:, None]),
    lambda x, y: np.clip(np.moveaxis(x, 0, -1), -1, 1).astype(np.int32),
    lambda x, y: (x[0] @ x[1].T).T * 2,
    lambda x, y: np.swapaxes(x, 0, 1).T.swapaxes(0, 2),
]
AS_NUMPY_LIES = [
    *MOVES_NOTHING,
    lambda x, y: np.asfortranarray(x),
    lambda x, y: np.ascontiguousarray(x.T),
    lambda x, y: x.T.copy() + x.T.copy(),
    lambda x, y: np.einsum("ijk,j->kji", x, y),
    lambda x, y: np.cumsum(x.T, 0)[::-1] + x.T,
    lambda x, y: np.transpose(x)[:, :, :1] + x.T,
    lambda x, y: np.stack([x.T, x.T]),
]


@pytest.fixture
def arrays(rng):
    return rng.standard_normal(SHAPE, np.float32), rng.standard_normal(5, np.float32)


@pytest.mark.parametrize("number", range(len(AS_NUMPY_LIES)))
def test_results_lie_as_those_of_numpy(arrays, number):
    function = AS_NUMPY_LIES[number]
    expected = function(*arrays)
    module, got = laid_out(function, *arrays)
    assert got.dtype == expected.dtype
    assert got.strides == expected.strides
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    if number < len(MOVES_NOTHING) - 1:
        assert "transpose" not in opcodes(module) or "dot" in opcodes(module)


def test_a_result_is_nobody_elses_memory(arrays):
    x, y = arrays
    got = simulate_jit(lambda x: x.T)(x)
    before = x.copy()
    got += 1
    np.testing.assert_array_equal(x, before)


def test_a_larger_result_is_turned(rng):
    x = rng.standard_normal((500, 300), np.float32)
    kernel = simulate_jit(lambda x: (x.T * 2, x + 1, {"same": x.T * 2}))
    for first, second, rest in (kernel(x), kernel(np.asfortranarray(x))):
        np.testing.assert_array_equal(first, x.T * 2)
        np.testing.assert_array_equal(second, x + 1)
        np.testing.assert_array_equal(rest["same"], x.T * 2)
    assert kernel(x)[0].flags.f_contiguous
    first, _, rest = kernel(x)
    first += 1  # of memory of its own
    np.testing.assert_array_equal(rest["same"], x.T * 2)


def test_what_is_written_into_an_argument_stays(rng):
    x = rng.standard_normal((7, 9), np.float32)
    expected = x.T * 3
    given = x.copy()

    @simulate_jit
    def kernel(x):
        x *= 3
        return x.T + 0, x

    turned, same = kernel(given)
    assert same is given
    assert turned.flags.f_contiguous
    np.testing.assert_array_equal(turned, expected)
    np.testing.assert_array_equal(given, expected.T)


def test_ranks_get_theirs(rng):
    x = rng.standard_normal((7, 9), np.float32)
    for made in simulate_jit(lambda x: x.T * 2, world_size=2)(x):
        assert made.flags.f_contiguous
        np.testing.assert_array_equal(made, x.T * 2)


def test_a_module_without_such_results_is_itself(arrays):
    module = trace_function(lambda x, y: x + 1, arrays, {}).module
    assert turn_results(module, {}) is module
