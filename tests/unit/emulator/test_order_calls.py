"""Handlers that sort and look for extremes: where, and that results are NumPy's."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from nkipy.core.ops.nn import topk
from nkipy.core.ops.reduce.extremes import arg_extreme
from nkipy.core.ops.reduce.folds import MAXIMUM, MINIMUM
from nkipy.core.ops.sorting.sorting import precedes
from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOComputation, HLOModule, Shape
from nkipy.testing import run_python
from nkipy_emulator import _xla, order_calls
from nkipy_emulator.engine import XlaCpuEngine
from nkipy_emulator.function_calls import send_functions
from nkipy_emulator.memory import ZERO_COPY_BYTES
from tests.support.fast_calls import kernel, run, targets
from tests.support.writers import written_meanwhile

#: One of each kind and width; the others take as long again.
FIRST = (dt.float32, dt.bfloat16, dt.float8_e4m3fn, dt.int8, dt.uint64, dt.bool_)
DTYPES = pytest.mark.parametrize(
    "dtype",
    [
        pytest.param(d, marks=() if d in FIRST else pytest.mark.slow)
        for d in order_calls.ORDERED
    ],
    ids=str,
)
#: Rows that NumPy sorts, that are sorted by short digits and by long ones (or by NumPy,
#: where it has vector instructions for that), and that all threads sort.
SHAPES = [(7,), (3, 600), (3, 2100), (1 << 14,), ((1 << 16) + 5,)]


def awkward(dtype, shape, seed=0):
    """Many ties; of floats zeros of both signs, infinities and NaN of both signs."""
    rng = np.random.default_rng(seed)
    if dt.is_integer(dtype) and seed % 2:
        return rng.integers(*extent(dtype), shape, dtype, endpoint=True)
    x = rng.integers(0, 2 if dtype == dt.bool_ else 100, shape)
    if dtype.kind == "i":
        x = x - 50
    x = x.astype(dtype)
    if dt.is_float(dtype):
        few = np.array([0.0, -0.0, 1, -1, np.inf, -np.inf, np.nan, -np.nan], dtype)
        x = np.where(rng.random(shape) < 0.5, rng.choice(few, shape), x).astype(dtype)
    return x


def extent(dtype):
    return np.iinfo(dtype).min, np.iinfo(dtype).max


def bits(x):
    return x.view(f"u{x.dtype.itemsize}")


def wide(x):
    """In a type that NumPy compares as it should: it does not know ml_dtypes' NaN."""
    return x.astype(np.float64) if dt.is_float(x.dtype) else x


def stable_order(x, descending=False):
    """np.argsort, stable; descending ones have NaN first."""
    if not descending:
        return np.argsort(wide(x), kind="stable")
    return x.shape[-1] - 1 - np.argsort(wide(x)[..., ::-1], kind="stable")[..., ::-1]


# -- sorts -----------------------------------------------------------------------------
def comparator(dtype, others, descending, name):
    """Compares rows by their first elements."""
    made = HLOComputation(name)
    x, y = (made.add_parameter((), dtype) for _ in range(2))
    for other in others:
        for _ in range(2):
            made.add_parameter((), other)
    b = HLOBuilder(made)
    made.root = precedes(b, y, x) if descending else precedes(b, x, y)
    return made


def order_module(values, descending):
    """Each of them sorted, alone and with places: HLO, of any dtype."""
    module = HLOModule("orders")
    b = HLOBuilder(module.entry)
    results = []
    given = [module.add_parameter(v.shape, v.dtype) for v in values]
    for i, x in enumerate(given):
        axis = len(x.shape) - 1
        places = b.iota(x.shape, axis)
        shapes = [Shape(x.dtype, x.shape), Shape(dt.int32, x.shape)]
        attributes = {"dimension": axis, "is_stable": True}
        attributes["to_apply"] = comparator(x.dtype, (), descending, f"one{i}")
        results.append(b.emit("sort", (x,), x.shape, x.dtype, attributes))
        compare = comparator(x.dtype, (dt.int32,), descending, f"two{i}")
        attributes = {**attributes, "to_apply": compare}
        results += b.tuple_result("sort", (x, places), shapes, attributes)
    module.set_results(results)
    return module


