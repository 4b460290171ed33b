"""How far a result may be from NumPy's: one table by dtype, and two kinds of result.

Results that are not floats must be equal. A float may differ in its last bits, since
NumPy and XLA (and silicon) approximate functions such as ``exp`` differently, and add
in another order. The table allows a few units in the last place: eight of float32, two
of float16 and bfloat16, in which intermediate results are rounded too, and one of the
float8 dtypes, where one unit is an eighth or a quarter already.

How near to zero this holds depends on what the result is:

* an *element-wise* one is a function of one element of each operand. Its error is
  relative to itself, down to the smallest normal number, below which arithmetic may
  flush to zero. Zeros must have the same sign.
* an *accumulated* one is a sum of terms, which may cancel: it is as exact as the
  largest of them. Its error is relative to the largest result, at least to 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import ml_dtypes
import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops._registry import Op
from nkipy.core.ops._ufunc import UFuncOp

__all__ = ["RTOL", "Tolerance"]

#: The largest relative error, by the dtype of the result.
RTOL: dict[np.dtype, float] = {
    dt.float32: 1e-6,
    dt.float16: 2e-3,
    dt.bfloat16: 1.6e-2,
    dt.float8_e4m3: 0.13,
    dt.float8_e4m3fn: 0.13,
    dt.float8_e5m2: 0.26,
}


@dataclass(frozen=True)
class Tolerance:
    """How far float results may be from what is expected.

    Attributes:
        elementwise: whether the result is a function of one element of each operand,
            else it is taken for a sum.
        rtol: the relative error, for all dtypes; None: that of the table.
        atol: the absolute error; None: as the kind of result says.
        own: relative errors that take precedence over the table's, by dtype.
    """

    elementwise: bool = False
    rtol: float | None = None
    atol: float | None = None
    own: Mapping[np.dtype, float] = field(default_factory=dict)

    @classmethod
    def of(cls, op: Op) -> Tolerance:
        """That of an op: element-wise for ufuncs, with what its record allows."""
        return cls(isinstance(op, UFuncOp), own=op.rtol)

    def limits(self, dtype: np.dtype, expected: np.ndarray) -> tuple[float, float]:
        """``(rtol, atol)`` for a result of float `dtype` that should be `expected`."""
        kind = dtype if dtype in RTOL else dt.float32
        rtol = self.own.get(kind, RTOL[kind]) if self.rtol is None else self.rtol
        if self.atol is not None:
            return rtol, self.atol
        if self.elementwise:
            return rtol, float(ml_dtypes.finfo(kind).smallest_normal)
        finite = np.abs(expected[np.isfinite(expected)])
        return rtol, rtol * float(np.max(finite, initial=1))
