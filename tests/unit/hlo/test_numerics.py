"""Rounding to narrower types, compared bit by bit with NumPy's rounding."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.core import dtypes as dt
from nkipy.hlo.options import SimulationOptions

pytestmark = pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
TYPES = {"bf16": dt.bfloat16, "fp16": dt.float16, "fp8_e4m3": dt.float8_e4m3}


def rounded(x: np.ndarray, cast_type: str) -> np.ndarray:
    """float32 `x` rounded to nearest even in `cast_type`, by NumPy."""
    if cast_type != "tf32":
        return x.astype(TYPES[cast_type]).astype(np.float32)
    bits = x.view(np.uint32).astype(np.uint64)
    bits += 0xFFF + ((bits >> 13) & 1)
    return (bits & 0xFFFFE000).astype(np.uint32).view(np.float32)


@pytest.fixture(params=["bf16", "fp16", "tf32", "fp8_e4m3"])
def cast_type(request):
    return request.param


@pytest.fixture
def values(rng):
    exponents = rng.integers(-9, 7, (7, 33))
    return (rng.standard_normal((7, 33)) * 2.0**exponents).astype(np.float32)


def matmult(b, x, y):
    return b.dot(x, y, ((1,), (0,)))


def test_operands_of_a_product_are_rounded(execute, values, cast_type):
    options = SimulationOptions(auto_cast="matmult", auto_cast_type=cast_type)
    unit = np.eye(33, dtype=np.float32)
    (out,) = execute(matmult, values, unit, options=options)
    np.testing.assert_array_equal(out, rounded(values, cast_type))
    (out,) = execute(matmult, np.eye(7, dtype=np.float32), values, options=options)
    np.testing.assert_array_equal(out, rounded(values, cast_type))
    assert (out != values).any()


def test_products_are_accumulated_in_float32(execute, rng, cast_type):
    options = SimulationOptions(auto_cast="matmult", auto_cast_type=cast_type)
    x, y = rng.standard_normal((2, 64, 64)).astype(np.float32)
    (out,) = execute(matmult, x, y, options=options)
    exact = rounded(x, cast_type).astype(np.float64) @ rounded(y, cast_type)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, exact, rtol=0, atol=2e-5)
    # 2**12 + 1 addends need 13 bits, more than any type that is rounded to has.
    ones = np.ones((1, 4097), np.float32)
    (out,) = execute(matmult, ones, ones.T.copy(), options=options)
    np.testing.assert_array_equal(out, [[4097]])


def test_only_products_are_rounded_under_matmult(execute, values, cast_type):
    options = SimulationOptions(auto_cast="matmult", auto_cast_type=cast_type)
    (out,) = execute(lambda b, x: b.add(x, x), values, options=options)
    np.testing.assert_array_equal(out, values + values)


def test_elementwise_results_are_rounded_under_all(execute, values, cast_type):
    options = SimulationOptions(auto_cast="all", auto_cast_type=cast_type)

    def body(b, x, y):
        return b.multiply(b.add(x, y), y), b.divide(x, y), b.unary("abs", x)

    other = values[::-1].copy()
    product, quotient, absolute = execute(body, values, other, options=options)
    total = rounded(values + other, cast_type)
    np.testing.assert_array_equal(product, rounded(total * other, cast_type))
    np.testing.assert_array_equal(quotient, rounded(values / other, cast_type))
    np.testing.assert_array_equal(absolute, np.abs(values))


def test_sums_are_accumulated_in_float32_under_all(execute, cast_type):
    options = SimulationOptions(auto_cast="all", auto_cast_type=cast_type)
    ones = np.ones(4097, np.float32)
    (out,) = execute(lambda b, x: b.reduce(x, "add", 0, (0,)), ones, options=options)
    assert out == 4097


def test_values_out_of_range_become_infinite(execute):
    x = np.array([1e5, -1e5, 300, 1e-9, 6e-8], np.float32)
    unit = np.eye(5, dtype=np.float32)
    diagonal = lambda b, x, y: b.multiply(x, y)  # noqa: E731
    for cast_type in ("fp16", "fp8_e4m3"):
        options = SimulationOptions(auto_cast="all", auto_cast_type=cast_type)
        (out,) = execute(diagonal, x, np.ones_like(unit[0]), options=options)
        np.testing.assert_array_equal(out, rounded(x, cast_type))
        assert np.isinf(out[:2]).all()


def test_other_dtypes_are_left_alone(execute, rng):
    options = SimulationOptions(auto_cast="all", auto_cast_type="fp8_e4m3")
    for dtype in (np.float16, np.int32):
        x = rng.integers(0, 99, (4, 4)).astype(dtype)
        total, product = execute(
            lambda b, p: (b.add(p, p), matmult(b, p, p)), x, options=options
        )
        np.testing.assert_array_equal(total, x + x)
        np.testing.assert_array_equal(product, x @ x)


def test_fast_compile_computes_the_same(execute, rng):
    x = rng.standard_normal((32, 32)).astype(np.float32)
    options = SimulationOptions(fast_compile=True)

    def body(b, x):
        return b.add(b.multiply(x, x), b.divide(x, b.unary("sqrt", b.unary("abs", x))))

    (out,) = execute(body, x, options=options)
    np.testing.assert_array_equal(out, x * x + x / np.sqrt(np.abs(x)))


@pytest.mark.parametrize(
    "field, value", [("auto_cast", "some"), ("auto_cast_type", "fp8")]
)
def test_unknown_options_are_refused(field, value):
    with pytest.raises(ValueError, match=f"{field} must be one of .*{value!r}"):
        SimulationOptions(**{field: value})
