"""Ops that make one array of several: concatenation in all its forms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import get_hlo_context
from nkipy.core.ops._cases import A, X, call, cases
from nkipy.core.ops._dtype_sets import ALL
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import ErrorSample
from nkipy.core.ops._views import Tensor, at_least, duplicate, in_shape, no_scalar
from nkipy.core.promotion import as_arrays, can_cast, result_type
from nkipy.core.tensor import as_operand, as_tensor, store_out

AxisError = np.exceptions.AxisError


def _arrays(arrays: Any, verb: str) -> list[Any]:
    """The operands of a join. Raises ValueError if there are none."""
    if not isinstance(arrays, (list, tuple)):
        arrays = list(arrays)  # the rows of an array
    if not arrays:
        raise ValueError(f"need at least one array to {verb}")
    return [as_operand(a) for a in arrays]


def _joined(
    values: Sequence[Any],
    axis: int,
    kinds: Iterable[Any],
    out: Any = None,
    dtype: Any = None,
    casting: str = "same_kind",
) -> Tensor:
    """Tensors of agreeing shapes joined along `axis`, in the dtype that NumPy finds.

    Args:
        values: tensors, in dtypes of their own.
        kinds: the operands that they were made of: what promotion looks at.
    """
    if out is not None and dtype is not None:
        raise TypeError("takes `out` or `dtype` as an argument, but both were provided")
    if out is not None and not isinstance(out, Tensor):
        raise TypeError(f"'out' must be an array, but received {type(out).__name__}")
    wanted = out.dtype if out is not None else dtype
    target = _common(values, kinds) if wanted is None else dt.as_dtype(wanted)
    can_cast(dt.float32, dt.float32, casting)  # refuses what is no rule
    if wanted is not None:
        _check_casts(values, target, casting)
        target = dt.narrow(target)
    ctx = get_hlo_context()
    parts = [ctx.convert(v.backend_tensor, target) for v in values]
    made = ctx.concatenate(parts, axis)
    if out is None:
        return Tensor._wrap(ctx, made)
    if tuple(out.shape) != made.shape:
        raise ValueError(
            f"output array is the wrong shape: {out.shape}, not {made.shape}"
        )
    return store_out(ctx, made, out, casting=casting)


def _common(values: Sequence[Tensor], kinds: Iterable[Any]) -> np.dtype:
    first = values[0].dtype
    if all(v.dtype == first for v in values):  # narrowing has made 64 bits 32 already
        return first
    return result_type(*kinds)


def _check_casts(values: Iterable[Any], target: np.dtype, casting: Any) -> None:
    for v in values:
        if not can_cast(v.dtype, target, casting):
            raise TypeError(
                f"Cannot cast array data from {v.dtype.name} to {target.name} "
                f"according to the rule '{casting}'"
            )


def _check_shapes(values: Sequence[Tensor], axis: int) -> None:
    """Raises ValueError unless the shapes differ along `axis` at most."""
    first = values[0].shape
    for i, v in enumerate(values):
        if len(v.shape) != len(first):
            raise ValueError(
                "all the input arrays must have same number of dimensions, but the "
                f"array at index 0 has {len(first)} dimension(s) and the array at "
                f"index {i} has {len(v.shape)} dimension(s)"
            )
        for d, (expected, received) in enumerate(zip(first, v.shape)):
            if d != axis and expected != received:
                raise ValueError(
                    "all the input array dimensions except for the concatenation axis "
                    f"must match exactly, but along dimension {d}, the array at index "
                    f"0 has size {expected} and the array at index {i} has size "
                    f"{received}"
                )


concatenate = Op(
    "concatenate",
    numpy=np.concatenate,  # np.concat is the same function
    dtypes=ALL,
    samples=cases(
        call([A(2, 3), A(1, 3)]),
        call((A(2, 3), A(2, 1), A(2, 0)), axis=-1),
        call([A(2, 3), A(), A(2)], axis=None),
        call([A(2, 3), A(2, 3, dtype=dt.bool_)], 1),
        call([A(3)]),
        call([A(2), A(1)], out=A(3)),
        call([A(2), A(1, dtype=dt.bool_)], dtype=np.int32, casting="unsafe"),
        call(A(3, 2, 2)),
    ),
    errors=[
        ErrorSample(([X, X[0]],), {}, ValueError, "number of dimensions"),
        ErrorSample(
            ([X, X[:, :2]],), {}, ValueError, "dimension 1, the array at index 0"
        ),
        ErrorSample(([X, X], 2), {}, AxisError, "out of bounds"),
        ErrorSample((X[0],), {}, ValueError, "zero-dimensional"),
        ErrorSample(([X, X],), {"dtype": np.int8}, TypeError, "Cannot cast"),
        ErrorSample(([X, X],), {"out": X.copy()}, ValueError, "wrong shape"),
        ErrorSample(([X],), {"out": X, "dtype": "f4"}, TypeError, "both"),
    ],
)


@concatenate.impl("hlo")
def _concatenate(
    arrays: Any,
    /,
    axis: int | None = 0,
    out: Any = None,
    *,
    dtype: Any = None,
    casting: str = "same_kind",
) -> Any:
    """Arrays joined along an existing axis; flattened first if that is None.

    Raises:
        ValueError: other dimensions differ, or there is no array.
        TypeError: there is no common dtype, or `casting` forbids a conversion.
    """
    operands = _arrays(arrays, "concatenate")
    values = [as_tensor(a) for a in operands]
    if axis is None:
        axis, values = 0, [in_shape(v, (v.size,)) for v in values]
    elif not values[0].shape:
        raise ValueError("zero-dimensional arrays cannot be concatenated")
    axis = normalize_axis_index(axis, values[0].ndim)
    _check_shapes(values, axis)
    return _joined(values, axis, operands, out, dtype, casting)


stack = Op(
    "stack",
    numpy=np.stack,
    dtypes=ALL,
    samples=cases(
        call([A(2, 3), A(2, 3)]),
        call([A(2, 3), A(2, 3), A(2, 3)], axis=-1),
        call([A(), A()]),
        call([A(2), A(2, dtype=dt.bool_)], 1, dtype=np.int32, casting="unsafe"),
        call([A(0), A(0)], axis=1, out=A(0, 2)),
        call(A(3, 2)),
    ),
    errors=[
        ErrorSample(([X, X[0]],), {}, ValueError, "same shape"),
        ErrorSample(([X, X], 3), {}, AxisError, "out of bounds"),
    ],
)


@stack.impl("hlo")
def _stack(
    arrays: Any,
    axis: int = 0,
    out: Any = None,
    *,
    dtype: Any = None,
    casting: str = "same_kind",
) -> Any:
    """Arrays of one shape joined along a new axis. Raises ValueError if they differ."""
    operands = as_arrays(_arrays(arrays, "stack"))
    values = [as_tensor(a) for a in operands]
    shape = values[0].shape
    if any(v.shape != shape for v in values):
        shapes = ", ".join(str(v.shape) for v in values)
        raise ValueError(
            f"all input arrays must have the same shape, received {shapes}"
        )
    axis = normalize_axis_index(axis, len(shape) + 1)
    longer = (*shape[:axis], 1, *shape[axis:])
    return _joined(
        [in_shape(v, longer) for v in values], axis, operands, out, dtype, casting
    )


def _make_stack(
    name: str, ndim: int, axis: Callable[[Tensor], int], *samples: Any
) -> tuple[Op, Callable[..., Tensor]]:
    """Joins along `axis` what has at least `ndim` dimensions."""
    op = Op(
        name,
        numpy=getattr(np, name),
        dtypes=ALL,
        samples=cases(*samples, call([A(2, 3), A(2, 3)])),
        errors=[ErrorSample(([X, np.ones((5, 7))],), {}, ValueError, "must match")],
    )
    op.__doc__ = f"``numpy.{name}``. Raises ValueError if other dimensions differ."

    def joined(tup: Any, dtype: Any = None, casting: str = "same_kind") -> Tensor:
        operands = as_arrays(_arrays(tup, "concatenate"))
        values = [as_tensor(a) for a in operands]
        values = [in_shape(v, at_least(ndim, v.shape)) for v in values]
        along = axis(values[0])
        _check_shapes(values, along)
        return _joined(values, along, operands, None, dtype, casting)

    return op, joined


_MIXED = call([A(3), A(3, dtype=dt.bool_)], dtype=np.int32, casting="unsafe")
hstack, _join_h = _make_stack(
    "hstack",
    1,
    lambda v: int(v.ndim > 1),
    call([A(2), A()]),
    call([A(2), A(3)]),
    _MIXED,
)
vstack, _join_v = _make_stack("vstack", 2, lambda v: 0, call([A(3), A(2, 3)]), _MIXED)
dstack, _join_d = _make_stack("dstack", 3, lambda v: 2, call([A(3), A(1, 3, 2)]))


@hstack.impl("hlo")
def _hstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    return _join_h(tup, dtype, casting)


@vstack.impl("hlo")
def _vstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    return _join_v(tup, dtype, casting)


@dstack.impl("hlo")
def _dstack(tup: Any) -> Any:
    return _join_d(tup)


column_stack = Op(
    "column_stack",
    numpy=np.column_stack,
    dtypes=ALL,
    samples=cases(call([A(3), A(3, 2)]), call([A(), A()]), call([A(2), A(2)])),
    errors=[ErrorSample(([X, X[0]],), {}, ValueError, "must match")],
)


@column_stack.impl("hlo")
def _column_stack(tup: Any) -> Any:
    """1-D arrays as columns, beside each other and 2-D ones."""
    operands = as_arrays(_arrays(tup, "concatenate"))
    values = [as_tensor(a) for a in operands]
    values = [v if v.ndim > 1 else in_shape(v, (v.size, 1)) for v in values]
    _check_shapes(values, 1)
    return _joined(values, 1, operands)


append = Op(
    "append",
    numpy=np.append,
    dtypes=ALL,
    samples=cases(
        call(A(2, 3), A(2)),
        call(A(2, 3), A(1, 3), axis=0),
        call(A(2), [True, False]),
        call(A(2), A()),
    ),
    errors=[
        ErrorSample((X, X[0], 0), {}, ValueError, "number of dimensions"),
        ErrorSample((X, X, 2), {}, AxisError, "out of bounds"),
    ],
)


@append.impl("hlo")
def _append(arr: Any, values: Any, axis: int | None = None) -> Any:
    """`values` after `arr` along `axis`; both flattened if that is None."""
    return _concatenate(as_arrays([as_operand(arr), as_operand(values)]), axis)


def _depths(arrays: Any, depth: int = 0) -> Iterable[int]:
    if not isinstance(arrays, list):
        return [depth]
    if not arrays:
        raise ValueError("arrays cannot be empty lists")
    return [d for a in arrays for d in _depths(a, depth + 1)]


def _join_nested(arrays: Any, leaves: Iterator[Any], ndim: int, depth: int) -> Any:
    if not isinstance(arrays, list):
        x = as_tensor(next(leaves))
        return in_shape(x, (1,) * (ndim - x.ndim) + x.shape)
    rows = [_join_nested(a, leaves, ndim, depth - 1) for a in arrays]
    return _concatenate(rows, axis=-depth)


def _leaves(arrays: Any) -> Iterable[Any]:
    return (
        [x for a in arrays for x in _leaves(a)]
        if isinstance(arrays, list)
        else [arrays]
    )


block = Op(
    "block",
    numpy=np.block,
    dtypes=ALL,
    samples=cases(
        call([A(2), A(3)]),
        call([[A(2, 2), A(2, 1)], [A(1, 3)]]),
        call([[A(), A()], [A(2)]]),
        call(A(2)),
    ),
    errors=[
        ErrorSample(([[X], X],), {}, ValueError, "depths are mismatched"),
        ErrorSample(([[X, X[:1]]],), {}, ValueError, "must match"),
    ],
)


@block.impl("hlo")
def _block(arrays: Any) -> Any:
    """An array of nested lists of blocks. Raises ValueError if they do not fit."""
    depths = list(_depths(arrays))
    if len(set(depths)) != 1:
        raise ValueError(
            f"List depths are mismatched: elements at depths {set(depths)}"
        )
    ndim = max([depths[0], *(getattr(a, "ndim", 0) for a in _leaves(arrays))])
    leaves = iter(as_arrays([as_operand(x) for x in _leaves(arrays)]))
    made = _join_nested(arrays, leaves, ndim, depths[0])
    return made if depths[0] else no_scalar(duplicate(as_tensor(arrays)))
