"""Grids of coordinates."""

from __future__ import annotations

from typing import Any

import numpy as np

from nkipy.core.ops._cases import A, X, call, cases
from nkipy.core.ops._dtype_sets import ALL
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import ErrorSample
from nkipy.core.ops._views import Tensor, broadcast_view, duplicate, reshaped
from nkipy.core.tensor import as_base

meshgrid = Op(
    "meshgrid",
    numpy=np.meshgrid,
    shares=True,
    dtypes=ALL,
    samples=cases(
        call(A(2), A(3)),
        call(A(2), A(3), A(4), indexing="ij"),
        call(A(2), A(3), sparse=True),
        call(A(2)),
    ),
    errors=[ErrorSample((X[0], X[0]), {"indexing": "yx"}, ValueError, "indexing")],
    note="with copy=False and without sparse=True, the arrays are read-only",
)


@meshgrid.impl("hlo")
def _meshgrid(
    *xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy"
) -> tuple[Tensor, ...]:
    """Coordinate arrays of a grid, from the coordinates along each axis."""
    if indexing not in ("xy", "ij"):
        raise ValueError("Valid values for `indexing` are 'xy' and 'ij'.")
    tensors = [as_base(x) for x in xi]
    order = list(range(len(tensors)))
    if indexing == "xy" and len(order) > 1:
        order[:2] = [1, 0]  # the first coordinate varies along columns
    shape = [1] * len(tensors)
    for axis, x in zip(order, tensors):
        shape[axis] = x.size
    grids = (axis_grid(x, i, shape, sparse) for i, x in zip(order, tensors))
    return tuple(map(duplicate, grids) if copy else grids)


def axis_grid(x: Tensor, axis: int, shape: list[int], sparse: bool) -> Tensor:
    """`x` along one axis of a grid, repeated along the others if not `sparse`. A view.

    It is read-only where it is repeated.
    """
    own = reshaped(x, tuple(x.size if i == axis else 1 for i in range(len(shape))))
    repeats = not sparse and own.shape != tuple(shape)
    return broadcast_view(own, tuple(shape)) if repeats else own
