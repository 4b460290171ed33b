"""Reductions of ``nki.language``, and what is made of them, by NumPy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nkipy_nki.language as nl
from nki_simulator.tests.language_functions import (
    BF16,
    close,
    f64,
    numbers,
    refused,
    run,
)

# -- reductions ------------------------------------------------------------------------
REDUCTIONS: dict[str, Callable[..., Any]] = {
    "sum": np.sum,
    "prod": np.prod,
    "max": np.max,
    "min": np.min,
    "mean": np.mean,
    "var": np.var,
}


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("dtype", [np.float32, BF16])
def test_reductions(name: str, dtype: Any) -> None:
    function, expected = getattr(nl, name), REDUCTIONS[name]
    x = (
        (numbers(dtype, (4, 3, 5)) / dtype.type(4)).astype(dtype)
        if (isinstance(dtype, np.dtype))
        else numbers(dtype, (4, 3, 5)) / dtype(4)
    )
    for axis in (2, -1, (1, 2), [2, 1], (-1,)):
        axes = tuple(axis) if isinstance(axis, (tuple, list)) else axis
        for keepdims in (False, True):
            found = run(lambda t, a=axis, k=keepdims: function(t, a, keepdims=k), x)
            wanted = expected(f64(x), axis=axes, keepdims=keepdims)
            assert found.dtype == np.dtype(dtype)
            close(found, wanted.reshape(wanted.shape if wanted.ndim > 1 else (4, 1)))
    assert run(lambda t: function(t, 2, nl.float32), x).dtype == np.float32


@pytest.mark.parametrize("name", ["sum", "max", "mean"])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions_over_partitions(name: str, keepdims: bool) -> None:
    x = numbers(shape=(5, 2, 3))
    found = run(lambda t: getattr(nl, name)(t, 0, keepdims=keepdims), x)
    close(found, REDUCTIONS[name](f64(x), axis=0, keepdims=True))
    in_psum = run(lambda t: getattr(nl, name)(nl.transpose(t), 0), numbers())
    close(in_psum, REDUCTIONS[name](f64(numbers()).T, axis=0, keepdims=True))


def test_all() -> None:
    x = np.array([[1, 2, -3], [1, 0, 5], [0, 0, 0]], np.float32)
    found = run(lambda t: nl.all(t, axis=1), x)
    assert found.dtype == np.bool_
    np.testing.assert_array_equal(found, [[1], [0], [0]])


@pytest.mark.parametrize("name", ["sum", "max", "min"])
def test_reductions_of_whole_numbers(name: str) -> None:
    x = np.array([[3, -7, 12], [0, 5, -9]], np.int32)
    found = run(lambda t: getattr(nl, name)(t, 1, keepdims=True), x)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, REDUCTIONS[name](x, 1, keepdims=True))


def test_axes_that_are_refused() -> None:
    x = numbers(shape=(4, 2, 3))
    for axis in (1, (0, 1, 2), (0, 2), (2, 2), 3, -4, (), None, 1.0):
        refused(lambda t, a=axis: nl.sum(t, a), x, match="axis is")
    for function in (nl.min, nl.prod, nl.var, nl.all):
        refused(lambda t, f=function: f(t, 0), x, match="axis is 0")


# -- several steps ---------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [np.float32, BF16])
def test_softmax(dtype: Any) -> None:
    x = numbers(dtype, (4, 3, 5))
    powers = np.exp(f64(x) - f64(x).max(-1, keepdims=True))
    close(run(nl.softmax, x), powers / powers.sum(-1, keepdims=True))
    powers = np.exp(f64(x))
    found = run(lambda t: nl.softmax(t, axis=(1, 2), dtype=nl.float32), x)
    assert found.dtype == np.float32
    close(found, powers / powers.sum((1, 2), keepdims=True))


@pytest.mark.parametrize("dtype", [np.float32, BF16])
def test_rms_norm(dtype: Any) -> None:
    x, w = numbers(dtype), numbers(dtype)[::-1].copy()
    wide = f64(x)
    root = np.sqrt((wide**2).sum(1, keepdims=True) / 6 + 1e-3)
    found = run(lambda a, b: nl.rms_norm(a, b, axis=1, n=6, epsilon=1e-3), x, w)
    close(
        found / dtype.type(4) if isinstance(dtype, np.dtype) else found / dtype(4),
        wide / root * f64(w) / 4,
    )
    refused(lambda a, b: nl.rms_norm(a, b, 1, 6), x, w[:, :1].copy(), match="rms_norm")


def test_dropout() -> None:
    x = np.ones((64, 64), np.float32)
    kept = run(lambda t: nl.dropout(t, 0.25), x)
    assert set(np.unique(kept)) == {0.0, 1.0}
    assert 0.7 < kept.mean() < 0.8
    assert not run(lambda t: nl.dropout(t, 1.0), x).any()
    rates = np.repeat(np.float32([0, 1]), 32).reshape(64, 1)
    kept = run(lambda t, r: nl.dropout(t, r, dtype=nl.bfloat16), x, rates)
    np.testing.assert_array_equal(kept, np.broadcast_to(1 - rates, x.shape))
