"""How many elements hold."""

from __future__ import annotations

from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops._cases import A, Special, X, call, cases
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import ErrorSample
from nkipy.core.tensor import as_tensor

count_nonzero = Op(
    "count_nonzero",
    numpy=np.count_nonzero,
    dtypes=dt.SUPPORTED,
    samples=cases(
        call(A(2, 3), axis=1),
        call(A(3, 0)),
        call(A(2, 3, 4), axis=(0, -1), keepdims=True),
        call(Special()),
        call(A()),
    ),
    errors=(ErrorSample((X,), {"axis": 2}, np.exceptions.AxisError, "out of bounds"),),
)


@count_nonzero.composed_impl
def _count_nonzero(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    """``numpy.count_nonzero``, as int32."""
    holds = as_tensor(a).astype(np.bool_)
    return np.sum(holds, axis=axis, dtype=np.int32, keepdims=keepdims)
