"""Instructions of the first generation, which return what they compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nkipy_nki.neuronxcc import nki
from nkipy_nki.neuronxcc.nki import isa as nisa
from nkipy_nki.neuronxcc.nki import language as nl


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


X, Y = random(32, 24), random(32, 24, seed=1)
COLUMN = random(32, 1, seed=2)


def run(body: Callable[..., Any], *arrays: np.ndarray) -> np.ndarray:
    """What instructions on tiles of some arrays return."""

    @nki.jit
    def kernel(*tensors):
        made = body(*(nl.load(tensor) for tensor in tensors))
        out = nl.ndarray(made.shape, made.dtype, buffer=nl.shared_hbm)
        nl.store(out, made)
        return out

    made: np.ndarray = kernel(*arrays)
    return made


def _softplus_of_scaled(x: Any, column: Any) -> Any:
    return nisa.activation(nl.sigmoid, x, bias=column, scale=0.5)


def _statistics(x: Any) -> Any:
    return nisa.bn_aggr(nisa.bn_stats(x))


def _found(x: Any) -> Any:
    return nisa.nc_find_index8(data=x, vals=nisa.max8(src=x))


def _replaced(x: Any) -> Any:
    return nisa.nc_match_replace8(data=x, vals=nisa.max8(src=x), imm=-9.0)


def _shuffled(x: Any) -> Any:
    made = nl.ndarray(x.shape, x.dtype)
    nisa.nc_stream_shuffle(x, made, [31 - i for i in range(32)])
    return made


def _summed_too(x: Any) -> Any:
    total = nl.ndarray((32, 1), nl.float32)
    nisa.tensor_scalar_reduce(
        data=x,
        op0=np.multiply,
        operand0=2.0,
        reduce_op=np.add,
        reduce_res=total,
    ).settle()
    return total


def _predicated(x: Any, y: Any) -> Any:
    made = nl.copy(y)
    nisa.tensor_copy_predicated(src=x, dst=made, predicate=nl.greater(x, y))
    return made


def _below_the_diagonal(x: Any) -> Any:
    i_p, i_f = nl.mgrid[0:32, 0:24]
    return nisa.affine_select(i_p > i_f, x, -1.0)


def _in_range(x: Any) -> Any:
    low, high = nl.full((32, 1), 3, nl.float32), nl.full((32, 1), 9, nl.float32)
    return nisa.range_select(
        on_true_tile=x,
        comp_op0=np.greater_equal,
        comp_op1=np.less,
        bound0=low,
        bound1=high,
    )


def _order(x: np.ndarray) -> np.ndarray:
    return np.argsort(-x, axis=1, kind="stable")[:, :8]


def _without_eight(x: np.ndarray) -> np.ndarray:
    made = x.copy()
    np.put_along_axis(made, _order(x), -9.0, axis=1)
    return made


LOWEST = np.finfo(np.float32).min
WHERE = np.arange(24)
CASES: dict[str, tuple[Callable[..., Any], tuple[np.ndarray, ...], np.ndarray]] = {
    "activation": (
        _softplus_of_scaled,
        (X, COLUMN),
        1 / (1 + np.exp(-(X * 0.5 + COLUMN))),
    ),
    "tensor_tensor": (lambda x, y: nisa.tensor_tensor(x, y, np.add), (X, Y), X + Y),
    "tensor_scalar": (
        lambda x, c: nisa.tensor_scalar(
            x, np.subtract, c, reverse0=True, op1=np.maximum, operand1=0.25
        ),
        (X, COLUMN),
        np.maximum(COLUMN - X, 0.25),
    ),
    "scalar_tensor_tensor": (
        lambda x, y: nisa.scalar_tensor_tensor(
            data=x, op0=np.multiply, operand0=3.0, op1=np.subtract, operand1=y
        ),
        (X, Y),
        X * 3 - Y,
    ),
    "tensor_scalar_reduce": (_summed_too, (X,), 2 * X.sum(1, keepdims=True)),
    "tensor_reduce": (
        lambda x: nisa.tensor_reduce(np.min, x, axis=1, negate=True),
        (X,),
        -X.min(1, keepdims=True),
    ),
    "partitions": (
        lambda x: nisa.tensor_partition_reduce(np.add, x),
        (X,),
        X.sum(0, keepdims=True),
    ),
    "reciprocal": (lambda x: nisa.reciprocal(x), (X,), 1 / X),
    "statistics": (
        _statistics,
        (X,),
        np.stack([X.mean(1), X.var(1)], axis=1),
    ),
    "max8": (lambda x: nisa.max8(src=x), (X,), -np.sort(-X, axis=1)[:, :8]),
    "find8": (_found, (X,), _order(X)),
    "replace8": (_replaced, (X,), _without_eight(X)),
    "shuffle": (_shuffled, (X,), X[::-1]),
    "predicated": (_predicated, (X, Y), np.maximum(X, Y)),
    "affine_select": (_below_the_diagonal, (X,), np.where(np.tri(32, 24, -1), X, -1)),
    "range_select": (_in_range, (X,), np.where((WHERE >= 3) & (WHERE < 9), X, LOWEST)),
    "memset": (lambda: nisa.memset((4, 3), 2.5, nl.float32), (), np.full((4, 3), 2.5)),
    "where": (lambda x, y: nl.where(nl.less(x, y), x, y), (X, Y), np.minimum(X, Y)),
    "broadcast": (
        lambda x, c: x * c,
        (X, COLUMN),
        X * COLUMN,
    ),
    "power": (lambda x: nl.abs(x) ** 2.0, (X,), X * X),
    "compare": (lambda x, y: x < y, (X, Y), X < Y),
}


@pytest.mark.parametrize("body, arrays, wanted", CASES.values(), ids=CASES)
def test_an_instruction_gives_what_numpy_does(
    body: Callable[..., Any], arrays: tuple[np.ndarray, ...], wanted: np.ndarray
) -> None:
    got = run(body, *arrays)
    assert got.shape == wanted.shape
    np.testing.assert_allclose(np.float64(got), wanted, rtol=1e-4, atol=1e-5)


def test_a_row_is_broadcast_over_partitions() -> None:
    row = random(1, 24, seed=3)
    np.testing.assert_array_equal(run(lambda x, r: x + r, X, row), X + row)
    np.testing.assert_array_equal(run(lambda r, c: r * c, row, COLUMN), row * COLUMN)
