"""Kernels of the first generation inside of NumPy: the same custom call as today's."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.runtime import simulate_jit
from nkipy_nki.neuronxcc import nki
from nkipy_nki.neuronxcc.nki import isa as nisa
from nkipy_nki.neuronxcc.nki import language as nl


@nki.jit
def scaled_products(a, b):
    """``a.T @ b`` by rows of tiles, and a mask that ends the last."""
    out = nl.ndarray((a.shape[1], b.shape[1]), a.dtype, buffer=nl.shared_hbm)
    total = nl.zeros(out.shape, nl.float32, buffer=nl.psum)
    i_p, i_a = nl.arange(32)[:, None], nl.arange(a.shape[1])[None, :]
    i_b = nl.arange(b.shape[1])[None, :]
    for k in nl.affine_range(2):
        x = nl.zeros((32, a.shape[1]), a.dtype)
        y = nl.zeros((32, b.shape[1]), b.dtype)
        inside = k * 32 + i_p < a.shape[0]
        x[i_p, i_a] = nl.load(a[k * 32 + i_p, i_a], mask=inside)
        y[i_p, i_b] = nl.load(b[k * 32 + i_p, i_b], mask=inside)
        total += nisa.nc_matmul(x, y)
    nl.store(out, nl.copy(total) * 2.0)
    return out


def model(a, b):
    return scaled_products(a + 1, b).sum(axis=0)


@pytest.mark.filterwarnings("error::UserWarning")
def test_a_kernel_of_the_first_generation_is_called_in_a_program() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((50, n)).astype(np.float32) for n in (16, 24))
    alone = scaled_products(a, b)
    np.testing.assert_allclose(alone, 2 * a.T @ b, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        simulate_jit(model)(a, b),
        (2 * (a + 1).T @ b).sum(axis=0),
        rtol=1e-4,
        atol=1e-3,
    )
