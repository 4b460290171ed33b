"""Ops on diagonals and triangles."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from nkipy.core import dtypes as dt
from nkipy.core.op_table import OPS
from nkipy.core.ops._cases import ANY, A, Special, X, call, cases
from nkipy.core.ops._registry import Op, supports
from nkipy.core.ops._samples import ErrorSample
from nkipy.core.ops._views import Tensor, diagonal_of
from nkipy.core.promotion import result_type
from nkipy.core.tensor import as_tensor
from nkipy.hlo.builder import HLOBuilder, Value

AxisError = np.exceptions.AxisError


diagonal = Op(
    "diagonal",
    numpy=np.diagonal,
    dtypes=ANY,
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
    return OPS["sum"](_diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype, out=out)


diag = Op(
    "diag",
    numpy=np.diag,
    dtypes=ANY,
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
    dtypes=ANY,
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
    "tril", numpy=np.tril, dtypes=ANY, samples=_TRIANGLES, errors=_TRIANGLE_ERRORS
)
triu = Op(
    "triu", numpy=np.triu, dtypes=ANY, samples=_TRIANGLES, errors=_TRIANGLE_ERRORS
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
    dtypes=supports(dt.FLOATS[:2], dt.INTEGERS, dt.bool_),
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
    base = ctx.convert(tensor.backend_tensor, dtype)
    powers = [ctx.full_like(base, 1)]
    while len(powers) < count:
        powers.append(ctx.multiply(powers[-1], base) if len(powers) > 1 else base)
    powers = powers[:count] if increasing else powers[:count][::-1]
    if not powers:
        return Tensor._wrap(ctx, ctx.full((tensor.size, 0), 0, dtype))
    columns = [ctx.reshape(p, (tensor.size, 1)) for p in powers]
    return Tensor._wrap(ctx, ctx.concatenate(columns, 1))


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
