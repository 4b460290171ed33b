"""Products of arrays that NumPy has as functions: dot, tensordot, outer and so on."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from operator import index
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import HLOTraceContext, get_hlo_context
from nkipy.core.op_table import OPS
from nkipy.core.ops._cases import A, X, call, cases
from nkipy.core.ops._contract import (
    Labelled,
    accumulator,
    contract,
    rounded,
    single_precision,
)
from nkipy.core.ops._dtype_sets import ALL
from nkipy.core.ops._reduction import one_axis
from nkipy.core.ops._registry import Op, supports
from nkipy.core.ops._samples import ErrorSample
from nkipy.core.ops._views import no_scalar
from nkipy.core.promotion import as_arrays, is_ours, result_type
from nkipy.core.tensor import NKIPyTensorRef, as_operand, as_tensor, store_out
from nkipy.hlo.builder import Value

Tensor = NKIPyTensorRef


def _arrays(a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """The operands of these functions, which make arrays of scalars first."""
    x, y = as_arrays([as_operand(a), as_operand(b)])
    return as_tensor(x), as_tensor(y)


def _operands(a: Any, b: Any) -> tuple[HLOTraceContext, Value, Value, np.dtype]:
    x, y = as_arrays([as_operand(a), as_operand(b)])
    dtype = result_type(x, y)  # before an array of 64 bits is narrowed
    ctx = get_hlo_context()
    return (
        ctx,
        as_tensor(x, dtype).backend_tensor,
        as_tensor(y, dtype).backend_tensor,
        dtype,
    )


def _sum_products(
    ctx: HLOTraceContext,
    x: Value,
    y: Value,
    axes: tuple[Sequence[int], Sequence[int]],
) -> Value:
    """The products of two values of one dtype, summed over pairs of dimensions.

    Raises:
        ValueError: the dimensions of a pair differ in size.
    """
    x_axes, y_axes = axes
    for i, j in zip(x_axes, y_axes):
        if x.shape[i] != y.shape[j]:
            raise ValueError(
                f"shapes {x.shape} and {y.shape} not aligned: "
                f"{x.shape[i]} (dim {i}) != {y.shape[j]} (dim {j})"
            )
    x_labels = [("x", i) for i in range(x.ndim)]
    y_labels = [("y", j) for j in range(y.ndim)]
    out = [label for i, label in enumerate(x_labels) if i not in x_axes]
    out += [label for j, label in enumerate(y_labels) if j not in y_axes]
    for i, j in zip(x_axes, y_axes):
        y_labels[j] = x_labels[i]
    dtype = x.dtype
    left, right = Labelled(x, tuple(x_labels)), Labelled(y, tuple(y_labels))
    return rounded(ctx, contract(ctx, left, right, out, accumulator(dtype)), dtype)


def _exact_out(ctx: HLOTraceContext, value: Value, out: Any) -> Tensor:
    """`value`, or `out` with it, which has to have its shape and dtype."""
    if out is None:
        return Tensor._wrap(ctx, value)
    if getattr(out, "shape", None) != value.shape or (
        dt.narrow(getattr(out, "dtype", object)) != value.dtype
    ):
        raise ValueError(
            "output array is not acceptable: it must have the dtype and shape of the "
            f"result, {value.shape_text()}"
        )
    return store_out(ctx, value, out)


dot = Op(
    "dot",
    numpy=np.dot,
    dtypes=ALL,
    reference=single_precision(np.dot),
    samples=cases(
        call(A(5), A(5)),
        call(A(3, 5), A(5)),
        call(A(5), A(5, 2)),
        call(A(3, 5), A(5, 2)),
        call(A(2, 3, 5), A(4, 5, 2)),
        call(A(), A(2, 3)),
        call(A(2, 3), A()),
        call(A(2, 0), A(0, 3)),
        call(A(2, 3), A(3)),
    ),
    errors=(
        ErrorSample((X, X), match="not aligned"),
        ErrorSample((X, X.T), {"out": np.zeros((2, 3), "f4")}, match="acceptable"),
        ErrorSample((X, X.T), {"out": np.zeros((2, 2), "i4")}, match="acceptable"),
    ),
)


@dot.impl("hlo")
def _dot(a: Any, b: Any, out: Any = None) -> Tensor:
    ctx, x, y, _ = _operands(a, b)
    if not (x.ndim and y.ndim):
        return _exact_out(ctx, _multiply(ctx, x, y), out)
    axes = ([x.ndim - 1], [max(0, y.ndim - 2)])
    return _exact_out(ctx, _sum_products(ctx, x, y, axes), out)


def _multiply(ctx: HLOTraceContext, x: Value, y: Value) -> Value:
    """Products of elements of one dtype, by NumPy's rules for it."""
    x_tensor, y_tensor = Tensor._wrap(ctx, x), Tensor._wrap(ctx, y)
    return OPS["multiply"](x_tensor, y_tensor).backend_tensor


