"""Stores to one element more than once: the last value stays, all indices in bounds."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.core.ops.indexing._last_stores import last_stores
from nkipy.core.trace import trace_function
from nkipy_emulator.engine import XlaCpuEngine


def test_every_store_is_told_the_last_one_to_its_element():
    assert last_stores(np.array([3, 0, 7])) is None
    assert last_stores(np.array([], np.int64)) is None
    found = last_stores(np.array([3, 0, 3, 1, 3, 0]))
    assert found is not None
    np.testing.assert_array_equal(found, [4, 5, 4, 3, 4, 5])


def numbers(*shape):
    return np.arange(100, 100 + np.prod(shape), dtype=np.float32).reshape(shape)


ROWS = np.array([[0, 3, 0], [-2, 3, 1]])
COLUMNS = np.array([[1, 1, 1], [0, 1, 0]])


def store_rows(x, values):
    x[ROWS] = values


def store_pairs(x, values):
    x[ROWS, COLUMNS] = values


def store_separated(x, values):
    x[ROWS, :, COLUMNS] = values


def store_behind_a_slice(x, values):
    x[1:4, COLUMNS] = values


def along(indices, axis):
    def store_along(x, values):
        np.put_along_axis(x, indices, values, axis)

    return store_along


def repeated(*shape, below):
    return np.random.default_rng(len(shape)).integers(-below, below, shape)


CASES = [
    (store_rows, (5, 4, 3), (2, 3, 4, 3)),
    (store_rows, (5, 4, 3), (4, 3)),
    (store_rows, (5, 4, 3), ()),
    (store_pairs, (5, 4, 3), (2, 3, 3)),
    (store_separated, (5, 4, 3), (2, 3, 4)),
    (store_behind_a_slice, (5, 4, 3), (3, 2, 3, 3)),
    (along(repeated(7, 4, 3, below=5), 0), (5, 4, 3), (7, 4, 3)),
    (along(repeated(7, 1, 3, below=5), 0), (5, 4, 3), (7, 4, 3)),
    (along(repeated(5, 9, 1, below=4), 1), (5, 4, 3), (5, 9, 3)),
    (along(repeated(5, 4, 9, below=3), -1), (5, 4, 3), (1, 4, 1)),
    (along(repeated(5, 4, 9, below=3), -1), (5, 4, 3), ()),
    (along(repeated(3, 2, below=4), 1), (1, 4), (3, 2)),  # rows meet in one
    (along(repeated(9, below=4), None), (1, 4), (9,)),
]


@pytest.mark.parametrize(("store", "shape", "values"), CASES)
def test_the_last_store_stays_with_every_index_in_bounds(store, shape, values):
    def kernel(x, values):
        x = x.copy()
        store(x, values)
        return x

    x, values = np.zeros(shape, np.float32), numbers(*values)
    module = trace_function(kernel, (x, values), {}).module
    assert any(i.opcode == "scatter" for i in module.entry.instructions)
    got = np.empty_like(x)
    executable = XlaCpuEngine().compile(module, check_bounds=True)
    executable.run([x, values], [got])
    np.testing.assert_array_equal(got, kernel(x, values))
