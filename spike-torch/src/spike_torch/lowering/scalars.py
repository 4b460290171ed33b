"""Numbers and conversions in a program, by torch's rules."""

from __future__ import annotations

import math

import numpy as np

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder, Value
from spike_torch.lowering.errors import Unsupported


def constant(b: HLOBuilder, value: bool | int | float, dtype: np.dtype) -> Value:
    """A Python number in a dtype, as torch takes it.

    Raises:
        Unsupported: it is not to be had there.
    """
    if dtype == dt.bool_:
        return b.scalar(bool(value), dtype)
    if dt.is_integer(dtype):
        return b.scalar(_wrapped(value, dtype), dtype)
    try:
        return b.scalar(float(value), dtype)
    except OverflowError as error:
        raise Unsupported(f"has the number {value}: {error}") from None


def _wrapped(value: bool | int | float, dtype: np.dtype) -> int:
    """The number as an integer of the dtype, whose higher bits are lost, as in C."""
    if isinstance(value, float) and not math.isfinite(value):
        raise Unsupported(f"has the number {value} where an integer is computed")
    info = np.iinfo(dtype)
    span = 1 << info.bits
    return (int(value) - int(info.min)) % span + int(info.min)


def convert(b: HLOBuilder, x: Value, dtype: np.dtype) -> Value:
    """To another dtype. Floats lose what is behind the point; any but 0 is true."""
    if dtype == dt.bool_ or not dt.is_integer(dtype) or x.dtype == dt.bool_:
        return b.convert(x, dtype)
    if dt.is_float(x.dtype) and dtype.itemsize < 4:
        # By way of 32 bits, whose higher ones are lost, as the CPU does it: HLO would
        # take the nearest.
        return b.convert(b.convert(x, dt.int32), dtype)
    return b.convert(x, dtype)
