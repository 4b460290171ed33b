"""Functions of each element in ``nki.language``, by NumPy's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.language as nl
from nki_simulator.tests.language_functions import (
    BF16,
    close,
    f64,
    numbers,
    refused,
    run,
)
from nkipy_nki import NkiValidationError
from nkipy_nki.findings import NkiWarning

# -- of two ----------------------------------------------------------------------------
ARITHMETIC: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "mod": np.mod,
    "fmod": np.fmod,
}
TRUTH: dict[str, Callable[..., Any]] = {
    "equal": np.equal,
    "not_equal": np.not_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
}
BITWISE: dict[str, Callable[..., Any]] = {
    "bitwise_and": np.bitwise_and,
    "bitwise_or": np.bitwise_or,
    "bitwise_xor": np.bitwise_xor,
    "left_shift": np.left_shift,
    "right_shift": np.right_shift,
}


@pytest.mark.parametrize("name", ARITHMETIC)
@pytest.mark.parametrize("dtype", [np.float32, BF16])
def test_arithmetic(name: str, dtype: Any) -> None:
    function, expected = getattr(nl, name), ARITHMETIC[name]
    x, y = (
        numbers(dtype),
        np.abs(numbers(dtype, (4, 6))[::-1]) + dtype.type(1)
        if (isinstance(dtype, np.dtype))
        else np.abs(numbers(dtype)[::-1]) + dtype(1),
    )
    found = run(function, x, y)
    assert found.dtype == np.dtype(dtype)
    close(found, expected(f64(x), f64(y)))
    close(run(lambda t: function(t, 2.5), x), expected(f64(x), 2.5))
    close(run(lambda t: function(2.5, t), y), expected(2.5, f64(y)))
    wide = run(lambda t, u: function(t, u, dtype=nl.float32), x, y)
    assert wide.dtype == np.float32


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "maximum", "minimum"])
def test_arithmetic_of_whole_numbers(name: str) -> None:
    x = np.array([[2**30 + 1, -7, 12], [0, 5, -(2**24) - 1]], np.int32)
    y = np.array([[1, 3, -4], [9, -5, 2]], np.int32)
    function, expected = getattr(nl, name), ARITHMETIC[name]
    found = run(function, x, y)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, expected(x, y))
    small = x % 100
    np.testing.assert_array_equal(
        run(lambda t: function(t, 3), small), expected(small, 3)
    )
    assert run(lambda t: function(t, 0.5), small).dtype == np.float32


def test_power_and_magnitudes() -> None:
    x, y = np.abs(numbers()) + np.float32(0.1), numbers()[::-1]
    close(run(nl.power, x, y.copy()), f64(x) ** f64(y))
    close(run(lambda t: nl.power(t, 0.5), x), np.sqrt(f64(x)))
    close(run(lambda t: nl.power(2.0, t), y.copy()), 2.0 ** f64(y))
    size = np.maximum(np.abs(x), np.abs(y))
    close(run(nl.abs_max, x, y.copy(), target="trn3"), size)
    close(run(nl.abs_min, x, y.copy(), target="trn3"), np.minimum(abs(x), abs(y)))
    refused(nl.abs_max, x, y.copy(), match="gen4")


@pytest.mark.parametrize("name", TRUTH)
@pytest.mark.parametrize("dtype", [np.float32, BF16, np.int32])
def test_truth(name: str, dtype: Any) -> None:
    function, expected = getattr(nl, name), TRUTH[name]
    x = np.array([[0, 1, 2, 3], [3, 0, 1, 2]], dtype)
    y = np.array([[0, 2, 2, 0], [1, 0, 3, 2]], dtype)
    found = run(function, x, y)
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found.astype(bool), expected(x, y))
    found = run(lambda t: function(t, 1.0, dtype=nl.uint8), x)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected(x, 1))
    np.testing.assert_array_equal(run(lambda t: function(1.0, t), x), expected(1, x))


@pytest.mark.parametrize("name", BITWISE)
@pytest.mark.parametrize("dtype", [np.int32, np.uint16])
def test_bits(name: str, dtype: Any) -> None:
    function, expected = getattr(nl, name), BITWISE[name]
    x = np.array([[0, 1, 200, 77], [255, 1024, 3, 6]], dtype)
    y = np.array([[1, 2, 3, 4], [0, 5, 6, 1]], dtype)
    found = run(function, x, y)
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found, expected(x, y))
    np.testing.assert_array_equal(
        run(lambda t: function(t, 3), x), expected(x, np.array(3, dtype))
    )
    np.testing.assert_array_equal(run(nl.invert, x), ~x)


def test_types_together() -> None:
    types = {
        ("bfloat16", "float32"): "float32",
        ("bfloat16", "float16"): "float32",
        ("bfloat16", "int32"): "bfloat16",
        ("int8", "int32"): "int32",
        ("int16", "uint16"): "int32",
        ("uint8", "int8"): "int16",
        ("int32", "uint32"): "int32",
        ("float8_e4m3", "float8_e5m2"): "bfloat16",
    }

    def kernel() -> None:
        for (first, second), expected in types.items():
            x, y = nl.ones((2, 2), first), nl.ones((2, 2), second)
            assert nl.add(x, y).dtype == nl.multiply(y, x).dtype == expected

    nki.simulate(kernel)()


def test_operands_that_are_refused() -> None:
    x, column = numbers(), numbers(shape=(4, 1))
    refused(
        nl.add, x, column, match=r"nl.add: x has the shape \[4, 6\], and y \[4, 1\]"
    )
    refused(lambda t: nl.add(1, 2), x, match="one must be a tile")
    refused(lambda t: nl.add(t, "y"), x, match="y is 'y'")
    refused(lambda t: nl.bitwise_and(t, t), x, match="whole numbers")

    def kernel(x: Any) -> Any:
        return nl.add(x, 1.0)

    with pytest.raises(NkiValidationError, match="nl.load"):
        nki.simulate(kernel)(x)
    with pytest.raises(NkiValidationError, match="outside of a kernel"):
        nl.zeros((2, 2), nl.float32)


def test_a_comparison_can_be_asserted() -> None:
    def kernel(x: Any, holds: bool) -> Any:
        tile = nl.load(x)
        assert bool(nl.equal(tile, tile if holds else nl.add(tile, 1.0))) is holds
        return x

    for holds in (True, False):
        with pytest.warns(NkiWarning, match="run time only"):
            nki.simulate(kernel)(numbers(), holds)


# -- of one ----------------------------------------------------------------------------
def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _erf(x: np.ndarray) -> np.ndarray:
    return np.vectorize(math.erf)(x)


def _normal(x: np.ndarray) -> np.ndarray:
    return (1 + _erf(x / math.sqrt(2))) / 2


def _density(x: np.ndarray) -> np.ndarray:
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(x))


def _slope(f: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], Any]:
    return lambda x: (f(x + 1e-5) - f(x - 1e-5)) / 2e-5


OF_ONE: dict[str, Callable[[np.ndarray], Any]] = {
    "abs": np.abs,
    "exp": np.exp,
    "negative": np.negative,
    "sign": np.sign,
    "square": np.square,
    "tanh": np.tanh,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "ceil": np.ceil,
    "floor": np.floor,
    "trunc": np.trunc,
    "reciprocal": np.reciprocal,
    "logical_not": lambda x: x == 0,
    "copy": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": _sigmoid,
    "silu": lambda x: x * _sigmoid(x),
    "silu_dx": _slope(lambda x: x * _sigmoid(x)),
    "gelu": lambda x: x * _normal(x),
    "gelu_dx": lambda x: _normal(x) + x * _density(x),
    "gelu_apprx_sigmoid": lambda x: x * _sigmoid(1.702 * x),
    "gelu_apprx_sigmoid_dx": _slope(lambda x: x * _sigmoid(1.702 * x)),
    "gelu_apprx_tanh": lambda x: (
        x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2
    ),
    "mish": lambda x: x * np.tanh(_softplus(x)),
    "softplus": _softplus,
    "erf": _erf,
    "erf_dx": lambda x: 2 / math.sqrt(math.pi) * np.exp(-x * x),
}
OF_POSITIVE: dict[str, Callable[[np.ndarray], Any]] = {
    "log": np.log,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "arctan": np.arctan,
}


@pytest.mark.parametrize("name", [*OF_ONE, *OF_POSITIVE])
@pytest.mark.parametrize("dtype", [np.float32, BF16])
def test_functions_of_one(name: str, dtype: Any) -> None:
    x = numbers(dtype, (4, 2, 3))
    if name in OF_POSITIVE:
        x = (np.abs(f64(x)) / 4 + 0.1).astype(dtype)
    expected = {**OF_ONE, **OF_POSITIVE}[name](f64(x))
    found = run(getattr(nl, name), x)
    assert found.dtype == np.dtype(dtype)
    if name in ("tan", "reciprocal"):
        scale = 1 + expected**2  # an angle's error, near a pole
        found, expected = (found / scale.astype(dtype)).astype(dtype), expected / scale
    close(found, expected)
    wide = run(lambda t: getattr(nl, name)(t, dtype=nl.float32), x)
    assert wide.dtype == np.float32


@pytest.mark.parametrize("name", ["floor", "ceil", "trunc"])
def test_whole_numbers_at_the_edges(name: str) -> None:
    edges = [0.0, 0.5, 1.5, 2.5, 0.49999997, 8388607.5, 2**23, 2**24 + 2, 2**31, 1e20]
    x = np.array([edges, [-e for e in edges]], np.float32)
    np.testing.assert_array_equal(run(getattr(nl, name), x), getattr(np, name)(x))
    infinite = np.array([[np.inf, -np.inf, np.nan]], np.float32)
    np.testing.assert_array_equal(run(getattr(nl, name), infinite), infinite)
    whole = np.array([[3, -(2**30) - 1]], np.int32)
    np.testing.assert_array_equal(run(getattr(nl, name), whole), whole)


@pytest.mark.parametrize("name", ["sin", "cos"])
def test_angles_of_many_turns(name: str) -> None:
    x = np.linspace(-4000, 4000, 96, dtype=np.float32).reshape(4, 24)
    close(run(getattr(nl, name), x), getattr(np, name)(f64(x)))
    # Unlike the engine's own: 9 is beyond pi.
    nine = run(nl.sin, np.array([[9.0]], np.float32))
    close(nine, [[math.sin(9)]])
