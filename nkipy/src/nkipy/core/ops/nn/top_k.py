"""The k greatest or smallest elements along an axis."""

from __future__ import annotations

from collections.abc import Iterator
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import HLOTraceContext, get_hlo_context
from nkipy.core.ops._memory_order import LONGEST
from nkipy.core.ops._reduction import one_axis
from nkipy.core.ops._registry import Op, supports
from nkipy.core.ops._samples import ErrorSample, Sample, make, special
from nkipy.core.tensor import NKIPyTensorRef, as_tensor
from nkipy.hlo.builder import Value
from nkipy.hlo.ir import Shape

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def _samples(dtype: np.dtype) -> Iterator[Sample]:
    x = make((4, 7), dtype)
    for kwargs in (
        {"k": 3},
        {"k": 3, "axis": 1},
        {"k": 4, "axis": 0, "is_ascend": True},
        {"k": 7, "axis": -1, "is_ascend": True},
        {"k": 0, "axis": 1},
    ):
        yield Sample((x,), kwargs, label=str(kwargs))
    yield Sample((make((5,), dtype), 2))
    yield Sample((make((2, 3, 4), dtype), 2, 1))
    values = special(dtype)
    values = values if dtype.kind in "iub" else values[values == values]
    yield Sample((values, values.size), label="special")
    yield Sample((values, values.size), {"is_ascend": True}, label="special ascending")


_X = np.ones((3, 4), np.float32)
topk = Op(
    "topk",
    dtypes=supports(dt.FLOATS, dt.FP8, dt.INTEGERS),
    samples=_samples,
    reference=lambda *args, **kwargs: _by_sorting(*args, **kwargs),
    errors=(
        ErrorSample((_X, 4), match="k must be"),
        ErrorSample((_X, -1), match="k must be"),
        ErrorSample((_X, 1), {"axis": 2}, error=np.exceptions.AxisError),
        ErrorSample((_X, 1.5), error=TypeError),
        ErrorSample((np.float32(1), 1), error=np.exceptions.AxisError),
        ErrorSample((_X > 0, 1), error=TypeError, match="bool"),
    ),
    note="NaN is taken first, ascending or not",
)


def _arguments(
    shape: tuple[int, ...], dtype: np.dtype, k: Any, axis: Any
) -> tuple[int, int]:
    axis, k = one_axis(axis, len(shape)), index(k)
    if not 0 <= k <= shape[axis]:
        raise ValueError(f"k must be from 0 to {shape[axis]}, but received {k}")
    if dtype == dt.bool_:
        raise TypeError(
            "the elements of a bool array have no order; use .astype(np.int8)"
        )
    return k, axis


@topk.impl("hlo")
def _traced(
    x: ArrayLike, k: int, axis: int = 0, is_ascend: bool = False
) -> tuple[NKIPyTensorRef, NKIPyTensorRef]:
    """The k greatest elements along an axis, from the greatest on, and their indices.

    Args:
        x: an array of numbers.
        k: how many elements.
        axis: the axis.
        is_ascend: the k smallest instead, from the smallest on.

    Returns:
        Values in the dtype of `x`, and uint32 indices; `axis` has size `k`. Of equal
        elements, the one with the lower index comes first. NaN comes before all else,
        in both orders.

    Raises:
        AxisError: there is no such axis.
        ValueError: `k` is not in the range of the axis.
        TypeError: `x` is bool.
    """
    ctx = get_hlo_context()
    tensor = as_tensor(x)
    k, axis = _arguments(tensor.shape, tensor.dtype, k, axis)
    to_last = [*(i for i in range(tensor.ndim) if i != axis), axis]
    back = [to_last.index(i) for i in range(tensor.ndim)]
    value = ctx.transpose(tensor.backend_tensor, to_last)
    values, indices = _top_k(ctx, _opposite(ctx, value, is_ascend), k)
    values = _opposite(ctx, values, is_ascend)
    return tuple(  # type: ignore[return-value]
        NKIPyTensorRef._wrap(ctx, ctx.transpose(v, back)) for v in (values, indices)
    )


def _top_k(ctx: HLOTraceContext, x: Value, k: int) -> tuple[Value, Value]:
    shape = (*x.shape[:-1], k)
    if 0 in shape:
        return ctx.full(shape, 0, x.dtype), ctx.full(shape, 0, dt.uint32)
    # Not above: records of custom calls take longer to import than those of ops.
    from nkipy.hlo.vendor_calls import TOP_K

    attributes = {
        "custom_call_target": TOP_K.target,
        "backend_config": str(k).encode(),
    }
    results = (Shape(x.dtype, shape), Shape(dt.uint32, shape))
    values, indices = ctx.tuple_result("custom-call", (x,), results, attributes)
    return values, indices


def _opposite(ctx: HLOTraceContext, x: Value, is_ascend: bool) -> Value:
    """`x` in the opposite order. Of integers the complement, as -INT_MIN is INT_MIN."""
    if not is_ascend:
        return x
    return ctx.negate(x) if dt.is_float(x.dtype) else ctx.not_(x)


@topk.modelling
def _modelled(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    bound = topk.bound(args, kwargs)
    bound.arguments["k"] = min(index(bound.arguments["k"]), LONGEST)
    return bound.args, bound.kwargs


@topk.impl("cpu")
def _untraced(
    x: Any, k: int, axis: int = 0, is_ascend: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    x = np.asarray(x)
    k, axis = _arguments(x.shape, x.dtype, k, axis)
    order = _descending(x, axis, is_ascend)
    indices = np.take(order, range(k), axis=axis)
    return np.take_along_axis(x, indices, axis), indices.astype(np.uint32)


def _descending(x: np.ndarray, axis: int, is_ascend: bool) -> np.ndarray:
    """Where a stable sort takes elements from, greatest first and NaN before all."""
    if dt.is_float(dt.narrow(x.dtype)):
        wide: Any = x.astype(np.float64 if x.dtype == np.float64 else np.float32)
        keys = wide if is_ascend else -wide
        first = np.where(np.isnan(keys), 0, 1)
        return np.lexsort((keys, first), axis=axis)
    keys = x if is_ascend else ~x
    return np.argsort(keys, axis=axis, kind="stable")


def _by_sorting(
    x: np.ndarray, k: int, axis: int = 0, is_ascend: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The same, one line of the array at a time: what tests compare with."""

    def one(line: np.ndarray) -> list[int]:
        keys = [float(v) for v in line]
        sign = 1 if is_ascend else -1
        return sorted(range(len(keys)), key=lambda i: (sign * keys[i], i))[:k]

    lines = np.moveaxis(x, axis, -1)
    taken = [one(line) for line in lines.reshape(-1, x.shape[axis])]
    shape = (*lines.shape[:-1], k)
    indices = np.moveaxis(np.array(taken, np.int64).reshape(shape), -1, axis)
    return np.take_along_axis(x, indices, axis), indices.astype(np.uint32)
