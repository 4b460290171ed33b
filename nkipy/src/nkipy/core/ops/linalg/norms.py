"""Norms of vectors and matrices, and powers and chains of matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import index
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.op_table import OPS
from nkipy.core.ops._cases import A, X, call, cases
from nkipy.core.ops._contract import single_precision
from nkipy.core.ops._reduction import many_axes, one_axis
from nkipy.core.ops._registry import Op, supports
from nkipy.core.ops._samples import ErrorSample
from nkipy.core.ops._views import duplicate
from nkipy.core.promotion import float64_type, is_ours, result_type
from nkipy.core.tensor import as_tensor, store_out

#: A traced array, to which NumPy's own functions apply.
Tensor = Any
DTYPES = supports(dt.FLOATS, dt.FP8, dt.int8, dt.int32, dt.bool_)
AxisError = np.exceptions.AxisError
_INF = float("inf")


# -- norms -----------------------------------------------------------------------------
def _norm_dtype(x: Tensor) -> np.dtype:
    """NumPy's float16 and float32 keep theirs; all else is computed in float64."""
    return x.dtype if x.dtype == dt.float16 else float64_type(x.dtype)


def _magnitudes(x: Any) -> Tensor:
    return np.abs(as_tensor(x).astype(np.float32))


def _by_power(x: Tensor, order: Any, axes: tuple[int, ...]) -> Tensor:
    total = np.sum(np.power(x, np.float32(order)), axis=axes, keepdims=True)
    return np.power(total, np.float32(1 / float(order)))


