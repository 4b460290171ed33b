"""The larger and the smaller of two operands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops._dtype_sets import ALL
from nkipy.core.ops._lower import is_nan
from nkipy.core.ops._samples import Sample
from nkipy.core.ops._ufunc import Lowering, UFuncOp, opcode
from nkipy.core.ops._ufunc_samples import distinct_zeros
from nkipy.core.ops.binary.comparison import signed_with_unsigned
from nkipy.hlo.builder import HLOBuilder, Value

_DIRECTIONS = {"minimum": "LT", "maximum": "GT"}


class ExtremeOp(UFuncOp):
    """One of two operands, chosen by what they are in their own dtypes.

    Args:
        ufunc: the ufunc.
        name: the opcode.
        on_bool: that for bool.
        record: as for :class:`UFuncOp`.
    """

    def __init__(self, ufunc: np.ufunc, name: str, on_bool: str, **record: Any) -> None:
        lower = _or_mixed(opcode(name, on_bool), _DIRECTIONS[name])
        if ufunc.__name__ != name:
            lower = _ignoring_nan(lower)
        super().__init__(
            ufunc, lower, samples=_samples, dtypes=ALL, keep_uint32=True, **record
        )


def _or_mixed(lower: Lowering, direction: str) -> Lowering:
    """`lower`, but int32 and uint32 are compared as what they are."""

    def chosen(b: HLOBuilder, x: Value, y: Value) -> Value:
        if x.dtype == y.dtype:
            return lower(b, x, y)
        signed, unsigned = (y, x) if x.dtype == dt.uint32 else (x, y)
        which = signed_with_unsigned(b, signed, unsigned, direction)
        return b.select(which, signed, b.convert(unsigned, dt.int32))

    return chosen


def _ignoring_nan(lower: Lowering) -> Lowering:
    """`lower`, but where one operand is NaN the result is the other."""

    def chosen(b: HLOBuilder, x: Value, y: Value) -> Value:
        result = lower(b, x, y)
        if not dt.is_float(x.dtype):
            return result
        return b.select(is_nan(b, x), y, b.select(is_nan(b, y), x, result))

    return chosen


def _samples(dtype: np.dtype) -> Iterator[Sample]:
    yield from distinct_zeros(dtype)
    if dtype in dt.SIGNED:
        own = np.array([-1, 0, 1, np.iinfo(dtype).max, np.iinfo(dtype).min], dtype)
        large = np.array([[0], [1], [2**31 - 1], [2**31], [2**32 - 1]], np.uint32)
        yield Sample((own, large), label="large uint32")
        yield Sample((large, own), label="large uint32 first")


maximum = ExtremeOp(np.maximum, "maximum", "or")
minimum = ExtremeOp(np.minimum, "minimum", "and")
fmax = ExtremeOp(np.fmax, "maximum", "or")
fmin = ExtremeOp(np.fmin, "minimum", "and")
