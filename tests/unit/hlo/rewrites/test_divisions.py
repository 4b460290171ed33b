"""Integer divisions whose operands could stop the process."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOComputation
from nkipy.hlo.rewrites.divisions import guard_divisions
from nkipy.runtime import simulate_jit
from tests.support.integers import defined

DTYPES = [dt.int8, dt.int16, dt.int32, dt.int64, dt.uint8, dt.uint32]


def pairs(dtype):
    """All pairs of special values."""
    info = np.iinfo(dtype)
    values = [0, 1, 2, 7, info.max, info.min, info.min + 1]
    values += [-1, -7] if info.min else []
    x, y = np.meshgrid(np.array(values, dtype), np.array(values, dtype))
    return x.reshape(-1), y.reshape(-1)


@pytest.mark.parametrize("opcode", ["divide", "remainder"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_special_values_as_constants_and_as_parameters(execute, dtype, opcode):
    x, y = pairs(dtype)

    def body(b, p, q):
        c, d = b.constant(x), b.constant(y)
        zero = b.full_like(p, 0)
        folded = b.add(b.xor(q, q), d)
        always = b.binary(opcode, c, b.multiply(p, zero))
        return [b.binary(opcode, *o) for o in ((c, d), (p, q), (c, folded))] + [always]

    with np.errstate(all="ignore"):
        *results, always = execute(body, x, y)
    for result in results:
        np.testing.assert_array_equal(result, defined(opcode, x, y))
    np.testing.assert_array_equal(always, defined(opcode, x, np.zeros_like(x)))


def test_inside_of_a_reduction(execute):
    computation = HLOComputation("quotient")
    p, q = (computation.add_parameter((), dt.int32, n) for n in "pq")
    inner = HLOBuilder(computation)
    divisor = inner.xor(q, q)
    computation.root = inner.add(inner.divide(p, divisor), inner.scalar(5, dt.int32))

    def body(b, x):
        attributes = {"dimensions": (0,), "to_apply": computation}
        operands = (x, b.scalar(9, dt.int32))
        return b.emit("reduce", operands, (), dt.int32, attributes)

    (result,) = execute(body, np.arange(3, dtype=np.int32))
    assert result == 4


def test_what_numpy_makes_of_it():
    x = np.arange(1, 6, dtype=np.int32)
    kernels = [
        lambda a: 7 // (a * 0),
        lambda a: 7 % (a ^ a),
        lambda a: np.fmod(5, np.zeros_like(a)),
        lambda a: np.divmod(np.ones(5, np.int32), a ^ a)[1],
        lambda a: np.lcm(np.ones_like(a), np.ones_like(a)),
        lambda a: np.gcd(np.ones_like(a), a ^ a),
        lambda a: np.full_like(a, -(2**31)) // (a * 0 - 1),
    ]

    def together(a):
        return [kernel(a) for kernel in kernels]

    with np.errstate(all="ignore"):
        expected = together(x)
    for result, wanted in zip(simulate_jit(together)(x), expected):
        np.testing.assert_array_equal(result, wanted)


def test_a_literal_without_zero_is_left_alone(module_of):
    x = np.arange(3, dtype=np.int32)
    module = module_of(lambda b, p: b.divide(p, b.full_like(p, 7)), x)
    assert guard_divisions(module) is module
    unsigned = x.astype(np.uint8)
    module = module_of(lambda b, p: b.divide(p, b.full_like(p, 255)), unsigned)
    assert guard_divisions(module) is module
