"""Stores piece by piece, which become concatenations."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.core.trace import trace_function
from nkipy.hlo.rewrites.joining import join_stores
from nkipy.hlo.rewrites.stores import forward_stores
from tests.support.rewrites import check_values, opcodes

N = 20


def elements(x):
    y = np.zeros(N, np.float32)
    for i in range(2, N):
        y[i] = x[0, i] - 0.5 * y[i - 1]
    return y


def rows(x):
    out = np.zeros_like(x)
    h = x[0] * 0
    for i in range(N - 1, 0, -1):
        h = 0.5 * h + x[i]
        out[i] = h
    return out


def columns_over_rows(x):
    """The later store has the place where two cross, and the array the rest."""
    y = x * 2
    for i in range(1, N - 2):
        y[i, 3:] = x[0, 3:]
    y[:-1, 3] = x[:-1, 0]
    return y


def overlapping(x):
    y = x * 2
    for i in range(N - 2):
        y[i : i + 3] = x[i : i + 3] * i
    return y


def versions(x):
    """One between is read, and one is a result."""
    y = x * 1
    for i in range(8):
        y[i] = x[i] + 1
    middle = y.sum(0)
    for i in range(8):
        y[:, i] = middle
    result = y * 1
    for i in range(9):
        result[i] = 0
    return y, result


@pytest.mark.parametrize(
    "kernel", [elements, rows, columns_over_rows, overlapping, versions]
)
def test_values_are_the_same(rng: np.random.Generator, kernel):
    x = rng.standard_normal((N, N)).astype(np.float32)
    joined = join_stores(forward_stores(trace_function(kernel, (x,), {}).module))
    assert opcodes(joined)["dynamic-update-slice"] == 0
    check_values(joined, kernel, x)


def each_is_read(x):
    y, total = x * 1, 0
    for i in range(N):
        y[i] = x[i] + 1
        total = total + y.sum()
    return y, total


def few(x):
    y = x * 1
    y[0] = y[1] = 0
    return y


def at_places_of_an_array(x):
    y = x * 1
    for i in range(N):
        y[x[0, i].astype(np.int32)] = i
    return y


def crossing(x):
    """More pieces than four for each store."""
    y = x * 1
    for i in range(0, N, 2):
        y[i] = i
        y[:, i] = i
    return y


@pytest.mark.parametrize("kernel", [each_is_read, few, at_places_of_an_array, crossing])
def test_other_stores_stay(kernel):
    module = trace_function(kernel, (np.ones((N, N), np.float32),), {}).module
    assert join_stores(module) is module


def test_stores_into_more_boxes_than_are_drawn_stay():
    def diagonal(x):
        y = x * 1
        for i in range(300):
            y[i, i] = 0
        return y

    module = trace_function(diagonal, (np.ones((300, 300), np.float32),), {}).module
    assert join_stores(module) is module
