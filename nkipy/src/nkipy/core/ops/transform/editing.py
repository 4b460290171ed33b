"""Ops that take elements out of an array, or put others in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from nkipy.core.op_table import OPS
from nkipy.core.ops._cases import A, X, call, cases
from nkipy.core.ops._dtype_sets import ALL
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import ErrorSample
from nkipy.core.ops._static_take import take_static
from nkipy.core.ops._views import Tensor, in_shape
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
    dtypes=ALL,
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


@delete.modelling
def _delete_modelled(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    bound = delete.bound(args, kwargs)
    bound.arguments["obj"] = 0
    return bound.args, bound.kwargs


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
    dtypes=ALL,
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


@insert.modelling
def _insert_modelled(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    bound = insert.bound(args, kwargs)
    bound.arguments.update(obj=0, values=0)
    return bound.args, bound.kwargs


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
