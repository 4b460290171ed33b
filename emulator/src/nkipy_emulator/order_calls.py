"""Sends sorts, and searches for where extremes are, to the handlers that do them.

Sorts (``order_calls.h``) are stable, whatever NumPy's are. Where NumPy sorts by vector
instructions, its sort is called, for parts of a long row by several threads
(``split_sort.h``): whether it does, for which types, is tried out once in a process.
Elsewhere rows are sorted by their digits (``radix_sort.h``), and very long ones always
in buckets (``bucket_sort.h``), so that they take no second array. Along another axis
than the last, some rows at a time are copied. Where nothing but the order is
wanted, neither the sorted array nor places to begin with are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from math import prod
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from nkipy.hlo import dtypes as dt
from nkipy.hlo.ir import HLOInstruction, HLOModule, Shape
from nkipy.hlo.rewrites.base import Place, combination, is_filled, literal_below
from nkipy.hlo.rewrites.comparators import ascending_keys, plain_order
from nkipy_emulator.handler_calls import handler

Value = HLOInstruction


class Call(NamedTuple):
    """What takes an instruction's place.

    Attributes:
        function: what the table knows it by: a function, ``"sort"``,
            ``"argsort"`` (of several operands), ``"argmax"`` (or argmin) or
            ``"argmax of columns"`` (along another axis than the last).
        operands: its operands.
        make: makes the call.
    """

    function: str
    operands: tuple[Value, ...]
    make: Callable[[Call, Value, Place], Value]


# -- sorts -----------------------------------------------------------------------------
ORDERED: tuple[np.dtype, ...] = tuple(dt.HLO_NAMES)
_MOST_ELEMENTS = 2**31 - 1


#: Of a sort: each makes a sort of its own.
_MOST_KEYS = 4


def _sort(inst: Value) -> tuple[Call, set[Value]] | None:
    """A sort by its first operands, in NumPy's order, or by one in the opposite one."""
    if prod(inst.operands[0].shape) > _MOST_ELEMENTS:
        return None
    comparator = inst.attributes["to_apply"]
    order, keys = plain_order(comparator), 1
    if order is None:
        keys = ascending_keys(comparator) or _MOST_KEYS + 1
    if keys > _MOST_KEYS:
        return None
    name = "sort" if len(inst.operands) == 1 else "argsort"
    make = partial(_sort_call, descending=order == "descending", keys=keys)
    return Call(name, inst.operands, make), {inst}


def _sort_call(
    call: Call, inst: Value, place: Place, descending: bool, keys: int
) -> Value:
    b = place.builder
    attributes = _sort_attributes(inst, descending)
    values = [place.values[x] for x in call.operands]
    if len(values) == 1:
        (x,) = values
        return b.emit("custom-call", (x,), x.shape, x.dtype, attributes)
    # The last key first: sorts by those before it keep its order where they are equal.
    for key in reversed(range(keys)):
        given = (values[key], *values[:key], *values[key + 1 :])
        shapes = [Shape(x.dtype, x.shape) for x in given if x.dtype is not None]
        moved, *others = b.tuple_result("custom-call", given, shapes, attributes)
        values = [*others[:key], moved, *others[key:]]
    return b.emit("tuple", tuple(values), (), None, tuple_shapes=inst.tuple_shapes)


def _sort_attributes(
    sort: Value, descending: bool, ranks: bool = False
) -> Mapping[str, Any]:
    sizes = ", ".join(map(str, _axes(sort.operands[0], sort.attributes["dimension"])))
    config = f"axes = array<i64: {sizes}>, descending = {int(descending)} : i64"
    return handler("nkipy_sort", f"{config}, ranks = {int(ranks)} : i64")


def ranking_call(sort: Value, place: Place) -> Value:
    """The order that one of :func:`ranking` puts its first operand in."""
    order = plain_order(sort.attributes["to_apply"])
    attributes = _sort_attributes(sort, order == "descending", ranks=True)
    keys = place.values[sort.operands[0]]
    return place.builder.emit("custom-call", (keys,), keys.shape, dt.int32, attributes)


