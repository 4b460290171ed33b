"""Collectives: several ranks in simulation, one rank outside of a trace, mistakes."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.core.trace import trace_function
from nkipy.distributed import collectives as cc
from nkipy.runtime import simulate_jit
from nkipy.runtime.simulate import PerRank

RANKS = 4
ALL = [list(range(RANKS))]
PAIRS = [[0, 2], [1, 3]]


def data(shape=(4, 8), dtype=np.float32):
    rng = np.random.default_rng(0)
    return [rng.integers(-4, 5, shape).astype(dtype) for _ in range(RANKS)]


def on_all_ranks(kernel, arrays):
    return simulate_jit(world_size=RANKS)(kernel)(PerRank(arrays))


def check(results, expected):
    assert len(results) == RANKS
    for got, want in zip(results, expected):
        got = np.asarray(got)
        assert got.dtype == want.dtype and got.shape == want.shape
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.uint32, np.bool_])
@pytest.mark.parametrize("op", [np.add, np.multiply, np.maximum, np.minimum])
def test_all_reduce_combines_each_group(op, dtype):
    arrays = data((3, 2), dtype)
    results = on_all_ranks(lambda x: cc.all_reduce(x, PAIRS, op), arrays)
    even = op(arrays[0], arrays[2])
    odd = op(arrays[1], arrays[3])
    check(results, [even, odd, even, odd])


@pytest.mark.parametrize("dim", [0, -1])
def test_all_gather_joins_in_the_order_of_the_group(dim):
    arrays = data()
    results = on_all_ranks(lambda x: cc.all_gather(x, dim, [[2, 0], [1, 3]]), arrays)
    first = np.concatenate([arrays[2], arrays[0]], dim)
    second = np.concatenate([arrays[1], arrays[3]], dim)
    check(results, [first, second, first, second])


@pytest.mark.parametrize("dim", [0, -1])
def test_reduce_scatter_leaves_each_rank_its_part(dim):
    arrays = data()
    results = on_all_ranks(lambda x: cc.reduce_scatter(x, dim, ALL), arrays)
    check(results, np.split(np.add.reduce(arrays), RANKS, dim))


@pytest.mark.parametrize(
    ("split", "concat"), [(0, 1), (1, 0), (1, 1), (0, 0), (-1, -2)]
)
def test_all_to_all_divides_one_dimension_and_joins_another(split, concat):
    arrays = data()
    results = on_all_ranks(lambda x: cc.all_to_all(x, split, concat, ALL), arrays)
    parts = [np.split(a, RANKS, split) for a in arrays]
    expected = [
        np.concatenate([parts[source][rank] for source in range(RANKS)], concat)
        for rank in range(RANKS)
    ]
    check(results, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.bool_])
def test_broadcast_leaves_every_bit_of_one_rank_of_each_group(dtype):
    arrays = data((3, 2), dtype)
    if dtype is np.float32:
        arrays[1][0], arrays[2][0] = (-0.0, np.nan), (np.nan, -np.inf)
    results = on_all_ranks(lambda x: cc.broadcast(x, PAIRS, 1), arrays)
    check(results, [arrays[2], arrays[3], arrays[2], arrays[3]])
    assert np.array_equal(np.signbit(results[0]), np.signbit(arrays[2]))


def test_collective_permute_sends_zeros_to_ranks_without_a_source():
    arrays = data()
    pairs = [(0, 1), (1, 2), (3, 0)]
    results = on_all_ranks(lambda x: cc.collective_permute(x, pairs), arrays)
    check(results, [arrays[3], arrays[0], arrays[1], np.zeros_like(arrays[3])])


def test_rank_is_the_number_of_each_rank():
    results = on_all_ranks(lambda x: x + cc.rank(), data((2,), np.uint32))
    expected = [a + np.uint32(i) for i, a in enumerate(data((2,), np.uint32))]
    check(results, expected)


def test_outside_of_a_trace_every_rank_holds_the_same_data():
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    np.testing.assert_array_equal(cc.all_reduce(x, PAIRS), x * 2)
    np.testing.assert_array_equal(cc.all_reduce(x, PAIRS, np.multiply), x * x)
    np.testing.assert_array_equal(cc.all_reduce(x, PAIRS, np.maximum), x)
    np.testing.assert_array_equal(cc.all_gather(x, -1, PAIRS), np.hstack([x, x]))
    np.testing.assert_array_equal(cc.reduce_scatter(x, 1, PAIRS), x[:, :2] * 2)
    np.testing.assert_array_equal(
        cc.all_to_all(x, 1, 0, PAIRS), np.vstack([x[:, :2], x[:, :2]])
    )
    np.testing.assert_array_equal(cc.collective_permute(x, [(1, 0)]), x)
    np.testing.assert_array_equal(cc.collective_permute(x, [(0, 1)]), np.zeros_like(x))
    assert cc.rank() == 0


MISTAKES = [
    (lambda x: cc.all_gather(x, 2, ALL), np.exceptions.AxisError, "out of bounds"),
    (lambda x: cc.all_gather(x, 0, []), ValueError, "groups of one size"),
    (lambda x: cc.all_gather(x, 0, [[0, 1], [2]]), ValueError, "groups of one size"),
    (lambda x: cc.all_reduce(x, [[0, 1], [1, 2]]), ValueError, "twice"),
    (lambda x: cc.all_reduce(x, [[0, -1]]), ValueError, "negative"),
    (lambda x: cc.all_reduce(x, ALL, np.subtract), ValueError, "np.add"),
    (lambda x: cc.all_reduce(x, ALL, "add"), ValueError, "np.add"),
    (lambda x: cc.reduce_scatter(x, 0, [[0, 1, 2]]), ValueError, "does not divide"),
    (lambda x: cc.all_to_all(x, 1, 0, [[0, 1, 2]]), ValueError, "does not divide"),
    (lambda x: cc.broadcast(x, ALL, 4), ValueError, "place in a group of 4"),
    (lambda x: cc.broadcast(x, ALL, -1), ValueError, "place in a group of 4"),
    (lambda x: cc.collective_permute(x, [(0, 1), (2, 1)]), ValueError, "target"),
    (lambda x: cc.collective_permute(x, [(0, 1, 2)]), ValueError, "pairs"),
]


@pytest.mark.parametrize(("kernel", "error", "match"), MISTAKES)
def test_mistake_is_refused_traced_and_untraced(kernel, error, match):
    x = np.ones((4, 8), np.float32)
    with pytest.raises(error, match=match):
        trace_function(kernel, (x,), {})
    with pytest.raises(error, match=match):
        kernel(x)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: cc.all_reduce(x, ALL, op=np.maximum),
        lambda x: cc.all_gather(x, 0, ALL, tiled=True),
        lambda x: cc.all_to_all(x, 0, 1, ALL, op=np.maximum),
    ],
)
def test_unknown_keywords_are_no_silent_sum(call):
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        trace_function(call, (data()[0],), {})
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        call(data()[0])
