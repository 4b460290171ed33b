"""What the first generation's documentation shows of loads, stores and runs.

One case for each example, by what it shows, in kernels of our own.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from nki_simulator.tests.first_generation_cases import Cases, floats_of, in_hbm
from nkipy_nki.neuronxcc import nki
from nkipy_nki.neuronxcc.nki import isa as nisa
from nkipy_nki.neuronxcc.nki import language as nl

_RNG = np.random.default_rng(0)
floats = partial(floats_of, _RNG)
case = Cases()
A = floats(64, 48)
B = floats(64, 48)
BATCH = floats(3, 32, 24)
EVEN = 2 * np.arange(16, dtype=np.int32)
TABLE = floats(64, 40)


@case(A, A)
def load_and_store(a):
    out = nl.ndarray(**in_hbm(a.shape))
    nl.store(out, nl.load(a))
    return out


@case(BATCH, BATCH)
def a_batch_at_a_time(a):
    out = nl.ndarray(**in_hbm(a.shape))
    for b in nl.affine_range(3):
        p, f = nl.mgrid[0:32, 0:24]
        tile = nl.zeros((32, 24), a.dtype)
        tile[p, f] = nl.load(a[b, p, f])
        nl.store(out[b, p, f], value=tile[p, f])
    return out


@case(TABLE[EVEN], TABLE, EVEN)
def rows_by_loaded_indices(table, indices):
    out = nl.ndarray(**in_hbm((16, 40)))
    p, f = nl.arange(16)[:, None], nl.arange(40)[None, :]
    at = nl.load(indices[p])
    nl.store(out, nl.load(table[at[p, 0], f]))
    return out


@case(TABLE[EVEN], TABLE)
def rows_by_a_pattern(table):
    out = nl.ndarray(**in_hbm((16, 40)))
    at = nisa.iota(2 * nl.arange(16)[:, None], dtype=np.int32)
    nl.store(out, nl.load(table[at, nl.arange(40)[None, :]]))
    return out


@case(np.where(np.isin(np.arange(32), EVEN)[:, None], TABLE[:32] * 0 + 1, 0), EVEN)
def stored_to_rows_by_indices(indices):
    out = nl.ndarray(**in_hbm((32, 40)))
    p, f = nl.arange(16)[:, None], nl.arange(40)[None, :]
    at = nl.load(indices[p])
    nl.store(out, 0.0)
    nl.store(out[at[p, 0], f], value=nl.ones((16, 40), np.float32))
    return out


@case(A.T, A)
def load_transposed(a):
    out = nl.ndarray(**in_hbm((48, 64)))
    nl.store(out, nl.load_transpose2d(a))
    return out


@case(A, A)
def parts_by_ds(a):
    out = nl.ndarray(**in_hbm(a.shape))
    for i in nl.affine_range(3):
        nl.store(out[:, nl.ds(i * 16, 16)], nl.load(a[:, i * 16 : (i + 1) * 16]))
    return out


@case(np.repeat(A[:1], 128, axis=0), A[:1])
def broadcast_over_partitions(row):
    out = nl.ndarray(**in_hbm((128, 48)))
    nl.store(out, nl.broadcast_to(nl.load(row), shape=(128, 48)))
    return out


@case(A, A)
def a_grid_by_names(a):
    out = nl.ndarray(**in_hbm(a.shape))
    grid = nl.mgrid[0:64, 0:48]
    nl.store(out[grid.p, grid.x], nl.load(a[grid.p, grid.x]))
    return out


@case(np.square(A[:40, :30]), A)
def a_mask_of_both_dimensions(a):
    out = nl.ndarray(**in_hbm((40, 30)))
    p, f = nl.arange(64)[:, None], nl.arange(48)[None, :]
    squares = nl.square(nl.load(a[p, f]), mask=(p < 40) & (f < 30))
    nl.store(out[p, f], squares[p, f], mask=(p < 40) & (f < 30))
    return out


_FLAT = floats(8, 6, 4)
_AT = _RNG.integers(0, 24, (8, 5)).astype(np.uint32)
_TAKEN = np.take_along_axis(_FLAT.reshape(8, -1), _AT.astype(np.int64), -1)


@case(_TAKEN, _FLAT, _AT)
def gather_of_free_dimensions(data, indices):
    out = nl.ndarray(**in_hbm((8, 5)))
    nl.store(out, nl.gather_flattened(nl.load(data), nl.load(indices)))
    return out


_SCATTERED = np.array([[3], [1], [3], [6]], np.int32)
_ADDED = floats(8, 10)
_AFTER = _ADDED.copy()
np.add.at(_AFTER, _SCATTERED[:, 0], A[:4, :10])


@case(_AFTER, _ADDED, A[:4, :10].copy(), _SCATTERED)
def rows_are_added_to(base, value, indices):
    out = nl.ndarray(**in_hbm(base.shape))
    nisa.dma_copy(dst=out, src=base)
    rows, f = nl.load(indices), nl.arange(10)[None, :]
    nl.atomic_rmw(out[rows, f], value=nl.load(value), op=np.add)
    return out


@case(A + B, A, B)
def added_as_it_is_copied(a, b):
    out = nl.ndarray(**in_hbm(a.shape))
    nisa.dma_copy(dst=out, src=a)
    nisa.dma_copy(dst=out, src=b, dst_rmw_op=np.add)
    return out


@case(A.T, A)
def transposed_from_hbm_by_dma(a):
    out = nl.ndarray(**in_hbm((48, 64)))
    nl.store(out, nisa.dma_transpose(a))
    return out


@case(BATCH.transpose(2, 1, 0), BATCH.copy())
def transposed_on_the_chip_by_dma(a):
    out = nl.ndarray(**in_hbm((24, 32, 3)))
    nl.store(out, nisa.dma_transpose(nl.load(a), axes=(2, 1, 0)))
    return out


@pytest.mark.parametrize("name", case)
def test_a_documented_example(name: str) -> None:
    case.check(name)


# -- what runs kernels -----------------------------------------------------------------
@nki.jit
def in_a_grid(a):
    out = nl.ndarray(**in_hbm(a.shape))
    i, j = nl.program_id(0), nl.program_id(1)
    assert (nl.program_ndim(), nl.num_programs(), nl.num_programs(1)) == (2, 8, 2)
    nl.store(out[i, j], nl.load(a[i, j]) * 2)
    return out


@pytest.mark.parametrize(
    "grid",
    [(4, 2), (nl.spmd_dim(nl.nc(2), 2), 2), (nl.nc(2) * 2, 2), (2 * nl.nc(2), 2)],
)
def test_a_grid_of_programs_and_cores(grid: Any) -> None:
    a = floats(4, 2, 3, 5)
    np.testing.assert_array_equal(in_a_grid[grid](a), 2 * a)


def test_a_kernel_without_arguments_prints(capsys: pytest.CaptureFixture[str]) -> None:
    @nki.jit
    def zeros():
        out = nl.ndarray(**in_hbm((2, 3)))
        tile = nl.zeros([2, 3], dtype=np.float32)
        nl.device_print("value of tile:", tile)
        nl.store(out, value=tile)
        return out

    np.testing.assert_array_equal(nki.simulate_kernel(zeros), np.zeros((2, 3)))
    assert capsys.readouterr().out.startswith("value of tile: [[0. 0. 0.]")


def test_results_may_be_arguments() -> None:
    @nki.trace
    def added(a, b, out):
        p, f = nl.mgrid[0:64, 0:48]
        nl.store(out[p, f], nl.load(a[p, f]) + nl.load(b[p, f]))

    out = np.zeros_like(A)
    assert nki.simulate_kernel(added, A, B, out) is None
    np.testing.assert_array_equal(out, A + B)


def test_random_numbers_are_uniform_and_repeat() -> None:
    @nki.jit
    def drawn():
        out = nl.ndarray(**in_hbm((2, 128, 64)))
        for i in nl.static_range(2):
            nl.random_seed(7)
            nl.store(out[i], nl.rand((128, 64)))
        return out

    made = drawn()
    np.testing.assert_array_equal(made[0], made[1])
    assert made.min() >= 0 and made.max() < 1 and abs(made.mean() - 0.5) < 0.02
