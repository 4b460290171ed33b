"""Indices that select a grid."""

from __future__ import annotations

from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops._cases import A, X, call, cases
from nkipy.core.ops._registry import Op, supports
from nkipy.core.ops._samples import ErrorSample
from nkipy.core.ops.creation.grids import axis_grid
from nkipy.core.tensor import as_base

ix_ = Op(
    "ix_",
    numpy=np.ix_,
    shares=True,
    dtypes=supports(dt.INTEGERS),
    samples=cases(call(A(2), A(3)), call(A(4), [0, 1], A(2))),
    errors=[
        ErrorSample((X,), {}, ValueError, "1 dimensional"),
        ErrorSample((X[0] > 0,), {}, NotImplementedError, "mask"),
    ],
)


@ix_.impl("hlo")
def _ix(*args: Any) -> tuple[Any, ...]:
    """1-D indices shaped so that they select a grid.

    Raises:
        ValueError: an index is not 1-D.
        NotImplementedError: it is a traced mask, whose number of trues is not known.
    """
    tensors = [as_base(a) for a in args]
    for x in tensors:
        if x.ndim != 1:
            raise ValueError("Cross index must be 1 dimensional")
        if x.dtype == dt.bool_:
            raise NotImplementedError(
                "a traced mask as index; use np.where with the mask"
            )
    shape = [x.size for x in tensors]
    return tuple(axis_grid(x, i, shape, sparse=True) for i, x in enumerate(tensors))
