"""Views: ways of moving elements that NumPy does without a copy.

Each function returns a tensor that shares the elements of its argument, so that a store
into the one reaches the other. A view needs to know how to undo its own movement.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.tensor import NKIPyTensorRef, View
from nkipy.hlo.builder import HLOBuilder, Value

Tensor = NKIPyTensorRef
Shape = tuple[int, ...]


def as_shape(shape: Any) -> Shape:
    """A shape given as an int or a sequence of ints.

    Raises:
        TypeError: a dimension is no integer, or traced.
    """
    if type(shape) is tuple and all(type(d) is int for d in shape):
        return shape
    if isinstance(shape, (tuple, list, np.ndarray)) and np.ndim(shape) == 1:
        return tuple(operator.index(d) for d in shape)
    return (operator.index(shape),)


def at_least(ndim: int, shape: Shape) -> Shape:
    """The shape that atleast_1d, 2d, 3d give an array of `shape`."""
    if len(shape) >= ndim:
        return shape
    if ndim == 3 and len(shape) in (1, 2):  # trailing, unlike in the other cases
        return (1, *shape, 1) if len(shape) == 1 else (*shape, 1)
    return (1,) * (ndim - len(shape)) + shape


def duplicate(x: Tensor) -> Tensor:
    """A tensor of the same value that shares nothing. Values do not change: no copy."""
    return Tensor._wrap(x._ctx, x.backend_tensor)


def no_scalar(x: Tensor) -> Tensor:
    """A new `x`, which without axes is NumPy's 0-d array: += writes into that."""
    if not x.shape and not x._is_zero_d_array():
        x = duplicate(x)
        x._version = 1
    return x


def reshaped(x: Tensor, shape: Shape) -> Tensor:
    """`x` in another shape of the same size: a view where NumPy can make one."""
    if not _has_known_reshape(x, shape):
        return view_or_copy(x, shape)
    return _reshaped_view(x, shape) if is_reshape_view(x, shape) else in_shape(x, shape)


def is_reshape_view(x: Tensor, shape: Shape) -> bool:
    """Whether NumPy reshapes `x` to `shape` without copying its elements.

    Raises:
        NotImplementedError: the order of `x` in memory is not known.
    """
    if x._is_c_contiguous() or _differ_by_ones(x.shape, shape):
        return True
    try:
        x._layout().reshape(shape, copy=False)
    except ValueError:
        return False
    return True


def _has_known_reshape(x: Tensor, shape: Shape) -> bool:
    if x._is_c_contiguous():
        return True
    return _differ_by_ones(x.shape, shape) or x._known_layout() is not None


def _differ_by_ones(shape: Shape, other: Shape) -> bool:
    """Whether all that differs are axes of one element."""
    return [d for d in shape if d != 1] == [d for d in other if d != 1]


def view_or_copy(x: Tensor, shape: Shape) -> Tensor:
    """`x`, of unknown order in memory, in another shape of the same size.

    A store into the one or the other is an error where its effect would differ.
    """

    def refuse(*_: Any) -> Any:
        x._layout()  # raises
        raise AssertionError("the order is known after all")

    made = in_shape(x, shape)
    made._share(x, View(refuse, refuse, refuse))
    return made


def in_shape(x: Tensor, shape: Shape) -> Tensor:
    """`x` in another shape of the same size, sharing nothing."""
    return Tensor._wrap(x._ctx, x._ctx.reshape(x.backend_tensor, shape))


def _reshaped_view(x: Tensor, shape: Shape) -> Tensor:
    return x._make_view(
        View(
            lambda b, base: b.reshape(base, shape),
            lambda b, old, new: b.reshape(new, old.shape),
            lambda a: a.reshape(shape),
            ordered=True,
        )
    )


def transposed(x: Tensor, permutation: Sequence[int]) -> Tensor:
    """Dimension `i` of the view is dimension ``permutation[i]`` of `x`."""
    order = tuple(permutation)

    def write(b: HLOBuilder, old: Value, new: Value) -> Value:
        return b.transpose(new, sorted(range(len(order)), key=order.__getitem__))

    return x._make_view(
        View(
            lambda b, base: b.transpose(base, order),
            write,
            lambda a: a.transpose(order),
        )
    )


def swapped(x: Tensor, axis1: int, axis2: int) -> Tensor:
    """`x` with two dimensions exchanged."""
    order = list(range(x.ndim))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return transposed(x, order)


def reversed_along(x: Tensor, dimensions: Sequence[int]) -> Tensor:
    """`x` with the order of elements reversed along each of `dimensions`."""
    dims = tuple(dimensions)
    index = tuple(slice(None, None, -1 if i in dims else 1) for i in range(x.ndim))
    return x._make_view(
        View(
            lambda b, base: b.reverse(base, dims),
            lambda b, old, new: b.reverse(new, dims),
            lambda a: a[index],
        )
    )


def piece(x: Tensor, axis: int, start: int, limit: int) -> Tensor:
    """``x[..., start:limit, ...]`` along `axis`, bounds within the dimension."""
    limit = max(start, limit)
    index = (slice(None),) * axis + (slice(start, limit),)

    def write(b: HLOBuilder, old: Value, new: Value) -> Value:
        if new.shape == old.shape or 0 in new.shape:
            return new if new.shape == old.shape else old
        starts = [
            b.scalar(start if i == axis else 0, dt.int32) for i in range(old.ndim)
        ]
        return b.dynamic_update_slice(old, new, starts)

    return x._make_view(
        View(
            lambda b, base: b.slice_dim(base, axis, start, limit),
            write,
            lambda a: a[index],
            ordered=True,
        )
    )


def broadcasts(shape: Shape, wanted: Shape) -> bool:
    """Whether an array of `shape` can be broadcast to `wanted`."""
    lead = len(wanted) - len(shape)
    return lead >= 0 and all(d in (1, w) for d, w in zip(shape, wanted[lead:]))


def broadcast_view(x: Tensor, shape: Shape) -> Tensor:
    """`x` broadcast to `shape`: a view, and as NumPy's a read-only one.

    Raises:
        ValueError: `x` does not broadcast to `shape`.
    """
    if not broadcasts(x.shape, shape):
        raise ValueError(f"array of shape {x.shape} does not broadcast to {shape}")
    return x._make_view(
        View(
            lambda b, base: b.broadcast_to(base, shape),
            None,
            lambda a: np.broadcast_to(a, shape),
        )
    )


def diagonal_of(x: Tensor, offset: int, axis1: int, axis2: int) -> Tensor:
    """The diagonal of two dimensions, as the last one: a read-only view."""
    return x._make_view(
        View(
            lambda b, base: _read_diagonal(b, base, offset, axis1, axis2),
            None,
            lambda a: a.diagonal(offset, axis1, axis2),
        )
    )


def _read_diagonal(
    b: HLOBuilder, x: Value, offset: int, axis1: int, axis2: int
) -> Value:
    # In a square laid out row by row, the diagonal is every (n + 1)-th element.
    rest = [i for i in range(x.ndim) if i not in (axis1, axis2)]
    row, column = max(0, -offset), max(0, offset)
    n = max(0, min(x.shape[axis1] - row, x.shape[axis2] - column))
    if n == 0:
        return b.full([*(x.shape[i] for i in rest), 0], 0, x.dtype)
    x = b.slice_dim(x, axis1, row, row + n)
    x = b.transpose(b.slice_dim(x, axis2, column, column + n), [*rest, axis1, axis2])
    flat = b.reshape(x, [*x.shape[:-2], n * n])
    return b.slice_dim(flat, flat.ndim - 1, 0, n * n, n + 1)
