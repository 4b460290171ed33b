"""Handlers for whole arrays in the place of XLA's code: where, and what they make."""

from __future__ import annotations

from itertools import product

import ml_dtypes
import numpy as np
import pytest

from nkipy.core.trace import NKIPyKernel
from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOComputation, HLOModule
from nkipy.hlo.opcodes.windows import WindowDim
from nkipy_emulator import fast_calls
from nkipy_emulator.array_calls import _SCANNED
from nkipy_emulator.custom_calls import CustomCalls
from nkipy_emulator.engine import XlaCpuEngine
from nkipy_emulator.preparation import with_store

MODES = ("never", "always")
INTEGERS = [d for d in _SCANNED if d.kind in "iu"]


def kernel(function, *values):
    return NKIPyKernel.trace(function).specialize(*values)


def run(module, arguments, mode):
    executable = XlaCpuEngine(fast_calls=mode).compile(module)
    outputs = [executable.empty(r.shape, r.dtype) for r in module.results]
    executable.run(arguments, outputs)
    return outputs


def targets(module, mode="always"):
    made, _ = with_store(module, None, CustomCalls(), fast_calls=mode)
    calls = [i.attributes for i in made.instructions() if i.opcode == "custom-call"]
    found = [c["custom_call_target"] for c in calls]
    return [t for t in found if t != "nkipy_store"]