@DTYPES
@pytest.mark.parametrize("descending", [False, True])
def test_sorts_are_stable_to_the_last_bit(dtype, descending):
    dtype = np.dtype(dtype)
    values = [awkward(dtype, shape, seed) for seed, shape in enumerate(SHAPES)]
    values.append(awkward(dtype, (1200,), 1))
    module = order_module(values, descending)
    assert targets(module) == ["nkipy_sort"] * 2 * len(values)
    results = run(module, values, "always")
    for i, x in enumerate(values):
        order = stable_order(x, descending)
        expected = np.take_along_axis(x, order, -1)
        alone, beside, places = results[3 * i : 3 * i + 3]
        np.testing.assert_array_equal(places, order)
        np.testing.assert_array_equal(bits(alone), bits(expected))
        np.testing.assert_array_equal(bits(beside), bits(expected))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("size", [9, 17, 63, 257, 768, 5000, 40_000])
def test_few_zeros_keep_their_signs(dtype, size):
    """NumPy's sort, by which some rows go, does not keep how many there are of each."""
    random = np.random.default_rng(size)
    x = random.integers(1, 5, (40, size)).astype(dtype)
    for row in x:
        places = random.choice(size, random.integers(1, 7), replace=False)
        row[places] = random.choice([0.0, -0.0], len(places))
    (alone, *_) = run(order_module([x], False), [x], "always")
    expected = np.take_along_axis(x, stable_order(x, False), -1)
    np.testing.assert_array_equal(bits(alone), bits(expected))


@pytest.mark.parametrize("size", [100, 3000, 70_000])
def test_elements_that_are_all_alike_and_zeros_of_one_sign(size):
    values = [np.full(size, v, np.float32) for v in (2.5, -0.0, 0.0, np.nan)]
    results = run(order_module(values, False), values, "always")
    for i, x in enumerate(values):
        np.testing.assert_array_equal(bits(results[3 * i]), bits(x))
        np.testing.assert_array_equal(results[3 * i + 2], np.arange(size))


@pytest.mark.parametrize("dtype", [dt.float32, dt.int32, dt.uint8, dt.bfloat16])
def test_descending_sorts_have_nan_first(dtype):
    dtype = np.dtype(dtype)
    x = awkward(dtype, (5, 300))
    module = kernel(lambda x: topk(x, 20, axis=1), x)
    assert targets(module) == ["nkipy_sort"]
    for plain, fast in zip(run(module, [x], "never"), run(module, [x], "always")):
        np.testing.assert_array_equal(bits(plain), bits(fast))