def _euclidean(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    return np.sqrt(np.sum(np.square(x), axis=axes, keepdims=True))


#: Norms of vectors, of magnitudes over axes, which are kept.
_VECTOR: dict[Any, Callable[[Tensor, tuple[int, ...]], Tensor]] = {
    None: _euclidean,
    2: _euclidean,
    1: lambda x, axes: np.sum(x, axis=axes, keepdims=True),
    0: lambda x, axes: np.sum(x != 0, axis=axes, keepdims=True),
    _INF: lambda x, axes: np.max(x, axis=axes, keepdims=True),
    -_INF: lambda x, axes: np.min(x, axis=axes, keepdims=True),
}
#: Norms of matrices: how sums of magnitudes combine, and which of the axes is summed.
_MATRIX: dict[Any, tuple[Callable[..., Tensor], int]] = {
    1: (np.max, 0),
    -1: (np.min, 0),
    _INF: (np.max, 1),
    -_INF: (np.min, 1),
}


def _vector_norm_of(x: Tensor, order: Any, axes: tuple[int, ...]) -> Tensor:
    if isinstance(order, np.ndarray) and not order.ndim:
        order = order[()]  # which a dict can look for
    found = _VECTOR.get(order)
    return _by_power(x, order, axes) if found is None else found(x, axes)


def _matrix_norm_of(x: Tensor, order: Any, axes: tuple[int, int]) -> Tensor:
    if order in (None, "fro", "f"):
        return _euclidean(x, axes)
    if order in (2, -2, "nuc"):
        raise NotImplementedError(
            f"ord={order!r} of a matrix needs singular values, which have no lowering; "
            "ord='fro' has one"
        )
    if order not in _MATRIX:
        raise ValueError(f"Invalid norm order {order!r} for matrices")
    combine, summed = _MATRIX[order]
    sums = np.sum(x, axis=axes[summed], keepdims=True)
    return combine(sums, axis=axes[1 - summed], keepdims=True)


def _finished(
    result: Tensor, axes: Sequence[int], keepdims: bool, dtype: np.dtype
) -> Tensor:
    result = result.astype(dtype)
    return result if keepdims else duplicate(np.squeeze(result, axis=tuple(axes)))


_NORM_SAMPLES = (
    call(A(5)),
    call(A(3, 4)),
    call(A(3, 4), "fro", axis=(0, 1)),
    call(A(2, 3, 4)),
    call(A(3, 4), axis=1),
    call(A(3, 4), axis=-2, keepdims=True),
    call(A(3, 4), 1),
    call(A(3, 4), -1),
    call(A(3, 4), np.inf),
    call(A(3, 4), -np.inf, keepdims=True),
    call(A(2, 3, 4), 1, axis=(2, 0)),
    *(call(A(3, 4), order, axis=0) for order in (0, 1, 2, 3, np.inf, -np.inf)),
    call(A(0)),
)

norm = Op(
    "norm",
    numpy=np.linalg.norm,
    dtypes=DTYPES,
    reference=single_precision(np.linalg.norm),
    samples=cases(*_NORM_SAMPLES),
    errors=(
        ErrorSample((X, 2), error=NotImplementedError, match="singular"),
        ErrorSample((X, "nuc"), error=NotImplementedError, match="singular"),
        ErrorSample((X, 3), match="Invalid norm order"),
        ErrorSample((X[0], "fro"), match="Invalid norm order"),
        ErrorSample((X[None], 1), match="number of dimensions"),
        ErrorSample((X,), {"axis": (0, 1, 2)}, match="number of dimensions"),
        ErrorSample((X,), {"axis": (0, 0)}, match="Duplicate axes"),
        ErrorSample((X,), {"axis": 2}, error=AxisError),
        ErrorSample((X,), {"axis": 0.5}, error=TypeError),
    ),
    note="the spectral and nuclear norms of a matrix need singular values",
)


@norm.impl("hlo")
def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Tensor:
    tensor = as_tensor(x)
    axes, flat = _norm_axes(tensor, ord, axis)
    magnitudes = _magnitudes(tensor)
    if flat:
        result = _euclidean(magnitudes, axes)
    elif len(axes) == 1:
        if isinstance(ord, str):
            raise ValueError(f"Invalid norm order {ord!r} for vectors")
        result = _vector_norm_of(magnitudes, ord, axes)
    else:
        result = _matrix_norm_of(magnitudes, ord, (axes[0], axes[1]))
    return _finished(result, axes, keepdims, _norm_dtype(tensor))


def _norm_axes(x: Tensor, order: Any, axis: Any) -> tuple[tuple[int, ...], bool]:
    """The axes that a norm is over, and whether `x` is taken as one flat vector."""
    if axis is None:
        euclidean = (
            order is None
            or (order in ("f", "fro") and x.ndim == 2)
            or (order == 2 and x.ndim == 1)
        )
        axes = tuple(range(x.ndim))
        if not euclidean and len(axes) not in (1, 2):
            raise ValueError("Improper number of dimensions to norm")
        return axes, euclidean
    entries = axis if isinstance(axis, tuple) else (index(axis),)
    if len(entries) not in (1, 2):
        raise ValueError("Improper number of dimensions to norm")
    axes = tuple(one_axis(a, x.ndim) for a in entries)
    if len(set(axes)) != len(axes):
        raise ValueError("Duplicate axes given")
    return axes, False


vector_norm = Op(
    "vector_norm",
    numpy=np.linalg.vector_norm,
    dtypes=DTYPES,
    reference=single_precision(np.linalg.vector_norm),
    samples=cases(
        call(A(3, 4)),
        call(A(3, 4), ord=1),
        call(A(2, 3, 4), axis=(0, 2), keepdims=True),
        call(A(3, 4), axis=1, ord=np.inf),
        call(A(3, 4), keepdims=True, ord=3),
    ),
    errors=(ErrorSample((X,), {"axis": 2}, error=AxisError),),
)


@vector_norm.impl("hlo")
def _vector_norm(
    x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2
) -> Tensor:
    tensor = as_tensor(x)
    if isinstance(ord, str):
        raise ValueError(f"Invalid norm order {ord!r} for vectors")
    axes = many_axes(axis, tensor.ndim)
    result = _vector_norm_of(_magnitudes(tensor), ord, axes)
    return _finished(result, axes, keepdims, _norm_dtype(tensor))


matrix_norm = Op(
    "matrix_norm",
    numpy=np.linalg.matrix_norm,
    dtypes=DTYPES,
    reference=single_precision(np.linalg.matrix_norm),
    samples=cases(
        call(A(3, 4)),
        call(A(2, 3, 4), ord=1),
        call(A(2, 3, 4), keepdims=True, ord=-np.inf),
    ),
    errors=(
        ErrorSample((X,), {"ord": 2}, error=NotImplementedError, match="singular"),
        ErrorSample((X[0],), error=AxisError),
    ),
)


@matrix_norm.impl("hlo")
def _matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Tensor:
    return _norm(x, ord=ord, axis=(-2, -1), keepdims=keepdims)


# -- powers and chains -----------------------------------------------------------------
matrix_power = Op(
    "matrix_power",
    numpy=np.linalg.matrix_power,
    dtypes=supports(dt.FLOATS, dt.int8, dt.int32, dt.bool_),
    reference=single_precision(np.linalg.matrix_power),
    samples=cases(
        call(A(3, 3), 2),
        call(A(2, 3, 3), 3),
        call(A(3, 3), 0),
        call(A(3, 3), 1),
        call(A(3, 3), 5),
        call(A(3, 3), 6),
    ),
    errors=(
        ErrorSample((X, 2), match="square"),
        ErrorSample((X[:, :2], 0.5), error=TypeError),
    ),
    rtol={dt.float16: 8e-3},
)


@matrix_power.composed_impl
def _matrix_power(a: Any, n: Any) -> Any:
    x: Any = as_tensor(a)
    if is_ours(x.dtype):  # rounded once, not after each product
        return _matrix_power(x.astype(dt.float32), n).astype(x.dtype)
    exponent = index(n)
    _check_square(x)
    if exponent == 3:  # in NumPy's order
        return x @ x @ x
    if exponent < 0:
        x, exponent = OPS["inv"](x), -exponent
    if exponent == 0:
        unit = np.eye(x.shape[-1], dtype=x.dtype)
        return np.broadcast_to(as_tensor(unit), x.shape).copy()
    result = None
    while True:  # by squaring, as few products as the exponent has bits
        if exponent & 1:
            result = x if result is None else result @ x
        exponent >>= 1
        if not exponent:
            return result
        x = x @ x


def _check_square(x: Tensor) -> None:
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ValueError(
            f"the last two dimensions must be square, but the shape is {x.shape}"
        )


multi_dot = Op(
    "multi_dot",
    numpy=np.linalg.multi_dot,
    dtypes=supports(dt.float32, dt.bfloat16, dt.int32),
    samples=cases(
        call([A(2, 3), A(3, 4)]),
        call([A(2, 3), A(3, 4), A(4, 2)]),
        call([A(3), A(3, 4), A(4, 2), A(2)]),
    ),
    errors=(
        ErrorSample(([X],), match="two"),
        ErrorSample(([X, X, X],), match="not aligned"),
    ),
    note="products associate from the left; NumPy picks the cheapest order",
)


@multi_dot.composed_impl
def _multi_dot(arrays: Any, *, out: Any = None) -> Any:
    tensors = [as_tensor(a) for a in arrays]
    if len(tensors) < 2:
        raise ValueError("expecting at least two arrays")
    ranks = [t.ndim for t in tensors]
    if any(r != 2 for r in ranks[1:-1]) or not {ranks[0], ranks[-1]} <= {1, 2}:
        raise ValueError(
            f"arrays must be matrices, or vectors at the ends; ranks: {ranks}"
        )
    common = result_type(*tensors)
    if is_ours(common):  # rounded once, not after each product
        made = _multi_dot([t.astype(dt.float32) for t in tensors]).astype(common)
        return made if out is None else store_out(made._ctx, made.backend_tensor, out)
    result: Any = tensors[0]
    for tensor in tensors[1:-1]:
        result = OPS["dot"](result, tensor)
    return OPS["dot"](result, tensors[-1], out=out)
