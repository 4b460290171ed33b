"""How NumPy's dtypes map onto the element types of a traced program.

Trainium has no 64-bit arithmetic, so NumPy's 64-bit types are narrowed once, here:
every dtype rule asks NumPy first and then calls :func:`narrow`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nkipy.hlo.dtypes import (
    FLOATS,
    FP8,
    FROM_HLO_NAME,
    HLO_NAMES,
    INTEGERS,
    SIGNED,
    SUPPORTED,
    UNSIGNED,
    as_dtype,
    bfloat16,
    bool_,
    float8_e4m3,
    float8_e4m3fn,
    float8_e5m2,
    float16,
    float32,
    float64,
    highest,
    int8,
    int16,
    int32,
    int64,
    is_float,
    is_integer,
    literal,
    lowest,
    uint8,
    uint16,
    uint32,
    uint64,
)

__all__ = [
    "FLOATS",
    "FP8",
    "FROM_HLO_NAME",
    "HLO_NAMES",
    "INTEGERS",
    "SIGNED",
    "SUPPORTED",
    "UNSIGNED",
    "as_dtype",
    "bfloat16",
    "bool_",
    "fits",
    "float16",
    "float32",
    "float64",
    "float8_e4m3",
    "float8_e4m3fn",
    "float8_e5m2",
    "highest",
    "int16",
    "int32",
    "int64",
    "int8",
    "is_float",
    "is_integer",
    "is_supported",
    "literal",
    "lowest",
    "narrow",
    "uint16",
    "uint32",
    "uint64",
    "uint8",
]

_NARROW = {float64: float32, int64: int32, uint64: uint32}
_SUPPORTED_SET = frozenset(SUPPORTED)


def narrow(dtype: Any) -> np.dtype:
    """The dtype that Trainium computes in where NumPy would use `dtype`.

    Raises:
        TypeError: the dtype (complex, object, string, ...) has no counterpart.
    """
    dt = as_dtype(dtype)
    dt = _NARROW.get(dt, dt)
    if dt not in _SUPPORTED_SET:
        names = ", ".join(d.name for d in SUPPORTED)
        raise TypeError(f"unsupported dtype {dt.name}; supported are {names}")
    return dt


def fits(array: np.ndarray, dtype: np.dtype) -> bool:
    """Whether no integer in `array` changes when it is narrowed to `dtype`."""
    if array.dtype.kind not in "iu" or array.dtype.itemsize <= dtype.itemsize:
        return True
    info = np.iinfo(dtype)
    return not array.size or bool(array.min() >= info.min and array.max() <= info.max)


def is_supported(dtype: np.dtype) -> bool:
    """Whether a traced value can have `dtype` as it is."""
    return dtype in _SUPPORTED_SET
