"""What the first generation's documentation shows by examples, in kernels of our own.

One case for each of its examples of functions and instructions, by what they show, and
for its tutorials' kernels.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from nkipy_nki.neuronxcc import nki
from nkipy_nki.neuronxcc.nki import isa as nisa
from nkipy_nki.neuronxcc.nki import language as nl

_RNG = np.random.default_rng(0)


def floats(*shape: int) -> np.ndarray:
    return _RNG.standard_normal(shape).astype(np.float32)


CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...], Any]] = {}


def case(expected: Any, *args: Any, **options: Any) -> Callable[..., Any]:
    """Let a function be a kernel that gives `expected` of arguments."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        made: Callable[..., Any] = nki.jit(function, mode="simulation", **options)
        CASES[function.__name__] = made, args, expected
        return made

    return add


def _out(shape: Any, dtype: Any = np.float32) -> dict[str, Any]:
    return {"shape": shape, "dtype": dtype, "buffer": nl.shared_hbm}


def _softmax(x: np.ndarray) -> np.ndarray:
    powers: np.ndarray = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


# -- loads and stores ------------------------------------------------------------------
A = floats(64, 48)
B = floats(64, 48)
BATCH = floats(3, 32, 24)
EVEN = 2 * np.arange(16, dtype=np.int32)
TABLE = floats(64, 40)


@case(A, A)
def load_and_store(a):
    out = nl.ndarray(**_out(a.shape))
    nl.store(out, nl.load(a))
    return out


@case(BATCH, BATCH)
def a_batch_at_a_time(a):
    out = nl.ndarray(**_out(a.shape))
    for b in nl.affine_range(3):
        p, f = nl.mgrid[0:32, 0:24]
        tile = nl.zeros((32, 24), a.dtype)
        tile[p, f] = nl.load(a[b, p, f])
        nl.store(out[b, p, f], value=tile[p, f])
    return out


@case(TABLE[EVEN], TABLE, EVEN)
def rows_by_loaded_indices(table, indices):
    out = nl.ndarray(**_out((16, 40)))
    p, f = nl.arange(16)[:, None], nl.arange(40)[None, :]
    at = nl.load(indices[p])
    nl.store(out, nl.load(table[at[p, 0], f]))
    return out


@case(TABLE[EVEN], TABLE)
def rows_by_a_pattern(table):
    out = nl.ndarray(**_out((16, 40)))
    at = nisa.iota(2 * nl.arange(16)[:, None], dtype=np.int32)
    nl.store(out, nl.load(table[at, nl.arange(40)[None, :]]))
    return out


@case(np.where(np.isin(np.arange(32), EVEN)[:, None], TABLE[:32] * 0 + 1, 0), EVEN)
def stored_to_rows_by_indices(indices):
    out = nl.ndarray(**_out((32, 40)))
    p, f = nl.arange(16)[:, None], nl.arange(40)[None, :]
    at = nl.load(indices[p])
    nl.store(out, 0.0)
    nl.store(out[at[p, 0], f], value=nl.ones((16, 40), np.float32))
    return out


@case(A.T, A)
def load_transposed(a):
    out = nl.ndarray(**_out((48, 64)))
    nl.store(out, nl.load_transpose2d(a))
    return out


@case(A, A)
def parts_by_ds(a):
    out = nl.ndarray(**_out(a.shape))
    for i in nl.affine_range(3):
        nl.store(out[:, nl.ds(i * 16, 16)], nl.load(a[:, i * 16 : (i + 1) * 16]))
    return out


@case(np.repeat(A[:1], 128, axis=0), A[:1])
def broadcast_over_partitions(row):
    out = nl.ndarray(**_out((128, 48)))
    nl.store(out, nl.broadcast_to(nl.load(row), shape=(128, 48)))
    return out


@case(A, A)
def a_grid_by_names(a):
    out = nl.ndarray(**_out(a.shape))
    grid = nl.mgrid[0:64, 0:48]
    nl.store(out[grid.p, grid.x], nl.load(a[grid.p, grid.x]))
    return out


