"""Ops that take elements out of an array, put others in, or take differences."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from nkipy.core import dtypes as dt
from nkipy.core.op_table import OPS
from nkipy.core.ops._cases import ANY, A, X, call, cases
from nkipy.core.ops._registry import Op, supports
from nkipy.core.ops._samples import ErrorSample
from nkipy.core.ops._static_take import take_static
from nkipy.core.ops._views import Shape, Tensor, in_shape
from nkipy.core.ops.transform.joining import concatenate
from nkipy.core.tensor import as_operand, as_tensor

AxisError = np.exceptions.AxisError


def _static(obj: Any) -> Any:
    if isinstance(as_operand(obj), Tensor):
        raise NotImplementedError(
            "positions must be static: the result's shape depends on them. Use "
            "np.where with a mask of the positions"
        )
    return obj


def _flat_unless(x: Tensor, axis: int | None) -> tuple[Tensor, int]:
    """NumPy's convention: without an axis, the array is flattened."""
    if axis is None:
        return in_shape(x, (x.size,)), 0
    return x, normalize_axis_index(axis, x.ndim)


delete = Op(
    "delete",
    numpy=np.delete,
    dtypes=ANY,
    samples=cases(
        call(A(5), 1),
        call(A(2, 3), -1, axis=1),
        call(A(6), [0, 2, 2]),
        call(A(2, 6), slice(1, None, 2), 1),
        call(A(3), [True, False, True]),
        call(A(2, 3), []),
    ),
    errors=[
        ErrorSample((X, 2, 0), {}, IndexError, "out of bounds"),
        ErrorSample((X, 0, 2), {}, AxisError, "out of bounds"),
        ErrorSample((X, np.array([0]), 0), {}, NotImplementedError, "static"),
    ],
)


@delete.impl("hlo")
def _delete(arr: Any, obj: Any, axis: int | None = None) -> Any:
    """`arr` without the elements at static positions `obj` along `axis`.

    Raises:
        IndexError: a position is out of range.
        NotImplementedError: positions are traced.
    """
    x, axis = _flat_unless(as_tensor(arr), axis)
    kept = np.delete(np.arange(x.shape[axis]), _static(obj))
    return Tensor._wrap(x._ctx, take_static(x._ctx, x.backend_tensor, kept, axis))


insert = Op(
    "insert",
    numpy=np.insert,
    dtypes=ANY,
    samples=cases(
        call(A(5), 1, 1),
        call(A(2, 3), -1, A(2), axis=1),
        call(A(2, 3), [1], A(2, 2), axis=1),
        call(A(2, 3), [0, 2, 2], A(3), axis=1),
        call(A(2, 3), slice(0, 2), [[1], [0]], axis=0),
        call(A(4), 4, [1, 0, 1]),
        call(A(4), [], 0),
    ),
    errors=[
        ErrorSample((X, 7, 0), {}, IndexError, "out of bounds"),
        ErrorSample((X, [0, 1], X[0]), {}, ValueError, "broadcast|shape"),
        ErrorSample((X, np.array([0]), 0), {}, NotImplementedError, "static"),
    ],
)


@insert.impl("hlo")
def _insert(arr: Any, obj: Any, values: Any, axis: int | None = None) -> Any:
    """`arr` with `values` put in before static positions `obj` along `axis`.

    Raises:
        IndexError: a position is out of range.
        ValueError: `values` do not broadcast to the place made for them.
        NotImplementedError: positions are traced.
    """
    x, axis = _flat_unless(as_tensor(arr), axis)
    ctx, n = x._ctx, x.shape[axis]
    new = as_tensor(values, x.dtype)
    positions = _positions(_static(obj), n)
    if new.ndim < x.ndim:
        new = in_shape(new, (1,) * (x.ndim - new.ndim) + new.shape)
    if positions.ndim == 0:  # the values of one place lie along the first dimension
        new = OPS["moveaxis"](new, 0, axis)
    count = new.shape[axis] if positions.size == 1 else positions.size
    place = tuple(count if i == axis else d for i, d in enumerate(x.shape))
    new = OPS["broadcast_to"](new, place)
    both = ctx.concatenate([x.backend_tensor, new.backend_tensor], axis)
    order = np.insert(np.arange(n), positions, n + np.arange(count))
    return Tensor._wrap(ctx, take_static(ctx, both, order, axis))