def test_more_equal_elements_than_were_sorted_are_not_put_behind_the_row():
    x = np.ones(ZERO_COPY_BYTES // 4, np.float32)  # which is sorted from where it lies
    executable = XlaCpuEngine(fast_calls="always").compile(
        kernel(lambda x: np.sort(x), x)
    )
    result, ended = np.empty_like(x), threading.Event()

    def write():
        while not ended.is_set():
            for value in (np.nan, 0.0, 1.0):
                x[:] = value
                x[::2] = -value

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(200):
            executable.run([x], [result])
    finally:
        ended.set()
        writer.join()
    assert (np.isnan(result) | (np.abs(result) <= 1)).all()


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_any_axis_is_sorted(axis):
    x = awkward(np.dtype(np.float32), (6, 40, 5))
    module = kernel(lambda x: (np.sort(x, axis), np.argsort(x, axis)), x)
    assert targets(module) == ["nkipy_sort"] * 2
    ordered, order = run(module, [x], "always")
    np.testing.assert_array_equal(ordered, np.sort(x, axis))
    np.testing.assert_array_equal(order, np.argsort(x, axis, kind="stable"))


@pytest.mark.parametrize("axis", [0, 1])
def test_orders_by_several_keys(axis):
    keys = [awkward(d, (5, 2000), 2) for d in (dt.int8, dt.float32, dt.bool_)]
    module = kernel(lambda *xs: np.lexsort(xs, axis), *keys)
    assert targets(module) == ["nkipy_sort"] * 3
    (order,) = run(module, keys, "always")
    np.testing.assert_array_equal(order, np.lexsort(keys, axis))


SORTS_EACH = """if True:
    import numpy as np
    from nkipy.hlo import dtypes as dt
    from tests.support.fast_calls import run
    from tests.unit.emulator.test_order_calls import (
        awkward, bits, order_module, stable_order
    )
    values = [
        awkward(np.dtype(d), size, seed)
        for seed, size in enumerate([3001, 40_000])
        for d in (dt.float32, dt.float64, dt.bfloat16, dt.int32, dt.uint64, dt.int16)
    ]
    rng = np.random.default_rng(9)
    values += [
        rng.standard_normal(size).astype(d) for size in (20_000, 140_000)
        for d in (np.float32, np.float64, np.float16)
    ]
    values += [np.sort(values[0]), np.tile(np.arange(4096.0, dtype=np.float32), 8)]
    for every in (2, 9):  # some numbers among NaN
        x = rng.standard_normal(40_000).astype(np.float32)
        x[np.arange(40_000) % every != 0] = np.nan
        values.append(x)
    for descending in (False, True):
        results = run(order_module(values, descending), values, "always")
        for i, x in enumerate(values):
            expected = x[stable_order(x, descending)]
            np.testing.assert_array_equal(bits(results[3 * i]), bits(expected))
    print("sorted")
"""


def numpys_features():
    """What NumPy finds in this CPU and can be told not to use."""
    found = np.show_config(mode="dicts").get("SIMD Extensions", {})
    return found.get("found", [])


@pytest.mark.parametrize(
    ("threads", "are_wide"),
    [
        (5, True),
        (2, False),
        *(pytest.param(n, True, marks=pytest.mark.slow) for n in (1, 2, 16)),
    ],
)
def test_numpys_sort_and_digits_agree_whatever_cpu_and_threads(threads, are_wide):
    """By vectors in as many ways as there are threads; and by digits, where NumPy has
    no vectors."""
    variables = {"NPROC": str(threads), "PYTHONPATH": os.getcwd()}
    if not are_wide:
        variables["NPY_DISABLE_CPU_FEATURES"] = " ".join(numpys_features())
    done = run_python("-c", SORTS_EACH, env=variables)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "sorted\n"


LONG = 1_100_000  # of keys alone, which are sorted in buckets


def long_row(kind, count):
    """Numbers that go into many buckets, a few, or one that has nearly all of them."""
    rng = np.random.default_rng(3)
    if kind == "special":
        x = rng.standard_normal(count).astype(np.float32)
        for start, value in enumerate([np.nan, 0.0, -0.0, np.inf, -np.inf]):
            x[start::11] = value
        return x
    if kind == "few":
        return rng.integers(-2, 3, count).astype(np.int32)
    if kind == "one apart":
        return (np.arange(count) == 5).astype(np.int32) << 30
    return rng.integers(-(2**31), 2**31 - 1, count).astype(np.int32)


@pytest.mark.parametrize("kind", ["special", "few", "one apart", "any"])
def test_long_rows_are_sorted_in_buckets(kind):
    x = long_row(kind, LONG)
    module = kernel(lambda x: (np.sort(x), np.argsort(x[:100_000])), x)
    ordered, order = run(module, [x], "always")
    expected = np.argsort(x, kind="stable")
    np.testing.assert_array_equal(bits(ordered), bits(x[expected]))
    np.testing.assert_array_equal(order, np.argsort(x[:100_000], kind="stable"))


@pytest.mark.parametrize(
    ("shape", "axis"), [((70_000, 1), 0), ((2, 70_001, 3), 1), ((90, 33, 17), 0)]
)
def test_rows_that_lie_apart_are_sorted(shape, axis):
    x = long_row("special", int(np.prod(shape))).reshape(shape)
    module = kernel(lambda x: (np.sort(x, axis), np.argsort(x, axis)), x)
    ordered, order = run(module, [x], "always")
    expected = np.argsort(x, axis, kind="stable")
    np.testing.assert_array_equal(order, expected)
    sought = np.take_along_axis(x, expected, axis)
    np.testing.assert_array_equal(bits(ordered), bits(np.ascontiguousarray(sought)))


def test_an_order_alone_needs_no_sorted_array_and_no_places():
    x = awkward(np.dtype(np.float32), (40, 50))
    module = kernel(lambda x: np.argsort(x, 0), x)
    sent = send_functions(module, "always")
    opcodes = [i.opcode for i in sent.entry.instructions]
    assert opcodes == ["parameter", "custom-call"]
    both = send_functions(order_module([x], False), "always")
    assert "get-tuple-element" in [i.opcode for i in both.entry.instructions]


def test_a_row_that_is_written_meanwhile_gives_places_in_it():
    x = long_row("any", 200_000)
    executable = XlaCpuEngine(fast_calls="always").compile(kernel(np.argsort, x))
    result, rng = np.empty(x.shape, np.int32), np.random.default_rng(0)

    def write():
        x[:] = rng.integers(0, 9, x.shape)
        x[::3] = 2**30

    with written_meanwhile(write):
        for _ in range(50):
            executable.run([x], [result])
            assert result.min() >= 0 and result.max() < x.size


def test_orders_that_are_not_by_one_key_after_the_other_are_left():
    module = HLOModule("both")
    b = HLOBuilder(module.entry)
    given = [module.add_parameter((50,), dt.int32) for _ in range(2)]
    made = HLOComputation("by_the_second")
    p = [made.add_parameter((), dt.int32) for _ in range(4)]
    c = HLOBuilder(made)
    made.root = c.compare(p[2], p[3], "LT")
    attributes = {"dimension": 0, "is_stable": True, "to_apply": made}
    shapes = [Shape(dt.int32, (50,))] * 2
    module.set_results(b.tuple_result("sort", tuple(given), shapes, attributes))
    assert targets(module) == []


def test_medians_and_quantiles_are_those_of_numpy():
    x = np.random.default_rng(0).standard_normal((50, 501)).astype(np.float32)
    module = kernel(lambda x: (np.median(x, axis=1), np.quantile(x, 0.3, axis=0)), x)
    assert set(targets(module)) == {"nkipy_sort"}
    median, quantile = run(module, [x], "always")
    np.testing.assert_array_equal(median, np.median(x, axis=1))
    np.testing.assert_allclose(quantile, np.quantile(x, 0.3, axis=0), rtol=1e-5)


# -- extremes --------------------------------------------------------------------------
def extremes_module(values, axes):
    """Where the greatest and the smallest along an axis lie: HLO, of any dtype."""
    module = HLOModule("extremes")
    b = HLOBuilder(module.entry)
    given = [module.add_parameter(v.shape, v.dtype) for v in values]
    module.set_results(
        [
            arg_extreme(b, fold, x, axis)
            for x, axis in zip(given, axes, strict=True)
            for fold in (MAXIMUM, MINIMUM)
        ]
    )
    return module


def first_extreme(x, axis, least):
    """np.argmax or np.argmin."""
    return (np.argmin if least else np.argmax)(wide(x), axis)


#: With the axis: of rows, of columns in strips and a rest, of few columns by parts.
EXTREMES = [
    *(((1,), 0), ((4, 500), 1), ((2, 70_001), 1), ((3, 1030), 1), ((70_001,), 0)),
    *(((4, 500), 0), ((300, 259), 0), ((9, 1), 0), ((35_000, 2), 0), ((1, 7), 0)),
    *(((5, 130, 3), 1), ((2, 65, 257), 1), ((3, 4, 5), 0), ((2, 3, 1), 1)),
]


@DTYPES
def test_extremes_are_the_first(dtype):
    dtype = np.dtype(dtype)
    values, axes = [], []
    for seed, (shape, axis) in enumerate(EXTREMES):
        x = awkward(dtype, shape, seed)
        values += [x, np.where(x == x, x, 0).astype(dtype), np.sort(wide(x), axis)]
        values[-1] = values[-1].astype(dtype)  # in which each is greater than the last
        axes += [axis] * 3
    module = extremes_module(values, axes)
    assert targets(module) == ["nkipy_extreme"] * 2 * len(values)
    results = run(module, values, "always")
    wanted = [
        first_extreme(x, axis, least)
        for x, axis in zip(values, axes)
        for least in (False, True)
    ]
    for got, expected in zip(results, wanted, strict=True):
        assert got.dtype == np.int32
        np.testing.assert_array_equal(got, expected)


def test_xla_does_it_where_numpy_has_no_kernels(monkeypatch):
    x = awkward(dt.float32, (3, 40))
    module = extremes_module([x], [1])
    assert "nkipy_extreme" in targets(module)
    monkeypatch.setattr(_xla, "orders_by_numpy", lambda: False)
    assert "nkipy_extreme" not in targets(module)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", [dt.float16, dt.float32], ids=str)
def test_extremes_that_are_written_to_meanwhile_lie_in_the_array(axis, dtype):
    x = np.zeros((ZERO_COPY_BYTES // 128, 64), dtype)  # read from where it lies
    executable = XlaCpuEngine(fast_calls="always").compile(extremes_module([x], [axis]))
    results = [np.empty(x.shape[1 - axis], np.int32) for _ in range(2)]

    def write():
        for value in (np.nan, 1, 0, -1):
            x[:] = value

    with written_meanwhile(write):
        for _ in range(100):
            executable.run([x], results)
            for result in results:
                assert 0 <= result.min() <= result.max() < x.shape[axis]


def test_extremes_as_users_write_them():
    x = awkward(np.dtype(np.float32), (6, 40, 5))
    module = kernel(
        lambda x: (
            np.argmax(x),
            np.argmin(x, axis=0),
            np.argmax(x > 0, axis=1),
            np.nanargmin(x, axis=-1),
        ),
        x,
    )
    assert targets(module) == ["nkipy_extreme"] * 4
    results = run(module, [x], "always")
    expected = (
        np.argmax(x),
        np.argmin(x, axis=0),
        np.argmax(x > 0, axis=1),
        np.nanargmin(x, axis=-1),
    )
    for got, wanted in zip(results, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("spoiled", ["EQ", "NE", "dimension", "start", "none", "iota"])
def test_what_is_almost_an_argmax_is_left(spoiled):
    module = HLOModule("almost")
    b = HLOBuilder(module.entry)
    x = module.add_parameter((3, 3), dt.float32)
    best = b.reduce(x, "maximum", 0 if spoiled == "start" else -np.inf, (1,))
    spread = b.broadcast_in_dim(best, x.shape, (int(spoiled == "dimension"),))
    hit = b.compare(x, spread, "GE" if spoiled == "EQ" else "EQ")
    if spoiled != "NE":
        hit = b.or_(hit, b.compare(x, x, "NE"))
    places = b.iota(x.shape, int(spoiled != "iota"))
    none = b.full_like(places, 2 if spoiled == "none" else 3)
    module.set_results([b.reduce(b.select(hit, places, none), "minimum", 3, (1,))])
    assert "nkipy_extreme" not in targets(module)
