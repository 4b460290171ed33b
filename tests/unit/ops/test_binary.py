"""What binary ops emit, and rules of theirs that samples do not show."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.core.trace import trace_function
from tests.support.kernels import check_kernel

X = np.array([[1.5, -2.0, 0.25], [4.0, -0.0, 9.0]], np.float32)
N = np.array([[7, -8, 0], [2**31 - 1, -(2**31), -1]], np.int32)


def opcodes(func, *args):
    return [i.opcode for i in trace_function(func, args, {}).module.operations]


@pytest.mark.parametrize(
    ("func", "array", "expected"),
    [
        (lambda x: x + x, X, ["add"]),
        (lambda x: x * 2.0, X, ["constant", "broadcast", "multiply"]),
        (lambda x: x**2, X, ["multiply"]),
        (lambda x: x**0, X, ["constant", "broadcast"]),
        (lambda n: n**3, N, ["multiply", "multiply"]),
        (lambda n: n // 8, N, ["constant", "broadcast", "shift-right-arithmetic"]),
        (lambda x: np.clip(x, 0, 1), X, ["constant", "constant", "clamp"]),
        (lambda n: n < 3, N, ["constant", "broadcast", "compare"]),
        (lambda x: x[0] + x[0, 0], X, None),
    ],
)
def test_few_instructions(func, array, expected):
    found = opcodes(func, array)
    assert expected is None or sorted(found) == sorted(expected)


def test_scalar_operand_is_shared():
    found = opcodes(lambda x: x * 2.0 + x / 2.0 - 2.0, X)
    assert found.count("constant") == found.count("broadcast") == 1


def test_zeros_of_both_signs_are_two_constants():
    def kernel(x):
        return np.copysign(x, 0.0), np.copysign(x, -0.0), x * 0.0, x * -0.0

    check_kernel(kernel, X)


@pytest.mark.parametrize("divisor", [1, 2, 7, 16, -1, -2, -16, 2**30, -(2**31)])
def test_division_by_static_integers(divisor):
    def kernel(n):
        return n // divisor, n % divisor, np.fmod(n, divisor), divmod(n, divisor)

    check_kernel(kernel, N)


def test_division_by_traced_zero_is_zero():
    def kernel(n, zero):
        return n // zero, n % zero, np.fmod(n, zero), divmod(n, zero)

    with np.errstate(all="ignore"):
        check_kernel(kernel, N, np.zeros(3, np.int32))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint32])
def test_integer_power_wraps(dtype):
    base = np.array([0, 1, 2, 3, 5, 127, -1, -3]).astype(dtype)
    top = np.iinfo(dtype).max
    exponent = np.array([0, 1, 2, 31, 63, 64, 65, 100, top - 1, top]).astype(dtype)
    check_kernel(lambda x, n: x[:, None] ** n, base, exponent)
    check_kernel(lambda x: [x**0, x**1, x**5, x**64, x**100], base)


def test_nested_dtype_keywords():
    def kernel(x, n):
        return (
            np.add(n, n, dtype=np.float32),
            np.add(x, 1, dtype=np.float64),
            np.multiply(n, n, dtype=np.int8, casting="unsafe"),
            np.add(x, n),
            np.add(True, x),
            n + np.int8(3),
            n + [1, 2, 3],
        )

    check_kernel(kernel, X, N)


def test_two_results_into_two_outs():
    def kernel(x, q, r):
        np.divmod(x, 0.7, out=(q, r))
        return np.modf(x, out=(None, q))[0]

    check_kernel(kernel, X, np.zeros_like(X), np.zeros_like(X))


@pytest.mark.parametrize(
    ("func", "error", "match"),
    [
        (lambda x, n: np.add(n, 1.5, out=n), TypeError, "cannot cast the result"),
        (lambda x, n: np.add(x, x, out=x[0]), ValueError, "non-broadcastable"),
        (lambda x, n: np.add(x, n, dtype=np.int32), TypeError, "[Cc]annot cast"),
        (lambda x, n: x + None, TypeError, "NoneType"),
        (lambda x, n: x & n, TypeError, "not supported for the input types"),
        (lambda x, n: n.astype(np.int8) + 300, OverflowError, "out of bounds"),
        (lambda x, n: n**-1, ValueError, "negative integer powers"),
        (lambda x, n: np.add(x, x, where=n), TypeError, "boolean"),
        (lambda x, n: x + 1j, TypeError, "complex"),
    ],
)
def test_mistake_is_refused(func, error, match):
    with pytest.raises(error, match=match) as caught:
        trace_function(func, (X, N), {})
    assert __file__ in str(caught.value)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint16, np.float16])
@pytest.mark.parametrize("exponent", [0, 1, 2, 3, True, 2.0])
def test_powers_of_python_scalars_have_the_dtype_of_numpys(dtype, exponent):
    check_kernel(lambda x: x**exponent, np.array([1, 0], dtype))


SIGNED = np.array([1, -1, 3, -7, 2**31 - 1, -(2**31), 0], np.int32)
LARGE = np.array([0, 1, 3, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1], np.uint32)


@pytest.mark.parametrize("wide", [np.int32, np.int64])
@pytest.mark.parametrize(
    "ufunc", [np.floor_divide, np.remainder, np.fmod, np.gcd, np.lcm, np.maximum]
)
def test_large_uint32_beside_signed_integers_is_positive(ufunc, wide):
    signed = SIGNED.astype(wide)
    with np.errstate(all="ignore"):
        check_kernel(lambda n, u: (ufunc.outer(n, u), ufunc.outer(u, n)), signed, LARGE)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_large_uint32_counts_in_the_dtype_that_is_asked_for(dtype):
    def kernel(n, u):
        results = [u[1:] // u[:-1], np.floor_divide(u, n, dtype=dtype)]
        results += [f(u, u[::-1], dtype=dtype) for f in (np.floor_divide, np.minimum)]
        return [*results, np.maximum(u, n, dtype=dtype)]

    with np.errstate(all="ignore"):
        check_kernel(kernel, SIGNED, LARGE)


def test_large_uint32_divides_in_place():
    def kernel(n, u):
        quotient, rest, shifted = n.copy(), n.copy(), n.copy()
        quotient //= u
        rest %= u
        shifted >>= u
        np.floor_divide.at(n, slice(2, None), u[2:])
        return quotient, rest, shifted, n

    with np.errstate(all="ignore"):
        check_kernel(kernel, SIGNED, LARGE)


@pytest.mark.parametrize("other", [1, 4, 3, -1, -4, 2**31 - 1, -(2**31), 0])
def test_large_uint32_beside_known_numbers(other):
    def kernel(u):
        n = np.int64(other)
        return u // n, u % n, np.fmod(u, n), n // u, n % u, u >> np.int64(abs(n) % 40)

    with np.errstate(all="ignore"):
        check_kernel(kernel, LARGE)


def test_large_uint32_moves_forward():
    def kernel(n, u):
        taken = [np.take(n, u, mode=mode) for mode in ("wrap", "clip")]
        return [*taken, np.roll(n, u[-1]), np.roll(n, u[4])]

    check_kernel(kernel, SIGNED, LARGE)


@pytest.mark.parametrize("ufunc", [np.maximum, np.minimum])
@pytest.mark.parametrize(("of", "by"), [("int32", "uint32"), ("int8", "int32")])
def test_extremes_that_wrap_between_steps_are_refused(ufunc, of, by):
    def kernel(a, b):
        ufunc.at(a, [0, 0], b)

    with pytest.raises(NotImplementedError, match="b.astype"):
        trace_function(kernel, (np.ones(2, of), np.ones(2, by)), {})


def test_a_power_of_zero_is_one_whatever_it_is_of():
    x = np.array([np.nan, -np.inf, np.inf, 0.0, -0.0, 1e-45, -2.5], np.float32)
    for exponent in (0, -0.0):
        check_kernel(lambda x, y=exponent: np.power(x, y), x)