inner = Op(
    "inner",
    numpy=np.inner,
    dtypes=ALL,
    reference=single_precision(np.inner),
    samples=cases(
        call(A(5), A(5)),
        call(A(2, 5), A(3, 5)),
        call(A(2, 3, 5), A(5)),
        call(A(2, 0), A(3, 0)),
        call(A(2, 3), A()),
    ),
    errors=(ErrorSample((X, X.T), match="not aligned"),),
)


@inner.impl("hlo")
def _inner(a: Any, b: Any, /) -> Tensor:
    ctx, x, y, _ = _operands(a, b)
    if not (x.ndim and y.ndim):
        return Tensor._wrap(ctx, _multiply(ctx, x, y))
    return Tensor._wrap(ctx, _sum_products(ctx, x, y, ([x.ndim - 1], [y.ndim - 1])))


vdot = Op(
    "vdot",
    numpy=np.vdot,
    dtypes=ALL,
    reference=single_precision(np.vdot),
    samples=cases(
        call(A(5), A(5)), call(A(2, 3), A(3, 2)), call(A(), A()), call(A(0), A(0))
    ),
    errors=(ErrorSample((X, X[0]), match="not aligned"),),
)


@vdot.impl("hlo")
def _vdot(a: Any, b: Any, /) -> Tensor:
    ctx, x, y, _ = _operands(a, b)
    x, y = (ctx.reshape(v, (prod(v.shape),)) for v in (x, y))
    return Tensor._wrap(ctx, _sum_products(ctx, x, y, ([0], [0])))


outer = Op(
    "outer",
    numpy=np.outer,
    dtypes=ALL,
    samples=cases(
        call(A(3), A(4)), call(A(2, 2), A(3)), call(A(), A(3)), call(A(0), A(3))
    ),
    errors=(ErrorSample((X, X), {"out": np.zeros((6, 5), "f4")}),),
)


@outer.impl("hlo")
def _outer(a: Any, b: Any, out: Any = None) -> Tensor:
    ctx, x, y, _ = _operands(a, b)
    column = Tensor._wrap(ctx, ctx.reshape(x, (prod(x.shape), 1)))
    row = Tensor._wrap(ctx, ctx.reshape(y, (1, prod(y.shape))))
    return OPS["multiply"](column, row, out=out)


linalg_outer = Op(
    "linalg_outer",
    numpy=np.linalg.outer,
    dtypes=ALL,
    samples=cases(call(A(3), A(4)), call(A(0), A(3))),
    errors=(ErrorSample((X, X), match="one-dimensional"),),
)


@linalg_outer.impl("hlo")
def _linalg_outer(x1: Any, x2: Any, /) -> Tensor:
    x, y = _arrays(x1, x2)
    if x.ndim != 1 or y.ndim != 1:
        raise ValueError(
            "both operands must be one-dimensional, but have shapes "
            f"{x.shape} and {y.shape}"
        )
    return _outer(x, y)


tensordot = Op(
    "tensordot",
    numpy=[np.tensordot, np.linalg.tensordot],
    dtypes=ALL,
    reference=single_precision(np.tensordot),
    samples=cases(
        call(A(3, 4), A(3, 4)),
        call(A(2, 3, 4), A(4, 5), axes=1),
        call(A(2, 3), A(4), axes=0),
        call(A(2, 3, 4), A(5, 4, 3), axes=([1, -1], [2, 1])),
        call(A(3, 4), A(5, 3), axes=(0, 1)),
        call(A(3, 0), A(0, 2), 1),
    ),
    errors=(
        ErrorSample((X, X), {"axes": 1}, match="not aligned"),
        ErrorSample((X, X), {"axes": ((0, 1), (0,))}, match="shape-mismatch"),
        ErrorSample((X, X), {"axes": ((0,), (2,))}, error=IndexError),
        ErrorSample((X, X), {"axes": 3}, error=IndexError),
        ErrorSample((X, X), {"axes": ((0, 0), (0, 0))}),
    ),
)


@tensordot.impl("hlo")
def _tensordot(a: Any, b: Any, axes: Any = 2) -> Tensor:
    ctx, x, y, _ = _operands(a, b)
    x_axes, y_axes = _pairs(axes, x.ndim)
    if len(x_axes) != len(y_axes):
        raise ValueError(f"shape-mismatch for sum: axes are {x_axes} and {y_axes}")
    x_dims = [one_axis(i, x.ndim) for i in x_axes]
    y_dims = [one_axis(j, y.ndim) for j in y_axes]
    if len(set(x_dims)) != len(x_dims) or len(set(y_dims)) != len(y_dims):
        raise ValueError(f"an axis is named twice in {x_axes} or {y_axes}")
    return no_scalar(Tensor._wrap(ctx, _sum_products(ctx, x, y, (x_dims, y_dims))))


