"""Matrices built from diagonals, triangles and powers."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops._cases import A, Special, X, call, cases
from nkipy.core.ops._dtype_sets import ALL
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import ErrorSample
from nkipy.core.ops._views import Tensor, diagonal_of
from nkipy.core.promotion import is_ours, result_type
from nkipy.core.tensor import as_tensor
from nkipy.hlo.builder import HLOBuilder, Value

diag = Op(
    "diag",
    numpy=np.diag,
    dtypes=ALL,
    samples=cases(
        call(A(3)),
        call(A(3), -2),
        call(A(2), k=1),
        call(A(0)),
        call(A(3, 4)),
        call(A(4, 3), k=-1),
        call(Special()),
    ),
    errors=[ErrorSample((X[None],), {}, ValueError, "1- or 2-d")],
)
diagflat = Op(
    "diagflat",
    numpy=np.diagflat,
    dtypes=ALL,
    samples=cases(call(A(2, 2)), call(A(3), k=1), call(A())),
)


@diag.impl("hlo")
def _diag(v: Any, k: int = 0) -> Any:
    """A matrix with `v` on its k-th diagonal; or of a matrix, that diagonal."""
    x = as_tensor(v)
    if x.ndim == 2:
        return diagonal_of(x, operator.index(k), 0, 1)
    if x.ndim != 1:
        raise ValueError(f"Input must be 1- or 2-d, but has shape {x.shape}.")
    return Tensor._wrap(x._ctx, _spread(x._ctx, x.backend_tensor, operator.index(k)))


@diagflat.impl("hlo")
def _diagflat(v: Any, k: int = 0) -> Any:
    """A matrix with the elements of `v`, in order, on its k-th diagonal."""
    x = as_tensor(v)
    flat = x._ctx.reshape(x.backend_tensor, (x.size,))
    return Tensor._wrap(x._ctx, _spread(x._ctx, flat, operator.index(k)))


def _spread(b: HLOBuilder, v: Value, k: int) -> Value:
    # In a matrix laid out row by row, the diagonal is every (side + 1)-th element:
    # interior padding puts `side` zeros between them.
    count = v.shape[0]
    side = count + abs(k)
    first = max(0, -k) * side + max(0, k)
    covered = count + max(0, count - 1) * side
    zero = b.scalar(0, v.dtype)
    flat = b.pad(v, zero, [(first, side * side - first - covered, side)])
    return b.reshape(flat, (side, side))


_TRIANGLES = cases(
    call(A(3, 4)),
    call(A(2, 4, 3), -1),
    call(A(3, 3), k=1),
    call(A(3)),
    call(A(2, 3), 100),
    call(A(0, 3)),
    call(Special()),
)
_TRIANGLE_ERRORS = [
    ErrorSample((np.ones(()),), {}, TypeError, "at least one dimension"),
    ErrorSample((X, X), {}, TypeError, "index"),
]
tril = Op(
    "tril", numpy=np.tril, dtypes=ALL, samples=_TRIANGLES, errors=_TRIANGLE_ERRORS
)
triu = Op(
    "triu", numpy=np.triu, dtypes=ALL, samples=_TRIANGLES, errors=_TRIANGLE_ERRORS
)


@tril.impl("hlo")
def _tril(m: Any, k: int = 0) -> Any:
    """`m` with zeros above the k-th diagonal of its last two dimensions."""
    return _triangle(as_tensor(m), operator.index(k), "GE")


@triu.impl("hlo")
def _triu(m: Any, k: int = 0) -> Any:
    """`m` with zeros below the k-th diagonal of its last two dimensions."""
    return _triangle(as_tensor(m), operator.index(k), "LE")


def _triangle(x: Tensor, k: int, direction: str) -> Tensor:
    """Keeps what has ``row + k`` in `direction` of ``column``."""
    if not x.ndim:
        raise TypeError("needs an array of at least one dimension")
    ctx, value = x._ctx, x.backend_tensor
    if x.ndim == 1:  # as NumPy: its rows are all that
        value = ctx.broadcast_to(value, (x.size, x.size))
    plane = value.shape[-2:]
    rows, columns = ctx.iota(plane, 0), ctx.iota(plane, 1)
    k = max(-plane[0], min(k, plane[1]))
    if k:
        rows = ctx.add(rows, ctx.full_like(rows, k))
    kept = ctx.broadcast_to(ctx.compare(rows, columns, direction), value.shape)
    return Tensor._wrap(ctx, ctx.select(kept, value, ctx.full_like(value, 0)))


vander = Op(
    "vander",
    numpy=np.vander,
    dtypes=ALL,
    samples=cases(call(A(3)), call(A(3), 2), call(A(2), N=4, increasing=True)),
    errors=[ErrorSample((X,), {}, ValueError, "one-dimensional")],
)


@vander.impl("hlo")
def _vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """The matrix whose columns are the powers of `x`."""
    tensor = as_tensor(x)
    if tensor.ndim != 1:
        raise ValueError(
            f"x must be a one-dimensional array, but has shape {tensor.shape}"
        )
    ctx, count = tensor._ctx, tensor.size if N is None else operator.index(N)
    dtype = result_type(np.empty(0, tensor.dtype), np.empty(0, int))
    base = ctx.convert(tensor.backend_tensor, dt.float32 if is_ours(dtype) else dtype)
    powers = [ctx.full_like(base, 1)]
    while len(powers) < count:
        powers.append(ctx.multiply(powers[-1], base) if len(powers) > 1 else base)
    powers = powers[:count] if increasing else powers[:count][::-1]
    if not powers:
        return Tensor._wrap(ctx, ctx.full((tensor.size, 0), 0, dtype))
    columns = [ctx.reshape(p, (tensor.size, 1)) for p in powers]
    return Tensor._wrap(ctx, ctx.convert(ctx.concatenate(columns, 1), dtype))
