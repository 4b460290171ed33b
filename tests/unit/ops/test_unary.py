"""Rules of unary ops, rounding and float parts that samples do not show."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.core.trace import trace_function
from nkipy.runtime import simulate_jit
from nkipy.testing import run_simulated
from nkipy_emulator import fast_calls
from tests.support.kernels import check_kernel

X = np.array([[1.25, -2.5, np.nan], [np.inf, -0.0, 7.75]], np.float32)
N = np.array([5, -15, 25, 2**31 - 1, -(2**31)], np.int32)


def opcodes(func, *args):
    return [i.opcode for i in trace_function(func, args, {}).module.operations]


@pytest.mark.parametrize(
    ("func", "expected"),
    [
        (np.log1p, ["log-plus-one"]),
        (np.expm1, ["exponential-minus-one"]),
        (np.rint, ["round-nearest-even"]),
        (np.tan, ["tan"]),
        (np.isfinite, ["is-finite"]),
        (np.square, ["multiply"]),
        (np.cbrt, ["cbrt"]),
    ],
)
def test_one_opcode(func, expected):
    assert opcodes(lambda x: func(x), X) == expected


def test_nan_to_num_in_place_writes_the_parameter():
    def kernel(x):
        np.nan_to_num(x, copy=False, nan=1.0, posinf=2.0)

    check_kernel(kernel, X)


def test_clip_bounds_decide_the_dtype():
    def kernel(n):
        small = n.astype(np.int8)
        return (
            np.clip(small, -1000, 1000),
            np.clip(small, -1000, 3),
            np.clip(small, 0.5, 3.5),
            np.clip(small, np.int16(-2), 3),
            np.clip(small, 0, 3, dtype=np.int32),
            np.clip(n, None, None),
        )

    check_kernel(kernel, N)


def test_hyperbolic_functions_over_the_whole_range():
    sizes = np.geomspace(1e-30, 89.3, 400)
    x = np.concatenate([sizes, -sizes]).astype(np.float32)
    check_kernel(lambda x: (np.sinh(x), np.cosh(x), np.tanh(x)), x, rtol=2e-6)


def test_inverse_functions_over_the_whole_range():
    def kernel(unit, wide, above):
        inverses = np.arcsin(unit), np.arccos(unit), np.arctanh(unit)
        return inverses, np.arcsinh(wide), np.arctan(wide), np.arccosh(above)

    unit = np.concatenate([np.geomspace(1e-30, 1, 300), 1 - np.geomspace(1e-7, 1, 99)])
    unit = np.concatenate([unit, -unit]).astype(np.float32)
    wide = np.concatenate([np.geomspace(1e-30, 3e38, 400), -np.geomspace(1e-9, 9, 99)])
    above = 1 + np.geomspace(1.2e-7, 1e38, 400)
    check_kernel(
        kernel, unit, wide.astype(np.float32), above.astype(np.float32), rtol=1.5e-6
    )


def test_logarithms_of_powers_are_exact(monkeypatch):
    # XLA's, not NumPy's, which are off by one unit on some CPUs.
    monkeypatch.setenv(fast_calls.VARIABLE, "never")
    twos, tens = np.arange(-126, 128), np.arange(-37, 39)
    x = np.ldexp(np.float32(1), twos)
    np.testing.assert_array_equal(run_simulated(np.log2, x), twos)
    x = np.array([float(f"1e{n}") for n in tens], np.float32)
    np.testing.assert_array_equal(run_simulated(np.log10, x), tens)


@pytest.mark.parametrize(
    ("func", "error", "match"),
    [
        (lambda x, n: -(n > 0), TypeError, "boolean negative"),
        (lambda x, n: ~x, TypeError, "not supported for the input types"),
        (lambda x, n: np.round(x, 1.5), TypeError, "integer"),
        (lambda x, n: np.clip(x, 0, 1, min=0), ValueError, "min"),
        (lambda x, n: np.gcd(x, x), TypeError, "did not contain a loop"),
        (lambda x, n: np.isclose(x, n), ValueError, "broadcast"),
    ],
)
def test_mistake_is_refused(func, error, match):
    with pytest.raises(error, match=match) as caught:
        trace_function(func, (X, N), {})
    assert __file__ in str(caught.value)


@pytest.mark.parametrize("dtype", [np.int32, np.uint32])
@pytest.mark.parametrize("decimals", [-1, -2, -5, -9])
def test_round_gives_the_nearest_integer_where_none_is_so_round(dtype, decimals):
    ends = np.iinfo(dtype)
    values = [e + s * k for e, s in ((ends.min, 1), (ends.max, -1)) for k in range(60)]
    values += [0, 5, 15, 25, 10**9, 15 * 10**8]
    got = simulate_jit(lambda x: np.round(x, decimals))(np.array(values, dtype))
    exact = [round(v, decimals) for v in values]  # of Python's integers
    expected = np.array([min(max(v, ends.min), ends.max) for v in exact], dtype)
    np.testing.assert_array_equal(got, expected)
    assert got.dtype == dtype


@pytest.mark.parametrize("function", [np.log, np.log2, np.log10])
def test_subnormal_numbers_are_zero_for_logarithms_of_xla(function, monkeypatch):
    x = np.array([1e-40, -1e-40, 1e-45, 0, 1.0], np.float32)
    monkeypatch.setenv(fast_calls.VARIABLE, "never")
    got = simulate_jit(lambda x: function(x))(x)
    np.testing.assert_array_equal(got, [-np.inf, -np.inf, -np.inf, -np.inf, 0])
    monkeypatch.setenv(fast_calls.VARIABLE, "auto")
    with np.errstate(all="ignore"):
        expected = function(x)
    np.testing.assert_array_equal(simulate_jit(lambda x: function(x))(x), expected)


def test_frexp_of_subnormal_numbers_has_no_exponent():
    x = np.array([1e-40, -1e-45, 2.0**-126], np.float32)
    mantissa, exponent = simulate_jit(lambda x: np.frexp(x))(x)
    np.testing.assert_array_equal(exponent, [0, 0, -125])
    np.testing.assert_array_equal(mantissa.view(np.int32)[:2], x.view(np.int32)[:2])
    assert mantissa[2] == 0.5
