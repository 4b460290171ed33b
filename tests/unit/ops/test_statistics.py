"""Order statistics and NaN-skipping reductions beyond the samples."""

from __future__ import annotations

import numpy as np
import pytest

from nkipy.core.errors import NKIPyNotImplementedError, NKIPyTypeError
from nkipy.core.trace import trace_function
from nkipy.testing import run_simulated
from tests.support.kernels import check_kernel

METHODS = """inverted_cdf averaged_inverted_cdf closest_observation
interpolated_inverted_cdf hazen weibull linear median_unbiased normal_unbiased lower
higher midpoint nearest""".split()


@pytest.mark.parametrize("method", METHODS)
def test_every_method_at_many_quantiles(method):
    x = np.random.default_rng(0).standard_normal((2, 11)).astype(np.float32)
    q = [0, 0.05, 0.3, 1 / 3, 0.5, 0.77, 1]
    got = run_simulated(lambda a: np.quantile(a, q, axis=1, method=method), x)
    want = np.quantile(x.astype(np.float64), q, axis=1, method=method)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


def test_order_statistics_of_integers_are_exact():
    x = np.array([2**31 - 1, 2**31 - 3, 2**31 - 2], np.int32)
    got = run_simulated(lambda a: np.quantile(a, 0.5, method="lower"), x)
    assert got.dtype == np.int32 and int(got) == 2**31 - 2


def test_a_quantile_beside_infinities_is_nan_where_numpys_is():
    x = np.array([np.inf, 1, 2], np.float32)
    with np.errstate(invalid="ignore"):
        expected = np.quantile(x, [0.0, 0.5, 1.0])
    got = run_simulated(lambda a: np.quantile(a, [0.0, 0.5, 1.0]), x)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int32])
@pytest.mark.parametrize("q", [1, [1], 0.5, np.float64(0.5), np.int8(1), np.int8([1])])
def test_dtype_of_quantiles_is_that_which_numpy_gives_for_these_fractions(dtype, q):
    check_kernel(
        lambda a: (np.quantile(a, q), np.percentile(a, q)), np.arange(4, dtype=dtype)
    )


def test_traced_quantiles_are_refused_with_a_way_out():
    x = np.zeros(3, np.float32)
    with pytest.raises(NKIPyNotImplementedError, match="Python floats"):
        trace_function(lambda a: np.quantile(a, a), (x,), {})


def test_ptp_of_bool_is_a_type_error():
    with pytest.raises(NKIPyTypeError, match="boolean"):
        trace_function(lambda a: np.ptp(a), (np.zeros(3, bool),), {})


def test_nanmedian_of_rows_with_different_counts():
    nan = np.nan
    x = np.array(
        [[3, 1, 2, 4], [nan, 5, 1, 3], [nan, nan, 2, 8], [nan, 7, nan, nan], [nan] * 4],
        np.float32,
    )
    got = run_simulated(lambda a: np.nanmedian(a, axis=1), x)
    np.testing.assert_array_equal(got, [2.5, 3, 5, 7, nan])


def test_median_of_one_huge_number_does_not_overflow():
    x = np.array([3e38, np.nan], np.float32)
    got = run_simulated(lambda a: (np.median(a[:1]), np.nanmedian(a)), x)
    np.testing.assert_array_equal(np.array(got), np.float32([3e38, 3e38]))


@pytest.mark.filterwarnings("ignore:All-NaN")
def test_nanmax_with_all_nan_and_with_initial():
    x = np.full((2, 2), np.nan, np.float32)
    x[0, 1] = -5
    check_kernel(lambda a: (np.nanmax(a, axis=1), np.nanmax(a, axis=1, initial=-9)), x)


def test_correlation_of_a_variable_with_itself_is_one():
    x = np.random.default_rng(0).standard_normal((2, 50)).astype(np.float32)
    got = run_simulated(lambda a: np.corrcoef(a), x)
    np.testing.assert_allclose(np.diag(got), 1, rtol=1e-6)
    np.testing.assert_allclose(got, np.corrcoef(x), rtol=1e-4, atol=1e-6)
