"""Cheap work on elements by NumPy's loops and by ours: as NumPy does it, and as XLA."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from nkipy.hlo import dtypes as dt
from nkipy_emulator.engine import XlaCpuEngine
from nkipy_emulator.executables import DirectExecutable
from nkipy_emulator.handler_programs import handler_program
from nkipy_emulator.plain_calls import _FUNCTIONS, _OF_BITS
from tests.support.fast_calls import built, by_handlers, traced

INTEGERS = (*dt.INTEGERS, dt.int64, dt.uint64)
FLOATS = (dt.float32, dt.float64)
SIZES = (1, 37, 20_001)


def run(module, *arguments):
    return by_handlers(module).run_new(arguments)[0]


def by_xla(module, *arguments):
    return XlaCpuEngine(fast_calls="never").compile(module).run_new(arguments)[0]


def elements(rng, dtype, count):
    """With what is special at the front, as far as there is room."""
    if dtype == dt.bool_:
        return rng.integers(0, 2, count).astype(bool)
    if dt.is_float(dtype):
        x = rng.standard_normal(count).astype(dtype) * 100
        special = [np.nan, np.inf, -np.inf, 0.0, -0.0, 0.5, -2.5, 1.5]
    else:
        info = np.iinfo(dtype)
        x = rng.integers(max(info.min, -100), 101, count).astype(dtype)
        special = [info.max, info.min, 0, 1, info.max - 1]
    places = rng.permutation(count)[: len(special)]
    x[places] = np.array(special[: len(places)], dtype)
    return x


def same(made, wanted):
    assert made.dtype == wanted.dtype
    assert made.shape == wanted.shape
    np.testing.assert_array_equal(made, wanted)
    if made.dtype.kind == "f":
        numbers = ~np.isnan(wanted)
        signs = np.signbit(made[numbers]), np.signbit(wanted[numbers])
        np.testing.assert_array_equal(*signs)


@pytest.mark.parametrize("opcode", _FUNCTIONS)
def test_functions_are_those_of_numpy_and_of_xla(opcode, rng):
    name, dtypes = _FUNCTIONS[opcode]
    function = getattr(np, name)
    for dtype in dtypes:
        for count in SIZES:
            given = [elements(rng, dtype, count) for _ in range(function.nin)]
            if "shift" in opcode:  # by all that is in range, and by more
                given[1] = rng.integers(0, dtype.itemsize * 8 + 4, count).astype(dtype)

            def body(b, *xs):
                result = dt.bool_ if opcode == "is-finite" else xs[0].dtype
                return b.emit(opcode, xs, xs[0].shape, result)

            module = built(body, *given)
            made = run(module, *given)
            with np.errstate(all="ignore"):
                wanted = function(*given)
            if name in ("maximum", "minimum"):  # of 0 and -0 it may be either
                np.testing.assert_array_equal(made, wanted)
            else:
                same(made, wanted)
            if count == SIZES[1] and dtype.itemsize in (1, 4):  # as the others
                np.testing.assert_array_equal(made, by_xla(module, *given))


@pytest.mark.parametrize("direction", ["EQ", "NE", "LT", "LE", "GT", "GE"])
def test_comparisons(direction, rng):
    names = {"EQ": "equal", "NE": "not_equal", "LT": "less", "LE": "less_equal"}
    names |= {"GT": "greater", "GE": "greater_equal"}
    for dtype in (*FLOATS, *INTEGERS, dt.bool_):
        x, y = (elements(rng, dtype, 3000) for _ in range(2))
        y[::3] = x[::3]
        module = built(lambda b, x, y: b.compare(x, y, direction), x, y)
        same(run(module, x, y), getattr(np, names[direction])(x, y))


@pytest.mark.parametrize("count", SIZES)
def test_conversions(count, rng):
    for source in (*FLOATS, *_OF_BITS):
        for target in (*FLOATS, *INTEGERS):
            if source == target or (dt.is_float(source) and not dt.is_float(target)):
                continue
            x = elements(rng, source, count)
            if source == dt.float64:
                x[: count // 2] *= 1e37  # infinity in float32
            module = built(lambda b, x, to=target: b.convert(x, to), x)
            with np.errstate(all="ignore"):
                same(run(module, x), x.astype(target))


def test_conversions_that_are_left_to_xla():
    x = np.ones(10, np.float32)
    for target in (dt.int32, dt.float16, dt.bfloat16):
        module = built(lambda b, x, to=target: b.convert(x, to), x)
        assert handler_program(module, mode="always") is None


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)], ids=str)
def test_conversions_of_what_is_repeated(shape, rng):
    one = np.full(shape, -3, np.int8)
    x = elements(rng, dt.uint32, 21).reshape(7, 3)
    x[0] = 2**32 - 3, 3, 0

    def repeated(b, one, *dtypes):
        made = b.broadcast_to(one, x.shape)
        for dtype in dtypes:
            made = b.convert(made, dtype)
        return made

    wraps = built(lambda b, one: repeated(b, one, dt.int32, dt.uint32), one)
    same(run(wraps, one), np.full(x.shape, 2**32 - 3, np.uint32))

    def compared(b, x, one):
        return b.compare(x, repeated(b, one, dt.int32, dt.uint32), "EQ")

    found = run(built(compared, x, one), x, one)
    assert found.sum() == np.count_nonzero(x == 2**32 - 3) > 0
    assert found[0, 0]


@pytest.mark.parametrize(
    "test", [np.array(3, np.int8), np.array([3], np.int32), np.array([[3]], np.int16)]
)
def test_unsigned_numbers_are_compared_with_one_that_is_signed(test):
    x = np.arange(24, dtype=np.uint32).reshape(3, 8)
    for kernel in (np.isin, np.equal, np.greater, np.minimum):
        module = traced(kernel, x, np.asarray(test))
        executable = XlaCpuEngine(fast_calls="auto").compile(module)
        (made,) = executable.run_new([x, np.asarray(test)])
        np.testing.assert_array_equal(made, kernel(x, test))


@pytest.mark.parametrize("count", SIZES)
def test_choices(count, rng):
    mask = rng.integers(0, 2, count).astype(bool)
    for dtype in (dt.bool_, dt.int8, dt.bfloat16, dt.float32, dt.int64):
        kind = dt.float32 if dtype == dt.bfloat16 else dtype
        x, y = (elements(rng, kind, count).astype(dtype) for _ in range(2))
        for one_x in (False, True):
            for one_y in (False, True):
                a, b = (x[0] if one_x else x), (y[0] if one_y else y)

                def body(b_, m, p, q, one_x=one_x, one_y=one_y):
                    first = b_.reshape(b_.slice_dim(p, 0, 0, 1), ())
                    last = b_.reshape(b_.slice_dim(q, 0, 0, 1), ())
                    if one_x:
                        p = b_.broadcast_in_dim(first, m.shape, ())
                    if one_y:
                        q = b_.broadcast_in_dim(last, m.shape, ())
                    return b_.select(m, p, q)

                module = built(body, mask, x, y)
                if handler_program(module, mode="always") is None:
                    continue  # an element of an array is no handler's
                bits = f"u{np.dtype(dtype).itemsize}"
                wanted = np.where(mask, a, b).astype(dtype)
                made = run(module, mask, x, y)
                np.testing.assert_array_equal(made.view(bits), wanted.view(bits))


def test_choices_between_numbers(rng):
    x = elements(rng, dt.float32, 5000)
    for kernel in (
        lambda x: np.where(x > 0.5, x, 0),
        lambda x: np.where(x > 0.5, 1, x),
        lambda x: np.where(x > 0.5, np.float32(2), np.float32(3)),
        lambda x: np.where(np.isnan(x), -x, x),
    ):
        same(run(traced(kernel, x), x), kernel(x).astype(np.float32))


def test_scalars_and_several_steps(rng):
    x, y = (elements(rng, dt.float32, 5000) for _ in range(2))
    scalar = np.float32(3)

    def kernel(x, y, scalar):
        return (2 * x + scalar) * x - y, x > y

    module = traced(kernel, x, y, np.asarray(scalar))
    with np.errstate(all="ignore"):
        for made, wanted in zip(
            by_handlers(module).run_new([x, y, np.asarray(scalar)]),
            kernel(x, y, scalar),
        ):
            same(made, wanted)


def test_what_takes_many_steps_is_left_to_xla(rng):
    def kernel(x):
        for _ in range(3):
            x = x * 2 + 1
        return x

    small, large = (np.ones(n, np.float32) for n in (100, 100_000))
    for x, is_direct in ((small, True), (large, False)):
        executable = XlaCpuEngine(fast_calls="auto").compile(traced(kernel, x))
        assert isinstance(executable, DirectExecutable) == is_direct


def test_what_is_spread_is_left_to_xla():
    x, row = np.ones((20, 30), np.float32), np.ones(30, np.float32)
    module = traced(lambda x, row: x + row, x, row)
    assert handler_program(module, mode="always") is None


@pytest.mark.parametrize("offset", [0, 1, 2, 4, 20])
def test_arrays_may_lie_anywhere(offset, rng):
    raw, out = (np.empty(4 * 30_000 + 64, np.uint8) for _ in range(2))
    x = raw[offset : offset + 120_000].view(np.float32)
    x[:] = elements(rng, dt.float32, 30_000)
    made = out[offset : offset + 120_000].view(np.float32)
    by_handlers(traced(lambda x: x + x, x)).run([x], [made])
    np.testing.assert_array_equal(made, x + x)


@pytest.mark.parametrize("shift", [-1, 0, 1, 5000])
def test_results_may_overlap_arguments(shift, rng):
    memory = elements(rng, dt.int32, 30_000)
    x, made = memory[6000:20_000], memory[6000 + shift : 20_000 + shift]
    expected = x + x
    by_handlers(traced(lambda x: x + x, x)).run([x], [made])
    np.testing.assert_array_equal(made, expected)


def test_attributes_and_types_that_do_not_fit_are_refused():
    x = np.ones(10, np.int32)
    module = traced(lambda x: np.where(x > 0, x, 0), x)
    program = handler_program(module, mode="always")
    target, attributes, operands, results = program.steps[-1]
    for step in (
        (target, (("elements", 9), *attributes[1:]), operands, results),
        (target, attributes, operands[1:] + operands[:1], results),
        (target, attributes, operands[:2], results),
    ):
        changed = program._replace(steps=(*program.steps[:-1], step))
        with pytest.raises(Exception, match="shapes|operands") as raised:
            DirectExecutable(module, "handlers", changed).run_new([x])
        assert type(raised.value).__name__ == "SimulationError"


# -- folds -----------------------------------------------------------------------------
FOLDS = {
    "sum": (np.sum, INTEGERS),
    "product": (np.prod, INTEGERS),
    "any": (np.any, (dt.bool_, dt.float32, dt.int32)),
    "all": (np.all, (dt.bool_, dt.float32, dt.int32)),
    "count": (np.count_nonzero, (dt.bool_, dt.float32, dt.int32)),
    "largest number": (np.nanmax, (dt.float32,)),
    "smallest number": (np.nanmin, (dt.float32,)),
}
SHAPES = [(7, 5), (300, 1), (3, 700, 5), (2000, 375), (2, 80_000)]


@pytest.mark.parametrize("name", FOLDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_folds_are_those_of_numpy_both_ways(name, shape, rng):
    function, dtypes = FOLDS[name]
    for dtype in dtypes:
        if dtype.itemsize == 8:
            continue  # arguments have none
        x = elements(rng, dtype, int(np.prod(shape))).reshape(shape)
        x[rng.integers(0, 2, shape) == 0] = 0
        if "number" in name:
            x[rng.integers(0, 2, shape) == 0] = np.nan
            x[..., 0] = np.nan
        for axis in (None, 0, len(shape) - 1):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # where all are NaN
                wanted = np.asarray(function(x, axis=axis))
            module = traced(lambda x, axis=axis: function(x, axis=axis), x)
            made = run(module, x)
            # Sums are of the dtype that the traced one has, which wraps.
            np.testing.assert_array_equal(made, wanted.astype(made.dtype))
            if dtype != dtypes[0] or axis != 0:
                continue
            always = XlaCpuEngine(fast_calls="always").compile(module)
            np.testing.assert_array_equal(always.run_new([x])[0], made)


def test_subnormal_numbers_and_signs_of_nan_count(rng):
    x = np.array([1e-40, -1e-40, 0.0, -0.0, -np.nan, np.nan, 1], np.float32)
    module = traced(np.count_nonzero, x)
    assert run(module, x) == np.count_nonzero(x) == 5
    only = x[4:6]
    assert np.isnan(run(traced(np.nanmin, only), only))


def test_folds_of_large_arrays_by_several_threads(rng):
    x = rng.integers(0, 3, (700, 900)).astype(np.int32)
    for axis in (None, 0, 1):
        module = traced(lambda x, axis=axis: np.sum(x, axis=axis, dtype=np.int32), x)
        np.testing.assert_array_equal(run(module, x), np.sum(x, axis=axis))
