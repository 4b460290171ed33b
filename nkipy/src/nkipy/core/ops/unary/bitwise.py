"""Element-wise ops on the bits of one operand."""

from __future__ import annotations

import numpy as np

from nkipy.core.ops._dtype_sets import INTEGRAL
from nkipy.core.ops._lower import absolute
from nkipy.core.ops._ufunc import UFuncOp, opcode
from nkipy.hlo.builder import HLOBuilder, Value

invert = UFuncOp(np.invert, opcode("not"), aliases=["bitwise_not"], dtypes=INTEGRAL)


def _bitwise_count(b: HLOBuilder, x: Value) -> Value:
    return b.unary("popcnt", absolute(b, x))


bitwise_count = UFuncOp(np.bitwise_count, _bitwise_count, dtypes=INTEGRAL)
