"""NKI_PRECISE_FP=0 keeps floats of fewer bits in float32."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl

X = np.linspace(-3, 3, 128 * 16).reshape(128, 16).astype(ml_dtypes.bfloat16)


def scaled(x: Any) -> Any:
    """(x * 1.01) * 3, in tiles of bfloat16."""
    result = nl.ndarray(x.shape, nl.bfloat16, buffer=nl.shared_hbm)
    tile = nl.ndarray(x.shape, nl.bfloat16, buffer=nl.sbuf)
    nisa.dma_copy(tile, x)
    nisa.tensor_scalar(tile, tile, nl.multiply, 1.01)
    nisa.tensor_scalar(tile, tile, nl.multiply, 3.0)
    nisa.dma_copy(result, tile)
    return result


def in_float32() -> np.ndarray:
    return X.astype(np.float32) * np.float32(1.01) * np.float32(3)


@pytest.fixture
def imprecise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NKI_PRECISE_FP", "0")


def test_elements_are_rounded_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    once = (X.astype(np.float32) * np.float32(1.01)).astype(ml_dtypes.bfloat16)
    twice = (once.astype(np.float32) * np.float32(3)).astype(ml_dtypes.bfloat16)
    for value in (None, "1", ""):
        if value is not None:
            monkeypatch.setenv("NKI_PRECISE_FP", value)
        got = nki.simulate(scaled)(X)
        assert got.dtype == ml_dtypes.bfloat16
        np.testing.assert_array_equal(got, twice)


@pytest.mark.usefixtures("imprecise")
def test_they_are_not_if_told() -> None:
    got = nki.simulate(scaled)(X)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, in_float32(), rtol=1e-6)
    assert (got != got.astype(ml_dtypes.bfloat16).astype(np.float32)).any()


@pytest.mark.usefixtures("imprecise")
def test_the_callers_array_has_its_own_dtype() -> None:
    def kernel(x: Any) -> None:
        nisa.dma_copy(x, scaled(x))

    x = X.copy()
    nki.simulate(kernel)(x)
    np.testing.assert_array_equal(x, in_float32().astype(ml_dtypes.bfloat16))


@pytest.mark.usefixtures("imprecise")
@pytest.mark.parametrize("dtype", [ml_dtypes.float8_e4m3, ml_dtypes.float8_e5m2])
def test_fp8_too(dtype: Any) -> None:
    def kernel(x: Any) -> Any:
        result = nl.ndarray(x.shape, nl.float32, buffer=nl.shared_hbm)
        tile = nl.ndarray(x.shape, x.dtype, buffer=nl.sbuf)
        nisa.dma_copy(tile, x)
        nisa.tensor_scalar(tile, tile, nl.add, 0.001)
        nisa.dma_copy(result, tile)
        return result

    x = X.astype(np.float32).astype(dtype)
    expected = x.astype(np.float32) + np.float32(0.001)
    np.testing.assert_array_equal(nki.simulate(kernel)(x), expected)


def test_time_and_memory_are_those_of_the_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = []
    for value in ("1", "0"):
        monkeypatch.setenv("NKI_PRECISE_FP", value)
        told.append(nki.simulate(scaled).run(X).report().as_json())
    assert told[0] == told[1]


@pytest.mark.usefixtures("imprecise")
def test_whole_numbers_float32_and_packed_types_stay() -> None:
    def kernel(x: Any) -> Any:
        result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        nisa.dma_copy(result, x)
        return result

    for dtype in (np.float32, np.int32, np.uint8):
        x = np.arange(12, dtype=dtype).reshape(3, 4)
        got = nki.simulate(kernel)(x)
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, x)


@pytest.mark.usefixtures("imprecise")
def test_bits_of_what_is_not_rounded_are_refused() -> None:
    def viewed(x: Any) -> Any:
        return x.view(nl.uint16)

    def pattern(x: Any) -> Any:
        return x.ap([[16, 128], [1, 16]], dtype=nl.uint16)

    for kernel in (viewed, pattern):
        with pytest.raises(nki.NkiValidationError, match="keeps bfloat16 in float32"):
            nki.simulate(kernel)(X)

    def same(x: Any) -> Any:
        return x.view(nl.bfloat16).ap([[16, 128], [1, 16]], dtype=nl.bfloat16)

    np.testing.assert_array_equal(nki.simulate(same)(X), X.astype(np.float32))


@pytest.mark.usefixtures("imprecise")
def test_two_cores_share_what_is_not_rounded() -> None:
    def kernel(x: Any) -> Any:
        result = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        rows = slice(64 * nl.program_id(0), 64 * nl.program_id(0) + 64)
        tile = nl.ndarray((64, 16), x.dtype, buffer=nl.sbuf)
        nisa.dma_copy(tile, x[rows])
        nisa.tensor_scalar(tile, tile, nl.multiply, 1.01)
        nisa.tensor_scalar(tile, tile, nl.multiply, 3.0)
        nisa.dma_copy(result[rows], tile)
        return result

    got = nki.simulate(nki.jit(kernel)[2])(X)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, in_float32(), rtol=1e-6)


def test_another_value_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NKI_PRECISE_FP", "2")
    with pytest.raises(nki.NkiValidationError, match="NKI_PRECISE_FP='2'"):
        nki.simulate(scaled)(X)