def numbers(shape, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    if dt.is_float(np.dtype(dtype)):
        return rng.standard_normal(shape).astype(dtype)
    return rng.integers(0, 100, shape).astype(dtype)


def add_scan(module, x, opcode, start, axis, combine=None):
    """All elements up to each, combined."""
    b, shape = HLOBuilder(module.entry), x.shape
    applied = HLOComputation(f"applied_{len(module.entry.instructions)}")
    p, q = (applied.add_parameter((), x.dtype) for _ in range(2))
    c = HLOBuilder(applied)
    applied.root = combine(c, p, q) if combine else c.binary(opcode, p, q)
    window = [WindowDim(1) for _ in shape]
    window[axis] = WindowDim(shape[axis], pad_low=shape[axis] - 1)
    attributes = {"window": tuple(window), "to_apply": applied}
    given = (x, b.full((), start, x.dtype))
    return b.emit("reduce-window", given, shape, x.dtype, attributes)


def scanned(opcode, start, shape, axis, dtype, combine=None):
    """A module of one scan, and its one parameter."""
    module = HLOModule("scan")
    x = module.add_parameter(shape, dtype)
    module.set_results([add_scan(module, x, opcode, start, axis, combine)])
    return module


# -- scans -----------------------------------------------------------------------------
SHAPES = [((1025,), 0), ((3, 2100), 1), ((37, 300), 0), ((2, 5, 7), 1), ((2, 1, 6), 2)]


def scans(opcodes, dtype):
    """A module of scans of each of SHAPES by each opcode, and arguments for it."""
    module, results = HLOModule("scans"), []
    for shape, axis in SHAPES:
        x = module.add_parameter(shape, dtype)
        for opcode, start in opcodes.items():
            results.append(add_scan(module, x, opcode, start, axis))
    module.set_results(results)
    return module, [numbers(shape, dtype) for shape, _ in SHAPES]


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_running_sums_and_products_of_integers_wrap(dtype):
    module, values = scans({"add": 0, "multiply": 1}, dtype)
    assert set(targets(module)) == {"nkipy_scan"}
    for mode in MODES if dtype == dt.int32 else ("always",):
        results = iter(run(module, values, mode))
        for x, (_, axis) in zip(values, SHAPES, strict=True):
            for function in (np.cumsum, np.cumprod):
                with np.errstate(all="ignore"):
                    expected = function(x, axis, dtype)
                np.testing.assert_array_equal(next(results), expected)


@pytest.mark.parametrize("dtype", [dt.float32, dt.float64, dt.int16, dt.uint64])
def test_running_extremes_are_exact_and_keep_nan(dtype):
    dtype = np.dtype(dtype)
    starts = {"maximum": dt.lowest(dtype), "minimum": 3}
    module, values = scans(starts, dtype)
    for x in values:
        if dtype.kind == "f":
            x.reshape(-1)[x.size // 2 :: 97] = np.nan
            x.reshape(-1)[:1] = -np.inf
    for mode in MODES if dtype == dt.float32 else ("always",):
        results = iter(run(module, values, mode))
        for x, (_, axis) in zip(values, SHAPES, strict=True):
            for name, start in starts.items():
                ufunc = getattr(np, name)
                with np.errstate(invalid="ignore"):
                    expected = ufunc(ufunc.accumulate(x, axis), dtype.type(start))
                np.testing.assert_array_equal(next(results), expected)


@pytest.mark.parametrize("dtype", [dt.bool_, dt.uint8, dt.int32, dt.int64], ids=str)
def test_running_bits(dtype):
    dtype = np.dtype(dtype)
    ones = dtype.type(~np.uint64(0)) if dtype == dt.bool_ else ~dtype.type(0)
    starts = {"and": ones, "or": 0, "xor": 0}
    module, values = scans(starts, dtype)
    assert set(targets(module)) == {"nkipy_scan"}
    results = iter(run(module, values, "always"))
    for x, (_, axis) in zip(values, SHAPES, strict=True):
        for opcode in starts:
            expected = getattr(np, f"bitwise_{opcode}").accumulate(x, axis)
            np.testing.assert_array_equal(next(results), expected)


@pytest.mark.parametrize("count", [1, 2, 1023, 1024, 50_001])
def test_running_sums_are_as_near_the_truth_as_those_of_numpy(count):
    x = numbers(count) + 1
    module = kernel(lambda x: np.cumsum(x), x)
    truth = np.cumsum(x.astype(np.float64))
    error = np.abs(run(module, [x], "always")[0] - truth)
    assert error.max() <= np.abs(np.cumsum(x) - truth).max() + 1e-6


def test_running_sums_of_what_is_not_negative_do_not_fall():
    x = np.abs(numbers(100_000)) * 10.0 ** -np.random.default_rng(1).integers(0, 9)
    x = x.astype(np.float32)
    (total,) = run(kernel(lambda x: np.cumsum(x), x), [x], "always")
    assert (np.diff(total) >= 0).all()


def test_infinities_zeros_and_nan_are_those_of_numpy():
    x = numbers(6000)
    x[[2, 1500]] = np.inf
    x[3000], x[4500] = -np.inf, np.nan
    y = np.full(3000, 2, np.float32)
    y[0] = 0  # times an overflow would be NaN
    module = kernel(lambda x, y: (np.cumsum(x), np.cumprod(y)), x, y)
    assert targets(module) == ["nkipy_scan"] * 2
    total, product = run(module, [x, y], "always")
    with np.errstate(invalid="ignore"):
        expected = np.cumsum(x)
    np.testing.assert_array_equal(np.isnan(total), np.isnan(expected))
    np.testing.assert_allclose(total, expected, rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(product, np.cumprod(y))


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_nothing_is_scanned(shape):
    x = numbers(shape)
    module = kernel(lambda x: np.cumsum(x, axis=0), x)
    for mode in MODES:
        assert run(module, [x], mode)[0].shape == shape


def test_what_is_almost_a_scan_is_left():
    one = scanned("add", 1, (8,), 0, np.dtype(np.int32))  # padding is 1, and counts
    twice = scanned("add", 0, (8,), 0, np.dtype(np.int32), lambda c, p, q: c.add(q, p))
    x = np.arange(8, dtype=np.int32)
    assert targets(one) == []
    np.testing.assert_array_equal(run(twice, [x], "always")[0], np.cumsum(x))
    window = scanned("add", 0, (8,), 0, np.dtype(np.int32))
    (inst,) = [i for i in window.instructions() if i.opcode == "reduce-window"]
    attributes = {**inst.attributes, "window": (WindowDim(3, 1, 2),)}
    module = HLOModule("window")
    b = HLOBuilder(module.entry)
    given = (module.add_parameter((8,), dt.int32), b.full((), 0, dt.int32))
    module.set_results([b.emit("reduce-window", given, (8,), dt.int32, attributes)])
    assert targets(module) == []


@pytest.mark.parametrize("dtype", dt.INTEGERS, ids=str)
def test_extremes_of_integers(dtype):
    x = numbers((5, 6, 7), dtype)
    if dtype.kind == "i":
        x = x - dtype.type(50)

    def extremes(x):
        return np.max(x), np.min(x, axis=1), np.max(x, axis=(0, 1)), np.min(x, axis=2)

    module = kernel(extremes, x)
    assert targets(module).count("nkipy_fold") == 4
    for mode in MODES:
        for made, right in zip(run(module, [x], mode), extremes(x)):
            np.testing.assert_array_equal(made, right)


# -- rows ------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", dt.SUPPORTED, ids=str)
def test_rows_are_copied_whatever_they_consist_of(dtype):
    table = numbers((50, 3, 40), np.float32).astype(dtype)
    indices = np.random.default_rng(1).integers(-50, 50, (7, 30)).astype(np.int32)
    module = kernel(lambda table, i: table[i], table, indices)
    assert targets(module) == ["nkipy_rows"]
    for mode in MODES if dtype == dt.float32 else ("always",):
        (result,) = run(module, [table, indices], mode)
        assert result.tobytes() == table[indices].tobytes()


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int64])
@pytest.mark.parametrize("vector_dim", [0, 1])
def test_rows_outside_are_moved_inside(dtype, vector_dim):
    dtype = np.dtype(dtype)
    info = np.iinfo(dtype)
    indices = np.array([0, 4, 5, info.max, info.min, 2], dtype)
    shape = (6, 1) if vector_dim else (6,)
    module = HLOModule("gather")
    b = HLOBuilder(module.entry)
    given = (
        module.add_parameter((5, 32), dt.float32),
        module.add_parameter(shape, dtype),
    )
    attributes = {
        "offset_dims": (1,),
        "collapsed_slice_dims": (0,),
        "start_index_map": (0,),
        "index_vector_dim": 1,
        "slice_sizes": (1, 32),
        "indices_are_sorted": False,
    }
    module.set_results([b.emit("gather", given, (6, 32), dt.float32, attributes)])
    assert targets(module) == ["nkipy_rows"]
    table = numbers((5, 32))
    inside = np.clip([int(i) for i in indices], 0, 4)
    for mode in MODES:
        (result,) = run(module, [table, indices.reshape(shape)], mode)
        np.testing.assert_array_equal(result, table[inside])


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.bool_])
def test_elements_and_short_rows(dtype):
    i = np.array([[3, 0, -1], [4, -5, 4]], np.int32)
    for shape in ((5,), (5, 3), (5, 1)):
        table = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
        module = kernel(lambda t, i: t[i], table, i)
        assert targets(module) == ["nkipy_rows"]
        for mode in MODES:
            result = run(module, [table, i], mode)[0]
            np.testing.assert_array_equal(result, table[i])


