"""Element-wise ops on the bits of two operands."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops._dtype_sets import INTEGRAL
from nkipy.core.ops._lower import shift_right
from nkipy.core.ops._samples import ErrorSample, Sample, make, special
from nkipy.core.ops._ufunc import UFuncOp, opcode
from nkipy.core.ops._ufunc_samples import large_uint32

_NO_FLOATS = (
    ErrorSample(
        (np.ones(2, np.float32), np.ones(2, np.int32)),
        error=TypeError,
        match="not supported for the input types",
    ),
)

bitwise_and = UFuncOp(np.bitwise_and, opcode("and"), dtypes=INTEGRAL, errors=_NO_FLOATS)
bitwise_or = UFuncOp(np.bitwise_or, opcode("or"), dtypes=INTEGRAL, errors=_NO_FLOATS)
bitwise_xor = UFuncOp(np.bitwise_xor, opcode("xor"), dtypes=INTEGRAL, errors=_NO_FLOATS)


def _shifts(dtype: np.dtype) -> Iterator[Sample]:
    x, width = special(dtype), 8 * dtype.itemsize
    amounts = np.array([0, 1, 3, width - 1, width, width + 1]).astype(dtype)
    yield Sample((x[:, None], amounts), label="special")
    yield Sample((x, 1), label="right scalar")
    yield Sample((make((2, 0), dtype), make((1, 1), dtype, low=0)), label="empty")
    if dtype == dt.int32:
        yield from large_uint32()


left_shift = UFuncOp(
    np.left_shift,
    opcode("shift-left"),
    dtypes=dt.INTEGERS,
    samples=_shifts,
    errors=_NO_FLOATS,
)
right_shift = UFuncOp(
    np.right_shift,
    shift_right,
    dtypes=dt.INTEGERS,
    samples=_shifts,
    keep_uint32=True,
    errors=_NO_FLOATS,
)
