"""Which loops take so long that threads share them."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.core import dtypes as dt
from nkipy_emulator.care import care_for
from nkipy_emulator.loop_work import SHARED_WORK, has_long_loops
from tests.support.engine import make_module
from tests.support.loops import repeated


def chain(b, x, steps=8):
    for _ in range(steps):
        x = b.add(x, x)
    return x


def chains_between_products(b, x):
    for _ in range(8):
        x = chain(b, b.dot(x, x, ((1,), (0,)), ((), ()), dt.float32), 4)
    return x


def sums_of_rows(b, x):
    return b.reduce(x, "add", 0.0, (1,))


@pytest.mark.parametrize(
    ("body", "shape", "expected"),
    [
        (chain, (SHARED_WORK // 8,), True),
        (chain, (SHARED_WORK // 8 - 1,), False),
        (lambda b, x: b.unary("tanh", chain(b, x, 4)), (SHARED_WORK // 8,), True),
        (lambda b, x: b.reshape(chain(b, x), (-1,)), (2, SHARED_WORK // 16), True),
        (lambda b, x: x, (SHARED_WORK,), False),
        (lambda b, x: b.transpose(x, (1, 0)), (1024, SHARED_WORK // 4096), True),
        (lambda b, x: b.transpose(x, (1, 0)), (1023, SHARED_WORK // 4096), False),
        (sums_of_rows, (SHARED_WORK // 7 // 64 + 1, 64), True),
        (sums_of_rows, (SHARED_WORK // 7 // 64, 64), False),
        (chains_between_products, (512, 512), False),
        (lambda b, x: repeated(b, chain, x, 3), (SHARED_WORK // 8,), True),
    ],
)
def test_how_long_the_longest_loop_is(body, shape, expected):
    module = make_module(body, np.zeros(shape, np.float32))
    assert has_long_loops(module) is expected
    assert care_for(module, module, module).share is expected
