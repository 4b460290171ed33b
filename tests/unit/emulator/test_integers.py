"""Every opcode of integers computes what HLO says, of 8 bits for all operands."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.hlo import dtypes as dt
from nkipy.hlo.opcodes import BINARY, UNARY
from tests.support import integers

QUICK = [dt.int8]
OTHERS = [dtype for dtype in dt.INTEGERS if dtype not in QUICK]
OPCODES = [
    (opcode, count, dtypes)
    for table, count in ((UNARY, 1), (BINARY, 2))
    for opcode, dtypes in table.items()
]


def some(dtype):
    """Extremes, what is near a number of bits, and random numbers."""
    info = np.iinfo(dtype)
    odd = [0, 1, 2, 3, 7, 63, 64, 65, info.bits - 1, info.bits, info.bits + 1]
    for bit in (info.bits - 2, info.bits - 1):
        odd += [(1 << bit) - 1, (1 << bit), (1 << bit) + 1]
    special = [integers.wrap(n, dtype) for n in (*odd, *(-n for n in odd))]
    rng = np.random.default_rng(0)
    random = rng.integers(info.min, info.max, 40, dtype, endpoint=True)
    return np.concatenate([np.array(special, dtype), random])


def check(execute, values):
    dtype = values.dtype
    x, y = (grid.ravel() for grid in np.meshgrid(values, values))
    opcodes = [(name, n) for name, n, dtypes in OPCODES if dtype in dtypes]

    def body(b, *values):
        return [b.emit(name, values[:n], x.shape, dtype) for name, n in opcodes]

    for (name, _), result in zip(opcodes, execute(body, x, y)):
        np.testing.assert_array_equal(result, integers.defined(name, x, y), name)


@pytest.mark.parametrize("dtype", QUICK, ids=str)
def test_some_numbers(execute, dtype):
    check(execute, some(dtype))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", OTHERS, ids=str)
def test_some_numbers_of_other_types(execute, dtype):
    check(execute, some(dtype))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [dt.int8, dt.uint8], ids=str)
def test_all_pairs_of_bytes(execute, dtype):
    check(execute, np.arange(256).astype(np.uint8).view(dtype))
