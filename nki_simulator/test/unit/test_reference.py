# SPDX-License-Identifier: MIT-0
"""Softmax, rotary embedding and the selective scan."""

from __future__ import annotations

import numpy as np
import pytest

from nki_simulator.src.reference.mamba import CHUNK, mamba_scan
from nki_simulator.src.reference.rotary import rotary_embedding
from nki_simulator.src.reference.softmax import softmax
from nki_simulator.test import expected
from nki_simulator.test.expected import DTYPES, check, numbers, wide


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(128, 512), (1, 7), (300, 1000)])
def test_softmax(shape, dtype):
    x = numbers(*shape, dtype=dtype) * dtype(30)
    check(softmax(x), expected.softmax(*wide(x)), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(128, 4, 64), (200, 2, 32), (5, 1, 2)])
def test_rotary_embedding(shape, dtype):
    tokens, _, d = shape
    angles = np.arange(tokens)[:, None] * 10000.0 ** (-2 * np.arange(d // 2) / d)
    tables = [f(angles).astype(np.float32) for f in (np.cos, np.sin)]
    x = numbers(*shape, dtype=dtype)
    result = rotary_embedding(x, *tables)
    check(result, expected.rotary_embedding(*wide(x), *tables), dtype)


def test_rotary_embedding_refuses_other_tables():
    table = numbers(8, 3)
    with pytest.raises(ValueError, match="cos has the shape"):
        rotary_embedding(numbers(8, 1, 4), table, table)


def scanned(channels, steps, states, dtype=np.float32):
    """x, delta, a, b and c, of states that fade."""
    return (
        numbers(channels, steps, dtype=dtype, seed=1),
        np.abs(numbers(channels, steps, seed=2) / 4).astype(dtype),
        -np.abs(numbers(channels, states, seed=3)) - np.float32(0.1),
        numbers(states, steps, dtype=dtype, seed=4),
        numbers(states, steps, dtype=dtype, seed=5),
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(128, 64, 4), (256, 16, 1), (128, CHUNK + 40, 2)])
def test_mamba_scan(shape, dtype):
    given = scanned(*shape, dtype=dtype)
    check(mamba_scan(*given), expected.mamba_scan(*wide(*given)), dtype)


def test_mamba_scan_refuses_other_shapes():
    x, delta, a, b, c = scanned(128, 8, 2)
    with pytest.raises(ValueError, match="x has the shape"):
        mamba_scan(x, delta, a, b, c[:1])
