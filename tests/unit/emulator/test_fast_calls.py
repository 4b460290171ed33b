"""NumPy's loops in the place of XLA's code: where, and that results are NumPy's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from benchmarks.bench_fast_calls import arguments, function, lower
from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOComputation, HLOModule
from nkipy.hlo.options import SimulationOptions
from nkipy_emulator import SimulationError, fast_calls
from nkipy_emulator.engine import XlaCpuEngine
from tests.support.fast_calls import MODES, kernel, run, targets

FUNCTIONS = sorted(fast_calls.known_functions())
TINY = np.finfo(np.float32).tiny
ROOT = Path(__file__).resolve().parents[3]
SPECIAL = np.array(
    [0.0, -0.0, 1, -1, 0.5, -0.5, 2, -3, np.inf, -np.inf, np.nan, TINY, -TINY]
    + [TINY / 4, -TINY / 4, 1e-45, 3.4e38, -3.4e38, 1e10, 88.7, -104, 1 + 2**-23],
    np.float32,
)


def same_bits(x, y):
    """Equal, zeros' signs included; NaN is NaN."""
    np.testing.assert_array_equal(x, y)
    numbers = x == x
    np.testing.assert_array_equal(np.signbit(x)[numbers], np.signbit(y)[numbers])


def every(values):
    """A module of every function, each of its own arguments; these; their names."""
    module = HLOModule("every")
    b = HLOBuilder(module.entry)
    results = [
        lower(b, name, *[module.add_parameter(v.shape, dt.float32) for v in given])
        for name, given in values.items()
    ]
    module.set_results(results)
    return module, [v for given in values.values() for v in given]


@pytest.mark.parametrize("size", [0, 1, 37, 40_000])
def test_results_are_those_of_numpy_bit_by_bit(size):
    values = {name: arguments(name, size) for name in FUNCTIONS}
    results = run(*every(values), "always")
    for (name, given), result in zip(values.items(), results, strict=True):
        same_bits(result, getattr(np, name)(*given))


@pytest.mark.parametrize("mode", MODES)
def test_both_ways_are_near_the_truth(mode):
    values = {name: arguments(name, 20_000) for name in FUNCTIONS}
    results = run(*every(values), mode)
    for (name, given), result in zip(values.items(), results, strict=True):
        truth = getattr(np, name)(*[a.astype(np.float64) for a in given])
        last_place = np.spacing(np.abs(truth).astype(np.float32)).astype(np.float64)
        error = np.abs(result - truth) / np.maximum(last_place, 1e-10)
        assert error.max() < 8, name


def test_special_values_are_those_of_numpy():
    values = {
        name: [a.ravel() for a in np.meshgrid(*[SPECIAL] * getattr(np, name).nin)]
        for name in FUNCTIONS
    }
    with np.errstate(all="raise"):  # no flags of the handler's are seen
        results = run(*every(values), "always")
    for (name, given), result in zip(values.items(), results, strict=True):
        with np.errstate(all="ignore"):
            same_bits(result, getattr(np, name)(*given))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["sin", "log1p", "arctan2"])
def test_narrow_types_are_computed_in_float32(name, dtype):
    dtype = np.dtype(dtype)
    module = HLOModule("narrow")
    b = HLOBuilder(module.entry)
    ufunc = getattr(np, name)
    given = [module.add_parameter((500,), dtype) for _ in range(ufunc.nin)]
    opcode = {f: o for o, f in fast_calls.OPCODES.items()}[name]
    module.set_results([b.emit(opcode, tuple(given), (500,), dtype)])
    rng = np.random.default_rng(1)
    values = [rng.uniform(-0.9, 9, 500).astype(dtype) for _ in given]
    (result,) = run(module, values, "always")
    expected = ufunc(*[a.astype(np.float32) for a in values]).astype(dtype)
    np.testing.assert_array_equal(result, expected)


def test_a_small_array_is_left_to_xla_and_a_large_one_is_not():
    least = fast_calls.table()["tan"]["float32"]
    assert targets(function("tan", least - 1)[0], "auto") == []
    assert targets(function("tan", least)[0], "auto") == ["nkipy_elements"]
    assert targets(function("tan", least)[0], "never") == []


@pytest.mark.parametrize(
    ("exponent", "expected"),
    [(2, []), (0.5, []), (-1, []), (2.5, ["nkipy_elements"])],
)
def test_powers_that_are_products_and_roots_are_left(exponent, expected):
    module = HLOModule("power")
    b = HLOBuilder(module.entry)
    x = module.add_parameter((10_000,), dt.float32)
    module.set_results([b.binary("power", x, b.full_like(x, exponent))])
    assert targets(module, "auto") == expected
    assert targets(module, "always") == ["nkipy_elements"]


