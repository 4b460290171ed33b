"""Reductions to the largest or smallest float: NaN stays, in arrays of any size."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from nkipy.core.trace import NKIPyKernel
from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOModule
from nkipy.hlo.rewrites.extremes import keep_nan
from nkipy_emulator.engine import XlaCpuEngine

DTYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]
#: Below and above what is taken apart, odd and even; XLA's library gets 4096 elements.
SHAPES = [((7,), (0,)), ((521,), (0,)), ((100_000,), (0,)), ((3, 5000), (1,))]
SHAPES += [((300, 4100), (0,)), ((2, 500, 70), (1,)), ((3, 40, 5), (0, 2))]
SHAPES += [((4, 3, 4096), (1, 2)), ((4, 4096), (0, 1)), ((5000, 3), (0,))]


#: XLA's code, and NumPy's loops where there are some.
MODES = pytest.mark.parametrize("mode", ["never", "always"])


def run(module, arguments, mode="never"):
    executable = XlaCpuEngine(fast_calls=mode).compile(module)
    return executable.run_new(arguments)


def module_of(dtype, start=None):
    """The extremes of an argument of each of SHAPES."""
    module, results = HLOModule("extremes"), []
    b = HLOBuilder(module.entry)
    for shape, dimensions in SHAPES:
        x = module.add_parameter(shape, dtype)
        for opcode, sign in (("maximum", -1), ("minimum", 1)):
            init = sign * np.inf if start is None else start
            results.append(b.reduce(x, opcode, init, dimensions))
    module.set_results(results)
    return module


def arguments(dtype):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(dtype) for shape, _ in SHAPES]


def wide(x):
    return x.astype(np.float64)  # NumPy compares NaN of its own dtypes only


def expected(values, start=None):
    results = []
    for x, (_, dimensions) in zip(values, SHAPES, strict=True):
        for function, first in ((np.max, -np.inf), (np.min, np.inf)):
            initial = first if start is None else start
            result = function(wide(x), axis=dimensions, initial=initial)
            results.append(result.astype(x.dtype))
    return results


@MODES
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)
def test_nan_of_any_sign_is_the_extreme(dtype, mode):
    dtype = np.dtype(dtype)
    module, values = module_of(dtype), arguments(dtype)
    executable = XlaCpuEngine(fast_calls=mode).compile(module)
    special = (np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0)
    for result, wanted in zip(executable.run_new(values), expected(values)):
        np.testing.assert_array_equal(wide(result), wide(wanted))
    for number in special:
        for x in values:
            x.reshape(-1)[x.size // 3] = number
        for result, wanted in zip(executable.run_new(values), expected(values)):
            np.testing.assert_array_equal(wide(result), wide(wanted))


@MODES
def test_what_a_reduction_begins_with_counts(mode):
    for start in (0.5, np.nan, 100.0):
        module, values = module_of(dt.float32, start), arguments(np.float32)
        for result, wanted in zip(run(module, values, mode), expected(values, start)):
            np.testing.assert_array_equal(wide(result), wide(wanted))


@MODES
def test_kernels_keep_nan(mode):
    x = np.linspace(-1, 1, 5000, dtype=np.float32)
    x[17] = np.nan
    module = NKIPyKernel.trace(
        lambda x: (np.max(x), np.ptp(x), np.argmin(x), np.max(np.abs(x)), np.nanmax(x))
    ).specialize(x)
    *nan, most = run(module, [x], mode)
    assert nan.pop(2) == 17
    assert np.isnan(nan).all()
    assert most == 1


def test_a_module_without_extremes_of_floats_is_left():
    module = HLOModule("sums")
    b = HLOBuilder(module.entry)
    x = module.add_parameter((5000,), dt.int32)
    module.set_results([b.reduce(x, "maximum", 0, (0,)), b.reduce(x, "add", 0, (0,))])
    assert keep_nan(module) is module


def test_a_reduction_of_integers_beside_shares_their_computation():
    module = HLOModule("both")
    b = HLOBuilder(module.entry)
    x = module.add_parameter((600,), dt.float32)
    y = module.add_parameter((600,), dt.int32)
    results = [b.reduce(x, "maximum", -np.inf, (0,)), b.reduce(y, "maximum", 0, (0,))]
    module.set_results(results)
    values = [np.arange(600, dtype=dtype) for dtype in (np.float32, np.int32)]
    assert run(module, values) == [599, 599]
