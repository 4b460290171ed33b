"""XLA computes what the module says, bit for bit."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from nkipy.hlo.ir import HLOInstruction
from nkipy.hlo.rewrites.exact import keep_exact

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
N = 1001
FLOATS = [np.float32, np.float16, ml_dtypes.bfloat16, np.float64]


@pytest.fixture
def operands(rng):
    x, y, z = rng.standard_normal((3, N)).astype(np.float32) * 30
    x[:4] = [1000, -1000, 3e38, 0]
    return x, y, z


def same(actual: np.ndarray, expected: np.ndarray) -> None:
    """Equal bits; any NaN is like any other."""
    assert actual.dtype == expected.dtype
    bits = f"u{actual.dtype.itemsize}"
    nan = np.isnan(actual.astype(np.float32)) & np.isnan(expected.astype(np.float32))
    different = (actual.view(bits) != expected.view(bits)) & ~nan
    assert not different.any(), (actual[different][:5], expected[different][:5])


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: np.dtype(d).name)
def test_products_are_rounded_before_they_are_added(execute, operands, dtype):
    x, y, z = (v.astype(dtype) for v in operands)

    def body(b, x, y, z):
        product = b.multiply(x, y)
        swapped = b.multiply(y, x)
        return (
            b.add(product, z),
            b.subtract(b.multiply(x, z), product),
            b.add(b.negate(b.reshape(product, (7, 143))), b.reshape(z, (7, 143))),
            b.subtract(product, swapped),
        )

    results = execute(body, x, y, z)
    same(results[0], x * y + z)
    same(results[1], x * z - x * y)
    same(results[2], (-(x * y) + z).reshape(7, 143))
    same(results[3], x * y - y * x)


def origins(value: HLOInstruction) -> set[str]:
    """The opcodes that a sum of `value` could be contracted with, through moves."""
    if value.opcode in ("negate", "reshape", "broadcast", "transpose", "slice"):
        return origins(value.operands[0])
    return {value.opcode}


@pytest.mark.parametrize("zero_shape", [(), (1,), (5,)], ids=str)
@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: np.dtype(d).name)
def test_no_product_reaches_a_sum_without_a_fence(module_of, dtype, zero_shape):
    """Whether this CPU multiplies and adds at once in that dtype or not."""

    def body(b, x, zero):
        product = b.multiply(x, x)
        rows = b.reshape(b.negate(product), (2, 3))
        return (
            b.add(product, x),
            b.subtract(b.reshape(x, (2, 3)), rows),
            b.reduce(b.transpose(rows, (1, 0)), "add", 0, (0,)),
        )

    module = module_of(body, np.zeros(6, dtype), np.zeros(zero_shape, np.uint64))
    copy = keep_exact(module, module.parameters[1])
    copy.verify()
    fenced = copy.entry.instructions
    sums = [i for i in fenced if i.opcode in ("add", "subtract", "reduce")]
    assert len(sums) == 3
    summed = set().union(*(origins(o) for i in sums for o in i.operands))
    assert summed == {"bitcast-convert", "parameter", "constant"}


def test_products_are_rounded_before_they_are_summed(execute):
    # 1 + 2**-23 squared is not a float32; only an unrounded product leaves a rest.
    x = np.array([1 + 2**-12, -1 - 2**-12], np.float32)
    y = np.array([1 + 2**-12, 1 + 2**-12], np.float32)

    def body(b, x, y):
        return b.reduce(b.multiply(x, y), "add", 0, (0,))

    (out,) = execute(body, x, y)
    assert out == 0


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: np.dtype(d).name)
def test_every_operation_rounds(execute, operands, dtype):
    x, y, z = (v.astype(dtype) for v in operands)
    total, quotient, root = execute(
        lambda b, x, y, z: (
            b.add(b.add(x, y), z),
            b.divide(b.divide(x, y), z),
            b.divide(x, b.unary("sqrt", b.unary("abs", y))),
        ),
        x,
        y,
        z,
    )
    same(total, (x + y) + z)
    same(quotient, (x / y) / z)
    same(root, x / np.sqrt(np.abs(y)))


def test_nothing_is_simplified_away(execute, operands):
    x, y, _ = operands

    def body(b, x, y):
        exp = b.unary("exponential", x)
        third = b.full(x.shape, np.float32(3), x.dtype)
        return (
            b.unary("log", exp),
            b.divide(y, exp),
            b.divide(x, third),
            b.subtract(b.add(x, y), y),
            b.multiply(exp, b.full(x.shape, 0, x.dtype)),
        )

    log, quotient, third, rest, zero = execute(body, x, y)
    assert log[0] == np.inf and log[1] == -np.inf
    assert quotient[0] == 0 and np.isinf(quotient[1])
    same(third, x / np.float32(3))
    same(rest, (x + y) - y)
    assert np.isnan(zero[0]) and zero[1] == 0


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: np.dtype(d).name)
@pytest.mark.parametrize("shape", [(4,), (2, 2)])
def test_adding_zero_drops_the_sign_of_zero(execute, dtype, shape):
    x = np.array([-0.0, 0.0, 1.0, -1.0], dtype).reshape(shape)

    def body(b, x):
        zero = b.full(x.shape, 0, x.dtype)
        return b.add(x, zero), b.add(zero, x), b.subtract(x, zero)

    left, right, difference = execute(body, x)
    same(left, x + dtype(0))
    same(right, x + dtype(0))
    same(difference, x)


def test_nan_is_kept_by_minimum_and_maximum(execute):
    x = np.array([np.nan, 1, 2], np.float32)
    y = np.array([1, np.nan, 3], np.float32)
    low, high = execute(lambda b, x, y: (b.minimum(x, y), b.maximum(x, y)), x, y)
    np.testing.assert_array_equal(low, [np.nan, np.nan, 2])
    np.testing.assert_array_equal(high, [np.nan, np.nan, 3])
