"""Ops that reverse, turn and shift the elements of an array."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from nkipy.core import dtypes as dt
from nkipy.core.op_table import OPS
from nkipy.core.ops._cases import A, X, call, cases
from nkipy.core.ops._dtype_sets import ALL
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import ErrorSample
from nkipy.core.ops._views import Tensor, duplicate, reversed_along, swapped
from nkipy.core.tensor import as_operand, as_tensor
from nkipy.hlo.builder import HLOBuilder, Value

AxisError = np.exceptions.AxisError


flip = Op(
    "flip",
    numpy=np.flip,
    dtypes=ALL,
    samples=cases(
        call(A(2, 3, 4)), call(A(2, 3), 0), call(A(2, 3, 4), axis=(0, -1)), call(A())
    ),
    errors=[
        ErrorSample((X, 2), {}, AxisError, "out of bounds"),
        ErrorSample((X, (0, 0)), {}, ValueError, "repeated axis"),
    ],
)


@flip.impl("hlo")
def _flip(m: Any, axis: Any = None) -> Any:
    """`m` with the order of elements reversed along `axis`, by default all. A view."""
    x = as_tensor(m)
    axes = range(x.ndim) if axis is None else normalize_axis_tuple(axis, x.ndim)
    return reversed_along(x, axes) if x.ndim else duplicate(x)


def _make_flip(name: str, axis: int) -> Op:
    op = Op(
        name,
        numpy=getattr(np, name),
        dtypes=ALL,
        samples=cases(call(A(2, 3)), call(A(2, 3, 4))),
        errors=[ErrorSample((np.ones((3,) * axis),), {}, ValueError, "must be")],
    )

    @op.impl("hlo")
    def flip_axis(m: Any) -> Any:
        x = as_tensor(m)
        if x.ndim <= axis:
            raise ValueError(f"input must be at least {axis + 1}-d")
        return reversed_along(x, (axis,))

    op.__doc__ = f"The array with axis {axis} reversed. A view."
    return op


flipud, fliplr = _make_flip("flipud", 0), _make_flip("fliplr", 1)


rot90 = Op(
    "rot90",
    numpy=np.rot90,
    dtypes=ALL,
    samples=cases(
        call(A(2, 3)),
        call(A(2, 3), k=2),
        call(A(2, 3), -1),
        call(A(2, 3, 4), 1, (2, 0)),
        call(A(2, 3), 4),
    ),
    errors=[
        ErrorSample((X, 1, (0,)), {}, ValueError, "len"),
        ErrorSample((X, 1, (0, -2)), {}, ValueError, "different"),
        ErrorSample((X, 1, (0, 2)), {}, ValueError, "out of range|out of bounds"),
    ],
)


@rot90.impl("hlo")
def _rot90(m: Any, k: int = 1, axes: Sequence[int] = (0, 1)) -> Any:
    """`m` turned `k` times by 90 degrees in the plane of two axes. A view."""
    x = as_tensor(m)
    if len(axes) != 2:
        raise ValueError(f"len(axes) must be 2, but received {axes}")
    first, second = (normalize_axis_index(a, x.ndim) for a in axes)
    if first == second:
        raise ValueError("Axes must be different.")
    k %= 4
    if k % 2 == 0:
        return reversed_along(x, (first, second) if k else ())
    if k == 1:
        return swapped(reversed_along(x, (second,)), first, second)
    return reversed_along(swapped(x, first, second), (second,))


roll = Op(
    "roll",
    numpy=np.roll,
    dtypes=ALL,
    samples=cases(
        call(A(5), 2),
        call(A(2, 3), -1),
        call(A(2, 3), 4, axis=1),
        call(A(2, 3, 4), (1, 2), axis=(0, -1)),
        call(A(2, 3), 1, (0, 1)),
        call(A(2, 3), (1, 1), 1),
        call(A(0, 3), 1, 0),
        call(A(), 3),
        call(A(5), A(dtype=dt.int32)),
        call(A(3, 5), A(dtype=dt.int8), axis=-1),
    ),
    errors=[
        ErrorSample((X, 1, 2), {}, AxisError, "out of bounds"),
        ErrorSample((X, (1, 2), (0, 1, 1)), {}, ValueError, "shape mismatch|broadcast"),
        ErrorSample((X, 1.5, 0), {}, TypeError, "integer"),
    ],
)


@roll.impl("hlo")
def _roll(a: Any, shift: Any, axis: Any = None) -> Any:
    """`a` with elements moved by `shift` along `axis`, those that fall off re-entering.

    A shift may be traced, if it is a scalar. Without an axis, `a` is rolled as if flat.
    """
    x = as_tensor(a)
    ctx = x._ctx
    if axis is None:
        flat = Tensor._wrap(ctx, ctx.reshape(x.backend_tensor, (x.size,)))
        return OPS["reshape"](_roll(flat, shift, 0), x.shape)
    axes = normalize_axis_tuple(axis, x.ndim, allow_duplicate=True)
    value = x.backend_tensor
    for d, by in _shifts(shift, axes):
        value = _roll_axis(ctx, value, d, by)
    return Tensor._wrap(ctx, value)


def _shifts(shift: Any, axes: Sequence[int]) -> list[tuple[int, Any]]:
    """(axis, shift) pairs. Static shifts along one axis are added up."""
    shift = as_operand(shift)
    if isinstance(shift, Tensor):
        if shift.ndim > 0:
            raise NotImplementedError("a traced shift must be a scalar; roll per axis")
        if not dt.is_integer(shift.dtype):
            raise TypeError(f"the shift must be an integer, but is {shift.dtype.name}")
        return [(d, shift) for d in axes]
    pairs = np.broadcast(np.asarray(shift), np.asarray(axes))
    if pairs.ndim > 1:
        raise ValueError("'shift' and 'axis' should be scalars or 1D sequences")
    total: dict[int, int] = {}
    for by, d in pairs:
        total[int(d)] = total.get(int(d), 0) + operator.index(by)
    return list(total.items())


def _roll_axis(b: HLOBuilder, x: Value, d: int, shift: Any) -> Value:
    n = x.shape[d]
    if isinstance(shift, Tensor):
        return _roll_by_traced(b, x, d, shift) if n else x
    split = -shift % n if n else 0
    if split == 0:
        return x
    return b.concatenate([b.slice_dim(x, d, split, n), b.slice_dim(x, d, 0, split)], d)


def _roll_by_traced(b: HLOBuilder, x: Value, d: int, shift: Tensor) -> Value:
    # A window of the array and its repetition: the start is n - shift % n.
    n = b.scalar(x.shape[d], dt.int32)
    zero = b.scalar(0, dt.int32)
    by = shift.backend_tensor
    by = by if by.dtype == dt.uint32 else b.convert(by, dt.int32)
    rest = b.binary("remainder", by, b.convert(n, by.dtype))
    rest = b.convert(rest, dt.int32)
    # HLO's remainder has the sign of the dividend.
    start = b.select(b.compare(rest, zero, "LE"), b.negate(rest), b.subtract(n, rest))
    starts = [start if i == d else zero for i in range(x.ndim)]
    return b.dynamic_slice(b.concatenate([x, x], d), starts, x.shape)
