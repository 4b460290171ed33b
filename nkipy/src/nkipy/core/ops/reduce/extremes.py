"""Where the extremes of an array lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import get_hlo_context
from nkipy.core.ops._cases import X
from nkipy.core.ops._dtype_sets import ALL
from nkipy.core.ops._reduction import (
    NO_VALUE,
    deliver,
    flat_or_axis,
    operand,
    spread,
)
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import ErrorSample, Sample, make, special
from nkipy.core.ops.reduce.folds import MAXIMUM, MINIMUM, Fold
from nkipy.core.tensor import NKIPyTensorRef
from nkipy.hlo.builder import HLOBuilder, Value


def arg_extreme(b: HLOBuilder, fold: Fold, x: Value, axis: int) -> Value:
    """The index along `axis` of the first extreme of `x`, or of its first NaN; int32.

    Two plain reduces: XLA's CPU code for one reduce of (value, index) pairs takes up to
    four times as long.
    """
    assert x.dtype is not None
    best = spread(b, fold.over(b, x, (axis,)), x.shape, (axis,))
    hit = b.compare(x, best, "EQ")
    if dt.is_float(x.dtype):  # then `best` is NaN, which equals nothing
        hit = b.or_(hit, b.compare(x, x, "NE"))
    size = x.shape[axis]
    places = b.iota(x.shape, axis)
    candidates = b.select(hit, places, b.full_like(places, size))
    return b.reduce(candidates, "minimum", size, (axis,))


def _arg_reduce(
    lower: Any, name: str, a: Any, axis: Any, out: Any, keepdims: Any
) -> NKIPyTensorRef:
    """Apply ``lower(ctx, x, axis)``, which yields indices, by argmax's conventions."""
    ctx = get_hlo_context()
    x = operand(a)
    flat, along = flat_or_axis(ctx, x, axis)
    rest = [d for i, d in enumerate(flat.shape) if i != along]
    if flat.shape[along] == 0 and 0 not in rest:
        raise ValueError(f"attempt to get {name} of an empty sequence")
    value = ctx.full(rest, 0, dt.int32) if 0 in rest else lower(ctx, flat, along)
    if keepdims and keepdims is not NO_VALUE:
        axes = range(x.ndim) if axis is None else (along,)
        kept = [1 if i in axes else d for i, d in enumerate(x.shape)]
        value = ctx.reshape(value, kept)
    return deliver(ctx, value, out, casting="safe")


def arg_samples(dtype: np.dtype) -> Iterator[Sample]:
    """Ties, NaN, extremes."""
    for shape, axis in (((), None), ((), -1), ((5,), 0), ((2, 3, 5), None)):
        yield Sample((make(shape, dtype),), {"axis": axis}, f"{shape} {axis}")
    yield Sample((make((4, 67), dtype, -2, 2),), {"axis": -1}, "ties")
    yield Sample((make((2, 3, 5), dtype),), {"axis": 1, "keepdims": True})
    yield Sample((make((2, 3), dtype),), {"keepdims": True}, "flat, keepdims")
    yield Sample((make((0, 3), dtype),), {"axis": 1}, "empty result")
    yield Sample((special(dtype),), label="special")
    values = special(dtype)
    yield Sample((np.stack([values, values[::-1]]),), {"axis": 0}, "special pairs")
    finite = values[np.isfinite(values.astype(np.float32))]
    yield Sample((finite,), label="extremes")
    yield Sample((np.full((3, 2), finite.min()),), {"axis": 0}, "all lowest")


_ARG_ERRORS = (
    ErrorSample((X,), {"axis": 2}, np.exceptions.AxisError, "out of bounds"),
    ErrorSample((X,), {"axis": (0, 1)}, TypeError, "integer"),
    ErrorSample(
        (np.zeros((0, 3), np.float32),), {"axis": 0}, ValueError, "empty sequence"
    ),
    ErrorSample((np.zeros(0, np.int8),), {}, ValueError, "empty sequence"),
)


def lower_by_place(op: Op, lower: Callable[[HLOBuilder, Value, int], Value]) -> None:
    """Give `op` the signature of ``numpy.argmax``.

    Args:
        lower: the indices along an axis of a value, int32.
    """

    @op.impl("hlo")
    def implementation(
        a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False
    ) -> NKIPyTensorRef:
        return _arg_reduce(lower, op.name, a, axis, out, keepdims)


def _arg_op(function: Callable[..., Any], fold: Fold, what: str) -> Op:
    op = Op(
        function.__name__,
        numpy=function,
        dtypes=ALL,
        samples=arg_samples,
        errors=_ARG_ERRORS,
    )
    lower_by_place(op, lambda b, x, axis: arg_extreme(b, fold, x, axis))
    op.__doc__ = f"``numpy.{op.name}``, as int32: the first {what}, or the first NaN."
    return op


argmax = _arg_op(np.argmax, MAXIMUM, "maximum")
argmin = _arg_op(np.argmin, MINIMUM, "minimum")
