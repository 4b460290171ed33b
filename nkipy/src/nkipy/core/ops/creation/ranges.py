"""``numpy.linspace`` between traced ends."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.op_table import OPS
from nkipy.core.ops._cases import A, DType, X, call, cases
from nkipy.core.ops._registry import Op
from nkipy.core.ops._samples import ErrorSample
from nkipy.core.ops._views import Tensor
from nkipy.core.promotion import as_arrays, is_ours, kind_of, result_type
from nkipy.core.tensor import as_operand, as_tensor

linspace = Op(
    "linspace",
    numpy=np.linspace,
    memory_order="own",
    dtypes=(dt.float32, dt.int32, dt.uint8, dt.bool_),
    samples=cases(
        call(A(), 5.0, 7),
        call(A(2), A(2), num=5, endpoint=False),
        call(A(), A(), 4, dtype=np.float32, retstep=True),
        call(A(2, 1), A(3), 3, axis=-1),
        call(A(), 1.0, 1),
        call(A(), 1.0, 0),
        call(A(), 40, 5, dtype=np.int32),
        call(A(), A(dtype=dt.float32), 6, dtype=DType),
    ),
    errors=[
        ErrorSample((X[0], 1.0, -1), {}, ValueError, "non-negative"),
        ErrorSample((X[0], 1.0, 2.5), {}, TypeError, "integer"),
        ErrorSample((X[0], X[:, :2]), {}, ValueError, "broadcast|shape"),
    ],
    note="computed in float32, where NumPy has float64 for integer ends",
)


@linspace.impl("hlo")
def _linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Any:
    """`num` evenly spaced values from `start` to `stop`, along a new axis.

    Raises:
        ValueError: `num` is negative, or the ends do not broadcast.
    """
    num = operator.index(num)
    if num < 0:
        raise ValueError(f"Number of samples, {num}, must be non-negative.")
    operands = [as_operand(start), as_operand(stop)]
    for operand in operands:
        kind_of(operand)  # raises for what is no number
    ends = as_arrays(operands)
    result = result_type(*ends)
    if not is_ours(result):
        kinds = [e if dt.is_float(dt.narrow(e.dtype)) else np.empty(0) for e in ends]
        result = result_type(*kinds)
    first, last = (as_tensor(e, dt.float32) for e in ends)
    delta = OPS["subtract"](last, first)
    count = num - 1 if endpoint else num
    step = OPS["divide"](delta, count) if count > 0 else None
    values = _positions(first, delta, num, step)
    if endpoint and num > 1:
        parts = [values[:-1], OPS["broadcast_to"](last, delta.shape)[None]]
        values = OPS["concatenate"](parts)
    target = result if dtype is None else dt.narrow(dtype)
    if dt.is_integer(target):
        values = OPS["floor"](values)
    values = OPS["astype"](OPS["moveaxis"](values, 0, axis), target)
    if not retstep:
        return values
    none = OPS["full_like"](delta, np.nan)
    return values, OPS["astype"](none if step is None else step, result)


def _positions(first: Tensor, delta: Tensor, num: int, step: Tensor | None) -> Tensor:
    ctx = first._ctx
    shape = (num, *(1,) * delta.ndim)
    index = Tensor._wrap(ctx, ctx.iota(shape, 0, dt.float32))
    return OPS["add"](OPS["multiply"](index, delta if step is None else step), first)
