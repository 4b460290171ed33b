"""Results lie in memory as NumPy's do, which decides whether a reshape is a view."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from nkipy.core import dtypes as dt
from nkipy.core.known_tensor import KnownTensor
from nkipy.core.ops._registry import OPS, Op
from nkipy.core.ops._samples import Sample
from nkipy.core.tensor import NKIPyTensorRef
from nkipy.core.trace import trace_function
from nkipy.core.tree import map_tree
from nkipy.runtime import baremetal_jit, simulate_jit
from nkipy.testing import check_kernel, run_simulated

X = np.arange(1, 7, dtype=np.float32).reshape(2, 3)
Y = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
T = np.array(1, np.int32)


# -- every op --------------------------------------------------------------------------
#: How the axes of a sample's arrays lie in memory, from slowest to fastest: by the
#: number of the array among the sample's, and how many axes it has.
ORDERS: dict[str, Callable[[int, int], list[int]]] = {
    "C": lambda i, ndim: list(range(ndim)),
    "F": lambda i, ndim: list(range(ndim))[::-1],
    "rolled": lambda i, ndim: [*range(1, ndim), *range(min(ndim, 1))],
    "first C": lambda i, ndim: ORDERS["F" if i else "C"](i, ndim),
    "first F": lambda i, ndim: ORDERS["C" if i else "F"](i, ndim),
    "gaps": lambda i, ndim: list(range(ndim)),
}


def _held(sample: Sample, order: str) -> Any:
    """The sample's arrays as C-contiguous ones, of which `_taken` takes views."""
    numbers = iter(range(1000))

    def hold(path: Any, leaf: Any) -> Any:
        if not isinstance(leaf, np.ndarray) or not leaf.ndim:
            return leaf
        axes = ORDERS[order](next(numbers), leaf.ndim)
        if order == "gaps":
            for axis in axes:
                leaf = leaf.repeat(2, axis)
        return np.ascontiguousarray(leaf.transpose(axes))

    return map_tree(hold, copy.deepcopy((sample.args, sample.kwargs)))


def _taken(held: Any, order: str) -> Any:
    numbers = iter(range(1000))

    def take(path: Any, leaf: Any) -> Any:
        if not isinstance(leaf, (np.ndarray, NKIPyTensorRef)) or not leaf.ndim:
            return leaf
        axes = ORDERS[order](next(numbers), leaf.ndim)
        if order == "gaps":
            return leaf[(..., *(slice(None, None, 2),) * leaf.ndim)]
        return leaf.transpose(sorted(range(leaf.ndim), key=axes.__getitem__))

    return map_tree(take, held)


def _arrays(tree: Any) -> Iterator[Any]:
    if isinstance(tree, (list, tuple)):
        for part in tree:
            yield from _arrays(part)
    elif isinstance(tree, dict):
        yield from _arrays(list(tree.values()))
    elif isinstance(tree, (np.ndarray, NKIPyTensorRef)) and tree.ndim:
        yield tree


def _memory(array: Any) -> int:
    """What tells whether two arrays share memory."""
    if isinstance(array, KnownTensor):
        return id(array._memory)
    if isinstance(array, NKIPyTensorRef):
        return id(array._root())
    while isinstance(array.base, np.ndarray):
        array = array.base
    return id(array)


def _observed(function: Callable[..., Any], held: Any, order: str) -> list[Any]:
    """Of each result: its shape, its strides, and which arguments it shares with."""
    args, kwargs = _taken(held, order)
    given = [_memory(array) for array in _arrays([args, kwargs])]
    made = list(_arrays(function(*args, **kwargs)))
    return [
        (
            array.shape,
            0 in array.shape
            or [
                stride // array.dtype.itemsize
                for d, stride in zip(array.shape, array.strides)
                if d > 1
            ],
            [i for i, memory in enumerate(given) if memory == _memory(array)],
        )
        for array in made
    ]


def _traced(function: Callable[..., Any], held: Any, order: str) -> list[Any]:
    got: list[Any] = []

    def kernel(held: Any) -> None:
        got.extend(_observed(function, held, order))

    trace_function(kernel, (held,), {})
    return got


