"""Element types: what is stored, and how numbers get there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from nkipy_nki.errors import NkiValidationError

__all__ = ["DType", "DTYPES", "DTypeRecord", "find_dtype", "narrow", "widen"]


class DType(str):
    """An element type, by its name: ``nl.float32`` is the text ``"float32"``."""

    __slots__ = ()


@dataclass(frozen=True)
class DTypeRecord:
    """An element type.

    Attributes:
        name: that of the language.
        element: what is stored, as NumPy has it.
    """

    name: DType
    element: np.dtype

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return self.element.itemsize

    @property
    def is_float(self) -> bool:
        return self.element.kind not in "iub"


def _records() -> dict[str, DTypeRecord]:
    names = "int8 int16 int32 uint8 uint16 uint32 float16 float32".split()
    ours = "bfloat16 float8_e4m3 float8_e4m3fn float8_e5m2".split()
    found = {
        **{name: np.dtype(name) for name in names},
        **{name: np.dtype(getattr(ml_dtypes, name)) for name in ours},
    }
    return {n: DTypeRecord(DType(n), d) for n, d in found.items()}


#: By name.
DTYPES = _records()


def find_dtype(dtype: Any) -> DTypeRecord:
    """The record of a name, of one of NumPy's dtypes or of ml_dtypes'."""
    if isinstance(dtype, DTypeRecord):
        return dtype
    name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    if name not in DTYPES:
        raise NkiValidationError(f"{dtype!r} is no element type of the language")
    return DTYPES[name]


def widen(array: np.ndarray, dtype: DTypeRecord) -> np.ndarray:
    """The values in float32, in which engines compute."""
    return array.astype(np.float32, copy=False)


def narrow(values: np.ndarray, dtype: DTypeRecord) -> np.ndarray:
    """Float32 values rounded to an element type: nearest even; integers saturate."""
    if values.dtype == dtype.element:
        return values
    if dtype.is_float:
        return values.astype(dtype.element)
    limits = np.iinfo(dtype.element)
    whole = np.nan_to_num(np.rint(values.astype(np.float64)))
    return np.clip(whole, limits.min, limits.max).astype(dtype.element)
