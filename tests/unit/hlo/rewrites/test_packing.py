"""Scalars that are computed alike become vectors."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from nkipy.core.trace import trace_function
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOModule
from nkipy.hlo.rewrites import packing
from nkipy.hlo.rewrites.packing import pack_scalars
from nkipy.hlo.rewrites.stores import forward_stores
from nkipy_emulator.engine import XlaCpuEngine
from tests.support.rewrites import check_values, gauss_seidel, opcodes

N = 12


def sweeps(x):
    return gauss_seidel(x, 2)


def stacked(x):
    return np.stack([x[i, j] * 2 for i in range(N) for j in range(N)])


def reversed_columns(x):
    y = [x[N - 1 - i, j] * x[i, 3] - x[i, j] for j in range(N) for i in range(N)]
    return np.stack(y).reshape(N, N)


def mixed(x):
    """Constants that differ, other kinds, and elements that are read alone."""
    y = [np.maximum(x[i, i] * (1 + i % 2), -x[i, 0]) for i in range(N)]
    z = [np.where(v > 0, np.sqrt(abs(v)), v / 3) for v in y]
    total = x.sum(axis=0)
    w = [total[i] * z[i] + y[3] for i in range(N)]
    return y[2], np.stack(z), w[5], np.stack(w), z[7] * x


def versions(x):
    """Stores of which a version between is read whole."""
    y = x * 1
    for i in range(N):
        y[i, i] = x[i, 1] + x[1, i]
    middle = y * 2
    for i in range(N * 4):
        y[i % 5, i % N] = y[0, i % N] + y[i % 3, 1] * 0.5
    y[2] = y[3]
    return middle, y


KERNELS = [sweeps, stacked, reversed_columns, mixed, versions]


def traced(kernel, dtype=np.float32):
    return trace_function(kernel, (np.ones((N, N), dtype),), {}).module


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("kernel", KERNELS)
def test_values_are_numpys_to_the_bit(rng: np.random.Generator, kernel, dtype):
    x = rng.standard_normal((N, N)).astype(dtype)
    module = traced(kernel, dtype)
    packed = pack_scalars(forward_stores(module))
    assert packed is not module
    if kernel is mixed:  # whose sum is in an order of the engine's
        x = np.round(x)
    check_values(packed, kernel, x, rtol=0)


def test_a_stack_has_numpys_values(
    engine: XlaCpuEngine, results_of, rng: np.random.Generator
):
    x = rng.standard_normal((N, N)).astype(np.float32)
    module = traced(stacked)
    (found,) = outputs = results_of(module)
    engine.compile(module).run([x], outputs)
    np.testing.assert_array_equal(found, stacked(x))


def test_elements_of_large_arrays_are_picked(
    engine: XlaCpuEngine, results_of, rng: np.random.Generator, monkeypatch
):
    monkeypatch.setattr(packing, "_MOST_ELEMENTS", 20)

    def kernel(x):
        y = x * 2
        return np.stack([x[i, j] * y[j, i] for i in range(N) for j in range(N)])

    x = rng.standard_normal((N, N)).astype(np.float32)
    module = traced(kernel)
    (found,) = outputs = results_of(module)
    engine.compile(module).run([x], outputs)
    np.testing.assert_array_equal(found, kernel(x))


def test_one_vector_for_each_diagonal():
    before = opcodes(traced(sweeps))
    after = opcodes(pack_scalars(forward_stores(traced(sweeps))))
    points = (N - 2) ** 2
    assert before["divide"] == 2 * points
    assert after["divide"] < points
    assert after["dynamic-update-slice"] == 0


def test_a_stack_of_scalars_is_one_expression():
    after = opcodes(pack_scalars(traced(stacked)))
    assert after["multiply"] == 1
    assert after["slice"] == after["concatenate"] == after["gather"] == 0


@pytest.mark.parametrize(
    "kernel",
    [
        lambda x: np.stack([x[i, 0] * 2 for i in range(N)]),  # few
        lambda x: [np.exp(x[i, j]) for i in range(N) for j in range(N)],  # inexact
        lambda x: [x[i] * 2 for i in range(N)],
    ],
)
def test_others_are_left_alone(kernel):
    module = traced(kernel)
    assert pack_scalars(module) is module


def test_a_chain_is_left_alone():
    def kernel(x):
        y = x[0, 0]
        for i in range(100):
            y = y * x[0, i % N] + 1
        return y

    module = traced(kernel)
    assert pack_scalars(module) is module


def test_arrays_whose_elements_have_no_int32_numbers_are_left_alone():
    module = HLOModule("large")
    b = HLOBuilder(module.entry)
    x = module.add_parameter((2**31 + 70,), np.int8)
    last = [b.slice(x, (2**31 + i,), (2**31 + i + 1,)) for i in range(70)]
    module.set_results(b.concatenate([b.add(one, one) for one in last], 0))
    assert pack_scalars(module) is module
