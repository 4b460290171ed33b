"""Running reductions along an axis: cumulative sums and products.

A scan is one reduce-window whose window reaches back to the first element. It is exact
for integers, and an infinity or NaN touches only what comes after it. XLA splits long
ones into blocks: 100,000 elements take about as long as four NumPy scans.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import HLOTraceContext, get_hlo_context
from nkipy.core.ops._cases import X
from nkipy.core.ops._dtype_sets import ALL
from nkipy.core.ops._reduction import (
    deliver,
    flat_or_axis,
    operand,
    rounding_once,
    sum_dtype,
    wide,
)
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import ErrorSample, Sample, make
from nkipy.core.ops.reduce.folds import ADD, MAXIMUM, MINIMUM, MULTIPLY, Fold, Prepare
from nkipy.core.tensor import NKIPyTensorRef, as_tensor
from nkipy.hlo.builder import HLOBuilder, Value
from nkipy.hlo.opcodes import WindowDim


def _all_bits(dtype: np.dtype) -> Any:
    return True if dtype == dt.bool_ else np.array(-1).astype(dtype)[()]


#: The opcodes that :func:`scan` knows, with what leaves an element unchanged.
FOLDS: dict[str, Fold] = {
    "add": ADD,
    "multiply": MULTIPLY,
    "maximum": MAXIMUM,
    "minimum": MINIMUM,
    "and": Fold("and", "and", _all_bits),
    "or": Fold("or", "or", 0),
    "xor": Fold("xor", "xor", 0),
}


def scan(b: HLOBuilder, x: Value, opcode: str, axis: int) -> Value:
    """What `opcode` makes of each element of `x` and all before it along `axis`.

    Args:
        b: the builder.
        x: any shape of at least one dimension, any dtype. Floats below float32 are
            added and multiplied in float32 and rounded once.
        opcode: a key of :data:`FOLDS`. For bool, "add" and "multiply" are or and and.
        axis: not negative.

    Returns:
        The shape and dtype of `x`.

    Raises:
        KeyError: no scan by that opcode.
    """
    fold = FOLDS[opcode]
    assert x.dtype is not None
    if 0 in x.shape or x.shape[axis] == 1:
        return x
    value = b.convert(x, wide(x.dtype))
    return b.convert(_window_scan(b, value, fold, axis), x.dtype)


def _window_scan(b: HLOBuilder, x: Value, fold: Fold, axis: int) -> Value:
    size = x.shape[axis]
    window = [WindowDim(1)] * x.ndim
    window[axis] = WindowDim(size=size, pad_low=size - 1)
    assert x.dtype is not None
    start = b.scalar(fold.start(x.dtype), x.dtype)
    reducer = b.reducer(fold.opcode_for(x.dtype), x.dtype)
    attributes = {"window": tuple(window), "to_apply": reducer}
    return b.emit("reduce-window", (x, start), x.shape, x.dtype, attributes)


def lower_by_scan(op: Op, fold: Fold, prepare: Prepare = as_tensor) -> None:
    """Give `op` the signature of ``numpy.cumsum`` and a lowering by `fold`.

    Args:
        prepare: what is done to the operand first.
    """

    @op.impl("hlo")
    def lower(
        a: Any, axis: Any = None, dtype: Any = None, out: Any = None
    ) -> NKIPyTensorRef:
        ctx = get_hlo_context()
        x = operand(prepare(a))
        assert x.dtype is not None
        loop = sum_dtype(x.dtype, dtype, out)
        x, along = flat_or_axis(ctx, x, axis)
        value = scan(ctx, ctx.convert(x, loop), fold.opcode, along)
        return deliver(ctx, value, out)


def _samples(dtype: np.dtype) -> Iterator[Sample]:
    # Products stay within fp8, sums within what low precision holds exactly.
    low, high = (0, 2) if dtype.kind == "u" else (-1, 2)
    for shape, axis in (((), None), ((), 0), ((5,), 0), ((0,), 0), ((3, 0, 2), 2)):
        yield Sample(
            (make(shape, dtype, low, high),), {"axis": axis}, f"{shape} {axis}"
        )
    yield Sample((make((1, 67), dtype, 0, 1),), {"axis": -1}, "two blocks")
    yield Sample((make((2, 3, 5), dtype, low, high),), {"axis": 1}, "middle axis")
    yield Sample((make((2, 3), dtype, low, high),), {"axis": None}, "flat")
    yield Sample((make((2, 3), dtype, low, high),), {"axis": 0, "dtype": "float32"})
    yield Sample((make((2, 3), dtype, low, high),), {"axis": 1, "dtype": "int8"})
    out = np.zeros((2, 3), np.float32)
    yield Sample((make((2, 3), dtype, low, high),), {"axis": 1, "out": out}, "out")
    if dt.is_integer(dtype):
        extreme = np.array([np.iinfo(dtype).max, np.iinfo(dtype).min, 3], dtype)
        yield Sample((extreme,), label="extremes")
    elif dtype != dt.bool_:
        x = np.array([1, -2, np.inf, 1, -np.inf, 2]).astype(dtype)
        yield Sample((x,), label="infinities")
        yield Sample((np.array([1, np.nan, 2]).astype(dtype),), label="NaN")


_ERRORS = (
    ErrorSample((X,), {"axis": 2}, np.exceptions.AxisError, "out of bounds"),
    ErrorSample(
        (np.ones((), np.int8),), {"axis": 1}, np.exceptions.AxisError, "bounds"
    ),
    ErrorSample((X,), {"axis": (0, 1)}, TypeError, "integer"),
    ErrorSample((X,), {"axis": 0, "out": np.zeros(3)}, ValueError, "out="),
)


def _record(function: Callable[..., Any], samples: Any, errors: Any) -> Op:
    op = Op(
        function.__name__,
        numpy=function,
        dtypes=ALL,
        samples=samples,
        errors=errors,
        reference=rounding_once(function),
    )
    op.__doc__ = f"``numpy.{op.name}``; bool and small integers combine in 32 bits."
    return op


cumsum = _record(np.cumsum, _samples, _ERRORS)
cumprod = _record(np.cumprod, _samples, _ERRORS)
lower_by_scan(cumsum, ADD)
lower_by_scan(cumprod, MULTIPLY)


# -- the array API's names -------------------------------------------------------------
def _cumulative_samples(dtype: np.dtype) -> Iterator[Sample]:
    for shape, axis in (((), None), ((5,), None), ((0,), 0), ((2, 3, 5), 1)):
        for first in (False, True):
            x = make(shape, dtype, 0, 2)
            yield Sample((x,), {"axis": axis, "include_initial": first}, f"{shape}")
    yield Sample((make((2, 3), dtype, 0, 2),), {"axis": -1, "dtype": "float32"})
    kwargs = {"axis": 0, "include_initial": True, "out": np.zeros((3, 3), np.float32)}
    yield Sample((make((2, 3), dtype, 0, 2),), kwargs, "out")


_CUMULATIVE_ERRORS = (
    ErrorSample((X,), {}, ValueError, "axis"),
    ErrorSample((X,), {"axis": 2}, np.exceptions.AxisError, "out of bounds"),
)


def _lower_cumulative(op: Op, fold: Fold) -> None:
    @op.impl("hlo")
    def lower(
        x: Any,
        /,
        *,
        axis: Any = None,
        dtype: Any = None,
        out: Any = None,
        include_initial: bool = False,
    ) -> NKIPyTensorRef:
        ctx = get_hlo_context()
        value = operand(x)
        assert value.dtype is not None
        if axis is None and value.ndim > 1:
            raise ValueError(
                "axis= is required for arrays which have more than one dimension"
            )
        loop = sum_dtype(value.dtype, dtype, out)
        value, along = flat_or_axis(ctx, value, axis)
        value = scan(ctx, ctx.convert(value, loop), fold.opcode, along)
        if include_initial:
            value = _prepend(ctx, value, fold, along)
        return deliver(ctx, value, out)


def _prepend(ctx: HLOTraceContext, x: Value, fold: Fold, axis: int) -> Value:
    assert x.dtype is not None
    padding = [(int(i == axis), 0, 0) for i in range(x.ndim)]
    return ctx.pad(x, ctx.scalar(fold.start(x.dtype), x.dtype), padding)


cumulative_sum = _record(np.cumulative_sum, _cumulative_samples, _CUMULATIVE_ERRORS)
cumulative_prod = _record(np.cumulative_prod, _cumulative_samples, _CUMULATIVE_ERRORS)
_lower_cumulative(cumulative_sum, ADD)
_lower_cumulative(cumulative_prod, MULTIPLY)