def ranking(module: HLOModule, calls: Iterable[Value]) -> frozenset[Value]:
    """Those of `calls` that are sorts of which nothing but the order is wanted."""
    sorts = {inst for inst in calls if _can_rank(inst)}
    if sorts:
        for computation in module.computations():
            sorts.discard(computation.root)
            for inst in computation.instructions:
                is_order = (
                    inst.opcode == "get-tuple-element" and inst.attributes["index"] == 1
                )
                if not is_order:
                    sorts.difference_update(inst.operands)
    return frozenset(sorts)


def _can_rank(sort: Value) -> bool:
    """Whether the second operand of two becomes the order of the first."""
    if sort.opcode != "sort" or len(sort.operands) != 2:
        return False
    places = sort.operands[1]
    if places.opcode != "iota" or places.dtype != dt.int32:
        return False
    if plain_order(sort.attributes["to_apply"]) is None:
        return False
    along = places.attributes["iota_dimension"]
    return bool(along == sort.attributes["dimension"])


# -- extremes --------------------------------------------------------------------------
def _extreme(inst: Value) -> tuple[Call, set[Value]] | None:
    """The least index along an axis of what equals the extreme, or is NaN."""
    if (
        inst.dtype != dt.int32
        or len(inst.operands) != 2
        or combination(inst) != "minimum"
    ):
        return None
    candidates, size = inst.operands
    if candidates.opcode != "select" or len(inst.attributes["dimensions"]) != 1:
        return None
    (axis,) = inst.attributes["dimensions"]
    hit, places, none = candidates.operands
    if places.opcode != "iota" or places.attributes["iota_dimension"] != axis:
        return None
    if not all(is_filled(x, places.shape[axis]) for x in (size, none)):
        return None
    x, extreme = _hit(hit, axis)
    if x is None or 0 in x.shape or prod(x.shape) > _MOST_ELEMENTS:
        return None
    make = partial(_extreme_call, axis=axis, least=extreme in ("minimum", "and"))
    sizes = _axes(x, axis)
    return Call("argmax" if sizes[2] == 1 else "argmax of columns", (x,), make), {inst}


def _axes(x: Value, axis: int) -> tuple[int, int, int]:
    """How many elements there are before, along and behind an axis."""
    return prod(x.shape[:axis]), x.shape[axis], prod(x.shape[axis + 1 :])


def _hit(hit: Value, axis: int) -> tuple[Value, str] | tuple[None, None]:
    """The array of whose elements it is said that they are extremes, and of which."""
    is_nan = None
    if hit.opcode == "or":
        hit, is_nan = hit.operands
    if hit.opcode != "compare" or hit.attributes["direction"] != "EQ":
        return None, None
    x, spread = hit.operands
    if x.dtype is None or dt.is_float(x.dtype) != (is_nan is not None):
        return None, None
    if is_nan is not None:
        is_compared = is_nan.opcode == "compare" and is_nan.operands == (x, x)
        if not is_compared or is_nan.attributes["direction"] != "NE":
            return None, None
    others = tuple(i for i in range(len(x.shape)) if i != axis)
    if spread.opcode != "broadcast" or spread.attributes["dimensions"] != others:
        return None, None
    (best,) = spread.operands
    if best.opcode != "reduce" or best.operands[0] is not x or len(best.operands) != 2:
        return None, None
    opcode = combination(best)
    start = literal_below(best.operands[1])
    if best.attributes["dimensions"] != (axis,) or start is None or opcode is None:
        return None, None
    if (x.dtype == dt.bool_) != (opcode in ("or", "and")):
        return None, None
    neutral = _NEUTRAL.get(opcode)
    if neutral is None or start[()] != neutral(x.dtype):
        return None, None
    return x, opcode


#: What each reduction that yields an extreme begins with.
_NEUTRAL: Mapping[str, Callable[[np.dtype], Any]] = MappingProxyType(
    {
        "maximum": dt.lowest,
        "or": dt.lowest,
        "minimum": dt.highest,
        "and": dt.highest,
    }
)


def _extreme_call(
    call: Call, inst: Value, place: Place, axis: int, least: bool
) -> Value:
    (x,) = call.operands
    sizes = ", ".join(map(str, _axes(x, axis)))
    config = f"least = {int(least)} : i64, axes = array<i64: {sizes}>"
    attributes = handler("nkipy_extreme", config)
    given = (place.values[x],)
    return place.builder.emit("custom-call", given, inst.shape, dt.int32, attributes)


ORDERED_BY = MappingProxyType({"sort": _sort, "reduce": _extreme})