def _differences(op: Op, order: str) -> Iterator[str]:
    assert op.samples is not None
    dtype = dt.float32 if dt.float32 in op.dtypes else op.dtypes[0]
    for sample in op.samples(dtype):
        held = _held(sample, order)
        plain = op.reference if sample.label.startswith("static") else None
        plain = plain or next(op.in_numpy())
        want = _observed(plain, copy.deepcopy(held), order)
        got = _traced(op, held, order)
        if got != want:
            yield f"{op.name}, {sample.label}: {got}, but NumPy's {want}"


#: All that have results, rather than write into an argument.
SAMPLED = [
    op
    for op in OPS.values()
    if op.samples is not None and op.reference and op.writes == ("out",)
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "order",
    [pytest.param(o, marks=[] if o == "F" else pytest.mark.slow, id=o) for o in ORDERS],
)
def test_results_have_numpys_strides_and_share_what_numpys_share(order: str) -> None:
    with np.errstate(all="ignore"):
        found = [text for op in SAMPLED for text in _differences(op, order)]
    assert not found, "\n".join(found)
    assert len(SAMPLED) > 250


def test_methods_of_ufuncs() -> None:
    calls: list[Callable[[Any], Any]] = [
        lambda y: np.add.reduce(y, axis=1, keepdims=True),
        lambda y: np.maximum.reduce(y, axis=0),
        lambda y: np.add.accumulate(y, axis=1),
        lambda y: np.multiply.outer(y, y[0]),
        lambda y: np.add.reduceat(y, [0, 1], axis=1),
    ]
    for order in ("C", "F", "rolled"):
        held = _held(Sample((Y,)), order)
        for number, call in enumerate(calls):
            want = _observed(call, copy.deepcopy(held), order)
            assert _traced(call, held, order) == want, (number, order)


# -- what a program can see of it ------------------------------------------------------
def test_stores_through_reshapes_of_results() -> None:
    def kernel(a: Any, b: Any) -> Any:
        kept = []
        for r in (
            a.T + 1,
            1 - a[:, ::2],
            np.add(a.T, a.T[:1], order="C"),
            np.add(a, 1, order="F"),
            np.where(a.T > 2, a.T, 0),
            a.T.astype(np.int32),
            a.T.copy(),
            np.copy(a.T),
            copy.copy(a.T),
            np.zeros_like(a.T),
            np.full_like(a, 2, order="F"),
            a[:, [0, 2]],
            np.sort(a.T, axis=0),
            np.concatenate([a.T, a.T]),
            np.stack([a.T, a.T]),
            np.array([a.T, a.T]),
            b.T.sum(axis=0),
            np.cumsum(b.T, axis=1),
            np.matmul(
                b.transpose(1, 0, 2)[..., None, :], b.transpose(1, 0, 2)[..., None]
            ),
            np.add([[1], [2], [3]], a.T),
            a[::-1].astype(np.float32, order="A", copy=False),
        ):
            flat, column = r.reshape(-1), r.ravel(order="F")
            kept.append(np.add(flat, 0))
            flat[1] = 99
            column[0] = 77
            r.ravel(order="K")[2] = 55
            r.reshape(-1, order="A")[3] = 33
            kept.append((r, flat, column))
        return kept

    check_kernel(kernel, X, Y, modes="simulate")


def test_stores_through_reshapes_on_the_device() -> None:
    def kernel(a: Any) -> Any:
        r, s = a.T + 1, a[:, [0, 2]]
        r.reshape(-1)[0], s.ravel()[0] = 99, 99
        np.add(a, 1, order="F").T.reshape(-1)[0] = a[0, 0]
        return r, s

    check_kernel(kernel, X)


def test_strides() -> None:
    def strides(a: Any) -> list[Any]:
        r = np.exp(a.T)
        others = [r * a.T, r + a.reshape(3, 2), r + a.T[:1], r[None], np.ones_like(r)]
        return [x.strides for x in (r, r.T, *others)]

    got = []
    trace_function(lambda a: got.extend(strides(a)), (X,), {})
    assert got == strides(X)