def _positions(obj: Any, size: int) -> np.ndarray:
    """The positions that `obj` names in a dimension of `size`; 0-d for an int."""
    if isinstance(obj, slice):
        return np.arange(size)[obj]
    positions = np.asarray(obj, None if np.size(obj) else int)
    return np.flatnonzero(positions) if positions.dtype == bool else positions


diff = Op(
    "diff",
    numpy=np.diff,
    dtypes=supports(dt.FLOATS, dt.INTEGERS, dt.bool_),
    samples=cases(
        call(A(6)),
        call(A(3, 4), n=2),
        call(A(3, 4), axis=0, prepend=True),
        call(A(3, 4), 1, -1, A(3, 1), A(3, 2)),
        call(A(2, 3), n=0),
        call(A(2, 3), 5),
        call(A(3), append=A()),
    ),
    errors=[
        ErrorSample((np.ones(()),), {}, ValueError, "at least one dimension"),
        ErrorSample((X, -1), {}, ValueError, "non-negative"),
        ErrorSample((X, 1, 2), {}, AxisError, "out of bounds"),
    ],
)


@diff.impl("hlo")
def _diff(
    a: Any,
    n: int = 1,
    axis: int = -1,
    prepend: Any = np._NoValue,
    append: Any = np._NoValue,
) -> Any:
    """Differences of neighbours along `axis`, taken `n` times; of bools, inequality."""
    x = as_tensor(a)
    if n < 0:
        raise ValueError(f"order must be non-negative but got {n}")
    if not x.ndim:
        raise ValueError("diff requires input that is at least one dimensional")
    if n == 0:
        return x
    axis = normalize_axis_index(axis, x.ndim)
    ends = [_end(e, x.shape, axis) for e in (prepend, append)]
    if any(e is not None for e in ends):
        x = concatenate([e for e in (ends[0], x, ends[1]) if e is not None], axis)
    difference = OPS["not_equal" if x.dtype == dt.bool_ else "subtract"]
    for _ in range(operator.index(n)):
        size = x.shape[axis]
        later = _section(x, axis, min(1, size), size)
        x = difference(later, _section(x, axis, 0, max(0, size - 1)))
    return x


def _section(x: Tensor, axis: int, start: int, stop: int) -> Tensor:
    return Tensor._wrap(x._ctx, x._ctx.slice_dim(x.backend_tensor, axis, start, stop))


def _end(values: Any, shape: Shape, axis: int) -> Any:
    if values is np._NoValue:
        return None
    values = as_operand(values)
    values = np.asarray(values) if isinstance(values, (int, float)) else values
    if np.ndim(values):
        return values
    shape = (*shape[:axis], 1, *shape[axis + 1 :])
    if isinstance(values, Tensor):
        return OPS["broadcast_to"](values, shape)
    return np.broadcast_to(values, shape)  # keeps the dtype that promotion is to see


ediff1d = Op(
    "ediff1d",
    numpy=np.ediff1d,
    dtypes=supports(dt.FLOATS, dt.INTEGERS),
    samples=cases(call(A(6)), call(A(2, 3)), call(A(3), A(2), A(1)), call(A(1))),
    errors=[ErrorSample((X.astype("i4"), X[0]), {}, TypeError, "be compatible")],
)


@ediff1d.impl("hlo")
def _ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    """Differences of neighbours in flat order, between `to_begin` and `to_end`.

    Raises:
        TypeError: what to add cannot be cast to the dtype of `ary`.
    """
    x = as_tensor(ary)
    parts = [_diff(in_shape(x, (x.size,)))]
    for position, name, values in ((0, "to_begin", to_begin), (2, "to_end", to_end)):
        if values is None:
            continue
        end = as_tensor(values)
        if not np.can_cast(end.dtype, x.dtype, "same_kind"):
            raise TypeError(
                f"dtype of `{name}` must be compatible with input `ary` under the "
                "`same_kind` rule."
            )
        end = in_shape(as_tensor(end, x.dtype), (end.size,))
        parts.insert(position, end)
    return concatenate(parts)
