"""In which dtypes building blocks compute, and what defines their results.

They work on traced arrays and on NumPy's alike. Floats below 32 bits are computed in
float32 and rounded once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops._reduction import is_low
from nkipy.core.ops._registry import supports
from nkipy.core.tensor import as_operand

DTYPES = supports(dt.FLOATS, dt.FP8, dt.int8, dt.int32)
Array = Any


def working(x: Any) -> tuple[Array, np.dtype]:
    """`x` in a dtype to compute in, and the dtype of the result.

    Raises:
        TypeError: `x` holds no numbers.
    """
    x = as_operand(x)
    if not _has_dtype(x):
        x = np.asarray(x)
    if x.dtype == np.float64:
        return x, x.dtype
    if not dt.is_float(x.dtype):
        if x.dtype.kind not in "iub":
            raise TypeError(f"unsupported dtype {x.dtype}")
        return x.astype(np.float32), dt.float32
    return x.astype(np.float32) if is_low(x.dtype) else x, x.dtype


def _has_dtype(x: Any) -> bool:
    # Classes of NumPy's scalars have something of that name, too.
    return isinstance(getattr(x, "dtype", None), np.dtype)


def in_dtype_of(x: Any, *others: Any) -> list[Any]:
    """The other arrays of a call, in the dtype that `x` is computed in; None stays."""
    arrays = []
    for other in map(as_operand, others):
        if other is not None and not _has_dtype(other):
            other = np.asarray(other)
        arrays.append(None if other is None else other.astype(x.dtype))
    return arrays


# -- what defines the results ----------------------------------------------------------
def rounded_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` in float64, rounded once to the dtype that its first array has."""

    def reference(x: np.ndarray, *args: Any, **kwargs: Any) -> np.ndarray:
        dtype = x.dtype if dt.is_float(x.dtype) else dt.float32
        wide = [a.astype(np.float64) if isinstance(a, np.ndarray) else a for a in args]
        return np.asarray(function(x.astype(np.float64), *wide, **kwargs)).astype(dtype)

    return reference