def test_arrays_from_outside_have_their_order() -> None:
    table = np.asfortranarray(X)

    def kernel(a: Any, row: Any) -> Any:
        r, s = row + table, a + table
        r.reshape(-1)[0], s.reshape(-1)[0] = 9, 9
        return r, s

    check_kernel(kernel, X, X[0], modes="simulate")


#: Views of an array of 4 x 6, which lie in memory in other ways than C's or have gaps.
VIEWS: list[Callable[[np.ndarray], np.ndarray]] = [
    lambda x: x,
    lambda x: x.T,
    lambda x: x[::-1],
    lambda x: x[:, ::2],
    lambda x: x[1:3],
    lambda x: x[:, 1],
    lambda x: x.reshape(2, 3, 4).transpose(1, 0, 2),
    lambda x: x.T.astype(np.int64),
]


@pytest.mark.parametrize("jit", [simulate_jit, baremetal_jit])
@pytest.mark.filterwarnings("ignore:argument")  # of 64 bits
def test_arguments_lie_as_the_callers_arrays_do(jit: Callable[..., Any]) -> None:
    def kernel(tree: dict[str, np.ndarray], y: np.ndarray) -> Any:
        x = tree["x"]
        flat, turned = x.reshape(-1), y.T.ravel()
        flat[0] = 7
        turned += 1
        return x.ravel("K"), x.ravel("A"), (y * 2).ravel("K"), y.T.reshape(-1)

    compiled = jit(kernel)
    for take in VIEWS:
        ours, theirs = (
            [take(np.arange(24, dtype=np.int32).reshape(4, 6)) for _ in range(2)]
            for _ in range(2)
        )
        result = compiled({"x": ours[0]}, ours[1])
        expected = kernel({"x": theirs[0]}, theirs[1])
        for mine, numpys in zip((*result, *ours), (*expected, *theirs)):
            np.testing.assert_array_equal(mine, numpys)


