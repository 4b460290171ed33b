"""Indexing beyond the samples: random indices, traced slices, sizes of programs."""

from __future__ import annotations

import copy
import random
from collections import Counter
from typing import Any

import numpy as np
import pytest

from nkipy.core.trace import trace_function
from nkipy.testing import compare, run_simulated
from tests.support.kernels import check_kernel

X = np.arange(24, dtype=np.float32).reshape(4, 6)


def opcodes(func: Any, *args: Any) -> Counter[str]:
    """How many instructions of each opcode the trace of `func` has."""
    entry = trace_function(func, args, {}).module.entry
    return Counter(i.opcode for i in entry.instructions if i.opcode != "parameter")


def largest_constant(func: Any, *args: Any) -> int:
    entry = trace_function(func, args, {}).module.entry
    literals = [
        i.attributes["literal"]
        for i in entry.instructions
        if not i.operands and i.opcode == "constant"
    ]
    return max((literal.size for literal in literals), default=0)


# -- random indices --------------------------------------------------------------------
class IndexMaker:
    """Random valid indices: every kind of entry, in any mixture."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def case(self) -> tuple[np.ndarray, Any, np.ndarray]:
        """An array, an index, and a value that can be stored there."""
        pick = self.random
        while True:
            shape = tuple(pick.choice([1, 2, 3, 4]) for _ in range(pick.randint(1, 4)))
            x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
            index = self.index(shape)
            try:
                selected = x[index].shape
            except IndexError:  # arrays that do not broadcast
                continue
            value = np.arange(int(np.prod(selected)), dtype=np.float32) + 100
            return x, index, value.reshape(selected)

    def index(self, shape: tuple[int, ...]) -> tuple[Any, ...]:
        pick, entries, axis = self.random, [], 0
        batch = pick.choice([(2,), (3,), (2, 3), (1,)])
        while axis < len(shape):
            kind = pick.random()
            if kind < 0.12:
                entries.append(None)
                continue
            if kind < 0.18 and not any(e is Ellipsis for e in entries):
                entries.append(Ellipsis)
                axis += pick.randint(0, len(shape) - axis)
                continue
            if kind > 0.95:
                rank = pick.randint(1, len(shape) - axis)
                entries.append(self.mask(shape[axis : axis + rank]))
                axis += rank
                continue
            entries.append(self.entry(kind, shape[axis], batch))
            axis += 1
        return tuple(entries)

    def entry(self, kind: float, size: int, batch: tuple[int, ...]) -> Any:
        pick = self.random
        if kind < 0.4:
            return pick.randrange(-size, size)
        if kind < 0.65:
            bounds = [None, *range(-size - 1, size + 2)]
            step = pick.choice([None, 1, 2, -1, -2, 3])
            return slice(pick.choice(bounds), pick.choice(bounds), step)
        shape = tuple(pick.choice([d, 1]) for d in batch)
        values = [pick.randrange(-size, size) for _ in range(int(np.prod(shape)))]
        array = np.array(values, np.int32).reshape(shape)
        return array if kind < 0.8 else array.tolist()  # lists stay static

    def mask(self, shape: tuple[int, ...]) -> Any:
        values = [self.random.random() < 0.5 for _ in range(int(np.prod(shape)))]
        return np.array(values).reshape(shape).tolist()


@pytest.mark.parametrize(
    ("seed", "count"),
    [
        (11, 40),
        (12, 40),
        pytest.param(11, 80, marks=pytest.mark.slow),
        pytest.param(12, 80, marks=pytest.mark.slow),
    ],
)
def test_random_indices_read_and_store_as_numpy(seed, count):
    maker = IndexMaker(seed)
    cases = [maker.case() for _ in range(count)]

    def kernel(cases: Any) -> Any:
        results = []
        for x, index, value in cases:
            read = x[index] * 1
            x[index] = value
            results.append((read, x))
        return results

    got = run_simulated(kernel, copy.deepcopy(cases))
    want = kernel(copy.deepcopy(cases))
    for case, ours, theirs in zip(cases, got, want):
        compare(ours, theirs, label=f"{case[0].shape}[{case[1]}]")


def test_separated_advanced_indices_go_first():
    def kernel(x: Any) -> Any:
        z = x.reshape(4, 3, 2)
        return (
            z[:, [0] * 5, ..., [1] * 5],
            z[[0] * 5, ..., [1] * 5],
            z[[0, 1], None, [1, 2]],
            z[0, :, [0, 1, 1]],
        )

    check_kernel(kernel, X)


# -- out of range ----------------------------------------------------------------------
def _put(x: Any, i: Any) -> Any:
    np.put(x, i, 99)
    return x


def _put_along(x: Any, i: Any) -> Any:
    np.put_along_axis(x, i, np.float32(99), 0)
    return x


def _store(x: Any, i: Any) -> Any:
    x[i] = 99
    return x


@pytest.mark.parametrize(
    ("index", "nearest"),
    [
        (np.int32(-7), 0),
        (np.int32(-12), 0),
        (np.int32(6), 5),
        (np.uint32(6), 5),
        (np.uint32(2**31), 5),
        (np.uint32(2**32 - 1), 5),
        (np.int8(-128), 0),
        (np.uint8(255), 5),
    ],
    ids=str,
)
def test_traced_indices_out_of_range_read_the_nearest_and_store_nowhere(index, nearest):
    x, i = X[0].copy(), np.array([index])
    reads = [
        lambda x, i: x[i],
        lambda x, i: np.take(x, i),
        lambda x, i: np.take_along_axis(x, i, 0),
        lambda x, i: x[i[0]].reshape(1),
    ]
    for read in reads:
        assert run_simulated(read, x, i).tolist() == [x[nearest]]
    for store in (_store, _put, _put_along):
        np.testing.assert_array_equal(run_simulated(store, x.copy(), i), x)


# -- traced slices ---------------------------------------------------------------------
@pytest.mark.parametrize("t", [0, 1, -3])
def test_traced_start_with_static_length(t):
    def kernel(x: Any, t: Any) -> Any:
        u = t * 1
        return (
            x[t : t + 2],
            x[u : u + 2, u],
            x[:, t + 3 : 5 + t],
            x[t : 1 + t + 1, ::-2],
            x[t : t + 2 : 2],
        )

    check_kernel(kernel, X, np.array(t, np.int32))


def test_slice_of_a_loop_counter_times_a_block():
    def kernel(x: Any, t: Any) -> Any:
        return x[:, t * 2 : (t + 1) * 2]

    check_kernel(kernel, X, np.array(2, np.int16))


def test_store_at_traced_start():
    def kernel(x: Any, y: Any, t: Any) -> Any:
        x[t : t + 2] = y
        x[:, t : t + 1] += 1
        x[t, t : t + 4 : 2] = 0
        x[t, 1] = 9
        return x

    check_kernel(
        kernel, X.copy(), np.full((2, 6), 7, np.float32), np.array(1, np.int32)
    )


@pytest.mark.parametrize(
    "index",
    [
        lambda t: slice(t, None),
        lambda t: slice(None, t),
        lambda t: slice(t, 3),
        lambda t: slice(t, t * 2),
        lambda t: slice(t, t + 3, t),
    ],
)
def test_slice_of_unknown_length_is_refused_with_the_way_out(index):
    def kernel(x: Any, t: Any) -> Any:
        return x[index(t)]

    with pytest.raises(NotImplementedError, match=r"np\.where\(np\.arange"):
        trace_function(kernel, (X, np.array(1, np.int32)), {})


def test_traced_slice_longer_than_the_axis():
    def kernel(x: Any, t: Any) -> Any:
        return x[t : t + 5]

    with pytest.raises(IndexError, match="5 elements .* axis of size 4"):
        trace_function(kernel, (X, np.array(0, np.int32)), {})


# -- masks -----------------------------------------------------------------------------
def test_traced_mask_stores():
    def kernel(x: Any, row: Any) -> Any:
        x[x > 20] = -1
        x[x[:, 0] > 10] = row
        x[1, x[1] > 8] = 0
        x[:, row > 2] = x[:, :1]
        x[row[:4] > 1, 2:4] = 5
        return x

    check_kernel(kernel, X.copy(), np.arange(6, dtype=np.float32))


def test_static_mask_from_a_traced_kernel_is_static():
    mask = X[:, 0] > 5

    def kernel(x: Any) -> Any:
        return x[mask], x[~mask, 1:3]

    check_kernel(kernel, X)


def test_mask_of_another_shape_is_refused():
    def kernel(x: Any) -> None:
        x[x[:, :3] > 0] = 0

    with pytest.raises(IndexError, match="boolean index did not match"):
        trace_function(kernel, (X,), {})


# -- what programs consist of ----------------------------------------------------------
def test_whole_slices_emit_nothing():
    assert opcodes(lambda x: x[:] + x[...], X) == {"add": 1}


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        (lambda x: x[2], {"slice": 1, "reshape": 1}),
        (lambda x: x[::-1], {"reverse": 1}),
        (lambda x: x[[0, 3, 1]], {"constant": 1, "gather": 1}),
        (lambda x: x[[1, 2, 3]], {"slice": 1}),
        (lambda x: x[:, None], {"reshape": 1}),
    ],
)
def test_reads_are_few_instructions(kernel, expected):
    assert opcodes(kernel, X) == expected


def test_strided_store_into_a_large_array_is_small():
    def kernel(x: Any) -> None:
        x[::2, ::2] = 0

    large = np.empty((2048, 2048), np.float32)
    assert sum(opcodes(kernel, large).values()) <= 8
    assert largest_constant(kernel, large) == 1


def test_contiguous_store_is_one_update():
    def kernel(x: Any, y: Any) -> None:
        x[1:3, 2:4] = y

    found = opcodes(kernel, X, np.zeros((2, 2), np.float32))
    assert found["dynamic-update-slice"] == 1
    assert set(found) == {"constant", "dynamic-update-slice"}


def test_augmented_store_updates_once():
    def kernel(x: Any) -> None:
        x[1] += 1

    assert opcodes(kernel, X)["dynamic-update-slice"] == 1


# -- values ----------------------------------------------------------------------------
def test_stored_values_are_cast_as_numpy_assigns():
    def kernel(i: Any, b: Any, y: Any) -> Any:
        i[0] = 3.7
        i[1] = y[1] * 2.5
        i[2] = np.float64(-2.9)
        i[3:] = [5]
        b[0] = 2
        b[1:] = y[1:3]
        return i, b

    check_kernel(
        kernel,
        np.zeros((4,), np.int8),
        np.zeros(3, bool),
        np.arange(3, dtype=np.float32),
    )


def test_last_of_several_stores_to_one_place_wins():
    order = [5, 1, 5, 3, 1, 5]

    def kernel(x: Any, y: Any) -> Any:
        x[order] = y
        x[[[2, 2], [2, 2]], [[1, 0], [0, 1]]] = y[:2] + 50
        return x

    y = np.arange(12, dtype=np.float32).reshape(6, 2)
    check_kernel(kernel, np.zeros((6, 2), np.float32), y)


def test_failing_store_names_shapes_and_line():
    def kernel(x: Any) -> None:
        x[0] = np.zeros(5, np.float32)

    with pytest.raises(ValueError, match=r"\(5,\) into shape \(6,\)") as caught:
        trace_function(kernel, (X,), {})
    assert "test_indexing.py" in str(caught.value)


def test_taking_from_a_plain_array_with_traced_indices():
    table = np.arange(5.0)

    def kernel(t: Any) -> Any:
        return np.take(table, t)

    got = run_simulated(kernel, np.array([4, -1, 0], np.int32))
    np.testing.assert_array_equal(got, np.array([4, 4, 0], np.float32))
    assert got.dtype == np.float32


def test_ix_and_index_helpers():
    def kernel(x: Any) -> Any:
        square = x[:, :4]
        square[np.diag_indices(4)] = -1
        x[np.tril_indices(4, -1)] = 0
        return x[np.ix_([0, 2], [5, 1])], x[np.triu_indices(3)], x

    check_kernel(kernel, X.copy())
