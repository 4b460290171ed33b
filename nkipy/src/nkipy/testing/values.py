"""Values that go wrong first: NaN, infinities, zeros, subnormals, extremes."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops._samples import special

__all__ = ["special_values", "subnormals"]


def special_values(dtype: np.typing.DTypeLike) -> np.ndarray:
    """What an element of `dtype` can be that goes wrong first; 1-D.

    Of floats, bfloat16 and float8 among them: zeros, ones and halves of both signs, the
    smallest normal and the largest finite numbers, NaN, and the infinities that the
    dtype has (float8_e4m3fn has none). Of integers: small ones, and the ends of the
    range. Of bool: both. Subnormal numbers are apart, in :func:`subnormals`.
    """
    return special(np.dtype(dtype))


def subnormals(dtype: np.typing.DTypeLike) -> np.ndarray:
    """The smallest and the largest subnormal numbers of a float `dtype`; 1-D.

    They are not among :func:`special_values`, since arithmetic may flush them to zero:
    simulation does in float32 and bfloat16, the device may in others.

    Raises:
        ValueError: `dtype` is no float.
    """
    dtype = np.dtype(dtype)
    if not dt.is_float(dtype):
        raise ValueError(f"{dtype} has no subnormal numbers: it is no float")
    limits = ml_dtypes.finfo(dtype)
    smallest = float(limits.smallest_subnormal)
    largest = float(limits.smallest_normal) - smallest
    return np.array([smallest, -smallest, largest, -largest]).astype(dtype)