@pytest.mark.parametrize("jit", [simulate_jit, baremetal_jit])
def test_arguments_that_differ_in_strides_share_what_computes(
    jit: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = jit(lambda x: x * 2)
    made = []
    executable = compiled._executable
    monkeypatch.setattr(
        compiled,
        "_executable",
        lambda module: made.append(module) or executable(module),
    )
    for width in (4, 5, 6):
        x = np.arange(3 * width, dtype=np.int32).reshape(3, width)[:, :3]
        np.testing.assert_array_equal(compiled(x), x * 2)
    assert len(made) == 1 and compiled.cache_size() == 3


def test_fields_of_records_lie_apart() -> None:
    field = np.zeros(4, [("number", np.float32), ("flag", np.int8)])["number"]

    def kernel(x: np.ndarray) -> np.ndarray:
        flat = x.reshape(2, 2)
        flat[1, 0] = 3
        return x * 2

    assert simulate_jit(kernel)(field).tolist() == [0, 0, 6, 0]
    assert field.tolist() == [0, 0, 3, 0]


def test_asarray_with_another_dtype_is_a_copy() -> None:
    def kernel(a: Any) -> Any:
        b, c = np.asarray(a, dtype=float), a.astype(np.float64, copy=False)
        b[0], c[1] = 5, 6
        return a + 0, (b + c).astype(np.float32)

    check_kernel(kernel, X, modes="simulate")


@pytest.fixture
def unordered() -> Iterator[Op]:
    """An op that NumPy cannot be asked about."""
    op = Op("tests.unordered", register=True)
    op.impl("hlo")(lambda x: OPS["copy"](x))
    yield op
    op.unregister()


def test_where_the_order_is_not_known_only_what_depends_on_it_is_refused(
    unordered: Op,
) -> None:
    def read(a: Any) -> Any:
        r = unordered(a.T)
        return r.reshape(-1), r[:, None], np.squeeze(r + 1), r.ravel() * 2, r.T.copy()

    flat, inserted, *_ = run_simulated(read, X)
    np.testing.assert_array_equal(flat, X.T.ravel())
    np.testing.assert_array_equal(inserted, X.T[:, None])

    def store(a: Any, change: Callable[[Any, Any], Any]) -> Any:
        r = unordered(a.T) + 1
        return change(r, r.reshape(-1))

    def through(r: Any, flat: Any) -> Any:
        flat[0] = 1
        return r

    def before(r: Any, flat: Any) -> Any:
        r[0] = 1
        return flat + 1

    changes: list[Callable[[Any, Any], Any]] = [
        through,
        before,
        lambda r, flat: r.strides,
        lambda r, flat: r.ravel(order="K"),
        lambda r, flat: r.reshape(-1, copy=False),
    ]
    for change in changes:
        with pytest.raises(NotImplementedError, match=r"add.*not known.*\.copy\(\)"):
            run_simulated(store, X, change)

    def copied(a: Any) -> Any:
        r = (unordered(a.T) + 1).copy()
        r.reshape(-1)[0] = 9
        return r

    assert run_simulated(copied, X)[0, 0] == 9


def test_a_users_function_is_not_called_to_learn_the_order() -> None:
    calls = []

    def function(x: Any) -> Any:
        calls.append(type(x))
        return x * 2

    def strides(a: Any) -> Any:
        return np.piecewise(a.T, [a.T > 2], [function, 1]).strides

    got = []
    trace_function(lambda a: got.append(strides(a)), (X,), {})
    assert calls == [NKIPyTensorRef] and got == [strides(X)]


def test_low_precision_results_have_an_order_too() -> None:
    def kernel(a: Any) -> Any:
        r = np.exp(a.T) + a.T
        r.reshape(-1)[0] = 9
        return r

    check_kernel(kernel, X.astype(ml_dtypes.bfloat16), modes="simulate")


# -- views of arrays made inside -------------------------------------------------------
def test_functions_of_known_and_traced_arrays_give_views() -> None:
    def kernel(a: Any, t: Any) -> Any:
        t = t + 0  # a scalar of NumPy's, by which an index is a view
        made = [np.zeros((2, 3), np.float32) for _ in range(8)]
        made[0][t][0] = 5
        row = made[1][t]
        made[1][1] = 7  # which stays known
        made[2][:, t].reshape(-1)[1] = a[0, 0]
        first, _ = np.broadcast_arrays(made[3], a)
        made[3][0] = a[0]
        wide, _ = np.broadcast_arrays(made[4][:1], a)
        made[4][0] = a[1]
        deep, _ = np.atleast_3d(made[5], a)
        deep[0, 1] = a[0, 0]
        line = np.zeros(3, np.float32)
        grid, _ = np.meshgrid(line, a[0], sparse=True, copy=False)
        grid[0, 1] = 4
        part = made[6].T[t : t + 2]
        made[6][...] = a
        part[0] += 1
        return made, row, first + 0, wide + 0, line, part

    check_kernel(kernel, X, T)


def test_a_view_by_a_traced_index_keeps_the_array_known() -> None:
    def kernel(a: Any, t: Any) -> Any:
        table = np.arange(6, dtype=np.float32).reshape(2, 3)
        row = table[t + 0]
        table[1] *= 2
        assert table.sum() == 3 + 24
        return row * a, row[int(table[0, 1])]

    check_kernel(kernel, X, T, modes="simulate")


def test_grids_that_are_not_copied_are_views() -> None:
    def kernel(a: Any) -> Any:
        row, column = a[0], a[:, 0]
        grid = np.meshgrid(row, column, copy=False)
        sparse = np.meshgrid(row, column, sparse=True, copy=False)
        kept = np.meshgrid(row, column)
        open_mesh = np.ix_(np.int32([0, 1]), np.int32([1, 2]))
        row[1] = 9
        sparse[1][0] = 8
        return [g + 0 for g in grid], sparse, kept, a[open_mesh]

    check_kernel(kernel, X, modes="simulate")
