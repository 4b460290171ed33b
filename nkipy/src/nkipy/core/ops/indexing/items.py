"""``a[index]`` and ``a[index] = value``, with NumPy's semantics and static shapes."""

from __future__ import annotations

from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend._source import caller_location
from nkipy.core.backend.hlo import HLOTraceContext, as_hlo_tensor, get_hlo_context
from nkipy.core.ops._registry import Op
from nkipy.core.ops._views import no_scalar
from nkipy.core.ops.indexing._advanced import AdvancedIndex
from nkipy.core.ops.indexing._basic import BasicIndex
from nkipy.core.ops.indexing._mask_advice import advice
from nkipy.core.ops.indexing._modelled import modelled_index
from nkipy.core.ops.indexing._parse import ParsedIndex, parse_index
from nkipy.core.ops.indexing._samples import (
    getitem_errors,
    getitem_reference,
    getitem_samples,
    setitem_errors,
    setitem_reference,
    setitem_samples,
)
from nkipy.core.tensor import NKIPyTensorRef, as_base, as_operand, as_tensor
from nkipy.hlo.builder import Value

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
    shares=True,
    memory_order="own",
    note=_NOTE,
)
setitem = Op(
    "setitem",
    dtypes=dt.SUPPORTED,
    samples=setitem_samples,
    errors=setitem_errors,
    reference=setitem_reference,
    note=_NOTE,
    writes=("x",),
)


@getitem.impl("hlo")
def _getitem(x: Any, index: Any) -> NKIPyTensorRef:
    """``x[index]``: a view for a basic index, else a new array.

    Raises:
        IndexError: an index out of range, too many, or of the wrong kind.
        NotImplementedError: the result's shape would depend on traced values.
    """
    ctx = get_hlo_context()
    x = as_base(x)
    prepared = _prepare(ctx, x.shape, index)
    parsed = prepared if isinstance(prepared, ParsedIndex) else prepared.parsed
    if parsed.masks:
        alike = isinstance(index, NKIPyTensorRef) and index.shape == x.shape
        raise NotImplementedError(
            "the number of elements that a traced boolean mask selects is not known "
            "while tracing; " + advice(caller_location(), alike)
        )
    if parsed.advanced:
        return NKIPyTensorRef._wrap(
            ctx, AdvancedIndex(parsed).read(ctx, x.backend_tensor)
        )
    assert isinstance(prepared, BasicIndex)
    if parsed.scalar:
        return NKIPyTensorRef._wrap(ctx, prepared.read(ctx, x.backend_tensor))
    return no_scalar(x._make_view(prepared.view))


@getitem.modelling
def _getitem_modelled(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    x, index = args
    return (x, modelled_index(x.shape, index)), kwargs


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
    if _is_scalar_mask(index):
        _store_if(ctx, x, index, value)
        return
    parsed = _prepare(ctx, x.shape, index)
    if isinstance(parsed, BasicIndex):
        if not _is_own_view(x, parsed, value):
            stored = store_value(ctx, value, x.dtype)
            stored = broadcast_value(ctx, stored, parsed.shape)
            x._assign(parsed.write(ctx, x.backend_tensor, stored))
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


def _is_scalar_mask(index: Any) -> bool:
    """Whether `index` is what a comparison of 0-d arrays gives."""
    is_tensor = isinstance(index, NKIPyTensorRef)
    return is_tensor and not index.shape and index.dtype == dt.bool_


def _store_if(ctx: HLOTraceContext, x: NKIPyTensorRef, mask: Any, value: Any) -> None:
    """``x[mask] = value`` for one bool, which selects all of `x` or nothing."""
    stored = broadcast_value(ctx, store_value(ctx, value, x.dtype), x.shape)
    chosen = ctx.broadcast_to(as_hlo_tensor(ctx, mask), x.shape)
    x._assign(ctx.select(chosen, stored, x.backend_tensor))


# Static basic indices, ready for use: a loop over layers or heads asks for the same few
# again and again. Nothing in them belongs to a trace.
_prepared: dict[Any, BasicIndex] = {}
_MAX_PREPARED = 16_384


def _prepare(
    ctx: HLOTraceContext, shape: tuple[int, ...], index: Any
) -> BasicIndex | ParsedIndex:
    """The index, parsed for `shape`; ready if it is basic."""
    key = _static_key(index)
    if key is None:
        parsed = parse_index(ctx, shape, index)
        return BasicIndex(parsed) if parsed.is_basic else parsed
    found = _prepared.get((shape, key))
    if found is None:
        found = BasicIndex(parse_index(ctx, shape, index))
        if len(_prepared) >= _MAX_PREPARED:
            _prepared.clear()
        _prepared[shape, key] = found
    return found


def _static_key(index: Any) -> tuple[Any, ...] | None:
    """A key for an index of Python integers, slices, None and Ellipsis; else None."""
    key: list[Any] = []
    for entry in index if type(index) is tuple else (index,):
        kind = type(entry)
        if kind is int or entry is None or entry is Ellipsis:
            key.append(entry)
        elif kind is slice:
            bounds = (entry.start, entry.stop, entry.step)
            for bound in bounds:
                if bound is not None and type(bound) is not int:
                    return None
            key.append(bounds)
        else:
            return None
    return tuple(key)


def _is_own_view(x: NKIPyTensorRef, index: BasicIndex, value: Any) -> bool:
    """Whether `value` is ``x[index]`` itself, as the last step of ``x[index] += 1``."""
    return (
        isinstance(value, NKIPyTensorRef)
        and value._base is x
        and value._view is not None
        and value._view.key == index.view.key
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
    if type(value) in (bool, int, float):
        return ctx.scalar(value, dtype)  # raises what NumPy's assignment raises
    if isinstance(value, (list, tuple)):
        operand = as_operand(value)
        if isinstance(operand, NKIPyTensorRef):
            return as_hlo_tensor(ctx, operand, dtype)
        _refuse_non_numbers(operand)
        return ctx.constant(np.array(value, dtype))
    value = as_operand(value)
    if isinstance(value, NKIPyTensorRef):
        return as_hlo_tensor(ctx, value, dtype)
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
    """`value` broadcast to `shape`, leading dimensions of size one dropped.

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
