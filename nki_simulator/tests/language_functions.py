"""How tests of ``nki.language`` run a function of tiles, and compare it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.language as nl
from nkipy_nki import NkiValidationError

BF16 = np.dtype(ml_dtypes.bfloat16)
#: How far results may be from NumPy's, by the type they are rounded to.
TOLERANCE = {"float32": 2e-6, "bfloat16": 8e-3, "float16": 1e-3}


def run(
    function: Callable[..., Any], *arrays: np.ndarray, target: str = "trn2"
) -> np.ndarray:
    """What a function of tiles gives for arrays."""

    def kernel(*tensors: Any) -> Any:
        made = function(*[nl.load(tensor) for tensor in tensors])
        result = nl.ndarray(made.shape, made.dtype, nl.shared_hbm)
        nl.store(result, nl.copy(made) if nl.is_psum(made) else made)
        return result

    found: np.ndarray = nki.Simulator(
        kernel, target=target, findings={"would-not-compile": "off"}
    )(*arrays)
    return found


def refused(function: Callable[..., Any], *arrays: np.ndarray, match: str) -> None:
    """That a function is refused at its line, or at that which calls it here."""
    with pytest.raises(NkiValidationError, match="(?s)" + match) as raised:
        run(function, *arrays)
    test = sys._getframe(1).f_code.co_filename
    assert any(file in str(raised.value) for file in (test, __file__))


def numbers(dtype: Any = np.float32, shape: tuple[int, ...] = (4, 6)) -> np.ndarray:
    made = np.random.default_rng(len(shape)).uniform(-4, 4, shape)
    return made.astype(dtype)


def close(mine: np.ndarray, expected: Any) -> None:
    wide = np.asarray(expected, np.float64)
    if mine.dtype.kind in "iu":
        np.testing.assert_array_equal(mine, np.asarray(expected))
        return
    tolerance = TOLERANCE[mine.dtype.name]
    np.testing.assert_allclose(mine.astype(np.float64), wide, tolerance, tolerance)


def f64(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64)
