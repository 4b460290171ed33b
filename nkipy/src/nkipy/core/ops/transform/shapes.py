"""Ops that show the same elements in another shape or order: mostly views."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from nkipy.core.ops._cases import A, X, call, cases
from nkipy.core.ops._dtype_sets import ALL
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import ErrorSample
from nkipy.core.ops._views import (
    Shape,
    Tensor,
    as_shape,
    at_least,
    duplicate,
    in_shape,
    is_reshape_view,
    no_scalar,
    reshaped,
    swapped,
    transposed,
)

# Users of the package look for these among the transforms.
from nkipy.core.ops.transform.copying import astype as astype
from nkipy.core.ops.transform.copying import copy as copy
from nkipy.core.ops.transform.joining import concatenate as concatenate
from nkipy.core.ops.transform.joining import stack as stack
from nkipy.core.tensor import as_base, as_tensor

AxisError = np.exceptions.AxisError


def _resolve_shape(x: Tensor, shape: Any) -> Shape:
    """`shape` with its -1 replaced. Raises ValueError if `x` does not fit it."""
    given = as_shape(shape)
    if prod(given) == x.size and (not given or min(given) >= 0):
        return given
    dims = list(given)
    unknown = [i for i, d in enumerate(dims) if d < 0]
    if len(unknown) > 1:
        raise ValueError("can only specify one unknown dimension")
    known = 1
    for d in dims:
        known *= d if d >= 0 else 1
    if unknown and known and x.size % known == 0:
        dims[unknown[0]] = x.size // known
        known = x.size
    if known != x.size or (unknown and dims[unknown[0]] < 0):
        raise ValueError(
            f"cannot reshape array of size {x.size}, shape {x.shape}, into shape "
            f"{tuple(dims)}"
        )
    return tuple(dims)


def _memory_order(x: Tensor, order: str) -> str:
    """The order "A" means: "F" if `x` lies in memory column by column, else "C"."""
    if order == "A":
        flags = x._layout().flags
        return "F" if flags.f_contiguous and not flags.c_contiguous else "C"
    if order not in ("C", "F"):
        raise ValueError(f"order '{order}' is not permitted for reshaping")
    return order


def _backwards(ndim: int) -> range:
    return range(ndim - 1, -1, -1)


reshape = Op(
    "reshape",
    numpy=np.reshape,
    memory_order="made",
    dtypes=ALL,
    samples=cases(
        call(A(2, 3, 5), (6, 5)),
        call(A(2, 3), -1),
        call(A(), (1, 1)),
        call(A(0, 3), (3, -1, 1)),
        call(A(2, 3), shape=(3, -1), order="F"),
        call(A(2, 3, 4), [4, 6], order="A", copy=True),
    ),
    errors=[
        ErrorSample((X, (4, 2)), {}, ValueError, r"\(2, 3\), into shape \(4, 2\)"),
        ErrorSample((X, (-1, -1)), {}, ValueError, "one unknown dimension"),
        ErrorSample((X, (-1, 4)), {}, ValueError, "cannot reshape"),
        ErrorSample((X, (1.5, 4)), {}, TypeError, "integer"),
        ErrorSample((X, (3, 2), "Q"), {}, ValueError, "order"),
        ErrorSample((X, 6), {"order": "F", "copy": False}, ValueError, "copy"),
    ],
)


@reshape.impl("hlo")
def _reshape(
    a: Any, /, shape: Any, order: str = "C", *, copy: bool | None = None
) -> Any:
    """The elements of `a`, in `order`, in another shape. Raises ValueError: size."""
    x = as_tensor(a)
    dims = _resolve_shape(x, shape)
    column_major = order != "C" and _memory_order(x, order) == "F"
    if column_major:
        x, dims = transposed(x, _backwards(x.ndim)), dims[::-1]
    if copy is False and not is_reshape_view(x, dims):
        raise ValueError("reshaping needs a copy, and copy=False forbids one")
    made = reshaped(duplicate(x) if copy else x, dims)
    return transposed(made, _backwards(made.ndim)) if column_major else made


ravel = Op(
    "ravel",
    numpy=np.ravel,
    dtypes=ALL,
    samples=cases(call(A(2, 3)), call(A()), call(A(2, 3, 2), order="F"), call(A(0, 2))),
    errors=[ErrorSample((X, "Q"), {}, ValueError, "order")],
)
flatten = Op(
    "flatten",
    reference=np.ndarray.flatten,
    dtypes=ALL,
    samples=cases(call(A(2, 3)), call(A()), call(A(2, 3, 2), order="F"), call(A(0, 2))),
)


@ravel.impl("hlo")
def _ravel(a: Any, order: str = "C") -> Any:
    """`a` as one dimension: a view if its elements lie in that order without gaps."""
    x = as_tensor(a)
    if order == "K":
        strides = x.strides
        x = transposed(x, sorted(range(x.ndim), key=lambda i: -abs(strides[i])))
    elif order != "C" and _memory_order(x, order) == "F":
        x = transposed(x, _backwards(x.ndim))
    # Unlike reshape, NumPy copies what has gaps even where a view could be made.
    if x._is_c_contiguous() or x._known_layout() is None:
        return reshaped(x, (x.size,))
    return in_shape(x, (x.size,))


@flatten.impl("hlo")
def _flatten(a: Any, order: str = "C") -> Any:
    """A copy of `a` as one dimension."""
    return duplicate(_ravel(a, order))


transpose = Op(
    "transpose",
    numpy=np.transpose,  # np.permute_dims is the same function
    dtypes=ALL,
    samples=cases(
        call(A(2, 3)),
        call(A(2, 3, 4), (2, 0, 1)),
        call(A(2, 3, 4), axes=(0, -1, 1)),
        call(A(5), None),
        call(A()),
        call(A(3, 0)),
    ),
    errors=[
        ErrorSample((X, (0,)), {}, ValueError, "axes don't match array"),
        ErrorSample((X, (0, 0)), {}, ValueError, "repeated axis"),
        ErrorSample((X, (0, 2)), {}, AxisError, "out of bounds"),
    ],
)


@transpose.impl("hlo")
def _transpose(a: Any, axes: Any = None) -> Any:
    """`a` with its dimensions permuted, by default reversed. A view."""
    x = as_tensor(a)
    ndim = x.ndim
    if axes is None:
        return transposed(x, _backwards(ndim))
    axes = as_shape(axes)
    if len(axes) != ndim:
        raise ValueError(
            f"axes don't match array: {len(axes)} axes for shape {x.shape}"
        )
    order = [normalize_axis_index(axis, ndim) for axis in axes]
    if len(set(order)) != ndim:
        raise ValueError(f"repeated axis in transpose: {axes}")
    return transposed(x, order)


swapaxes = Op(
    "swapaxes",
    numpy=np.swapaxes,
    dtypes=ALL,
    samples=cases(call(A(2, 3, 4), 0, -1), call(A(2, 3), 1, 1)),
    errors=[ErrorSample((X, 0, 2), {}, AxisError, "out of bounds")],
)


@swapaxes.impl("hlo")
def _swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    """`a` with two dimensions exchanged. A view."""
    x = as_tensor(a)
    i, j = normalize_axis_index(axis1, x.ndim), normalize_axis_index(axis2, x.ndim)
    return swapped(x, i, j)


moveaxis = Op(
    "moveaxis",
    numpy=np.moveaxis,
    dtypes=ALL,
    samples=cases(call(A(2, 3, 4), 0, -1), call(A(2, 3, 4), (0, 1), (-1, 0))),
    errors=[
        ErrorSample((X, 0, 5), {}, AxisError, "out of bounds"),
        ErrorSample((X, (0, 1), (1,)), {}, ValueError, "same number"),
        ErrorSample((X, (0, 0), (0, 1)), {}, ValueError, "repeated axis"),
    ],
)


@moveaxis.impl("hlo")
def _moveaxis(a: Any, source: Any, destination: Any) -> Any:
    """`a` with dimensions `source` moved to `destination`. A view."""
    x = as_tensor(a)
    old = normalize_axis_tuple(source, x.ndim, "source")
    new = normalize_axis_tuple(destination, x.ndim, "destination")
    if len(old) != len(new):
        raise ValueError("source and destination must have the same number of axes")
    order = [axis for axis in range(x.ndim) if axis not in old]
    for to, axis in sorted(zip(new, old)):
        order.insert(to, axis)
    return transposed(x, order)


rollaxis = Op(
    "rollaxis",
    numpy=np.rollaxis,
    dtypes=ALL,
    samples=cases(call(A(2, 3, 4), 2), call(A(2, 3, 4), 0, 3), call(A(2, 3), 0)),
    errors=[
        ErrorSample((X, 2), {}, AxisError, "out of bounds"),
        ErrorSample((X, 0, 3), {}, AxisError, "start"),
    ],
)


@rollaxis.impl("hlo")
def _rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    """`a` with dimension `axis` moved to stand before `start`. A view."""
    x = as_tensor(a)
    n = x.ndim
    axis = normalize_axis_index(axis, n)
    if not -n <= start <= n:
        raise AxisError(f"start must lie between {-n} and {n}, but received {start}")
    start += n if start < 0 else 0
    order = [i for i in range(n) if i != axis]
    order.insert(start - 1 if axis < start else start, axis)
    return transposed(x, order)


matrix_transpose = Op(
    "matrix_transpose",
    numpy=[np.matrix_transpose, np.linalg.matrix_transpose],
    dtypes=ALL,
    samples=cases(call(A(2, 3, 4)), call(A(2, 3))),
    errors=[ErrorSample((X[0],), {}, ValueError, "at least 2-dimensional")],
)


@matrix_transpose.impl("hlo")
def _matrix_transpose(x: Any, /) -> Any:
    """`x` with its last two dimensions exchanged. A view."""
    x = as_tensor(x)
    if x.ndim < 2:
        raise ValueError(
            f"input must be at least 2-dimensional, but has shape {x.shape}"
        )
    return swapped(x, -1, -2)


expand_dims = Op(
    "expand_dims",
    numpy=np.expand_dims,
    dtypes=ALL,
    samples=cases(
        call(A(2, 3), 0), call(A(2, 3), axis=-1), call(A(2), (0, -1)), call(A(), 0)
    ),
    errors=[
        ErrorSample((X, 3), {}, AxisError, "out of bounds"),
        ErrorSample((X, (0, 0)), {}, ValueError, "repeated axis"),
    ],
)


@expand_dims.impl("hlo")
def _expand_dims(a: Any, axis: Any) -> Any:
    """`a` with new dimensions of size one at the given positions. A view."""
    x = as_tensor(a)
    axes = as_shape(axis)
    ndim = x.ndim + len(axes)
    axes = normalize_axis_tuple(axes, ndim)
    kept = iter(x.shape)
    shape = tuple(1 if i in axes else next(kept) for i in range(ndim))
    return no_scalar(reshaped(x, shape))


squeeze = Op(
    "squeeze",
    numpy=np.squeeze,
    dtypes=ALL,
    samples=cases(
        call(A(1, 3, 1)),
        call(A(1, 3, 1), axis=0),
        call(A(1, 3, 1), (0, -1)),
        call(A(1, 1)),
        call(A(0, 1)),
    ),
    errors=[
        ErrorSample((X, 0), {}, ValueError, "size not equal to one"),
        ErrorSample((X, 2), {}, AxisError, "out of bounds"),
    ],
)


@squeeze.impl("hlo")
def _squeeze(a: Any, axis: Any = None) -> Any:
    """`a` without dimensions of size one: all of them, or those named. A view."""
    x = as_tensor(a)
    if axis is None:
        return reshaped(x, tuple(d for d in x.shape if d != 1))
    axes = normalize_axis_tuple(axis, x.ndim)
    for i in axes:
        if x.shape[i] != 1:
            raise ValueError(
                "cannot select an axis to squeeze out which has size not equal to one: "
                f"axis {i} of shape {x.shape}"
            )
    return reshaped(x, tuple(d for i, d in enumerate(x.shape) if i not in axes))


def _make_atleast(ndim: int) -> Op:
    op = Op(
        f"atleast_{ndim}d",
        numpy=getattr(np, f"atleast_{ndim}d"),
        shares=True,
        dtypes=ALL,
        samples=cases(call(A()), call(A(3)), call(A(2, 3), A(4)), call(A(2, 1, 3, 1))),
    )

    @op.impl("hlo")
    def atleast(*arys: Any) -> Any:
        tensors = [as_base(a) for a in arys]
        made = tuple(
            x if x.ndim >= ndim else reshaped(x, at_least(ndim, x.shape))
            for x in tensors
        )
        return made[0] if len(made) == 1 else made

    op.__doc__ = f"Each array with at least {ndim} dimensions. Views."
    return op


atleast_1d, atleast_2d, atleast_3d = (_make_atleast(n) for n in (1, 2, 3))