def test_a_composition_is_one_call():
    for name in FUNCTIONS:
        assert targets(function(name, 8)[0]) == ["nkipy_elements"], name


def test_a_repeated_scalar_is_an_operand_of_one_element():
    module = HLOModule("power")
    b = HLOBuilder(module.entry)
    x = module.add_parameter((3, 700), dt.float32)
    y = module.add_parameter((), dt.float32)
    powers = b.binary("power", x, b.full_like(x, 2.5))
    module.set_results([powers, b.binary("atan2", b.broadcast_to(y, x.shape), x)])
    value = np.random.default_rng(2).uniform(0, 9, x.shape).astype(np.float32)
    results = run(module, [value, np.array(0.3, np.float32)], "always")
    expected = np.power(value, np.full_like(value, 2.5))
    np.testing.assert_allclose(results[0], expected, rtol=3e-7)
    expected = np.arctan2(np.full_like(value, 0.3), value)
    np.testing.assert_allclose(results[1], expected, rtol=3e-7)


def test_what_is_not_the_composition_is_left():
    module = HLOModule("almost")
    b = HLOBuilder(module.entry)
    x, y = (module.add_parameter((8,), dt.float32) for _ in range(2))
    one = b.full_like(x, 1)
    root = b.unary("sqrt", b.multiply(b.subtract(one, y), b.add(one, x)))
    module.set_results([b.binary("atan2", x, root)])  # arcsine, were y not x
    given = np.linspace(-0.9, 0.9, 8, dtype=np.float32)
    (result,) = run(module, [given, given[::-1].copy()], "always")
    p, q = given.astype(np.float64), given[::-1].astype(np.float64)
    expected = np.arctan2(p, np.sqrt((1 - q) * (1 + p)))
    np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_parts_that_others_use_are_still_there():
    module = HLOModule("shared")
    b = HLOBuilder(module.entry)
    x = module.add_parameter((600,), dt.float32)
    one = b.full_like(x, 1)
    root = b.unary("sqrt", b.multiply(b.subtract(one, x), b.add(one, x)))
    module.set_results([b.binary("atan2", x, root), root])
    value = np.linspace(-1, 1, 600, dtype=np.float32)
    arcsine, root_of = run(module, [value], "always")
    same_bits(arcsine, np.arcsin(value))
    np.testing.assert_allclose(root_of, np.sqrt((1 - value) * (1 + value)), rtol=1e-6)


def test_loops_and_calls_have_them_and_what_is_applied_to_elements_has_not():
    module = HLOModule("nested")
    b = HLOBuilder(module.entry)
    x = module.add_parameter((300,), dt.float32)
    called = HLOComputation("called")
    p = called.add_parameter((300,), dt.float32)
    called.root = HLOBuilder(called).unary("tan", p)
    applied = HLOComputation("applied")
    q, r = (applied.add_parameter((), dt.float32) for _ in range(2))
    c = HLOBuilder(applied)
    applied.root = c.add(q, c.unary("tan", r))
    one = b.emit("call", (x,), x.shape, x.dtype, {"to_apply": called})
    zero = b.full((), 0, dt.float32)
    attributes = {"dimensions": (0,), "to_apply": applied}
    total = b.emit("reduce", (x, zero), (), dt.float32, attributes)
    module.set_results([one, total])
    assert targets(module) == ["nkipy_elements"]
    value = np.linspace(-1, 1, 300, dtype=np.float32)
    tangent, total = run(module, [value], "always")
    same_bits(tangent, np.tan(value))
    assert np.isfinite(total)


def test_what_is_called_and_applied_to_elements_too_is_left():
    module = HLOModule("both")
    b = HLOBuilder(module.entry)
    x, y = (
        module.add_parameter((300,), dt.float32),
        module.add_parameter((), dt.float32),
    )
    inner = HLOComputation("inner")
    inner.root = HLOBuilder(inner).unary("tan", inner.add_parameter((), dt.float32))
    applied = HLOComputation("applied")
    q, r = (applied.add_parameter((), dt.float32) for _ in range(2))
    c = HLOBuilder(applied)
    tangent = c.emit("call", (r,), (), dt.float32, {"to_apply": inner})
    applied.root = c.add(q, tangent)
    called = b.emit("call", (y, y), (), dt.float32, {"to_apply": applied})
    also = b.emit("call", (y,), (), dt.float32, {"to_apply": inner})
    attributes = {"dimensions": (0,), "to_apply": applied}
    total = b.emit("reduce", (x, y), (), dt.float32, attributes)
    module.set_results([called, also, total])
    assert targets(module) == []  # XLA would end the process
    value, one = np.linspace(0, 1, 300, dtype=np.float32), np.float32(0.5)
    *results, total = run(module, [value, np.array(one)], "always")
    expected = [one + np.tan(one), np.tan(one)]
    np.testing.assert_allclose(results, expected, rtol=1e-5)
    assert np.isfinite(total)  # in which order it adds is not said


