"""Signs, neighbours and scalings of floating-point numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops._dtype_sets import REAL
from nkipy.core.ops._lower import (
    is_nan,
    step_away,
)
from nkipy.core.ops._registry import supports
from nkipy.core.ops._samples import Sample, binary_sampler, make, special
from nkipy.core.ops._ufunc import UFuncOp, in_float32
from nkipy.hlo.builder import HLOBuilder, Value
from nkipy.hlo.compositions import with_sign_of

NATIVE = supports(dt.FLOATS, dt.int8)


FLUSHED = "float32 results below the smallest normal number are zero on the device"


copysign = UFuncOp(np.copysign, with_sign_of, dtypes=REAL)


def _nextafter(b: HLOBuilder, x: Value, y: Value) -> Value:
    moved = b.bitcast_convert(step_away(b, x, y)[0], x.dtype)
    return b.select(b.or_(is_nan(b, x), is_nan(b, y)), b.add(x, y), moved)


def _neighbours(dtype: np.dtype) -> Iterator[Sample]:
    yield from binary_sampler(specials=False)(dtype)
    x = np.array([1, -1, 1.5, 100, -0.25, np.inf, -np.inf, np.nan]).astype(dtype)
    yield Sample((x[:, None], x[None, :]), label="special")


nextafter = UFuncOp(
    np.nextafter,
    _nextafter,
    dtypes=dt.FLOATS,
    samples=_neighbours,
    note=FLUSHED,
)


def _ldexp(b: HLOBuilder, x: Value, y: Value) -> Value:
    """Three factors: twice 2**-126 does not take the largest float below the smallest.

    None is zero, so that infinities stay, and their product moves one way only: what
    overflows or vanishes on the way does so at the end too.
    """
    y = b.convert(y, dt.int32)
    low, high = b.scalar(-126, dt.int32), b.scalar(127, dt.int32)
    for _ in range(3):
        step = b.clamp(low, y, high)
        x = b.multiply(x, _power_of_two(b, step))
        y = b.subtract(y, step)
    return x


def _power_of_two(b: HLOBuilder, exponent: Value) -> Value:
    biased = b.add(exponent, b.full_like(exponent, 127))
    bits = b.binary("shift-left", biased, b.full_like(exponent, 23))
    return b.bitcast_convert(bits, dt.float32)


def _scalings(dtype: np.dtype) -> Iterator[Sample]:
    x = special(dtype) if dt.is_float(dtype) else make((9,), dtype)
    exponents = np.array([0, 1, -1, 5, -5, 100, -100, 300, -300, 2**31 - 1], np.int32)
    yield Sample((x[:, None], exponents), label="special")
    yield Sample((x, 3), label="right scalar")
    large = np.array([3, 2**31, 2**32 - 3, 2**32 - 1], np.uint32)
    yield Sample((x[:, None], large), label="large uint32")
    yield Sample((make((2, 0), dtype), np.ones((2, 1), np.int8)), label="empty")


ldexp = UFuncOp(
    np.ldexp,
    in_float32(_ldexp),
    dtypes=NATIVE,
    samples=_scalings,
    keep_uint32=True,
    note=FLUSHED,
)
