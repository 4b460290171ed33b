"""Rounding of numbers to element types, one number after the other."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import ml_dtypes
import numpy as np

__all__ = ["elements_of", "given_dtype", "rounded", "shape_of"]

_INTEGERS = ("int8", "int16", "int32", "uint8", "uint16", "uint32")


def given_dtype(sample: Any, name: str) -> str:
    """The name of the dtype of an operand of a sample."""
    given = sample.operands[name]
    if isinstance(given, tuple):
        return str(given[1])
    return str(sample.dtypes.get(name, given.dtype.name))


def shape_of(sample: Any, name: str) -> tuple[int, ...]:
    """The shape of an operand of a sample."""
    given = sample.operands[name]
    return tuple(given[0] if isinstance(given, tuple) else given.shape)


def rounded(value: float, dtype: str) -> Any:
    """A number as an element: nearest even; whole numbers saturate."""
    if dtype in _INTEGERS:
        limits = np.iinfo(dtype)
        if math.isnan(value):
            return 0
        if math.isinf(value):
            return limits.max if value > 0 else limits.min
        return min(max(round(value), limits.min), limits.max)
    if dtype == "tfloat32":
        mantissa, exponent = math.frexp(value)
        return math.ldexp(round(mantissa * 2**11) / 2**11, exponent)
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    with np.errstate(all="ignore"):
        return np.float32(value).astype(kind)


def elements_of(
    values: Iterable[float], dtype: str, shape: tuple[int, ...]
) -> np.ndarray:
    """Numbers as an array of a type."""
    kind = (
        np.dtype(np.float32)
        if dtype == "tfloat32"
        else np.dtype(getattr(ml_dtypes, dtype, dtype))
    )
    return np.array([rounded(float(v), dtype) for v in values], kind).reshape(shape)