def test_ranks_run_them_at_once():
    module, (value,) = function("tan", 5000)
    executable = XlaCpuEngine(fast_calls="always").compile(module, num_replicas=2)
    values = [value, value / 2]
    outputs = [[np.empty_like(value)] for _ in values]
    executable.run_replicas([[v] for v in values], outputs)
    for one, (result,) in zip(values, outputs):
        same_bits(result, np.tan(one))


def test_casts_of_all_operations_keep_the_parts():
    options = SimulationOptions(auto_cast="all")
    assert targets(function("arcsin", 8)[0], options=options) == []


def test_the_environment_says_where(monkeypatch):
    for mode in ("auto", *MODES):
        monkeypatch.setenv(fast_calls.VARIABLE, mode)
        assert fast_calls.chosen(None) == mode
    monkeypatch.setenv(fast_calls.VARIABLE, "sometimes")
    assert fast_calls.chosen("never") == "never"
    with pytest.raises(SimulationError, match="'sometimes'; it can be auto, always"):
        XlaCpuEngine().compile(function("sin", 8)[0])


@pytest.mark.slow
def test_code_from_the_disk_finds_its_handlers(tmp_path):
    program = """
import sys
from pathlib import Path
import numpy as np
from nkipy.core.trace import NKIPyKernel
from nkipy_emulator.code_cache import CodeCache
from nkipy_emulator.engine import XlaCpuEngine
x = np.linspace(-1, 1, 5000, dtype=np.float32)
module = NKIPyKernel.trace(lambda x: np.tan(x) * 2).specialize(x)
out = np.empty_like(x)
engine = XlaCpuEngine(CodeCache(Path(sys.argv[1])), "always")  # XLA calls handlers
engine.compile(module).run([x], [out])
np.testing.assert_array_equal(out, np.tan(x) * 2)
"""
    for _ in range(2):
        command = [sys.executable, "-c", program, str(tmp_path)]
        subprocess.run(command, check=True, cwd=ROOT)
    assert any(tmp_path.rglob("*"))


# -- integers --------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", dt.INTEGERS, ids=str)
def test_divisors_and_multiples_are_those_of_numpy(dtype):
    dtype = np.dtype(dtype)
    info, rng = np.iinfo(dtype), np.random.default_rng(3)
    few = np.array([0, 1, 6, info.max, info.min, info.max - 1, 100, 75], dtype)
    x, y = (v.ravel() for v in np.meshgrid(few, few))
    x, y = (
        np.concatenate([v, rng.integers(info.min, info.max, 5000, dtype)])
        for v in (x, y)
    )

    def both(x, y):
        return [f(*v) for f in (np.gcd, np.lcm) for v in ((x, y), (x, 12), (12, x))]

    module = kernel(both, x, y)
    assert targets(module) == ["nkipy_elements"] * 6
    with np.errstate(over="ignore"):
        expected = both(x, y)
    for got, wanted in zip(run(module, [x, y], "always"), expected, strict=True):
        assert got.dtype == wanted.dtype
        np.testing.assert_array_equal(got, wanted)


def test_a_divisor_of_other_numbers_is_left():
    module = HLOModule("almost")
    b = HLOBuilder(module.entry)
    x, y = (module.add_parameter((9,), dt.uint8) for _ in range(2))
    once = b.select(b.compare(y, b.full_like(y, 0), "EQ"), x, y)
    rest = b.select(b.compare(x, y, "EQ"), x, b.binary("remainder", x, y))
    module.set_results([b.select(b.compare(rest, x, "EQ"), once, rest)])
    assert targets(module) == []


def test_what_the_table_has_decides_where_calls_are_made(monkeypatch):
    monkeypatch.setattr(
        fast_calls,
        "table",
        lambda: {
            "both": {"float32": 100, "alone": 10},
            "one": {"float32": 100},
            "dtypes": {"float32": 100, "float32 alone": 1},
        },
    )
    chosen = fast_calls.is_chosen
    assert [chosen("both", "float32", n, "auto") for n in (99, 100)] == [False, True]
    assert [chosen("both", "float32", n, "alone") for n in (9, 10)] == [False, True]
    assert [chosen("one", "float32", n, "alone") for n in (99, 100)] == [False, True]
    assert chosen("dtypes", "float32", 1, "alone")
    assert not chosen("dtypes", "int8", 100, "alone")
    assert not chosen("one", "int8", 100, "alone")
    assert not chosen("none", "float32", 100, "alone")
    assert chosen("none", "float32", 1, "always")
    assert not chosen("both", "float32", 100, "never")
