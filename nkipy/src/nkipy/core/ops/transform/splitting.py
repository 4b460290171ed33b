"""Ops that give out an array in parts. The parts are views."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from nkipy.core.ops._cases import A, X, call, cases
from nkipy.core.ops._dtype_sets import ALL
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import ErrorSample
from nkipy.core.ops._views import Tensor, piece
from nkipy.core.tensor import as_tensor

AxisError = np.exceptions.AxisError


#: Of parts that have no elements; NumPy makes as many as memory holds.
_MOST_EMPTY = 1 << 16


def _bounds(n: int, indices_or_sections: Any, even: bool) -> list[int]:
    """Where parts of a dimension of size `n` begin and end.

    Raises:
        ValueError: `even` parts are asked for, which there are not.
        NotImplementedError: nearly all parts would be empty, and they are very many.
    """
    if np.iterable(indices_or_sections):
        return [0, *(operator.index(i) for i in indices_or_sections), n]
    sections = operator.index(indices_or_sections)
    if sections <= 0:
        raise ValueError(f"number sections must be larger than 0, but is {sections}")
    if even and n % sections:
        raise ValueError(
            f"array split does not result in an equal division: {n} by {sections}; "
            "np.array_split makes parts of unequal size"
        )
    if sections > n + _MOST_EMPTY:
        raise NotImplementedError(
            f"{sections} parts of an axis of {n}: all but {n} would be empty, and are "
            f"more than can be listed; ask for at most {max(n, 1)}"
        )
    size, extra = divmod(n, sections)
    return [i * size + min(i, extra) for i in range(sections + 1)]


def _parts(x: Tensor, indices_or_sections: Any, axis: int, even: bool) -> list[Tensor]:
    axis = normalize_axis_index(axis, x.ndim)
    n = x.shape[axis]
    bounds = _bounds(n, indices_or_sections, even)
    made = []
    for start, stop in zip(bounds, bounds[1:]):
        lo, hi, _ = slice(start, stop).indices(n)  # out of range as Python slices are
        made.append(piece(x, axis, lo, hi))
    return made


def _make_split(name: str, even: bool, *samples: Any, errors: Sequence[Any]) -> Op:
    op = Op(
        name,
        numpy=getattr(np, name),
        dtypes=ALL,
        samples=cases(
            call(A(4, 3), 2),
            call(A(2, 6), [1, 4], axis=1),
            call(A(6), (2, 9, 11)),
            call(A(6), [-2, 3], -1),
            call(A(6), []),
            *samples,
        ),
        errors=[
            ErrorSample((X, 0), {}, ValueError, "larger than 0"),
            ErrorSample((X, 1, 2), {}, AxisError, "out of bounds"),
            ErrorSample((X, [1.5]), {}, TypeError, "integer"),
            *errors,
        ],
    )

    @op.impl("hlo")
    def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
        return _parts(as_tensor(ary), indices_or_sections, axis, even)

    kind = "equal parts" if even else "parts of about equal size"
    op.__doc__ = f"{kind.capitalize()} along `axis`, or parts between indices. Views."
    return op


split = _make_split(
    "split",
    True,
    errors=[
        ErrorSample((X, 2, 1), {}, ValueError, "equal division"),
        ErrorSample((X[:0], 2**31), {}, NotImplementedError, "would be empty"),
    ],
)
array_split = _make_split(
    "array_split",
    False,
    call(A(5), 3),
    call(A(2), 3),
    errors=[ErrorSample((X, 2**31), {}, NotImplementedError, "would be empty")],
)


def _make_axis_split(name: str, least: int, axis: Callable[[int], int]) -> Op:
    """hsplit, vsplit, dsplit: a split along one given axis."""
    op = Op(
        name,
        numpy=getattr(np, name),
        dtypes=ALL,
        samples=cases(call(A(4, 2, 2), 2), call(A(4, 3, 5), [1])),
        errors=[
            ErrorSample((np.ones((2,) * (least - 1)), 1), {}, ValueError, "only works")
        ],
    )

    @op.impl("hlo")
    def axis_split(ary: Any, indices_or_sections: Any) -> list[Tensor]:
        x = as_tensor(ary)
        if x.ndim < least:
            raise ValueError(
                f"{name} only works on arrays of {least} or more dimensions"
            )
        return _parts(x, indices_or_sections, axis(x.ndim), True)

    op.__doc__ = f"``numpy.{name}``: equal parts, or parts between indices. Views."
    return op


hsplit = _make_axis_split("hsplit", 1, lambda ndim: int(ndim > 1))
vsplit = _make_axis_split("vsplit", 2, lambda ndim: 0)
dsplit = _make_axis_split("dsplit", 3, lambda ndim: 2)


unstack = Op(
    "unstack",
    numpy=np.unstack,
    dtypes=ALL,
    samples=cases(call(A(3, 2)), call(A(2, 3), axis=-1), call(A(2)), call(A(0, 2))),
    errors=[
        ErrorSample((np.ones(()),), {}, ValueError, "at least 1-d"),
        ErrorSample((X,), {"axis": 2}, AxisError, "out of bounds"),
    ],
)


@unstack.impl("hlo")
def _unstack(x: Any, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The arrays that `x` is a stack of, along `axis`. Views, but for scalars."""
    tensor = as_tensor(x)
    if not tensor.ndim:
        raise ValueError("Input array must be at least 1-d.")
    axis = normalize_axis_index(axis, tensor.ndim)
    before = (slice(None),) * axis
    return tuple(tensor[(*before, i)] for i in range(tensor.shape[axis]))
