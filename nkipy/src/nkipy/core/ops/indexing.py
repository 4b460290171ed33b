"""``a[index]`` and ``a[index] = value``, with NumPy's semantics and static shapes."""

from __future__ import annotations

from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import HLOTraceContext, as_hlo_tensor, get_hlo_context
from nkipy.core.hlo.builder import Value
from nkipy.core.ops._index_advanced import AdvancedIndex
from nkipy.core.ops._index_basic import BasicIndex
from nkipy.core.ops._index_parse import ParsedIndex, parse_index
from nkipy.core.ops._index_samples import (
    getitem_errors,
    getitem_reference,
    getitem_samples,
    setitem_errors,
    setitem_reference,
    setitem_samples,
)
from nkipy.core.ops._registry import Op
from nkipy.core.tensor import NKIPyTensorRef, as_operand, as_tensor

_NOTE = (
    "Traced indices out of range are not an error: a read takes the nearest element, a "
    "store is dropped (a slice or scalar index: moved into range). Where a traced "
    "index array names an element twice, which store stays is the compiler's choice."
)

getitem = Op(
    "getitem",
    dtypes=dt.SUPPORTED,
    samples=getitem_samples,
    errors=getitem_errors,
    reference=getitem_reference,
    note=_NOTE,
)
setitem = Op(
    "setitem",
    dtypes=dt.SUPPORTED,
    samples=setitem_samples,
    errors=setitem_errors,
    reference=setitem_reference,
    note=_NOTE,
)


@getitem.impl("hlo")
def _getitem(x: Any, index: Any) -> NKIPyTensorRef:
    """``x[index]``: a view for a basic index, else a new array.

    Raises:
        IndexError: an index out of range, too many, or of the wrong kind.
        NotImplementedError: the result's shape would depend on traced values.
    """
    ctx = get_hlo_context()
    x = as_tensor(x)
    parsed = parse_index(ctx, x.shape, index)
    if parsed.masks:
        raise NotImplementedError(
            "the number of elements that a traced boolean mask selects is not known "
            "while tracing; keep the shape with np.where(mask, a, other)"
        )
    if parsed.advanced:
        return NKIPyTensorRef._wrap(
            ctx, AdvancedIndex(parsed).read(ctx, x.backend_tensor)
        )
    basic = BasicIndex(parsed)
    if parsed.scalar:
        return NKIPyTensorRef._wrap(ctx, basic.read(ctx, x.backend_tensor))
    return x._make_view(basic.view())


@setitem.impl("hlo")
def _setitem(x: Any, index: Any, value: Any) -> None:
    """``x[index] = value``, in place.

    Raises:
        IndexError: an index out of range, too many, or of the wrong kind.
        ValueError: the value does not broadcast to the indexed shape.
        OverflowError: a Python integer does not fit the dtype.
        NotImplementedError: a traced mask with one value for each selected element.
    """
    ctx = get_hlo_context()
    x = as_tensor(x)
    parsed = parse_index(ctx, x.shape, index)
    if parsed.is_basic:
        if _is_own_view(x, parsed, value):
            return
        basic = BasicIndex(parsed)
        stored = store_value(ctx, value, x.dtype)
        stored = broadcast_value(ctx, stored, basic.shape)
        x._assign(basic.write(ctx, x.backend_tensor, stored))
        return
    stored = store_value(ctx, value, x.dtype)
    advanced = AdvancedIndex(parsed)
    if parsed.masks:
        _check_masked(parsed, advanced, stored)
        stored = broadcast_value(ctx, stored, advanced.shape)
        x._assign(advanced.write_masked(ctx, x.backend_tensor, stored))
    else:
        stored = broadcast_value(ctx, stored, advanced.shape)
        x._assign(advanced.write(ctx, x.backend_tensor, stored))


def _is_own_view(x: NKIPyTensorRef, parsed: ParsedIndex, value: Any) -> bool:
    """Whether `value` is ``x[index]`` itself, as the last step of ``x[index] += 1``."""
    return (
        isinstance(value, NKIPyTensorRef)
        and value._base is x
        and value._view is not None
        and value._view.key == parsed.key
    )


def _check_masked(parsed: ParsedIndex, index: AdvancedIndex, value: Value) -> None:
    if parsed.advanced or len(parsed.masks) > 1:
        raise NotImplementedError(
            "a traced boolean mask cannot be combined with other index arrays; combine "
            "the conditions into one mask"
        )
    try:
        fits = np.broadcast_shapes(value.shape, index.shape) == index.shape
    except ValueError:
        fits = False
    if not fits:
        raise NotImplementedError(
            f"a value of shape {value.shape} would need one element for each True of "
            "the traced mask, whose number is not known while tracing; store with "
            "a[...] = np.where(mask, value, a)"
        )


def store_value(ctx: HLOTraceContext, value: Any, dtype: np.dtype) -> Value:
    """`value` in `dtype`, by the cast that NumPy's assignment makes.

    Raises:
        OverflowError: a Python integer does not fit.
        TypeError: complex numbers, or something that is no number.
    """
    if isinstance(value, NKIPyTensorRef):
        return as_hlo_tensor(ctx, value, dtype)
    if isinstance(value, (list, tuple)):
        operand = as_operand(value)
        if isinstance(operand, NKIPyTensorRef):
            return as_hlo_tensor(ctx, operand, dtype)
        _refuse_non_numbers(operand)
        return ctx.constant(np.array(value, dtype))
    value = as_operand(value)
    if isinstance(value, NKIPyTensorRef):
        return as_hlo_tensor(ctx, value, dtype)
    if isinstance(value, (bool, int, float)) and not isinstance(value, np.generic):
        cell = np.empty((), dtype)
        cell[()] = value  # raises what NumPy's assignment raises
        return ctx.constant(cell)
    array = np.asarray(value)
    _refuse_non_numbers(array)
    with np.errstate(all="ignore"):
        return ctx.constant(array.astype(dtype))


def _refuse_non_numbers(array: Any) -> None:
    if array.dtype.kind in "cOSUMm":
        raise TypeError(f"cannot store {array.dtype} values into a traced array")


def broadcast_value(
    ctx: HLOTraceContext, value: Value, shape: tuple[int, ...]
) -> Value:
    """`value` stretched to `shape`, leading dimensions of size one dropped.

    Raises:
        ValueError: it does not broadcast.
    """
    if value.shape == shape:
        return value
    own = value.shape
    while len(own) > len(shape) and own[0] == 1:
        own = own[1:]
    pairs = zip(reversed(own), reversed(shape))
    if len(own) > len(shape) or any(a != b and a != 1 for a, b in pairs):
        raise ValueError(
            f"could not broadcast input array from shape {value.shape} into shape "
            f"{shape}"
        )
    return ctx.broadcast_to(ctx.reshape(value, own), shape)