def test_other_gathers_are_left():
    table, i = numbers((40, 40, 40)), np.array([3, 0, 39], np.int32)
    functions = [
        lambda t, i: t[:, i],
        lambda t, i: t[i, i],
        lambda t, i: t[..., i],
    ]
    for function in functions:
        module = kernel(function, table, i)
        assert targets(module) == []
        np.testing.assert_array_equal(
            run(module, [table, i], "always")[0], function(table, i)
        )


def test_no_rows_are_gathered():
    table, i = numbers((4, 40)), np.zeros((0,), np.int32)
    module = kernel(lambda t, i: t[i], table, i)
    for mode in MODES:
        assert run(module, [table, i], mode)[0].shape == (0, 40)


# -- small products --------------------------------------------------------------------
SIZES = [(4, 4, 4), (8, 3, 5), (2, 8, 7), (3, 6, 2), (5, 8, 8)]


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint32])
def test_small_products_in_every_layout(dtype):
    values, formulas = [], []
    for (m, k, n), left, right in product(SIZES, ("mk", "km"), ("kn", "nk")):
        length = {"m": m, "k": k, "n": n}
        values += [
            numbers((3, 41, *[length[i] for i in side]), dtype, seed)
            for seed, side in enumerate((left, right))
        ]
        formulas.append(f"ab{left},ab{right}->abmn")

    def multiply(*values):
        return [
            np.einsum(f, *pair)
            for f, pair in zip(formulas, zip(values[::2], values[1::2]), strict=True)
        ]

    module = kernel(multiply, *values)
    assert targets(module) == ["nkipy_small_products"] * len(formulas)
    for mode in MODES if dtype == np.float32 else ("always",):
        results = run(module, values, mode)
        for result, expected in zip(results, multiply(*values), strict=True):
            np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


def test_float64_and_no_terms():
    for dtype, k in ((dt.float64, 4), (dt.float32, 0)):
        module = HLOModule("products")
        b = HLOBuilder(module.entry)
        x = module.add_parameter((10, 8, k), dtype)
        y = module.add_parameter((10, k, 8), dtype)
        module.set_results([b.dot(x, y, ((2,), (1,)), ((0,), (0,)), dtype)])
        given = [numbers((10, 8, k), dtype), numbers((10, k, 8), dtype)]
        (result,) = run(module, given, "always")
        np.testing.assert_allclose(result, given[0] @ given[1], rtol=1e-12)


def test_products_that_are_few_large_or_narrow_types_are_left():
    for shape in ((8, 8), (10, 9, 9), (10, 2, 2)):
        x = numbers(shape)
        found = targets(kernel(lambda x: x @ x, x))
        assert "nkipy_small_products" not in found
    x = numbers((10, 4, 4), ml_dtypes.bfloat16)
    assert targets(kernel(lambda x: x @ x, x)) == []


# -- where -----------------------------------------------------------------------------
def test_small_arrays_are_left_to_xla():
    table = fast_calls.table()
    for name, make in (
        ("scan", lambda n: kernel(lambda x: np.cumsum(x), numbers(n))),
        ("rows", lambda n: kernel(lambda x: x[np.zeros(n // 64, np.int32)], _LINES)),
    ):
        least = table[name]["any"]
        assert targets(make(least - 64), "auto") == []
        assert targets(make(least), "auto") != []
        assert targets(make(least), "never") == []


_LINES = numbers((100, 64))


def test_ranks_and_loops_run_them_at_once():
    x = numbers((2, 6000))
    module = kernel(lambda x: np.maximum.accumulate(np.cumsum(x)), x[0])
    executable = XlaCpuEngine(fast_calls="always").compile(module, num_replicas=2)
    outputs = [[np.empty(6000, np.float32)] for _ in x]
    executable.run_replicas([[row] for row in x], outputs)
    for row, (result,) in zip(x, outputs):
        expected = np.maximum.accumulate(np.cumsum(row.astype(np.float64)))
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-3)


def test_results_do_not_depend_on_what_else_runs():
    x = numbers(300_000)
    module = kernel(lambda x: np.cumsum(x), x)
    results = [run(module, [x], "always")[0] for _ in range(3)]
    assert len({r.tobytes() for r in results}) == 1
