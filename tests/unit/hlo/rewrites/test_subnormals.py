"""Functions of subnormal numbers, which are zero to them wherever they lie."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from nkipy.hlo.ir import HLOModule
from nkipy.hlo.rewrites.subnormals import flush_subnormals
from nkipy.testing import special_values, subnormals
from nkipy_emulator.fast_calls import VARIABLE


@pytest.mark.parametrize("opcode", ["log", "cbrt"])
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_a_subnormal_number_is_zero_in_any_place(execute, monkeypatch, opcode, dtype):
    monkeypatch.setenv(VARIABLE, "never")  # NumPy's loops know such numbers
    counts = (1, 3, 5, 8, 17)
    operands = [np.full(n, x, dtype) for n in counts for x in subnormals(dtype)]
    results = execute(lambda b, *ps: [b.unary(opcode, p) for p in ps], *operands)
    for result, operand in zip(results, operands):
        zeros = np.copysign(np.zeros_like(operand), operand)
        expected = np.full_like(operand, -np.inf) if opcode == "log" else zeros
        np.testing.assert_array_equal(result, expected)
        np.testing.assert_array_equal(np.signbit(result), np.signbit(expected))


def test_other_numbers_are_what_they_were(execute):
    x = special_values(np.float32)
    tiny = np.finfo(np.float32).tiny
    x = np.concatenate([x, np.array([tiny, -tiny, 1, 8, -8, 1e30], np.float32)])
    log, cbrt = execute(lambda b, p: [b.unary("log", p), b.unary("cbrt", p)], x)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(log, np.log(x), rtol=1e-6)
        np.testing.assert_allclose(cbrt, np.cbrt(x), rtol=1e-6)
    np.testing.assert_array_equal(np.signbit(cbrt), np.signbit(np.cbrt(x)))


def test_a_module_that_has_none_of_them_stays_itself(module_of):
    x = np.ones(2, np.float32)
    module: HLOModule = module_of(lambda b, p: [b.unary("exponential", p)], x)
    assert flush_subnormals(module) is module
    half = module_of(lambda b, p: [b.unary("log", p)], x.astype(np.float16))
    assert flush_subnormals(half) is half
