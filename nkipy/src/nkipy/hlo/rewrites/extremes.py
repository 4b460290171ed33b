"""Has largest and smallest floats found among integers, in the same order.

A compiler may hand a reduction by ``maximum`` or ``minimum`` to a library whose result
is not NaN where an element is: XLA does on the CPU (jaxlib 0.10.2, from 4096 elements
on). Integers have no NaN, and the extreme of a vector of them is one instruction, where
that of floats is three.

Long rows are reduced to parts first, whose elements lie side by side: a compiler that
takes one element after the other has vectors of them to do it with.

The order is that of the numbers, with -0 before 0, and NaN of any sign at the end that
the reduction looks for.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOInstruction, HLOModule
from nkipy.hlo.rewrites.base import Place, rewrite

Value = HLOInstruction

#: Elements of a row that is taken apart.
_LONG = 512
#: Into how many rows side by side, the first of these that fits; of a whole array also
#: into how many one after the other, which several threads can share.
_SIDE_BY_SIDE = (64, *range(65, 257), *range(63, 15, -1))
_ONE_BY_ONE = range(32, 7, -1)

_BITS: dict[np.dtype, np.dtype] = {
    dt.float16: dt.int16,
    dt.bfloat16: dt.int16,
    dt.float32: dt.int32,
    dt.float64: dt.int64,
}


def keep_nan(module: HLOModule) -> HLOModule:
    """`module` without reductions to the largest or smallest float of several.

    It is `module` itself if it has none. All computations are looked at.
    """
    if not any(map(_is_extreme, module.instructions())):
        return module

    def rule(inst: Value, operands: tuple[Value, ...], place: Place) -> Value | None:
        return _among_integers(inst, operands, place.builder)

    return rewrite(module, rule)


def _is_extreme(inst: Value) -> bool:
    if inst.opcode != "reduce" or len(inst.operands) != 2 or inst.dtype not in _BITS:
        return False
    applied = inst.attributes["to_apply"]
    of_both = set(applied.root.operands) == set(applied.parameters)
    return of_both and applied.root.opcode in ("maximum", "minimum")


def _among_integers(
    inst: Value, operands: tuple[Value, ...], b: HLOBuilder
) -> Value | None:
    if not _is_extreme(inst):
        return None
    assert inst.dtype is not None
    opcode, dtype = inst.attributes["to_apply"].root.opcode, _BITS[inst.dtype]
    keys = tuple(_key(b, x, opcode) for x in operands)
    attributes = {**inst.attributes, "to_apply": b.reducer(opcode, dtype)}
    x, start = keys
    parts = _parts(x.shape, inst.attributes["dimensions"])
    if parts is not None:
        x = b.reshape(x, parts)
        last = len(parts) - 1
        shape = (*parts[: last - 1], parts[last])
        once = {**attributes, "dimensions": (last - 1,)}
        x = b.emit("reduce", (x, start), shape, dtype, once)
        added = tuple(range(len(inst.operands[0].shape), last))
        attributes["dimensions"] = (*inst.attributes["dimensions"], *added)
    found = b.emit("reduce", (x, start), inst.shape, dtype, attributes)
    return b.bitcast_convert(_swapped(b, found), inst.dtype)


def _parts(shape: tuple[int, ...], dimensions: tuple[int, ...]) -> list[int] | None:
    """A shape of the same elements, with a long last dimension that is reduced as
    several; the one before the last is to be reduced first."""
    if len(shape) - 1 not in dimensions or shape[-1] < _LONG:
        return None
    *outer, size = shape
    lanes = _divisor(size, _SIDE_BY_SIDE)
    if lanes == 1:
        return None
    size //= lanes
    pieces = _divisor(size, _ONE_BY_ONE) if len(dimensions) == len(shape) else 1
    return [*outer, *([pieces] if pieces != 1 else []), size // pieces, lanes]


def _divisor(size: int, candidates: Iterable[int]) -> int:
    return next((n for n in candidates if size % n == 0), 1)


def _key(b: HLOBuilder, x: Value, opcode: str) -> Value:
    """Integers in the order of floats; of NaN, the extreme one."""
    assert x.dtype is not None
    dtype = _BITS[x.dtype]
    extreme = dt.highest(dtype) if opcode == "maximum" else dt.lowest(dtype)
    key = _swapped(b, b.bitcast_convert(x, dtype))
    return b.select(b.compare(x, x, "NE"), b.full_like(key, extreme), key)


def _swapped(b: HLOBuilder, bits: Value) -> Value:
    """The bits of floats, and back: of negative ones, all but the sign are inverted."""
    assert bits.dtype is not None
    last = b.full_like(bits, bits.dtype.itemsize * 8 - 1)
    sign = b.binary("shift-right-arithmetic", bits, last)
    return b.xor(bits, b.and_(sign, b.full_like(bits, dt.highest(bits.dtype))))
