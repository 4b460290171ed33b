"""The first generation of the language: whole kernels, against NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from nkipy_nki.neuronxcc import nki
from nkipy_nki.neuronxcc.nki import isa as nisa
from nkipy_nki.neuronxcc.nki import language as nl
from nkipy_nki.neuronxcc.nki import typing as nt


def random(*shape: int, seed: int = 0, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def close(got: Any, wanted: np.ndarray, tolerance: float = 1e-5) -> None:
    assert got.shape == wanted.shape
    np.testing.assert_allclose(
        np.float32(got), np.float32(wanted), rtol=tolerance, atol=tolerance
    )


# -- elements --------------------------------------------------------------------------
@nki.jit
def add_tensors(a, b):
    """Rows in tiles of 128, of which the last may end early."""
    out = nl.ndarray(a.shape, dtype=a.dtype, buffer=nl.shared_hbm)
    rows, columns = a.shape
    i_p = nl.arange(128)[:, None]
    i_f = nl.arange(columns)[None, :]
    for t in nl.affine_range((rows + 127) // 128):
        row = t * 128 + i_p
        x = nl.load(a[row, i_f], mask=row < rows)
        y = nl.load(b[row, i_f], mask=row < rows)
        nl.store(out[row, i_f], value=x + y, mask=row < rows)
    return out


@pytest.mark.parametrize("rows", [128, 200, 300])
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_tensors_are_added_in_tiles_that_a_mask_ends(rows: int, dtype: Any) -> None:
    a, b = random(rows, 40, dtype=dtype), random(rows, 40, seed=1, dtype=dtype)
    got = add_tensors(a, b)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, a + b)


@nki.jit
def add_in_grid(a, b):
    out = nl.ndarray(a.shape, dtype=a.dtype, buffer=nl.shared_hbm)
    at = nl.mgrid[0:128, 0:512]
    row = nl.program_id(0) * 128 + at.p
    column = nl.program_id(1) * 512 + at.x
    total = nl.load(a[row, column]) + nl.load(b[row, column])
    nl.store(out[row, column], value=total)
    return out


@pytest.mark.parametrize(
    "grid", [(2, 2), (nl.nc(2), 2), (nl.spmd_dim(nl.nc(2), 1), 2)], ids=str
)
def test_programs_of_a_grid_share_their_result(grid: Any) -> None:
    a, b = random(256, 1024), random(256, 1024, seed=1)
    np.testing.assert_array_equal(add_in_grid[grid](a, b), a + b)


@nki.jit
def silu_of_blocks(a):
    """Block dimensions before that of partitions."""
    out = nl.ndarray(a.shape, dtype=a.dtype, buffer=nl.shared_hbm)
    tiles = nl.ndarray((2, 3, nl.par_dim(64), 32), dtype=a.dtype, buffer=nl.sbuf)
    for i in nl.affine_range(2):
        for j in nl.affine_range(3):
            tiles[i, j] = nl.load(a[i, j])
    made = nl.empty_like(tiles)
    assert made.shape == (2, 3, 64, 32)
    for i in nl.affine_range(2):
        for j in nl.affine_range(3):
            made[i, j] = tiles[i, j] / (nl.exp(-tiles[i, j]) + 1.0)
            nl.store(out[i, j], made[i, j])
    return out


def test_block_dimensions_come_before_partitions() -> None:
    a = random(2, 3, 64, 32)
    close(silu_of_blocks(a), a / (1 + np.exp(-a)))


# -- transposes ------------------------------------------------------------------------
@nki.jit
def transpose_free(a, shape):
    """Two free dimensions exchanged, by what strides cannot describe in one go."""
    first, second = shape
    out = nl.ndarray(a.shape, dtype=a.dtype, buffer=nl.shared_hbm)
    i_p = nl.arange(a.shape[0])[:, None]
    i_f = nl.arange(first * second)[None, :]
    i_1 = nl.arange(first)[None, :, None]
    i_2 = nl.arange(second)[None, None, :]
    i_q = nl.arange(a.shape[0])[:, None, None]
    given = nl.load(a[i_p, i_f])
    turned = nl.ndarray((a.shape[0], first * second), dtype=a.dtype)
    turned[i_q, i_2 * first + i_1] = nl.copy(given[i_q, i_1 * second + i_2])
    nl.store(out, value=turned)
    return out


def test_free_dimensions_are_transposed() -> None:
    a = random(16, 3 * 5)
    wanted = a.reshape(16, 3, 5).transpose(0, 2, 1).reshape(16, 15)
    np.testing.assert_array_equal(transpose_free(a, (3, 5)), wanted)


@nki.jit
def transpose_by_loading(a):
    out = nl.ndarray(a.shape[::-1], dtype=a.dtype, buffer=nl.shared_hbm)
    nl.store(out, value=nl.load_transpose2d(a))
    return out


@nki.jit
def transpose_by_engine(a):
    out = nl.ndarray(a.shape[::-1], dtype=a.dtype, buffer=nl.shared_hbm)
    nl.store(out, value=nisa.nc_transpose(nl.load(a)))
    return out


@pytest.mark.parametrize("kernel", [transpose_by_loading, transpose_by_engine])
def test_rows_and_columns_are_exchanged(kernel: Any) -> None:
    a = random(100, 70)
    np.testing.assert_array_equal(kernel(a), a.T)


# -- products --------------------------------------------------------------------------
@nki.jit
def multiply_tiles(left_t, right):
    """``left_t.T @ right``, summed over tiles in the PSUM."""
    depth, rows = left_t.shape
    columns = right.shape[1]
    out = nl.ndarray((rows, columns), dtype=left_t.dtype, buffer=nl.shared_hbm)
    for m in nl.affine_range(rows // 128):
        for n in nl.affine_range(columns // 256):
            total = nl.zeros((nl.par_dim(128), 256), nl.float32, buffer=nl.psum)
            i_l, i_r = nl.mgrid[0:128, 0:128], nl.mgrid[0:128, 0:256]
            for k in nl.affine_range(depth // 128):
                a = nl.load(left_t[k * 128 + i_l.p, m * 128 + i_l.x])
                b = nl.load(right[k * 128 + i_r.p, n * 256 + i_r.x])
                total += nisa.nc_matmul(a, b)
            made = nl.copy(total, dtype=out.dtype)
            nl.store(out[m * 128 + i_r.p, n * 256 + i_r.x], value=made)
    return out


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-4), ("bf16", 2e-2)])
def test_products_of_tiles_are_accumulated(dtype: Any, tolerance: float) -> None:
    kind = ml_dtypes.bfloat16 if dtype == "bf16" else dtype
    a, b = random(256, 256, dtype=kind), random(256, 512, seed=1, dtype=kind)
    got = multiply_tiles(a, b)
    wanted = np.float32(a).T @ np.float32(b)
    close(got, wanted, tolerance * np.abs(wanted).max())


@nki.jit
def multiply_blocks(left_t, right):
    """The same, of blocks that are loaded once and added up in the SBUF."""
    depth, rows = left_t.shape
    columns = right.shape[1]
    out = nl.ndarray((rows, columns), dtype=left_t.dtype, buffer=nl.shared_hbm)
    i_l, i_r = nl.mgrid[0:128, 0:128], nl.mgrid[0:128, 0:256]
    total = nl.zeros((rows // 128, nl.par_dim(128), columns), nl.float32)
    for k in nl.sequential_range(depth // 128):
        wide = nl.load(right[k * 128 + nl.arange(128)[:, None], nl.arange(columns)])
        for m in nl.affine_range(rows // 128):
            a = nl.load(left_t[k * 128 + i_l.p, m * 128 + i_l.x])
            for n in nl.affine_range(columns // 256):
                part = nl.zeros((128, 256), nl.float32, buffer=nl.psum)
                part[i_r.p, i_r.x] += nl.matmul(
                    a, wide[i_r.p, n * 256 + i_r.x], transpose_x=True
                )
                total[m, i_r.p, n * 256 + i_r.x] += part
    for m in nl.affine_range(rows // 128):
        i_o = nl.mgrid[0:128, 0:columns]
        nl.store(out[m * 128 + i_o.p, i_o.x], value=total[m, i_o.p, i_o.x])
    return out


def test_products_of_blocks_are_added_up_in_the_sbuf() -> None:
    a, b = random(256, 256), random(256, 512, seed=1)
    close(multiply_blocks(a, b), a.T @ b, 1e-3)


# -- norms -----------------------------------------------------------------------------
@nki.jit
def layer_norm(a, gamma, beta, epsilon):
    """Rows that a mask ends are computed with to the end, and not stored."""
    out = nl.ndarray(a.shape, dtype=a.dtype, buffer=nl.shared_hbm)
    rows, columns = a.shape
    i_p, i_f = nl.arange(128)[:, None], nl.arange(columns)[None, :]
    scale = nl.load(gamma.reshape((1, columns))[nl.arange(1)[:, None], i_f])
    shift = nl.load(beta.reshape((1, columns)))
    for t in nl.affine_range((rows + 127) // 128):
        inside = t * 128 + i_p < rows
        x = nl.load(a[t * 128 + i_p, i_f], mask=inside)
        middle = nl.sum(x, axis=[1], keepdims=True) / columns
        apart = nl.subtract(x, middle)
        spread = nl.mean(nl.square(apart), axis=1)
        normed = apart * nl.rsqrt(spread + epsilon)
        made = normed * scale.broadcast_to((128, columns)) + shift
        nl.store(out[t * 128 + i_p, i_f], value=made, mask=inside)
    return out


def test_layer_norm() -> None:
    a, gamma, beta = random(150, 96), random(96, seed=1), random(96, seed=2)
    middle = a.mean(1, keepdims=True)
    wanted = (a - middle) / np.sqrt(a.var(1, keepdims=True) + 1e-5) * gamma + beta
    close(layer_norm(a, gamma, beta, 1e-5), wanted, 1e-4)


@nki.jit
def rms_norm(a, weights):
    out = nl.ndarray(a.shape, dtype=a.dtype, buffer=nl.shared_hbm)
    i_p, i_f = nl.arange(128)[:, None], nl.arange(a.shape[1])[None, :]
    w = nl.load(weights.reshape((1, a.shape[1]))[nl.arange(1)[:, None], i_f])
    for t in nl.affine_range((a.shape[0] + 127) // 128):
        inside = t * 128 + i_p < a.shape[0]
        x = nl.load(a[t * 128 + i_p, i_f], mask=inside)
        squares = nl.sum(nl.square(x), axis=[1])
        scale = nl.rsqrt(squares / a.shape[1])
        made = nl.multiply(x * scale, w.broadcast_to((128, a.shape[1])))
        nl.store(out[t * 128 + i_p, i_f], value=made, mask=inside)
    return out


def test_rms_norm() -> None:
    a, w = random(250, 64), random(64, seed=1)
    wanted = a / np.sqrt(np.square(a).mean(1, keepdims=True)) * w
    close(rms_norm(a, w), wanted, 1e-4)


@nki.jit
def norms_of_the_language(a, weights):
    one = nl.ndarray(a.shape, dtype=a.dtype, buffer=nl.shared_hbm)
    two = nl.ndarray(a.shape, dtype=a.dtype, buffer=nl.shared_hbm)
    x, w = nl.load(a), nl.load(weights)
    nl.store(one, nl.rms_norm(x, w, axis=1, n=a.shape[1], epsilon=1e-3))
    nl.store(two, nl.softmax(x, axis=-1))
    return one, two


def test_norms_that_the_language_has() -> None:
    a, w = random(60, 50), random(1, 50, seed=1)
    one, two = norms_of_the_language(a, w)
    close(one, a / np.sqrt(np.square(a).mean(1, keepdims=True) + 1e-3) * w, 1e-4)
    powers = np.exp(a - a.max(1, keepdims=True))
    close(two, powers / powers.sum(1, keepdims=True), 1e-4)


# -- windows, scans --------------------------------------------------------------------
@nki.jit
def average_pool(a, size):
    """Windows by five dimensions of indices."""
    channels, height, width = a.shape
    rows, columns = height // size, width // size
    out = nl.ndarray((channels, rows, columns), dtype=a.dtype, buffer=nl.shared_hbm)
    i_0 = nl.arange(channels)[:, None, None, None, None]
    i_1 = nl.arange(rows)[None, :, None, None, None]
    i_2 = nl.arange(columns)[None, None, :, None, None]
    i_3 = nl.arange(size)[None, None, None, :, None]
    i_4 = nl.arange(size)[None, None, None, None, :]
    given = nl.load(a)
    windows = given[i_0, size * i_1 + i_3, size * i_2 + i_4]
    made = nl.sum(windows, axis=[3, 4]) * (1.0 / (size * size))
    nl.store(out, value=made)
    return out


def test_average_pool() -> None:
    a = random(32, 6, 9)
    wanted = a.reshape(32, 2, 3, 3, 3).mean((2, 4))
    close(average_pool(a, 3), wanted)


@nki.jit
def prefix_sum(a):
    """Sums up to each column, carried from tile to tile."""
    out = nl.ndarray(a.shape, dtype=a.dtype, buffer=nl.shared_hbm)
    i_p, i_f = nl.mgrid[0:64, 0:32]
    carried = nl.zeros((64, 1), dtype=nl.float32)
    ones = nl.ones((64, 32), dtype=nl.float32)
    for t in nl.sequential_range(a.shape[1] // 32):
        x = nl.load(a[i_p, t * 32 + i_f])
        made = nisa.tensor_tensor_scan(
            ones, x, initial=carried, op0=np.multiply, op1=np.add
        )
        nl.store(out[i_p, t * 32 + i_f], value=made)
        carried[...] = nl.copy(made[:, 31])
    return out


def test_prefix_sum() -> None:
    a = random(64, 96)
    close(prefix_sum(a), np.cumsum(a, axis=1), 1e-4)


# -- attention -------------------------------------------------------------------------
@nki.jit
def attention(q, k, v, causal):
    """Softmax of q.T @ k, times v: (d, n), (d, n) and (n, d) of one head."""
    depth, count = q.shape
    out = nl.ndarray((count, depth), dtype=q.dtype, buffer=nl.shared_hbm)
    keys = nl.load(k)
    values = nl.ndarray((count // 128, nl.par_dim(128), depth), dtype=v.dtype)
    i_v = nl.mgrid[0:128, 0:depth]
    for j in nl.affine_range(count // 128):
        values[j, i_v.p, i_v.x] = nl.load(v[j * 128 + i_v.p, i_v.x])
    for i in nl.affine_range(count // 128):
        query = nl.load(q[nl.arange(depth)[:, None], i * 128 + nl.arange(128)[None, :]])
        query = nl.multiply(query, 1 / depth**0.5)
        scores = nisa.nc_matmul(query, keys)
        if causal:
            i_q, i_k = nl.mgrid[0:128, 0:count]
            scores = nisa.affine_select(
                pred=(i * 128 + i_q >= i_k),
                on_true_tile=nl.copy(scores),
                on_false_value=-9984.0,
                dtype=nl.float32,
            )
        lowest = nisa.tensor_reduce(np.max, scores, axis=(1,), negate=True)
        total = nl.ndarray((128, 1), dtype=nl.float32)
        powers = nisa.activation_reduce(
            np.exp, scores, bias=lowest, reduce_op=np.add, reduce_res=total
        )
        made = nl.zeros((128, depth), dtype=nl.float32, buffer=nl.psum)
        i_s = nl.mgrid[0:128, 0:128]
        for j in nl.affine_range(count // 128):
            turned = nisa.nc_transpose(powers[i_s.p, j * 128 + i_s.x])
            made += nisa.nc_matmul(nl.copy(turned), values[j])
        scaled = nisa.tensor_scalar(made, np.multiply, nisa.reciprocal(total))
        nl.store(out[i * 128 + i_v.p, i_v.x], value=scaled)
    return out


@pytest.mark.parametrize("causal", [False, True])
def test_attention(causal: bool) -> None:
    q, k, v = random(64, 256), random(64, 256, seed=1), random(256, 64, seed=2)
    scores = q.T @ k / 8
    if causal:
        scores = np.where(np.tri(256, dtype=bool), scores, -np.inf)
    powers = np.exp(scores - scores.max(1, keepdims=True))
    wanted = powers / powers.sum(1, keepdims=True) @ v
    close(attention(q, k, v, causal), wanted, 1e-4)


# -- how kernels are run ---------------------------------------------------------------
@nki.trace
def add_one_to(a, out):
    nl.store(out, nl.load(a) + 1)


def test_a_traced_kernel_writes_to_its_arguments() -> None:
    a, out = random(8, 8), np.zeros((8, 8), np.float32)
    assert nki.simulate_kernel(add_one_to, a, out) is None
    np.testing.assert_array_equal(out, a + 1)


@nki.jit
def update(a: nt.mutable_tensor, b):
    nl.store(a, nl.load(a) + nl.load(b))
    return a


def test_a_mutable_argument_is_the_callers() -> None:
    a, b = random(8, 8), random(8, 8, seed=1)
    wanted = a + b
    assert update(a, b) is a
    np.testing.assert_array_equal(a, wanted)


@pytest.mark.parametrize("mode", ["simulation", "baremetal", "torchxla", "auto"])
def test_every_mode_runs_by_the_simulator(mode: str) -> None:
    a = random(8, 8)
    kernel = nki.jit(add_tensors.func, mode=mode)
    np.testing.assert_array_equal(kernel(a, a), 2 * a)
    np.testing.assert_array_equal(nki.baremetal(add_tensors.func)(a, a), 2 * a)


@pytest.mark.parametrize("decorate", [nki.benchmark, nki.jit])
def test_benchmark_gives_an_estimate(decorate: Any, capsys: Any) -> None:
    options = {} if decorate is nki.benchmark else {"mode": "benchmark"}
    kernel = decorate(warmup=1, iters=2, **options)(add_in_grid.func)[2, 1]
    a = random(256, 512)
    np.testing.assert_array_equal(kernel(a, a), a + a)
    latency = kernel.benchmark_result.nc_latency
    assert latency.estimate
    assert latency.get_latency_percentile(50) > 0
    assert "estimate" in capsys.readouterr().out


def test_profile_writes_where_time_goes(tmp_path: Path) -> None:
    kernel = nki.profile(working_directory=str(tmp_path))(add_tensors.func)
    kernel(random(8, 8), random(8, 8))
    assert (tmp_path / "profile_summary.json").exists()


def test_a_kernel_in_another_is_part_of_it() -> None:
    @nki.jit
    def outer(a):
        return add_tensors(a, a)

    a = random(8, 8)
    np.testing.assert_array_equal(outer(a), 2 * a)


@nki.jit
def functions_of_today(a):
    out = nl.ndarray(a.shape, a.dtype, buffer=nl.shared_hbm)
    x = nl.load(a)
    i_p, i_f = nl.mgrid[0:8, 0:6]
    nl.store(out, nl.floor(x[i_p, i_f]) + nl.cos(x) + nl.sin(x * 4) - nl.trunc(x))
    return out


def test_functions_that_take_several_instructions() -> None:
    a = random(8, 6) * 3
    wanted = np.floor(a) + np.cos(a) + np.sin(4 * a) - np.trunc(a)
    close(functions_of_today(a), wanted, 1e-5)
