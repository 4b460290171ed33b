"""The element types of HLO, as NumPy dtypes."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np

bfloat16 = np.dtype(ml_dtypes.bfloat16)
float8_e5m2 = np.dtype(ml_dtypes.float8_e5m2)
float8_e4m3 = np.dtype(ml_dtypes.float8_e4m3)
float8_e4m3fn = np.dtype(ml_dtypes.float8_e4m3fn)

float16 = np.dtype(np.float16)
float32 = np.dtype(np.float32)
int8 = np.dtype(np.int8)
int16 = np.dtype(np.int16)
int32 = np.dtype(np.int32)
uint8 = np.dtype(np.uint8)
uint16 = np.dtype(np.uint16)
uint32 = np.dtype(np.uint32)
bool_ = np.dtype(np.bool_)
float64 = np.dtype(np.float64)
int64 = np.dtype(np.int64)
uint64 = np.dtype(np.uint64)

FP8 = (float8_e5m2, float8_e4m3, float8_e4m3fn)
FLOATS = (float32, float16, bfloat16)
SIGNED = (int8, int16, int32)
UNSIGNED = (uint8, uint16, uint32)
INTEGERS = SIGNED + UNSIGNED
#: The element types that Trainium computes in.
SUPPORTED = FLOATS + FP8 + INTEGERS + (bool_,)

#: HLO's name of each element type, as its text form spells it. The 64-bit types can be
#: written in a module (XLA has them) but a traced value never has one.
HLO_NAMES: dict[np.dtype, str] = {
    bool_: "pred",
    int8: "s8",
    int16: "s16",
    int32: "s32",
    int64: "s64",
    uint8: "u8",
    uint16: "u16",
    uint32: "u32",
    uint64: "u64",
    float16: "f16",
    float32: "f32",
    float64: "f64",
    bfloat16: "bf16",
    float8_e5m2: "f8e5m2",
    float8_e4m3: "f8e4m3",
    float8_e4m3fn: "f8e4m3fn",
}
FROM_HLO_NAME: dict[str, np.dtype] = {name: dt for dt, name in HLO_NAMES.items()}

_FLOAT_SET = frozenset(FLOATS + FP8 + (float64,))


def as_dtype(dtype: Any) -> np.dtype:
    """``np.dtype(dtype)`` in native byte order, for anything that names a dtype."""
    dt = np.dtype(dtype)
    return dt if dt.isnative else dt.newbyteorder("=")


def is_float(dtype: np.dtype) -> bool:
    """Whether `dtype` is a floating type, ml_dtypes' included (`dtype.kind` is 'V')."""
    return dtype in _FLOAT_SET


def is_integer(dtype: np.dtype) -> bool:
    """Whether `dtype` is a signed or unsigned integer type (bool is not)."""
    return dtype.kind in "iu"


def lowest(dtype: np.dtype) -> Any:
    """The value below (or equal to) all others of `dtype`: -inf where it has one."""
    return _extreme(dtype, -1)


def highest(dtype: np.dtype) -> Any:
    """The value above (or equal to) all others of `dtype`: inf where it has one."""
    return _extreme(dtype, +1)


def literal(value: Any, dtype: np.dtype) -> np.ndarray:
    """A scalar as a 0-d array of `dtype`.

    Raises:
        OverflowError: an integer dtype does not have `value`, or it is finite, and
            would be NaN in a float that has no infinity.
    """
    made = np.asarray(value, dtype=dtype)
    if dtype == float8_e4m3fn and made != made and math.isfinite(value):
        raise OverflowError(
            f"{value} is out of range for {dtype.name}, which has no infinity: it ends "
            f"at {highest(dtype)}; write that, or compute in a wider dtype"
        )
    return made


def _extreme(dtype: np.dtype, sign: int) -> Any:
    if dtype == bool_:
        return sign > 0
    if is_integer(dtype):
        info = np.iinfo(dtype)
        return info.max if sign > 0 else info.min
    if dtype == float8_e4m3fn:  # has no infinity
        return sign * float(ml_dtypes.finfo(dtype).max)
    return sign * float("inf")
