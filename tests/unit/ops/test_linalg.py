"""Products of arrays: what samples of one dtype and static values cannot show."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from nkipy.core.trace import trace_function
from nkipy.testing import run_simulated
from tests.support.kernels import check_kernel

BF16 = ml_dtypes.bfloat16


def array(*shape, dtype=np.float32, seed=0):
    rng = np.random.default_rng([seed, *shape])
    return rng.integers(-4, 5, shape).astype(dtype)


def opcodes(kernel, *args):
    return [i.opcode for i in trace_function(kernel, args, {}).module.operations]


@pytest.mark.parametrize(
    "shapes",
    [
        ((3, 5), (5, 4)),
        ((2, 3, 5), (2, 5, 4)),
        ((2, 3, 5), (5, 4)),
        ((5,), (5, 4)),
    ],
)
def test_common_products_are_one_instruction(shapes):
    x, y = (array(*s) for s in shapes)
    assert [o for o in opcodes(np.matmul, x, y) if o != "copy"] == ["dot"]


def test_operands_that_broadcast_are_not_copied():
    assert "broadcast" not in opcodes(np.matmul, array(2, 1, 3, 5), array(4, 5, 6))


@pytest.mark.parametrize("small", [BF16, np.float16, ml_dtypes.float8_e4m3fn])
def test_small_floats_enter_the_product_as_they_are(small):
    x = array(3, 300, dtype=small)
    y = array(300, 2, dtype=small)
    module = trace_function(np.dot, (x, y), {}).module
    (dot,) = [i for i in module.operations if i.opcode == "dot"]
    assert dot.dtype == np.float32
    assert [o.dtype for o in dot.operands] == [np.dtype(small)] * 2


def test_matmul_of_bfloat16_is_float32_as_in_numpy_and_dot_is_bfloat16():
    x = array(3, 3, dtype=BF16)
    check_kernel(lambda a: (a @ a, np.dot(a, a), a @ a.astype(np.float32)), x)


def test_integers_wrap_around_in_their_own_dtype():
    x = np.full((2, 9), 100, np.int8)
    got = run_simulated(lambda a: a @ a.T, x)
    assert got.dtype == np.int8
    np.testing.assert_array_equal(got, x @ x.T)


def test_matmul_takes_dtype_and_out():
    def kernel(a, b, c):
        np.matmul(a, b, out=c)
        return np.matmul(a, b, dtype=np.int32)

    check_kernel(
        kernel,
        array(2, 3, dtype=np.int8),
        array(3, 2, dtype=np.int8),
        np.zeros((2, 2), np.float32),
    )


def test_array_constants_are_operands():
    constant = np.arange(6, dtype=np.float32).reshape(3, 2)
    check_kernel(lambda a: (a @ constant, constant @ a, np.dot(a, 2.0)), array(2, 3))


def test_aliases_in_linalg():
    def kernel(a, b):
        return (
            np.linalg.matmul(a, b),
            np.linalg.tensordot(a, b, axes=1),
            np.linalg.vecdot(a, a, axis=0),
            np.linalg.matrix_transpose(a),
        )

    check_kernel(kernel, array(3, 4), array(4, 3))


def test_shape_error_names_both_shapes():
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(4, 5\)"):
        trace_function(np.matmul, (array(2, 3), array(4, 5)), {})
