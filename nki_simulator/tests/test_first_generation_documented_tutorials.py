"""The kernels of the first generation's tutorials, in our own words."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest

from nki_simulator.tests.first_generation_cases import Cases, floats_of, in_hbm
from nkipy_nki.neuronxcc.nki import isa as nisa
from nkipy_nki.neuronxcc.nki import language as nl

floats = partial(floats_of, np.random.default_rng(0))
case = Cases()
A = floats(64, 48)


def _softmax(x: np.ndarray) -> np.ndarray:
    powers: np.ndarray = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


_LHS, _RHS = floats(256, 256), floats(256, 512)


@case(_LHS.T @ _RHS, _LHS, _RHS)
def a_tiled_product(lhs, rhs):
    """Tiles of a column are loaded once, by block dimensions."""
    depth, rows = lhs.shape
    out = nl.ndarray(**in_hbm((rows, rhs.shape[1])))
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
    out = nl.ndarray(**in_hbm((256, 512)))
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
    out = nl.ndarray(**in_hbm(a.shape))
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
    out = nl.ndarray(**in_hbm(a.shape))
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
    out = nl.ndarray(**in_hbm((8, 2, 3)))
    tile = nl.load(image)
    c, y, x, v, u = nl.mgrid[0:8, 0:2, 0:3, 0:3, 0:3]
    nl.store(out, nl.sum(tile[c, y * 3 + v, x * 3 + u], axis=[3, 4]) / 9)
    return out


@case(A.reshape(64, 6, 8).transpose(0, 2, 1).reshape(64, 48), A)
def free_dimensions_transposed(a):
    out = nl.ndarray(**in_hbm(a.shape))
    tile, made = nl.load(a), nl.ndarray(a.shape, a.dtype)
    p, i, j = nl.mgrid[0:64, 0:6, 0:8]
    made[p, j * 6 + i] = nl.copy(tile[p, i * 8 + j])
    nl.store(out, made)
    return out


_Q, _K, _V = (floats(256, 32) for _ in range(3))


@case(_softmax(_Q @ _K.T / math.sqrt(32)) @ _V, _Q, _K, _V)
def attention(q, k, v):
    out = nl.ndarray(**in_hbm(q.shape))
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
    out = nl.ndarray(**in_hbm((512, 32)))
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


@pytest.mark.parametrize("name", case)
def test_a_documented_example(name: str) -> None:
    case.check(name)
