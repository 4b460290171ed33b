"""What the first generation's documentation shows of instructions.

One case for each example, by what it shows, in kernels of our own.
"""

from __future__ import annotations

from functools import partial

import ml_dtypes
import numpy as np
import pytest

from nki_simulator.tests.first_generation_cases import Cases, floats_of, in_hbm
from nkipy_nki.neuronxcc.nki import isa as nisa
from nkipy_nki.neuronxcc.nki import language as nl

_RNG = np.random.default_rng(0)
floats = partial(floats_of, _RNG)
case = Cases()
A = floats(64, 48)
B = floats(64, 48)
COLUMN = floats(64, 1)


@case((np.exp(A), np.maximum(A * 5 + COLUMN, 0)), A, COLUMN)
def activations(a, bias):
    one, two = (nl.ndarray(**in_hbm(a.shape)) for _ in range(2))
    tile = nl.load(a)
    nl.store(one, nisa.activation(op=nl.exp, data=tile))
    nl.store(two, nisa.activation(op=nl.relu, data=tile, bias=nl.load(bias), scale=5.0))
    return one, two


_POWERS = np.exp(A * 0.5)


@case((_POWERS, _POWERS.sum(1, keepdims=True)), A)
def an_activation_and_its_sum(a):
    out, sums = nl.ndarray(**in_hbm(a.shape)), nl.ndarray(**in_hbm((64, 1)))
    total = nl.ndarray((64, 1), np.float32)
    made = nisa.activation_reduce(
        np.exp, nl.load(a), reduce_op=np.add, reduce_res=total, scale=0.5
    )
    nl.store(out, made)
    nl.store(sums, total)
    return out, sums


@case((A - 1, 1 - A, A * COLUMN + 2.5), A, COLUMN)
def scalars(a, column):
    outs = [nl.ndarray(**in_hbm(a.shape)) for _ in range(3)]
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
    total = nl.ndarray(**in_hbm(a.shape))
    most, less = nl.ndarray(**in_hbm((64, 1))), nl.ndarray(**in_hbm((64, 1)))
    x = nl.load(a)
    nl.store(total, nisa.tensor_tensor(x, nl.load(b), op=np.add))
    nl.store(most, nisa.tensor_reduce(np.max, x, axis=(1,), keepdims=True))
    nl.store(less, nisa.tensor_reduce(np.add, x, axis=[1], negate=True))
    return total, most, less


@case(A.sum(0, keepdims=True), A)
def a_sum_over_partitions(a):
    out = nl.ndarray(**in_hbm((1, 48)))
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
    out = nl.ndarray(**in_hbm(a.shape))
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
    outs = [nl.ndarray(**in_hbm(shape, np.int32)) for shape in shapes]
    for out, kind in zip(outs, kinds):
        nl.store(out, nisa.iota(kind, dtype=np.int32))
    return tuple(outs)


_LONG = floats(32, 96)


@case((_LONG.mean(1, keepdims=True), _LONG.var(1, keepdims=True)), _LONG)
def statistics_in_parts(a):
    mean, var = nl.ndarray(**in_hbm((32, 1))), nl.ndarray(**in_hbm((32, 1)))
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
    out = nl.ndarray(**in_hbm(a.shape))
    made = nl.zeros(shape=a.shape, dtype=a.dtype)
    p, f = nl.mgrid[0:64, 0:48]
    made[p, f] = nl.load(b)
    nisa.tensor_copy_predicated(src=nl.load(a), dst=made, predicate=nl.load(predicate))
    nl.store(out, made)
    return out


_CHOSEN = np.where(A > 0, A, np.float32(-7))


@case((_CHOSEN, _CHOSEN.max(1, keepdims=True)), (A > 0).astype(np.uint8), A)
def chosen_and_the_greatest(predicate, a):
    out, most = nl.ndarray(**in_hbm(a.shape)), nl.ndarray(**in_hbm((64, 1)))
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
    out, most = nl.ndarray(**in_hbm(a.shape)), nl.ndarray(**in_hbm((64, 1)))
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
    out = nl.ndarray(**in_hbm((1, 2, 8), np.int32))
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
    out = nl.ndarray(**in_hbm((128, 2, 16, 4)))
    made = nisa.local_gather(nl.load(buffer), nl.load(indices), 4, 32)
    nl.store(out, made)
    return out


_ROTATED = A[[(i - 1) % 32 for i in range(32)]]


@case(_ROTATED, A[:32].copy())
def partitions_rotated(a):
    out = nl.ndarray(**in_hbm((32, 48)))
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
    most, rest = nl.ndarray(**in_hbm((64, 8))), nl.ndarray(**in_hbm(a.shape))
    tile = nl.load(a)
    found = nisa.max8(src=tile)
    nl.store(most, found)
    nl.store(rest, nisa.nc_match_replace8(data=tile[:, :], vals=found, imm=-1.0))
    return most, rest


_OFFSETS = np.array([[4, 9, 2, 30]], np.int32)


@case(A[:, _OFFSETS[0]], A, _OFFSETS)
def columns_from_where_the_run_knows(a, offsets):
    out = nl.ndarray(**in_hbm((64, 4)))
    tile, at = nl.load(a), nl.load(offsets)
    made = nl.ndarray((64, 4), a.dtype)
    p, f = nl.mgrid[0:64, 0:1]
    for i in nl.affine_range(4):
        made[p, i] = nisa.tensor_copy_dynamic_src(tile[p, at[0, i] + f])
    nl.store(out, made)
    return out


@case(_BUFFER[:, [4, 9, 2, 30]], _BUFFER, _OFFSETS)
def blocks_from_where_the_run_knows(a, offsets):
    out = nl.ndarray(**in_hbm((128, 4, 4)))
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
    out = nl.ndarray(**in_hbm(a.shape))
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
    out = nl.ndarray(**in_hbm((64, 96)))
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
    out = nl.ndarray(**in_hbm((16, 64)))
    x, y = nl.load(a.view(nl.float8_e5m2)), nl.load(b.view(nl.float8_e5m2))
    nl.store(out, nisa.nc_matmul(x, y, perf_mode="double_row_gen3"))
    return out


@case((A.T, A[:32, :32].T), A)
def transposed_by_engines(a):
    one, two = nl.ndarray(**in_hbm((48, 64))), nl.ndarray(**in_hbm((32, 32)))
    tile = nl.load(a)
    nl.store(one, nisa.nc_transpose(tile))
    small = nisa.nc_transpose(tile[0:32, 0:32], engine=nisa.vector_engine)
    nl.store(two, small)
    return one, two


_CAUSAL = np.where(np.tril(np.ones((64, 64))) > 0, A @ A.T, np.float32(-9984))


@case(_CAUSAL, A @ A.T)
def a_causal_mask(scores):
    out = nl.ndarray(**in_hbm((64, 64)))
    q, k = nl.mgrid[0:64, 0:64]
    made = nisa.affine_select(
        pred=(q >= k), on_true_tile=nl.load(scores), on_false_value=-9984.0
    )
    nl.store(out, made)
    return out


@pytest.mark.parametrize("name", case)
def test_a_documented_example(name: str) -> None:
    case.check(name)
