"""Polynomials whose coefficients are in an array."""

from __future__ import annotations

from typing import Any

import numpy as np

from nkipy.core.ops._cases import A, X, call, cases
from nkipy.core.ops._dtype_sets import NUMERIC
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import ErrorSample
from nkipy.core.tensor import as_operand

polyval = Op(
    "polyval",
    numpy=np.polyval,
    dtypes=NUMERIC,
    samples=cases(
        call(A(3), A(2, 3)),
        call(A(1), A(4)),
        call(A(4), A()),
        call([2, -1, 1], A(5)),
        call(A(2), 3),
        call(A(0), A(3)),
        call(A(2, 3), A(3)),
    ),
    errors=[
        ErrorSample((np.poly1d([1, 2]), np.poly1d([1, 2])), {}, TypeError, "poly1d"),
        ErrorSample((X[0, 0], X), {}, TypeError, "0-d"),
    ],
)


@polyval.composed_impl
def _polyval(p: Any, x: Any) -> Any:
    """``p[0] * x**(n - 1) + ... + p[n - 1]``, by Horner's rule.

    Raises:
        TypeError: `x` is a polynomial, which no array holds.
    """
    if isinstance(x, np.poly1d):
        raise TypeError("x must be numbers, not a poly1d")
    p, x = (
        v if hasattr(v, "dtype") else np.asarray(v) for v in map(as_operand, (p, x))
    )
    if not np.ndim(p):
        raise TypeError("iteration over a 0-d array: p holds the coefficients")
    value = np.zeros_like(x)
    for i in range(p.shape[0]):
        value = value * x + p[i]
    return value
