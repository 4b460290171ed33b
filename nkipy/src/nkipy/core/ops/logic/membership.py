"""Which elements are among others."""

from __future__ import annotations

from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops._cases import A, Special, call, cases
from nkipy.core.ops._registry import Op, supports
from nkipy.core.tensor import as_tensor

isin = Op(
    "isin",
    numpy=np.isin,
    # NumPy's own sorts, which ml_dtypes' NaN upset.
    dtypes=supports(dt.float32, dt.float16, dt.INTEGERS, dt.bool_),
    samples=cases(
        call(A(2, 3), A(4)),
        call(A(5), A(2, 2), invert=True),
        call(A(2, 3), A(0)),
        call(A(0), A(3)),
        call(Special(), Special()),
        call(A(), A()),
    ),
    note="compares each with each",
)


@isin.composed_impl
def _isin(
    element: Any,
    test_elements: Any,
    assume_unique: bool = False,
    invert: bool = False,
    *,
    kind: str | None = None,
) -> Any:
    """``numpy.isin``; `assume_unique` and `kind` only speed NumPy's up."""
    x, tests = as_tensor(element), as_tensor(test_elements)
    found = np.any(x[..., None] == tests.reshape(-1), axis=-1)
    return np.logical_not(found) if invert else found
