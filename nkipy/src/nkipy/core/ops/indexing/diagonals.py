"""Diagonals of arrays, and indices of them and of triangles."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from nkipy.core.ops._cases import A, X, call, cases
from nkipy.core.ops._dtype_sets import ALL
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import ErrorSample
from nkipy.core.ops._views import diagonal_of
from nkipy.core.tensor import as_tensor

AxisError = np.exceptions.AxisError


diagonal = Op(
    "diagonal",
    numpy=np.diagonal,
    dtypes=ALL,
    samples=cases(
        call(A(3, 4)),
        call(A(4, 3), offset=-2),
        call(A(3, 4), 1),
        call(A(2, 3, 4), 0, 2, 0),
        call(A(3, 3), 5),
    ),
    errors=[
        ErrorSample((X[0],), {}, ValueError, "at least two dimensions"),
        ErrorSample((X, 0, 0, 2), {}, AxisError, "out of bounds"),
        ErrorSample((X, 0, 1, 1), {}, ValueError, "cannot be the same"),
    ],
)


@diagonal.impl("hlo")
def _diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The diagonal of two axes of `a`, as its last axis. A read-only view."""
    x = as_tensor(a)
    if x.ndim < 2:
        raise ValueError("diag requires an array of at least two dimensions")
    i, j = normalize_axis_index(axis1, x.ndim), normalize_axis_index(axis2, x.ndim)
    if i == j:
        raise ValueError("axis1 and axis2 cannot be the same")
    return diagonal_of(x, operator.index(offset), i, j)


def _make_triangle_indices(name: str) -> Op:
    op = Op(name, numpy=getattr(np, name))

    @op.impl("hlo")
    def indices(arr: Any, k: int = 0) -> tuple[np.ndarray, ...]:
        x = as_tensor(arr)
        if x.ndim != 2:
            raise ValueError(f"input array must be 2-d, but has shape {x.shape}")
        function = getattr(np, name.removesuffix("_from"))
        return function(x.shape[0], k=k, m=x.shape[1])

    op.__doc__ = f"``numpy.{name}``: static index arrays, as they depend on the shape."
    return op


tril_indices_from = _make_triangle_indices("tril_indices_from")


triu_indices_from = _make_triangle_indices("triu_indices_from")


diag_indices_from = Op("diag_indices_from", numpy=np.diag_indices_from)


@diag_indices_from.impl("hlo")
def _diag_indices_from(arr: Any) -> tuple[np.ndarray, ...]:
    """Static indices of the main diagonal, as they depend on the shape."""
    x = as_tensor(arr)
    if x.ndim < 2 or len(set(x.shape)) != 1:
        raise ValueError(f"all dimensions must be of equal length, but are {x.shape}")
    return np.diag_indices(x.shape[0], x.ndim)
