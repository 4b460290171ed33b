"""Diagonals of matrices, and their sums."""

from __future__ import annotations

from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.op_table import OPS
from nkipy.core.ops._cases import A, X, call, cases
from nkipy.core.ops._dtype_sets import ALL
from nkipy.core.ops._registry import Op, supports
from nkipy.core.ops._samples import ErrorSample
from nkipy.core.ops._views import Tensor
from nkipy.core.ops.indexing.diagonals import diagonal

AxisError = np.exceptions.AxisError


trace = Op(
    "trace",
    numpy=np.trace,
    dtypes=supports(dt.FLOATS, dt.INTEGERS, dt.bool_),
    samples=cases(
        call(A(3, 4)),
        call(A(3, 4), 1),
        call(A(2, 3, 4), -1, axis1=2, axis2=0),
        call(A(3, 3), dtype=np.float32),
        call(A(3, 3), 7),
    ),
    errors=[
        ErrorSample((X[0],), {}, ValueError, "at least two dimensions"),
        ErrorSample((X, 0, 0, 2), {}, AxisError, "out of bounds"),
    ],
)


@trace.impl("hlo")
def _trace(
    a: Any,
    offset: int = 0,
    axis1: int = 0,
    axis2: int = 1,
    dtype: Any = None,
    out: Any = None,
) -> Any:
    """The sum along the diagonal of two axes, in the dtype that np.sum has."""
    return OPS["sum"](diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype, out=out)


linalg_trace = Op(
    "linalg_trace",
    numpy=np.linalg.trace,
    dtypes=ALL,
    samples=cases(
        call(A(3, 4)), call(A(2, 3, 4), offset=1), call(A(3, 3), dtype=np.float32)
    ),
)


@linalg_trace.composed_impl
def _linalg_trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Tensor:
    return OPS["trace"](x, offset, axis1=-2, axis2=-1, dtype=dtype)


linalg_diagonal = Op(
    "linalg_diagonal",
    numpy=np.linalg.diagonal,
    dtypes=ALL,
    samples=cases(call(A(3, 4)), call(A(2, 3, 4), offset=-1)),
)


@linalg_diagonal.composed_impl
def _linalg_diagonal(x: Any, /, *, offset: int = 0) -> Tensor:
    return OPS["diagonal"](x, offset, axis1=-2, axis2=-1)
