"""Sets of dtypes that many records claim."""

from __future__ import annotations

from nkipy.core import dtypes as dt
from nkipy.core.ops._registry import supports

INTEGRAL = supports(dt.INTEGERS, dt.bool_)
NUMERIC = supports(dt.FLOATS, dt.FP8, dt.INTEGERS)
ALL = supports(NUMERIC, dt.bool_)
#: Enough of them for ops that take all others as one of these.
REAL = supports(dt.FLOATS, dt.FP8, dt.int8, dt.int32, dt.uint32)
