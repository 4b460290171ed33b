"""Neural network functions outside of a trace, on NumPy's arrays."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from nkipy.core import op_table
from nkipy.core.tensor_apis import rms_norm, softmax
from nkipy.testing import run_simulated


@pytest.mark.parametrize(
    "name",
    "softmax log_softmax rms_norm layer_norm sigmoid silu relu gelu erf".split(),
)
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_untraced_equals_the_definition(name, dtype):
    op = op_table.OPS[name]
    for sample in op.samples(np.dtype(dtype)):
        with np.errstate(all="ignore"):
            got = op(*sample.args, **sample.kwargs)
            want = op.reference(*sample.args, **sample.kwargs)
        assert got.dtype == want.dtype and got.shape == want.shape
        rtol = 4 * float(ml_dtypes.finfo(dtype).eps)
        got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
        atol = rtol * np.max(np.abs(want[np.isfinite(want)]), initial=1)
        np.testing.assert_allclose(got, want, rtol, atol)


def test_softmax_of_large_values_does_not_overflow():
    x = np.array([[1000, 999, -np.inf]], np.float32)
    expected = [[1 / (1 + np.exp(-1)), np.exp(-1) / (1 + np.exp(-1)), 0]]
    for got in (softmax(x), run_simulated(softmax, x)):
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_rms_norm_keeps_the_dtype_of_the_input():
    x = np.full((2, 4), 300, np.float16)  # its squares are infinite in float16
    weight = np.ones(4, np.float32)
    for got in (rms_norm(x, weight), run_simulated(rms_norm, x, weight)):
        assert got.dtype == np.float16
        np.testing.assert_array_equal(got, np.ones((2, 4)))