@case(np.square(A[:40, :30]), A)
def a_mask_of_both_dimensions(a):
    out = nl.ndarray(**_out((40, 30)))
    p, f = nl.arange(64)[:, None], nl.arange(48)[None, :]
    squares = nl.square(nl.load(a[p, f]), mask=(p < 40) & (f < 30))
    nl.store(out[p, f], squares[p, f], mask=(p < 40) & (f < 30))
    return out


_FLAT = floats(8, 6, 4)
_AT = _RNG.integers(0, 24, (8, 5)).astype(np.uint32)
_TAKEN = np.take_along_axis(_FLAT.reshape(8, -1), _AT.astype(np.int64), -1)


@case(_TAKEN, _FLAT, _AT)
def gather_of_free_dimensions(data, indices):
    out = nl.ndarray(**_out((8, 5)))
    nl.store(out, nl.gather_flattened(nl.load(data), nl.load(indices)))
    return out


_SCATTERED = np.array([[3], [1], [3], [6]], np.int32)
_ADDED = floats(8, 10)
_AFTER = _ADDED.copy()
np.add.at(_AFTER, _SCATTERED[:, 0], A[:4, :10])


@case(_AFTER, _ADDED, A[:4, :10].copy(), _SCATTERED)
def rows_are_added_to(base, value, indices):
    out = nl.ndarray(**_out(base.shape))
    nisa.dma_copy(dst=out, src=base)
    rows, f = nl.load(indices), nl.arange(10)[None, :]
    nl.atomic_rmw(out[rows, f], value=nl.load(value), op=np.add)
    return out


@case(A + B, A, B)
def added_as_it_is_copied(a, b):
    out = nl.ndarray(**_out(a.shape))
    nisa.dma_copy(dst=out, src=a)
    nisa.dma_copy(dst=out, src=b, dst_rmw_op=np.add)
    return out


@case(A.T, A)
def transposed_from_hbm_by_dma(a):
    out = nl.ndarray(**_out((48, 64)))
    nl.store(out, nisa.dma_transpose(a))
    return out


@case(BATCH.transpose(2, 1, 0), BATCH.copy())
def transposed_on_the_chip_by_dma(a):
    out = nl.ndarray(**_out((24, 32, 3)))
    nl.store(out, nisa.dma_transpose(nl.load(a), axes=(2, 1, 0)))
    return out


# -- instructions ----------------------------------------------------------------------
COLUMN = floats(64, 1)


@case((np.exp(A), np.maximum(A * 5 + COLUMN, 0)), A, COLUMN)
def activations(a, bias):
    one, two = (nl.ndarray(**_out(a.shape)) for _ in range(2))
    tile = nl.load(a)
    nl.store(one, nisa.activation(op=nl.exp, data=tile))
    nl.store(two, nisa.activation(op=nl.relu, data=tile, bias=nl.load(bias), scale=5.0))
    return one, two


_POWERS = np.exp(A * 0.5)


@case((_POWERS, _POWERS.sum(1, keepdims=True)), A)
def an_activation_and_its_sum(a):
    out, sums = nl.ndarray(**_out(a.shape)), nl.ndarray(**_out((64, 1)))
    total = nl.ndarray((64, 1), np.float32)
    made = nisa.activation_reduce(
        np.exp, nl.load(a), reduce_op=np.add, reduce_res=total, scale=0.5
    )
    nl.store(out, made)
    nl.store(sums, total)
    return out, sums


@case((A - 1, 1 - A, A * COLUMN + 2.5), A, COLUMN)
def scalars(a, column):
    outs = [nl.ndarray(**_out(a.shape)) for _ in range(3)]
    tile, vector = nl.load(a), nl.load(column)
    nl.store(outs[0], nisa.tensor_scalar(tile, np.subtract, 1.0))
    nl.store(outs[1], nisa.tensor_scalar(tile, np.subtract, 1.0, reverse0=True))
    made = nisa.tensor_scalar(
        tile, op0=np.multiply, operand0=vector, op1=np.add, operand1=2.5
    )
    nl.store(outs[2], made)
    return tuple(outs)


