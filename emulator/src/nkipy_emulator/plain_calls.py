"""Sends cheap work on elements to NumPy's loops where that is all of a program.

In a program that XLA compiles, such work is done in the loops around it. A program of a
few such steps and nothing else takes XLA longer to start than NumPy to do. So in
programs that are calls of handlers alone (:mod:`nkipy_emulator.handler_programs`)
NumPy's loops do it, or, where NumPy has none for it alone, loops of ours
(``plain_calls.h``): choices between arrays, conversions, numbers of true elements.

Each has NumPy's results, bit by bit, which are HLO's too. Where HLO's and NumPy's
differ, for a quotient of integers or the integer of a NaN, nothing is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from types import MappingProxyType

import numpy as np

from nkipy.hlo import dtypes as dt
from nkipy.hlo.ir import HLOInstruction, HLOModule
from nkipy.hlo.rewrites.base import Place, rewrite
from nkipy_emulator.fast_calls import ELEMENTS, Mode, function_of, is_chosen
from nkipy_emulator.handler_calls import handler
from nkipy_emulator.strided_stores import store_of

Value = HLOInstruction
_FLOATS = (dt.float32, dt.float64)
_WHOLE = (*dt.INTEGERS, dt.int64, dt.uint64)
_SIGNED = tuple(d for d in _WHOLE if d.kind == "i")
_UNSIGNED = tuple(d for d in _WHOLE if d.kind == "u")
_NUMBERS = (*_FLOATS, *_WHOLE)
_OF_BITS = (*_WHOLE, dt.bool_)
_COMPARED: tuple[np.dtype, ...] = (*_NUMBERS, dt.bool_)

#: NumPy's functions by HLO's opcodes, and the dtypes for which they are the same.
_FUNCTIONS: Mapping[str, tuple[str, tuple[np.dtype, ...]]] = MappingProxyType(
    {
        "add": ("add", _NUMBERS),
        "subtract": ("subtract", _NUMBERS),
        "multiply": ("multiply", _NUMBERS),
        "divide": ("divide", _FLOATS),
        "maximum": ("maximum", _NUMBERS),
        "minimum": ("minimum", _NUMBERS),
        "negate": ("negative", _NUMBERS),
        "abs": ("absolute", (*_FLOATS, *_SIGNED)),
        "sqrt": ("sqrt", _FLOATS),
        "floor": ("floor", _FLOATS),
        "ceil": ("ceil", _FLOATS),
        "round-nearest-even": ("rint", _FLOATS),
        "is-finite": ("isfinite", _FLOATS),
        "and": ("bitwise_and", _OF_BITS),
        "or": ("bitwise_or", _OF_BITS),
        "xor": ("bitwise_xor", _OF_BITS),
        "not": ("invert", _OF_BITS),
        "shift-left": ("left_shift", _WHOLE),
        "shift-right-arithmetic": ("right_shift", _SIGNED),
        "shift-right-logical": ("right_shift", _UNSIGNED),
    }
)
#: Those of comparisons, by their directions.
_COMPARISONS: Mapping[str, str] = MappingProxyType(
    {
        "EQ": "equal",
        "NE": "not_equal",
        "LT": "less",
        "LE": "less_equal",
        "GT": "greater",
        "GE": "greater_equal",
    }
)
_NAMES = {name for name, _ in _FUNCTIONS.values()} | set(_COMPARISONS.values())
#: From one of these to one of those, where integers wrap and floats are rounded once.
_CONVERTED = (
    (_OF_BITS, _NUMBERS),
    (_FLOATS, _FLOATS),
)
_ITEMSIZES = (1, 2, 4, 8)
#: How many steps a program may have, by the most elements of an array: what one step
#: has made is to be in the cache for the next. XLA does more of them in one loop.
_MOST_STEPS = ((16_384, 6), (262_144, 2))


def send_plain(module: HLOModule, mode: Mode) -> HLOModule:
    """`module` with such calls; itself if there are none, or too many.

    Args:
        module: what to copy. Only its entry is looked at.
        mode: where calls are made.
    """
    if mode == "never":
        return module
    given, module = module, _converted_once(module)
    configs = {}
    for inst in module.entry.instructions:
        made = _config(inst)
        if made is not None and is_chosen("plain", "any", prod(inst.shape), mode):
            configs[inst] = made
    largest = max((prod(inst.shape) for inst in configs), default=0)
    steps = next((steps for size, steps in _MOST_STEPS if largest <= size), 1)
    if not configs or len(configs) > steps:
        return given

    def rule(inst: Value, operands: tuple[Value, ...], place: Place) -> Value | None:
        found = configs.get(inst) if place.is_entry else None
        if found is None:
            return None
        target, config = found
        read = tuple([place.values[_one_or_all(x)] for x in inst.operands])
        return place.builder.emit(
            "custom-call", read, inst.shape, inst.dtype, handler(target, config)
        )

    return rewrite(module, rule)


def is_plain(function: str) -> bool:
    """Whether handlers know by that name one that takes no longer than memory does."""
    return function.rpartition("_")[0] in _NAMES


def _one_or_all(x: Value) -> Value:
    """Of a scalar that is repeated, the scalar."""
    while x.opcode == "broadcast" and prod(x.operands[0].shape) == 1:
        (x,) = x.operands
    return x


def _is_repeated(x: Value) -> bool:
    return _one_or_all(x) is not x


def _converted_once(module: HLOModule) -> HLOModule:
    """`module` with scalars converted before they are repeated."""
    if not any(
        inst.opcode == "convert" and _is_repeated(inst.operands[0])
        for inst in module.entry.instructions
    ):
        return module

    def rule(inst: Value, operands: tuple[Value, ...], place: Place) -> Value | None:
        if inst.opcode != "convert" or not place.is_entry:
            return None
        (x,) = operands  # in which a conversion may have changed places already
        if not _is_repeated(x):
            return None
        b = place.builder
        one = b.reshape(_one_or_all(x), ())
        return b.broadcast_in_dim(
            b.emit("convert", (one,), (), inst.dtype), inst.shape, ()
        )

    return rewrite(module, rule)


def _config(inst: Value) -> tuple[str, str] | None:
    """The handler that can compute an instruction, and its attributes."""
    if inst.dtype is None or 0 in inst.shape:
        return None
    if inst.opcode == "convert":
        return _conversion(inst)
    if inst.opcode == "select":
        mask, x, _ = inst.operands
        if mask.shape != inst.shape or inst.dtype.itemsize not in _ITEMSIZES:
            return None
        if _is_repeated(mask) or store_of(inst) is not None:
            return None  # a store is no choice for each element
        return "nkipy_select", f"elements = {prod(inst.shape)} : i64"
    of = inst.operands[0].dtype if inst.operands else None
    if inst.opcode == "compare":
        name, dtypes = _COMPARISONS[inst.attributes["direction"]], _COMPARED
    elif inst.opcode in _FUNCTIONS:
        name, dtypes = _FUNCTIONS[inst.opcode]
    else:
        return None
    if of not in dtypes:
        return None
    assert of is not None
    function = function_of(name, of, inst.dtype)
    return None if function is None else (ELEMENTS, f'function = "{function}"')


def _conversion(inst: Value) -> tuple[str, str] | None:
    (x,) = inst.operands
    for sources, targets in _CONVERTED:
        if x.dtype in sources and inst.dtype in targets:
            return "nkipy_convert", f"elements = {prod(inst.shape)} : i64"
    return None