def _pairs(axes: Any, ndim: int) -> tuple[list[int], list[int]]:
    if np.iterable(axes):
        x_axes, y_axes = axes
        return _ints(x_axes), _ints(y_axes)
    count = index(axes)
    return list(range(ndim - count, ndim)), list(range(count))


def _ints(axes: Any) -> list[int]:
    return [index(a) for a in axes] if np.iterable(axes) else [index(axes)]


kron = Op(
    "kron",
    numpy=np.kron,
    dtypes=ALL,
    samples=cases(
        call(A(3), A(4)),
        call(A(2, 3), A(2, 2)),
        call(A(2), A(2, 3, 1)),
        call(A(2, 3), A()),
        call(A(2, 0), A(2, 2)),
    ),
)


@kron.impl("hlo")
def _kron(a: Any, b: Any) -> Tensor:
    x, y = _arrays(a, b)
    ctx, ndim = x._ctx, max(x.ndim, y.ndim)
    left = (1,) * (ndim - x.ndim) + x.shape
    right = (1,) * (ndim - y.ndim) + y.shape
    paired_left = [d for n in left for d in (n, 1)]
    paired_right = [d for n in right for d in (1, n)]
    product = OPS["multiply"](
        Tensor._wrap(ctx, ctx.reshape(x.backend_tensor, paired_left)),
        Tensor._wrap(ctx, ctx.reshape(y.backend_tensor, paired_right)),
    )
    shape = [m * n for m, n in zip(left, right)]
    return Tensor._wrap(ctx, ctx.reshape(product.backend_tensor, shape))


NUMERIC = supports(dt.FLOATS, dt.INTEGERS)

cross = Op(
    "cross",
    numpy=np.cross,
    memory_order="own",
    dtypes=NUMERIC,
    samples=cases(
        call(A(3), A(3)),
        call(A(4, 3), A(3)),
        call(A(3, 4), A(5, 1, 3), axisa=0),
        call(A(3, 4), A(3, 4), axis=0),
        call(A(2, 4, 3), A(2, 4, 3), axisc=0),
        call(A(0, 3), A(3)),
    ),
    errors=(
        ErrorSample((X, X.T), match="shape"),
        ErrorSample((X, X), {"axis": 2}, error=np.exceptions.AxisError),
        ErrorSample((np.ones(4, "f4"), np.ones(4, "f4")), match="dimensions"),
    ),
    note="float16 is rounded after each product, as in NumPy",
)


@cross.composed_impl
def _cross(
    a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: Any = None
) -> Tensor:
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = _arrays(a, b)
    dtype = result_type(x.dtype, y.dtype)
    if is_ours(dtype):  # rounded once, at the end
        x, y = x.astype(np.float32), y.astype(np.float32)
    u, v = (_components(*pair) for pair in ((x, axisa), (y, axisb)))
    if len(u) == len(v) == 2:
        return (u[0] * v[1] - u[1] * v[0]).astype(dtype)
    u, v = ([*w, _zero_like(w[0])] if len(w) == 2 else w for w in (u, v))
    parts = [u[i - 2] * v[i - 1] - u[i - 1] * v[i - 2] for i in range(3)]
    stacked = OPS["stack"](parts, axis=one_axis(axisc, parts[0].ndim + 1))
    return stacked.astype(dtype, copy=False)


def _components(x: Tensor, axis: int) -> list[Any]:
    """The two or three slices of `x` along `axis`.

    Raises:
        ValueError: there are more, or fewer.
    """
    ctx, axis = x._ctx, one_axis(axis, x.ndim)
    if x.shape[axis] not in (2, 3):
        raise ValueError(
            "incompatible dimensions for cross product (dimension must be 2 or 3), "
            f"but received {x.shape[axis]}"
        )
    rest = [d for i, d in enumerate(x.shape) if i != axis]
    value = x.backend_tensor
    return [
        Tensor._wrap(ctx, ctx.reshape(ctx.slice_dim(value, axis, i, i + 1), rest))
        for i in range(x.shape[axis])
    ]


def _zero_like(x: Tensor) -> Tensor:
    return Tensor._wrap(x._ctx, x._ctx.full_like(x.backend_tensor, 0))


linalg_cross = Op(
    "linalg_cross",
    numpy=np.linalg.cross,
    memory_order="own",
    dtypes=NUMERIC,
    samples=cases(call(A(4, 3), A(4, 3)), call(A(3, 2), A(3, 2), axis=0)),
    errors=(ErrorSample((X, X), {"axis": 0}, match="3-dimensional"),),
)


@linalg_cross.composed_impl
def _linalg_cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:
    x, y = _arrays(x1, x2)
    if x.shape[one_axis(axis, x.ndim)] != 3 or y.shape[one_axis(axis, y.ndim)] != 3:
        raise ValueError(
            "both operands must be 3-dimensional vectors along the axis, but have "
            f"shapes {x.shape} and {y.shape}"
        )
    return _cross(x, y, axis=axis)
