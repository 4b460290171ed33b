"""Slices that read past stores, and stores that nobody reads."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.core.trace import trace_function
from nkipy.hlo.rewrites import stores
from nkipy.hlo.rewrites.stores import forward_stores
from nkipy_emulator.program_size import check_size
from tests.support.rewrites import check_values, gauss_seidel, opcodes

N = 8


def sweeps(x):
    return gauss_seidel(x, 3)


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


@pytest.mark.parametrize("kernel", [sweeps, triangular, versions, steps])
def test_values_are_the_same(rng: np.random.Generator, kernel):
    x = rng.standard_normal((N, N)).astype(np.float32)
    module = trace_function(kernel, (x,), {}).module
    forwarded = forward_stores(module)
    assert forwarded is not module
    check_values(forwarded, kernel, x)


def test_stores_of_earlier_sweeps_are_left_out():
    x = np.ones((N, N), np.float32)
    module = trace_function(sweeps, (x,), {}).module
    forwarded = forward_stores(module)
    before, after = opcodes(module), opcodes(forwarded)
    points = (N - 2) ** 2
    assert before["dynamic-update-slice"] == 3 * points
    assert after["dynamic-update-slice"] == points
    check_size(forwarded)


def test_columns_across_rows_need_only_each_rows_last_store():
    x = np.ones((N, N), np.float32)
    module = trace_function(triangular, (x,), {}).module
    forwarded = forward_stores(module)
    before, after = opcodes(module), opcodes(forwarded)
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
    module = trace_function(sweeps, (x,), {}).module
    monkeypatch.setattr(stores, "_MOST_NOTED", N * N - 1)
    assert forward_stores(module) is module