@case((A + B, A.max(1, keepdims=True), -A.sum(1, keepdims=True)), A, B)
def pairs_and_reductions(a, b):
    total = nl.ndarray(**_out(a.shape))
    most, less = nl.ndarray(**_out((64, 1))), nl.ndarray(**_out((64, 1)))
    x = nl.load(a)
    nl.store(total, nisa.tensor_tensor(x, nl.load(b), op=np.add))
    nl.store(most, nisa.tensor_reduce(np.max, x, axis=(1,), keepdims=True))
    nl.store(less, nisa.tensor_reduce(np.add, x, axis=[1], negate=True))
    return total, most, less


@case(A.sum(0, keepdims=True), A)
def a_sum_over_partitions(a):
    out = nl.ndarray(**_out((1, 48)))
    nl.store(out, nisa.tensor_partition_reduce(np.add, nl.load(a)))
    return out


def _scanned(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    out, state = np.empty_like(a), np.zeros(len(a), np.float32)
    for i in range(a.shape[1]):
        state = a[:, i] * state + b[:, i]
        out[:, i] = state
    return out


@case(_scanned(A / 4, B), A / 4, B)
def a_scan_in_parts(a, b):
    out = nl.ndarray(**_out(a.shape))
    state = nl.zeros((64, 1), np.float32)
    for i in nl.sequential_range(3):
        columns = nl.ds(i * 16, 16)
        made = nisa.tensor_tensor_scan(
            *(nl.load(a[:, columns]), nl.load(b[:, columns])),
            *(state, np.multiply, np.add),
        )
        nl.store(out[:, columns], made)
        state[:, :] = made[:, 15]
    return out


_PATTERN = np.arange(8)[:, None] + np.arange(16)


@case((_PATTERN[:1], 5 + 2 * np.arange(8)[:, None], -_PATTERN[:1], _PATTERN))
def patterns():
    f, p = nl.arange(0, 16)[None, :], nl.arange(0, 8)[:, None]
    kinds = (f, 5 + p * 2, f * -1, p + f)
    shapes = ((1, 16), (8, 1), (1, 16), (8, 16))
    outs = [nl.ndarray(**_out(shape, np.int32)) for shape in shapes]
    for out, kind in zip(outs, kinds):
        nl.store(out, nisa.iota(kind, dtype=np.int32))
    return tuple(outs)


_LONG = floats(32, 96)


@case((_LONG.mean(1, keepdims=True), _LONG.var(1, keepdims=True)), _LONG)
def statistics_in_parts(a):
    mean, var = nl.ndarray(**_out((32, 1))), nl.ndarray(**_out((32, 1)))
    tile = nl.load(a)
    parts = nl.ndarray((32, 6 * 3), np.float32)
    p, f = nl.mgrid[0:32, 0:32]
    q, g = nl.mgrid[0:32, 0:6]
    for i in range(3):
        parts[q, i * 6 + g] = nisa.bn_stats(tile[p, i * 32 + f], dtype=np.float32)
    made = nisa.bn_aggr(parts)
    nl.store(mean, made[:, 0])
    nl.store(var, made[:, 1])
    return mean, var


@case(np.where(A <= 0.5, A, B), A <= 0.5, A, B)
def copied_by_a_predicate(predicate, a, b):
    out = nl.ndarray(**_out(a.shape))
    made = nl.zeros(shape=a.shape, dtype=a.dtype)
    p, f = nl.mgrid[0:64, 0:48]
    made[p, f] = nl.load(b)
    nisa.tensor_copy_predicated(src=nl.load(a), dst=made, predicate=nl.load(predicate))
    nl.store(out, made)
    return out


_CHOSEN = np.where(A > 0, A, np.float32(-7))


@case((_CHOSEN, _CHOSEN.max(1, keepdims=True)), (A > 0).astype(np.uint8), A)
def chosen_and_the_greatest(predicate, a):
    out, most = nl.ndarray(**_out(a.shape)), nl.ndarray(**_out((64, 1)))
    made, greatest = nl.ndarray(a.shape, a.dtype), nl.ndarray((64, 1), np.float32)
    nisa.select_reduce(
        dst=made,
        predicate=nl.load(predicate),
        on_true=nl.load(a),
        on_false=-7.0,
        reduce_res=greatest,
        reduce_cmd=nisa.reduce_cmd.reset_reduce,
        reduce_op=np.max,
    )
    nl.store(out, made)
    nl.store(most, greatest)
    return out, most


def _in_range(a: np.ndarray, start: int, end: int) -> np.ndarray:
    at = start + np.arange(a.shape[1])
    lowest = np.finfo(np.float32).min
    return np.where((at >= 0) & (at < end), a, lowest).astype(np.float32)


_FIRST, _SECOND = _in_range(A, 10, 40), _in_range(A + 1, 10 + 64, 100)


@case(
    (_SECOND, np.maximum(_FIRST.max(1), _SECOND.max(1))[:, None]),
    *(A, np.zeros((64, 1), np.float32)),
    *(np.full((64, 1), 40, np.float32), np.full((64, 1), 100, np.float32)),
    platform_target="trn2",
)
def ranges_that_go_on(a, low, high, higher):
    out, most = nl.ndarray(**_out(a.shape)), nl.ndarray(**_out((64, 1)))
    tile, found = nl.load(a), nl.ndarray((64, 1), np.float32)
    bounds = {"comp_op0": np.greater_equal, "comp_op1": np.less, "bound0": nl.load(low)}
    told = {"reduce_op": np.max, "on_false_value": nl.fp32.min}
    nisa.range_select(
        on_true_tile=tile,
        bound1=nl.load(high),
        reduce_cmd=nisa.reduce_cmd.reset_reduce,
        range_start=10,
        **bounds,
        **told,
    )
    made = nl.ndarray(a.shape, a.dtype)
    made[...] = nisa.range_select(
        on_true_tile=nl.add(tile, 1.0),
        bound1=nl.load(higher),
        reduce_cmd=nisa.reduce_cmd.reduce,
        reduce_res=found[...],
        range_start=10 + 64,
        **bounds,
        **told,
    )
    nl.store(out, made)
    nl.store(most, found)
    return out, most


_IDS = np.array([[1, 1, 2, 2, 2, 0, 3, 0]], np.int32)


@case(
    np.array([[[0, 0, 2, 2, 2, 8, 6, 8], [2, 2, 5, 5, 5, -1, 7, -1]]], np.int32), _IDS
)
def bounds_of_sequences(ids):
    out = nl.ndarray(**_out((1, 2, 8), np.int32))
    nl.store(out, nisa.sequence_bounds(segment_ids=nl.load(ids)))
    return out


_CORES = np.tile(_RNG.integers(0, 32, (16, 2)).astype(np.uint16), (8, 1))
_BUFFER = floats(128, 32, 4)


def _gathered() -> np.ndarray:
    out = np.empty((128, 32, 4), np.float32)
    for core in range(8):
        rows = slice(core * 16, core * 16 + 16)
        out[rows] = _BUFFER[rows][:, _CORES[rows].flatten(order="F")]
    return out.reshape(128, 2, 16, 4)


@case(_gathered(), _BUFFER, (_CORES * 4).astype(np.uint16))
def gathered_by_groups_of_partitions(buffer, indices):
    out = nl.ndarray(**_out((128, 2, 16, 4)))
    made = nisa.local_gather(nl.load(buffer), nl.load(indices), 4, 32)
    nl.store(out, made)
    return out


_ROTATED = A[[(i - 1) % 32 for i in range(32)]]


@case(_ROTATED, A[:32].copy())
def partitions_rotated(a):
    out = nl.ndarray(**_out((32, 48)))
    tile, grid = nl.load(a), nl.mgrid[0:32, 0:48]
    part = tile[grid.p, grid.x]
    nisa.nc_stream_shuffle(
        src=part, dst=part, shuffle_mask=[(i - 1) % 32 for i in range(32)]
    )
    nl.store(out, value=tile)
    return out


_SORTED = np.sort(A, 1)[:, ::-1]


@case((_SORTED[:, :8], np.where(_SORTED[:, 7:8] <= A, -1, A)), A)
def the_greatest_and_the_rest(a):
    most, rest = nl.ndarray(**_out((64, 8))), nl.ndarray(**_out(a.shape))
    tile = nl.load(a)
    found = nisa.max8(src=tile)
    nl.store(most, found)
    nl.store(rest, nisa.nc_match_replace8(data=tile[:, :], vals=found, imm=-1.0))
    return most, rest


_OFFSETS = np.array([[4, 9, 2, 30]], np.int32)


@case(A[:, _OFFSETS[0]], A, _OFFSETS)
def columns_from_where_the_run_knows(a, offsets):
    out = nl.ndarray(**_out((64, 4)))
    tile, at = nl.load(a), nl.load(offsets)
    made = nl.ndarray((64, 4), a.dtype)
    p, f = nl.mgrid[0:64, 0:1]
    for i in nl.affine_range(4):
        made[p, i] = nisa.tensor_copy_dynamic_src(tile[p, at[0, i] + f])
    nl.store(out, made)
    return out


@case(_BUFFER[:, [4, 9, 2, 30]], _BUFFER, _OFFSETS)
def blocks_from_where_the_run_knows(a, offsets):
    out = nl.ndarray(**_out((128, 4, 4)))
    tile, at = nl.load(a), nl.load(offsets)
    made = nl.ndarray((128, 4, 4), a.dtype)
    p, _, y = nl.mgrid[0:128, 0:1, 0:4]
    for i in nl.affine_range(4):
        made[p, i, y] = nisa.tensor_copy_dynamic_src(tile[p, at[0, i], y])
    nl.store(out, made)
    return out


_PLACED = np.zeros((64, 48), np.float32)
for _i, _at in enumerate(_OFFSETS[0]):
    _PLACED[:, _at : _at + 2] = A[:, 2 * _i : 2 * _i + 2]


@case(_PLACED, A, _OFFSETS)
def columns_to_where_the_run_knows(a, offsets):
    out = nl.ndarray(**_out(a.shape))
    tile, at = nl.load(a), nl.load(offsets)
    made = nl.zeros(a.shape, a.dtype)
    p, f = nl.mgrid[0:64, 0:2]
    for i in nl.sequential_range(4):
        nisa.tensor_copy_dynamic_dst(dst=made[p, at[0, i] + f], src=tile[p, 2 * i + f])
    nl.store(out, made)
    return out


_LEFT, _RIGHT = floats(128, 64), floats(128, 96)
_HALVES = np.eye(128, 16, dtype=np.float32).reshape(128, 1, 16).repeat(2, 1)
_EIGHTS = _RNG.integers(-3, 4, (128, 2, 64))


@case(_LEFT.T @ _RIGHT, _LEFT, _RIGHT)
def a_product_of_parts(a, b):
    out = nl.ndarray(**_out((64, 96)))
    total = nl.zeros((64, 96), np.float32, buffer=nl.psum)
    p, f, g = nl.arange(64)[:, None], nl.arange(64)[None, :], nl.arange(96)[None, :]
    for i in nl.affine_range(2):
        x, y = nl.load(a[i * 64 + p, f]), nl.load(b[i * 64 + p, g])
        total += nisa.nc_matmul(x[p, f], y[p, g])
    nl.store(out, total)
    return out


@case(
    _EIGHTS.sum(1)[:16].astype(np.float32),
    _HALVES.astype(ml_dtypes.float8_e5m2),
    _EIGHTS.astype(ml_dtypes.float8_e5m2),
    platform_target="trn2",
)
def a_product_of_double_rows(a, b):
    out = nl.ndarray(**_out((16, 64)))
    x, y = nl.load(a.view(nl.float8_e5m2)), nl.load(b.view(nl.float8_e5m2))
    nl.store(out, nisa.nc_matmul(x, y, perf_mode="double_row_gen3"))
    return out


@case((A.T, A[:32, :32].T), A)
def transposed_by_engines(a):
    one, two = nl.ndarray(**_out((48, 64))), nl.ndarray(**_out((32, 32)))
    tile = nl.load(a)
    nl.store(one, nisa.nc_transpose(tile))
    small = nisa.nc_transpose(tile[0:32, 0:32], engine=nisa.vector_engine)
    nl.store(two, small)
    return one, two


_CAUSAL = np.where(np.tril(np.ones((64, 64))) > 0, A @ A.T, np.float32(-9984))


@case(_CAUSAL, A @ A.T)
def a_causal_mask(scores):
    out = nl.ndarray(**_out((64, 64)))
    q, k = nl.mgrid[0:64, 0:64]
    made = nisa.affine_select(
        pred=(q >= k), on_true_tile=nl.load(scores), on_false_value=-9984.0
    )
    nl.store(out, made)
    return out


# -- tutorials -------------------------------------------------------------------------
_LHS, _RHS = floats(256, 256), floats(256, 512)


@case(_LHS.T @ _RHS, _LHS, _RHS)
def a_tiled_product(lhs, rhs):
    """Tiles of a column are loaded once, by block dimensions."""
    depth, rows = lhs.shape
    out = nl.ndarray(**_out((rows, rhs.shape[1])))
    p, m, n = nl.arange(128)[:, None], nl.arange(128)[None, :], nl.arange(512)[None, :]
    for i in nl.affine_range(rows // 128):
        left = nl.ndarray((depth // 128, nl.par_dim(128), 128), lhs.dtype)
        right = nl.ndarray((depth // 128, nl.par_dim(128), 512), rhs.dtype)
        total = nl.zeros((nl.par_dim(128), 512), np.float32, buffer=nl.psum)
        for k in nl.affine_range(depth // 128):
            left[k, p, m] = nl.load(lhs[k * 128 + p, i * 128 + m])
            right[k, p, n] = nl.load(rhs[k * 128 + p, n])
        for k in nl.affine_range(depth // 128):
            total[...] += nl.matmul(left[k], right[k], transpose_x=True)
        nl.store(out[i * 128 + p, n], value=nl.copy(total, dtype=out.dtype))
    return out


@case(_LHS.T @ _RHS, _LHS, _RHS)
def a_product_summed_over_blocks(lhs, rhs):
    """Each tile of the result has its own sum over the blocks."""
    out = nl.ndarray(**_out((256, 512)))
    sums = nl.zeros((2, nl.par_dim(128), 512), np.float32)
    p, m, n = nl.arange(128)[:, None], nl.arange(128)[None, :], nl.arange(512)[None, :]
    for block in nl.sequential_range(2):
        right = nl.load(rhs[block * 128 + p, n])
        for i in nl.affine_range(2):
            left = nl.load(lhs[block * 128 + p, i * 128 + m])
            made = nisa.nc_matmul(left, right)
            sums[i, p, n] = nl.loop_reduce(made, op=np.add, loop_indices=[block])
    for i in nl.affine_range(2):
        nl.store(out[i * 128 + p, n], sums[i, p, n])
    return out


_ROWS = floats(200, 40)
_GAIN, _SHIFT = floats(40), floats(40)
_NORMAL = (_ROWS - _ROWS.mean(1, keepdims=True)) / np.sqrt(
    _ROWS.var(1, keepdims=True) + 1e-5
)


@case(_softmax(_ROWS), _ROWS)
def softmax_of_rows(a):
    out = nl.ndarray(**_out(a.shape))
    p, f = nl.mgrid[0:128, 0:40]
    for i in nl.affine_range(math.ceil(200 / 128)):
        inside = i * 128 + p < 200
        tile = nl.load(a[i * 128 + p, f], mask=inside)
        most = nl.max(tile, axis=1, keepdims=True, mask=inside)
        powers = nl.exp(nl.subtract(tile, most, mask=inside), mask=inside)
        total = nl.sum(powers, axis=[1], keepdims=True, mask=inside)
        made = nl.divide(powers, total, mask=inside)
        nl.store(out[i * 128 + p, f], value=made, mask=inside)
    return out


@case(_NORMAL * _GAIN + _SHIFT, _ROWS, _GAIN, _SHIFT)
def layer_norm_of_rows(a, gain, shift):
    out = nl.ndarray(**_out(a.shape))
    p, one, f = nl.arange(128)[:, None], nl.arange(1)[:, None], nl.arange(40)[None, :]
    gains = nl.load(gain.reshape((1, 40))[one, f]).broadcast_to((128, 40))
    shifts = nl.load(shift.reshape((1, 40))[one, f]).broadcast_to((128, 40))
    for i in nl.affine_range(math.ceil(200 / 128)):
        inside = i * 128 + p < 200
        tile = nl.load(a[i * 128 + p, f], mask=inside)
        mean = nl.sum(tile, axis=[1], mask=inside) / 40
        apart = nl.subtract(tile, mean, mask=inside)
        var = nl.sum(nl.square(apart, mask=inside), axis=1, mask=inside) / 40
        made = apart * nl.rsqrt(var + 1e-5) * gains + shifts
        nl.store(out[i * 128 + p, f], value=made, mask=inside)
    return out


_IMAGE = floats(8, 6, 9)


@case(_IMAGE.reshape(8, 2, 3, 3, 3).mean((2, 4)), _IMAGE)
def average_pool(image):
    out = nl.ndarray(**_out((8, 2, 3)))
    tile = nl.load(image)
    c, y, x, v, u = nl.mgrid[0:8, 0:2, 0:3, 0:3, 0:3]
    nl.store(out, nl.sum(tile[c, y * 3 + v, x * 3 + u], axis=[3, 4]) / 9)
    return out


@case(A.reshape(64, 6, 8).transpose(0, 2, 1).reshape(64, 48), A)
def free_dimensions_transposed(a):
    out = nl.ndarray(**_out(a.shape))
    tile, made = nl.load(a), nl.ndarray(a.shape, a.dtype)
    p, i, j = nl.mgrid[0:64, 0:6, 0:8]
    made[p, j * 6 + i] = nl.copy(tile[p, i * 8 + j])
    nl.store(out, made)
    return out


_Q, _K, _V = (floats(256, 32) for _ in range(3))


@case(_softmax(_Q @ _K.T / math.sqrt(32)) @ _V, _Q, _K, _V)
def attention(q, k, v):
    out = nl.ndarray(**_out(q.shape))
    keys = nl.load_transpose2d(k)
    for i in nl.affine_range(2):
        rows = nl.ds(i * 128, 128)
        scores = nisa.nc_matmul(nl.load_transpose2d(q[rows]), keys)
        scaled = nl.multiply(scores, 1 / math.sqrt(32))
        most = nisa.tensor_reduce(np.max, scaled, axis=(1,), negate=True)
        total = nl.ndarray((128, 1), np.float32)
        powers = nisa.activation_reduce(
            np.exp, scaled, bias=most, reduce_op=np.add, reduce_res=total
        )
        made = nl.zeros((128, 32), np.float32, buffer=nl.psum)
        for j in nl.affine_range(2):
            columns = nl.ds(j * 128, 128)
            turned = nl.copy(nl.transpose(powers[:, columns]))
            made += nl.matmul(turned, nl.load(v[columns]), transpose_x=True)
        nl.store(out[rows], made * nl.reciprocal(total))
    return out


_KEYS, _QUERIES, _VALUES = floats(32, 512), floats(32, 512), floats(512, 32)
_SCORES = _QUERIES.T @ _KEYS / math.sqrt(32)
_BELOW = np.tril(np.ones((512, 512))) > 0


def _scores(query: Any, key: Any, row: int, column: int, causal: bool) -> Any:
    """A tile of the scores, of which masks that loops decide say how it is made."""
    p, f = nl.mgrid[0:128, 0:256]
    is_needed = not causal or column < row + 128
    made = nl.zeros((nl.par_dim(128), 256), np.float32, buffer=nl.psum)
    made[p, f] += nl.matmul(query, key, transpose_x=True, mask=is_needed)
    result, part = (nl.ndarray((128, 256), np.float32) for _ in range(2))
    is_whole = not causal or column + 255 <= row
    result[p, f] = nl.copy(made[p, f], mask=is_whole)
    part[p, f] = nl.copy(made[p, f], mask=not is_whole)
    result[p, f] = nisa.affine_select(
        pred=row + p >= column + f,
        on_true_tile=part[p, f],
        on_false_value=-9984.0,
        mask=not is_whole,
    )
    return result


def _flash(query: Any, key: Any, value: Any, causal: bool) -> Any:
    out = nl.ndarray(**_out((512, 32)))
    for i in nl.affine_range(4):
        row = i * 128
        scaled = nl.load(query[:, nl.ds(row, 128)]) * (1 / math.sqrt(32))
        sums = nl.zeros((nl.par_dim(128), 32), np.float32)
        total = nl.zeros((128, 1), np.float32)
        most = nl.full((128, 1), -1e30, np.float32)
        for j in nl.sequential_range(2):
            column = j * 256
            if causal and column >= row + 128:
                continue
            keys = nl.load(key[:, nl.ds(column, 256)])
            scores = _scores(scaled, keys, row, column, causal)
            before = nl.copy(most)
            most[...] = nl.maximum(before, nisa.tensor_reduce(np.max, scores, axis=1))
            less = nisa.tensor_scalar(most, np.multiply, -1.0)
            shrunk = nisa.activation(np.exp, before, bias=less)
            part = nl.ndarray((128, 1), np.float32)
            powers = nisa.activation_reduce(
                np.exp, scores, bias=less, reduce_op=nl.add, reduce_res=part
            )
            made = nl.zeros((nl.par_dim(128), 32), np.float32, buffer=nl.psum)
            for h in nl.affine_range(2):
                turned = nl.copy(nl.transpose(powers[:, nl.ds(h * 128, 128)]))
                values = nl.load(value[nl.ds(column + h * 128, 128)])
                made += nl.matmul(turned, values, transpose_x=True)
            sums[...] = nl.add(nl.multiply(sums, shrunk), made)
            total[...] = nl.add(nl.multiply(total, shrunk), part)
        nl.store(out[nl.ds(row, 128)], nl.multiply(sums, nl.reciprocal(total)))
    return out


@case(_softmax(_SCORES) @ _VALUES, _QUERIES, _KEYS, _VALUES)
def flash_attention(query, key, value):
    return _flash(query, key, value, False)


@case(_softmax(np.where(_BELOW, _SCORES, -9984)) @ _VALUES, _QUERIES, _KEYS, _VALUES)
def causal_flash_attention(query, key, value):
    return _flash(query, key, value, True)


@pytest.mark.parametrize("name", CASES)
def test_a_documented_example(name: str) -> None:
    kernel, args, expected = CASES[name]
    given = [array.copy() for array in args]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = kernel(*given)
    results = made if isinstance(made, tuple) else (made,)
    wanted = expected if isinstance(expected, tuple) else (expected,)
    for result, other in zip(results, wanted, strict=True):
        assert result.shape == other.shape
        np.testing.assert_allclose(result, other, rtol=1e-4, atol=1e-4)
    for array, before in zip(given, args):
        np.testing.assert_array_equal(array, before)


# -- what runs kernels -----------------------------------------------------------------
@nki.jit
def in_a_grid(a):
    out = nl.ndarray(**_out(a.shape))
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
        out = nl.ndarray(**_out((2, 3)))
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
        out = nl.ndarray(**_out((2, 128, 64)))
        for i in nl.static_range(2):
            nl.random_seed(7)
            nl.store(out[i], nl.rand((128, 64)))
        return out

    made = drawn()
    np.testing.assert_array_equal(made[0], made[1])
    assert made.min() >= 0 and made.max() < 1 and abs(made.mean() - 0.5) < 0.02
