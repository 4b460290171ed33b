"""Powers of integers, whose exponents XLA would cut."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOComputation
from nkipy.hlo.rewrites.powers import expand_powers
from tests.support.integers import defined

DTYPES = [dt.int8, dt.uint16, dt.int64]


def pairs(dtype):
    info = np.iinfo(dtype)
    exponents = [0, 1, 2, 63, 64, 65, info.max // 2 + 1, info.max - 1, info.max]
    exponents += [-1, -2, info.min] if info.min else []
    bases = [0, 1, 2, 3, 7, info.max, info.min] + ([-1, -2, -3] if info.min else [])
    x, y = np.meshgrid(np.array(bases, dtype), np.array(exponents, dtype))
    return x.ravel(), y.ravel()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_constants_and_parameters(execute, dtype):
    x, y = pairs(dtype)

    def body(b, p, q):
        c, d = b.constant(x), b.constant(y)
        return [b.binary("power", *o) for o in ((c, d), (p, q), (c, q), (p, d))]

    for result in execute(body, x, y):
        np.testing.assert_array_equal(result, defined("power", x, y))


def test_inside_of_a_reduction(execute):
    computation = HLOComputation("power")
    p, q = (computation.add_parameter((), dt.uint16, n) for n in "pq")
    computation.root = HLOBuilder(computation).binary("power", p, q)
    x = np.array([[3, 40_000], [5, 65_535]], np.uint16)

    def body(b, x):
        attributes = {"dimensions": (1,), "to_apply": computation}
        init = b.scalar(1, dt.uint16)
        # The order of a reduction is nobody's to know: 1**n and n**1 both are in it.
        return b.emit("reduce", (x, init), (2,), dt.uint16, attributes)

    (result,) = execute(body, x)
    first = defined("power", np.ones(2, np.uint16), x[:, 0])
    np.testing.assert_array_equal(result, defined("power", first, x[:, 1]))


@pytest.mark.parametrize("exponent", [0, 2, 63])
def test_small_constants_are_left_as_they_are(module_of, exponent):
    def body(b, x):
        y = b.broadcast_to(b.scalar(exponent, dt.int32), x.shape)
        return b.binary("power", x, y)

    module = module_of(body, np.ones(3, np.int32))
    assert expand_powers(module) is module


@pytest.mark.parametrize("exponent", [-1, 64])
def test_others_are_not(module_of, exponent):
    def body(b, x):
        return b.binary("power", x, b.full_like(x, exponent))

    module = module_of(body, np.ones(3, np.int32))
    opcodes = {inst.opcode for inst in expand_powers(module).instructions()}
    assert "power" not in opcodes


def test_powers_of_floats_are_left_as_they_are(module_of):
    module = module_of(lambda b, x: b.binary("power", x, x), np.ones(3, np.float32))
    assert expand_powers(module) is module
