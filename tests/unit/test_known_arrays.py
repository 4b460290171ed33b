"""Arrays made inside a kernel: NumPy's while their values are known, then traced."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
import re
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import scipy.interpolate
import scipy.linalg
import scipy.ndimage
import scipy.spatial
import scipy.special

from nkipy.core.errors import ConcretizationError, NKIPyError
from nkipy.core.known_tensor import KnownTensor
from nkipy.core.tensor import NKIPyTensorRef
from nkipy.core.trace import trace_function
from nkipy.runtime import baremetal_jit, simulate_jit
from nkipy.testing import check_kernel

X = np.arange(12, dtype=np.float32).reshape(3, 4) + 1
windows = np.lib.stride_tricks.sliding_window_view
BOTH = "simulate", "baremetal"
TABLE = np.float32([70, 1, 1])
strided = np.lib.stride_tricks.as_strided  # as a program that imports it by name


def check(kernel: Callable[..., Any], *args: Any, modes: Any = "simulate") -> None:
    check_kernel(kernel, *(args or (X,)), modes=modes)


def known() -> Any:
    return np.arange(12, dtype=np.float32).reshape(3, 4)


def trace(kernel: Callable[..., Any]) -> None:
    trace_function(kernel, (X,), {})


def refused(use: Callable[[Any], Any], match: str, error: type = NKIPyError) -> None:
    """Check that `use` of an array that holds traced values says so, at its line."""

    def kernel(x: Any) -> None:
        p = known()
        p[0] = x[0]
        use(p)

    with pytest.raises(error, match=match) as caught:
        trace(kernel)
    assert isinstance(caught.value, NKIPyError)
    _, line = inspect.getsourcelines(use)
    assert re.search(rf"test_known_arrays\.py:({line}|{line + 1})\b", str(caught.value))


# -- what a known array is -------------------------------------------------------------
def test_it_is_to_a_kernel_what_the_arguments_are():
    def kernel(x: Any) -> Any:
        p = np.zeros(3, np.float32)
        assert not isinstance(p, np.ndarray) and not isinstance(x, np.ndarray)
        assert isinstance(p, NKIPyTensorRef) and type(p) is KnownTensor
        view = p[1:]
        p[0] = x[0, 0]
        assert type(p) is type(view) is type(x)
        return p

    trace(kernel)


def test_attributes_are_the_arrays():
    array = known()

    def kernel(x: Any) -> Any:
        p = known()
        for name in "shape dtype ndim size itemsize nbytes strides device".split():
            assert getattr(p, name) == getattr(array, name), name
            assert getattr(p.T, name) == getattr(array.T, name), name
        assert p.T.flags.f_contiguous and p.flags.writeable and p.flags.c_contiguous
        assert np.zeros(3).base is None and (p.base == p.reshape(-1)[:, None].T).all()
        p.shape = 4, 3
        p.flat = 7
        p.flat[2] = 1
        assert p.shape == (4, 3) and str(p[0]) == "[7. 7. 1.]"
        return p * x[0, :3]

    trace(kernel)


def test_functions_return_the_array_itself_where_numpy_does():
    def kernel(x: Any) -> Any:
        p = known()
        for same in (np.asarray, np.asanyarray, np.ascontiguousarray, np.atleast_1d):
            assert same(p) is p
        assert p.astype(np.float32, copy=False) is p and np.add(p, 1, out=p) is p
        q = p
        q += 1
        assert q is p and p.conj() is p
        return x + p

    check(kernel)


@pytest.mark.parametrize(
    ("use", "error"),
    [
        (lambda p: p[5], IndexError),
        (lambda p: p + np.ones(3), ValueError),
        (lambda p: int(p), TypeError),
        (lambda p: bool(p), ValueError),
        (lambda p: {p: 1}, TypeError),
        (lambda p: p + None, TypeError),
        (lambda p: p.__delitem__(0), ValueError),
        (lambda p: p.setflags(write=False) or p.fill(1), ValueError),
        (lambda p: [1, 2][p], TypeError),
        (lambda p: [p.reshape(-1), p.resize(20)], ValueError),
    ],
)
def test_numpys_errors_are_raised(use, error):
    def kernel(x: Any) -> None:
        use(known())

    with pytest.raises(error):
        use(known())
    with pytest.raises(error):
        trace(kernel)


# -- reading it ------------------------------------------------------------------------
READERS: list[Callable[[Any], Any]] = [
    lambda p: strided(p, (2, 3), (16, 8)),
    lambda p: np.lib.stride_tricks.as_strided(p, (2, 3), (16, 8)),
    lambda p: windows(p, (2, 2)),
    lambda p: np.array(list(p.flat)),
    lambda p: np.array([v * i[0] for i, v in np.ndenumerate(p)]),
    lambda p: np.array([float(v) for v in np.nditer(p)]),
    lambda p: np.vectorize(lambda v: v * 2 if v > 3 else 0.0)(p).astype(np.float32),
    lambda p: np.apply_along_axis(lambda row: row[::-1] * 2, 1, p),
    lambda p: np.piecewise(p, [p < 3, p >= 3], [lambda v: -v, 7]),
    lambda p: np.frombuffer(p, np.int32),
    lambda p: np.from_dlpack(p),
    lambda p: pickle.loads(pickle.dumps(p)),
    lambda p: (copy.copy(p), copy.deepcopy([p])[0]),
    lambda p: np.array(p.tolist(), np.float32),
    lambda p: np.frombuffer(p.tobytes(), np.float32),
    lambda p: np.ones(4, np.float32).dot(p.T),
    lambda p: np.fromiter((2 * v for v in p[1]), np.float32),
    lambda p: np.fromfunction(lambda i, j: p[0, 1] * i + j, (2, 2)),
    lambda p: (np.r_[p[0], 1.5], np.c_[p[0], p[1]], np.block([[p], [p]])),
    lambda p: p[np.ix_([0, 2], p[0, 1:3].astype(int))],
    lambda p: (p[p > 3], p.nonzero()[1], np.unique(p // 4, return_counts=True)[1]),
    lambda p: np.linalg.svd(p, full_matrices=False).S,
    lambda p: (np.histogram(p, 3)[0], np.random.default_rng(0).permutation(p)),
    lambda p: np.array([math.sqrt(p[1, 1]), bool(p[0, 0]), p.item(3)], np.float32),
    lambda p: np.zeros(p[0, 1:3].astype(int)) + p[int(p[0, 2])][:2],
    lambda p: [p, p * 2][p.argmax() % 2] + [10, 20, 30][p[0, 2].astype(int)],
    lambda p: (scipy.special.expit(p), scipy.special.softmax(p, axis=1)),
    lambda p: scipy.linalg.solve(np.eye(3, dtype=np.float32) * 2, p[:, 0]),
    lambda p: scipy.ndimage.gaussian_filter(p, 1.0),
    lambda p: scipy.interpolate.interp1d(p[0], p[1])([0.5, 1.5]),
    lambda p: scipy.spatial.KDTree(p).query(p[1])[0] * np.ones(1),
]


@pytest.mark.filterwarnings("ignore:np.random.default_rng")
def test_whatever_reads_memory_gets_the_values():
    def kernel(x: Any) -> Any:
        p = known()
        p[1, 1] = 40
        return x * 2, [read(p) for read in READERS]

    check(kernel, modes=BOTH)


def test_operators_and_methods_of_known_arrays():
    def kernel(x: Any) -> Any:
        p, n = known(), np.arange(1, 5)
        return (
            [-p, +p, abs(p - 5), ~n, n << 1, (n & 3) | 1, n ^ 2, 2**n, n**2, 7 // n],
            [divmod(p, n), divmod(9, n), p % n, [1, 2, 3, 4] - n, p @ p.T, n == 2],
            [p.clip(1, 4), p.cumsum(0), p.argsort(1), p.repeat(2, 0), p.round(1)],
            [p.mean(), p.std(0), p.sum(axis=0, keepdims=True), p.max(), p.trace()],
            [np.add.outer(p[0], p[1]), np.add.accumulate(p), np.maximum.reduce(p)],
            [2 in n, sum(n), max(n), list(reversed(n)), f"{p[0, 1]:.1f}", len(p)],
            x,
        )

    check(kernel)


def test_a_known_array_with_a_traced_operand():
    table = np.float32([70, 1, 1, 5])

    def kernel(x: Any) -> Any:
        p = known()
        return (
            [x + p, p - x, x @ p.T, p.T @ x, np.maximum(x, p), np.where(p > 3, x, p)],
            [x[p[0, :2].astype(int)], p[x[0].astype(np.int32) % 3], x[p[0, 1:] < 2]],
            [np.concatenate([p, x]), np.stack([x, p]), p.dot(x[0]), p.clip(x, 4)],
            [table.dot(p[0]), table + p, np.dot(table, p.T), table[p[0].astype(int)]],
            [x.sum(axis=np.array(0)), x[np.array(1) :], x[: np.arange(3)[2]]],
        )

    check(kernel, modes=BOTH)


def test_values_at_the_time_of_use_are_what_counts():
    def kernel(x: Any) -> Any:
        p = np.ones(4, np.float32)
        before, total = x[0] * p, p.sum()
        p[0] = 5
        between = x[0] * p
        p[1] = x[0, 1]
        return before, between, x[0] * p, total

    check(kernel)


# -- views -----------------------------------------------------------------------------
VIEWS: list[Callable[[Any], Any]] = [
    lambda p: p.T,
    lambda p: p[1:],
    lambda p: p[::-1, ::2],
    lambda p: p.reshape(-1),
    lambda p: p.ravel(),
    lambda p: p[1, 1, ...],
    lambda p: p[None],
    lambda p: p.view(),
    lambda p: p.view(np.ndarray),
    lambda p: p.view(np.int32).view(np.float32),
    lambda p: p.real,
    lambda p: p.swapaxes(0, 1)[1:],
    lambda p: p[:, :2].reshape(3, 2, 1),
    lambda p: next(iter(p)),
    lambda p: list(p)[1],
    lambda p: np.asarray(p),
    lambda p: np.array(p, copy=False),
    lambda p: np.from_dlpack(p),
    lambda p: np.rot90(p),
    lambda p: np.split(p, 2, axis=1)[1],
    lambda p: np.atleast_3d(p),
    lambda p: np.einsum("ii->i", p[:, :3]),
]
VIEWS_OF_KNOWN: list[Callable[[Any], Any]] = [
    lambda p: np.require(p),
    lambda p: np.lib.stride_tricks.as_strided(p, (2, 2), (16, 8)),
    lambda p: np.frombuffer(p, np.float32),
]
COPIES: list[Callable[[Any], Any]] = [
    lambda p: p.copy(),
    lambda p: p * 1,
    lambda p: p[[0, 1]],
    lambda p: p[p > 3],
    lambda p: p.flatten(),
    lambda p: p.T.reshape(2, 6),
    lambda p: np.array(p),
    lambda p: np.asfortranarray(p),
    lambda p: np.sort(p),
    lambda p: copy.copy(p),
    lambda p: copy.deepcopy(p),
    lambda p: p.__reduce_ex__(4)[0] and p + 0,
]


@pytest.mark.parametrize("views", [VIEWS, VIEWS_OF_KNOWN, COPIES])
@pytest.mark.parametrize("traced", [False, True])
def test_stores_are_seen_through_views_both_ways(views, traced):
    def kernel(x: Any) -> Any:
        value = x[0, 0] * 7 if traced else 7
        results = []
        for view in views:
            p = known()
            q = view(p)
            p[1, 1] = value
            seen = q * 1
            q[...] = value + 1
            p[0, 0] = 3
            results.append((p, q, seen))
        return results

    check(kernel)


def test_views_of_what_is_traced_already():
    def kernel(x: Any) -> Any:
        results = []
        for view in VIEWS:
            p = known()
            p[1, 1] = x[0, 0]
            q = view(p)
            q[...] = 4
            p[0, 0] = 3
            results.append((p, q))
        return results

    check(kernel)


def test_many_views_of_one_array():
    def kernel(x: Any) -> Any:
        p = known()
        views = [view(p) for view in VIEWS + VIEWS_OF_KNOWN]
        for number, view in enumerate(views):
            view += x[0, number % 4]
        return p, views

    check(kernel, modes=BOTH)


def test_views_with_another_dtype():
    def kernel(x: Any) -> Any:
        p = np.ones(3, ml_dtypes.bfloat16)
        bits = p[1:].view(np.uint16)
        p[1] = x[0, 0]
        bits[1] = 0x4000
        return p, bits

    def lost(x: Any) -> Any:
        p = known()
        octets = p.view(np.uint8)
        p[0] = x[0]
        return octets + 1

    check(kernel)
    with pytest.raises(NotImplementedError, match="dtype of another size"):
        trace(lost)


@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_order_outlives_the_store(order):
    def kernel(x: Any) -> Any:
        p = np.zeros((3, 4), np.float32, order=order)
        turned = p.T
        p[1] = x[1]
        run, copied = turned.reshape(-1), p.reshape(-1)
        run[0], copied[1] = 99, 77
        deep = np.zeros((2, 3, 4)).transpose(2, 0, 1).copy(order="K")
        part = deep[1]
        deep[0] = x[0, 0]
        part[:] = x[1, :3]
        return p, turned, run, copied, deep, part

    check(kernel)


def test_read_only_views_stay_read_only():
    def kernel(x: Any) -> None:
        p = known()
        locked, spread = p[1:], np.broadcast_to(p, (2, 3, 4))
        locked.setflags(write=False)
        p[0] = x[0]
        for view in (locked, spread):
            with pytest.raises(ValueError, match="read-only"):
                view[0] = 1

    trace(kernel)


def test_a_store_through_overlapping_windows_is_refused():
    def kernel(x: Any) -> None:
        p = known()
        np.lib.stride_tricks.as_strided(p, (3, 2), (4, 4))[...] = x[0, 0]

    with pytest.raises(NotImplementedError, match="several times"):
        trace(kernel)


def test_arrays_without_axes_or_elements():
    def kernel(x: Any) -> Any:
        p, q, none = np.zeros(()), np.zeros((1, 1)), np.zeros((0, 4), np.float32)
        same = p
        p += 1
        p += x[0, 0]
        element = q[0, 0, ...]
        element += x[0, 1]
        none[:] = x[0]
        scalar = np.zeros(1)[0]
        scalar += x[0, 2]
        return p, same, q, element, none, none.sum(), scalar

    check(kernel)


def test_bfloat16_follows_the_same_rule_known_and_traced():
    def kernel(x: Any, traced: bool) -> Any:
        p = np.ones(300, ml_dtypes.bfloat16)
        if traced:
            p[:] = x
        return (
            [p * 0.5, 3 / p, p + np.int32(1), p - np.arange(300), p @ p, p > 0.3, -p],
            [p.sum(), np.sum(p), p.mean(), np.dot(p, p), np.sqrt(p), p.clip(0, 0.5)],
            [np.where(p > 0.5, p, 0.1), np.add.reduce(p), np.maximum(p, 2)],
        )

    x = np.ones(300, ml_dtypes.bfloat16)
    jitted = simulate_jit(kernel)
    for ours, want in zip(jitted(x, False), jitted(x, True)):
        for a, b in zip(ours, want):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a.astype(np.float32), b.astype(np.float32))


# -- how it becomes traced -------------------------------------------------------------
WRITERS: list[Callable[[Any, Any], Any]] = [
    lambda p, x: np.add(p, x, out=p),
    lambda p, x: np.add(x, 1, p),
    lambda p, x: np.sum(x, 0, None, p[0]),
    lambda p, x: x.max(axis=1, out=p[:, 0]),
    lambda p, x: np.modf(x / 3, p, p.copy()),
    lambda p, x: np.divmod(x, 2, out=(p, np.empty_like(p))),
    lambda p, x: np.multiply.outer(x[0, :3], x[0], out=p),
    lambda p, x: np.copyto(p, x),
    lambda p, x: np.copyto(p, 3, where=x > 4),
    lambda p, x: np.put(p, [1, 2], x[0, :2]),
    lambda p, x: np.place(p, p > 3, x[0, :1]),
    lambda p, x: np.putmask(p, p > 3, x),
    lambda p, x: np.put_along_axis(p, np.array([[0], [1], [2]]), x[:, :1], 1),
    lambda p, x: np.fill_diagonal(p, x[0, 0]),
    lambda p, x: np.add.at(p, [0, 0], x[0]),
    lambda p, x: p.fill(x[0, 0]),
    lambda p, x: p.put([0], x[0, :1]),
    lambda p, x: p.__setitem__((slice(None), [0, 2]), x[:, :2]),
    lambda p, x: p.__setitem__(x > 4, 5),
    lambda p, x: p.__setitem__((1, x[0, 0].astype(np.int32)), 5),
    lambda p, x: p.__setitem__(0, [x[0, 0], 1, 2, 3]),
    lambda p, x: p[1:].__iadd__(x[0]),
    lambda p, x: p.T.__imul__(x.T),
    lambda p, x: p.reshape(2, 6).__setitem__((1, slice(1, 4)), x[0, :3]),
]


def test_whatever_writes_traced_values():
    def kernel(x: Any) -> Any:
        results = []
        for write in WRITERS:
            p = known()
            row = p[0]
            write(p, x)
            results.append((p, row, p + 1))
        return results

    check(kernel)


def test_whatever_writes_known_values_leaves_it_known():
    def kernel(x: Any) -> Any:
        p = known()
        np.add(p, 1, out=p)
        np.copyto(p[0], 3)
        np.put(p, [4], 9)
        np.add.at(p, [1, 1], 1)
        p.sort(axis=0)
        p -= p.mean()
        np.sum(p, axis=1, out=p[:, 2])
        p.partition(2)
        np.fill_diagonal(p, 8)
        return p, p.tolist()[0], x

    check(kernel)


def test_a_result_that_a_traced_operand_makes_is_no_alias():
    def kernel(x: Any) -> Any:
        p = known()
        q = p
        p = p + x
        p[0] = 3
        return p, q

    check(kernel)


def test_a_value_that_the_device_does_not_have():
    def kernel(x: Any) -> None:
        p = np.array([2**40, 1])
        p[1] = x[0, 0]

    with pytest.raises(OverflowError, match=r"(?s)1099511627776.*test_known_arrays"):
        trace(kernel)


# -- what remains of readers -----------------------------------------------------------
KEEPERS: list[Callable[[Any], Any]] = [
    lambda p: p.flat,
    lambda p: p[1:].flat,
    lambda p: np.nditer(p),
    lambda p: np.ndenumerate(p),
    lambda p: np.ma.array(p, copy=False),
    lambda p: p.data,
    lambda p: p[1:].ctypes,
    lambda p: p.__array__(),
    lambda p: p.T.__array__()[1:],
    lambda p: p.view("V4"),
    lambda p: p.__dlpack__(),
    lambda p: strided(p, (2, 2), (4, 4)),
    lambda p: strided(p[1:], (2, 2), (4, 4))[0],
]


@pytest.mark.parametrize("keep", KEEPERS)
def test_a_traced_store_is_refused_while_a_reader_has_the_memory(keep):
    def kernel(x: Any) -> Any:
        p = known()
        kept = keep(p)
        with pytest.raises(ConcretizationError, match=r"(?s)copy\(\).*arrays\.py:\d"):
            p[0] = x[0]
        p[0] = 5  # which the reader sees
        del kept
        p[1] = x[1]
        return p

    trace(kernel)


def test_a_plain_array_of_the_memory_sees_known_stores_and_makes_them():
    def kernel(x: Any) -> Any:
        p = known()
        plain = p.__array__()
        p[0], plain[1] = 7, 8
        seen = plain * 1
        with np.nditer(p[2:], op_flags=[["readwrite"]]) as elements:
            for element in elements:
                element[...] = 2 * element
        return p * x, seen

    check(kernel)


def test_a_plain_array_takes_no_traced_values():
    def kernel(x: Any) -> None:
        plain = known().__array__()
        with pytest.raises(TypeError, match="received ndarray"):
            np.add(x, 1, out=plain)
        with pytest.raises(TypeError, match=r"np\.zeros"):
            plain[0] = x[0]

    trace(kernel)


def test_iterating_looks_at_each_element_when_it_is_its_turn():
    def kernel(x: Any) -> Any:
        p, q = np.arange(4.0), known()
        for i, value in enumerate(p):
            p[i] = value * 2 if i < 2 else value * x[0, i]
        for row in q:
            row[1:] = x[0, 1:]
            row += row.sum()
        return p, q

    check(kernel)


# -- reading what is traced ------------------------------------------------------------
REFUSED: list[tuple[Callable[[Any], Any], str]] = [
    (lambda p: strided(p, (2, 2), (4, 4)), "cannot become a NumPy array"),
    (lambda p: windows(p, (2, 2)), "has not been implemented"),
    (lambda p: p.flat, "reshape"),
    (lambda p: list(np.ndenumerate(p)), "cannot become a NumPy array"),
    (lambda p: np.nditer(p), "np.nditer"),
    (lambda p: np.nditer([p, None]), "np.nditer"),
    (lambda p: np.broadcast(p, 1), "cannot become a NumPy array"),
    (lambda p: np.vectorize(abs)(p), "cannot become a NumPy array"),
    (lambda p: memoryview(p), "memory"),
    (lambda p: np.frombuffer(p), "np.frombuffer|the memory"),
    (lambda p: np.ndarray((3,), np.int32, p), "memory"),
    (lambda p: p.view(np.ma.MaskedArray), "view"),
    (lambda p: p.__dlpack__(), "the memory"),
    (lambda p: p.__buffer__(0), "the memory"),
    (lambda p: pickle.dumps(p), "the pickle"),
    (lambda p: TABLE.dot(p), "cannot become a NumPy array"),
    (lambda p: TABLE[p[0, :2]], "cannot become"),
    (lambda p: np.zeros(p[0, 0].astype(np.int32)), "the index value"),
    (lambda p: [1, 2][p[0, 0].astype(np.int32)], "the index value"),
    (lambda p: 1 if p[0, 0] else 2, "the truth value"),
    (lambda p: p.tolist(), "tolist"),
    (lambda p: p.byteswap(), "ndarray.byteswap"),
    (lambda p: np.r_[p[0], 1.5], "cannot become a NumPy array"),
    (lambda p: np.random.default_rng(0).shuffle(p), "permutation"),
    (lambda p: scipy.special.softmax(p), "cannot become a NumPy array"),
    (lambda p: scipy.ndimage.gaussian_filter(p, 1.0), "cannot become a NumPy array"),
    (lambda p: p.__delitem__(0), "cannot delete"),
]


@pytest.mark.parametrize(("use", "match"), REFUSED)
@pytest.mark.filterwarnings("ignore:np.random.default_rng")
def test_whatever_reads_memory_is_refused_afterwards(use, match):
    refused(use, match)


def test_asking_for_an_attribute_is_no_error():
    def kernel(x: Any) -> Any:
        p = known()
        p[0] = x[0]
        assert not hasattr(p, "data") and not hasattr(x, "nonsense")
        assert hasattr(p, "shape")
        with pytest.raises(AttributeError, match="nonsense"):
            _ = x.nonsense
        return p

    trace(kernel)


# -- generators and compiled modules, whose frames nobody sees -------------------------
@pytest.mark.filterwarnings("ignore:np.random")
def test_generators_work_with_arrays_of_their_own():
    outside = np.random.default_rng(3)

    def kernel(x: Any) -> Any:
        rng, old = np.random.default_rng(0), np.random.RandomState(0)
        outside.bit_generator.state = np.random.default_rng(1).bit_generator.state
        p = known()
        drawn = rng.permutation(5), rng.permutation(p), rng.choice(p[0]), old.rand(2)
        np.random.seed(0)
        np.random.shuffle(p)
        p[0] = x[0]
        return drawn, old.permutation(4), outside.permutation(3), p

    check(kernel)


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.filterwarnings("ignore:np.random.default_rng")
def test_a_generator_does_not_shuffle_a_kernels_array(traced):
    # It would swap rows that are views, and so double some of them.
    def kernel(x: Any) -> None:
        np.random.default_rng(0).shuffle(x if traced else known())

    with pytest.raises(NotImplementedError, match=r"(?s)permutation.*known_arrays"):
        trace(kernel)


# -- beyond the trace ------------------------------------------------------------------
def test_an_array_that_outlives_its_trace_is_numpys():
    kept: list[Any] = []

    def kernel(x: Any) -> Any:
        kept.append(known())
        return x + kept[0]

    trace(kernel)
    total = kept[0] + X
    assert type(total) is np.ndarray and type(kept[0][1:]) is np.ndarray
    np.testing.assert_array_equal(total, known() + X)
    np.testing.assert_array_equal(kept[0], known())
    kept[0][1] = 0
    assert kept[0].sum() == known().sum() - known()[1].sum()


def test_a_jitted_kernel_called_with_known_arrays():
    @baremetal_jit
    def inner(x: Any, y: Any) -> Any:
        x += y
        return x * 2

    def kernel(x: Any) -> Any:
        p = known()
        twice = inner(p, np.ones((3, 4), np.float32))
        return p, twice + x

    def numpy(x: Any) -> Any:
        return known() + 1, (known() + 1) * 2 + x

    check_kernel(kernel, X, modes="simulate", reference=numpy)
