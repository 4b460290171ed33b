"""Slices that read past stores, and stores that nobody reads."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from nkipy.core.trace import trace_function
from nkipy.hlo.rewrites import stores
from nkipy.hlo.rewrites.stores import forward_stores
from nkipy_emulator.engine import XlaCpuEngine
from nkipy_emulator.program_size import check_size

N = 8


def gauss_seidel(x):
    for _ in range(3):
        for i in range(1, N - 1):
            for j in range(1, N - 1):
                x[i, j] = (x[i - 1, j] + x[i + 1, j] + x[i, j - 1] + x[i, j + 1]) / 4
    return x


def triangular(x):
    for i in range(N):
        for k in range(i):
            x[i, : i + 1] += x[: i + 1, k] * x[i, k] * 0.1
    return x


def versions(x):
    """Two of them are read whole, and slices across several stores."""
    y = x * 1
    for i in range(N):
        y[i] = x[i] + 1
        y[i, 2:4] = y[i, 1:3] * 2
    middle = y * 2
    for i in range(N):
        y[:, i] = y[i, :] + y[:, N - 1 - i]
    return middle, y


def steps(x):
    """Slices with strides, and stores into two arrays that were one."""
    y, z = x * 1, x * 1
    for i in range(N):
        y[i] = y[::-1][i] + y[::2].sum()
        z[i, i:] = y[i, i:]
        z = z.copy()
    return y, z


@pytest.mark.parametrize("kernel", [gauss_seidel, triangular, versions, steps])
def test_values_are_the_same(
    engine: XlaCpuEngine, results_of, rng: np.random.Generator, kernel
):
    x = rng.standard_normal((N, N)).astype(np.float32)
    module = trace_function(kernel, (x,), {}).module
    forwarded = forward_stores(module)
    forwarded.verify()
    assert forwarded is not module
    outputs = results_of(forwarded)
    engine.compile(forwarded).run([x.copy()], outputs)
    expected = kernel(x.copy())
    expected = expected if isinstance(expected, tuple) else (expected,)
    for found, right in zip(outputs, expected):
        np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-6)


def test_stores_of_earlier_sweeps_are_left_out():
    x = np.ones((N, N), np.float32)
    module = trace_function(gauss_seidel, (x,), {}).module
    forwarded = forward_stores(module)
    before, after = (
        Counter(i.opcode for i in m.entry.instructions) for m in (module, forwarded)
    )
    points = (N - 2) ** 2
    assert before["dynamic-update-slice"] == 3 * points
    assert after["dynamic-update-slice"] == points
    check_size(forwarded)


def test_columns_across_rows_need_only_each_rows_last_store():
    x = np.ones((N, N), np.float32)
    module = trace_function(triangular, (x,), {}).module
    forwarded = forward_stores(module)
    before, after = (
        Counter(i.opcode for i in m.entry.instructions) for m in (module, forwarded)
    )
    assert before["dynamic-update-slice"] == N * (N - 1) // 2
    assert after["dynamic-update-slice"] == N - 1


def test_few_stores_are_left_alone():
    def kernel(x):
        x[0] = x[1]
        return x

    module = trace_function(kernel, (np.ones((2, 2), np.float32),), {}).module
    assert forward_stores(module) is module


def test_no_more_is_noted_than_memory_is_meant_for(monkeypatch):
    x = np.ones((N, N), np.float32)
    module = trace_function(gauss_seidel, (x,), {}).module
    monkeypatch.setattr(stores, "_MOST_NOTED", N * N - 1)
    assert forward_stores(module) is module
