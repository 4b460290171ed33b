"""Has a handler store at places with equal distances, where loops would choose.

``x[9::3] = 0`` is traced as a choice, for each element of ``x``, between what is stored
and what is there, by a mask that is padded between its elements. XLA computes all of
it, for every element. The handler (``store_calls.h``) stores what there is to store, in
place if nobody reads what was there.

From how many elements on, of all arrays that are stored into, that is faster stands in
the table of :mod:`nkipy_emulator.fast_calls`, measured by
``benchmarks.bench_array_calls``.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from nkipy.hlo import dtypes as dt
from nkipy.hlo.ir import HLOInstruction, HLOModule
from nkipy.hlo.rewrites.base import Place, is_filled, rewrite
from nkipy.hlo.rewrites.dead_code import eliminate_dead_code
from nkipy.hlo.rewrites.lending import controlled
from nkipy_emulator import _xla
from nkipy_emulator.fast_calls import FastCalls, table

Value = HLOInstruction
_STORED = (
    *(dt.float32, dt.float64, dt.float16, dt.bfloat16, dt.bool_),
    *(*dt.INTEGERS, dt.int64, dt.uint64),
)


#: What part of an array's elements may be stored, if they differ. Of more, a loop that
#: chooses reads as little, and is run by all cores.
_MOST_STORED = 0.25


class Store(NamedTuple):
    """A store of `value`, one or one for each place, at places of `array`.

    Attributes:
        places: of each axis its size, then the first place, the distance and the number
            of places.
    """

    array: Value
    value: Value
    places: tuple[int, ...]


def send_strided_stores(module: HLOModule, mode: FastCalls) -> HLOModule:
    """`module` with calls of handlers for such stores; itself if there are none.

    Args:
        module: what to copy. Computations that are applied to elements are left.
        mode: where handlers are called.
    """
    least = table().get("strided stores", {}).get("any")
    if mode == "never" or (mode == "auto" and least is None):
        return module
    stores: dict[Value, Store] = {}
    for computation in (module.entry, *controlled(module)):
        chosen = {
            inst: store
            for inst in computation.instructions
            if inst.opcode == "select" and (store := store_of(inst)) is not None
        }
        work = sum(prod(inst.shape) for inst in chosen)
        if mode == "always" or (least is not None and work >= least):
            stores |= chosen
    if not stores:
        return module

    def rule(inst: Value, operands: tuple[Value, ...], place: Place) -> Value | None:
        store = stores.get(inst)
        if store is None:
            return None
        numbers = ", ".join(map(str, store.places))
        attributes = {
            **_xla.handler_call(
                "nkipy_strided_store", f"{{places = array<i64: {numbers}>}}".encode()
            ),
            "output_operand_aliasing": ((None, 0),),
        }
        given = (place.values[store.array], place.values[store.value])
        return place.builder.emit(
            "custom-call", given, inst.shape, inst.dtype, attributes
        )

    result = rewrite(module, rule)
    eliminate_dead_code(result)  # masks
    return result


def _is_sparse(taken: Value, array: Value) -> bool:
    return prod(taken.shape) <= _MOST_STORED * prod(array.shape)


def store_of(choice: Value) -> Store | None:
    """The store that a choice between old and new elements is."""
    mask, new, old = choice.operands
    if choice.dtype not in _STORED or mask.opcode != "pad" or not choice.shape:
        return None
    taken, untaken = mask.operands
    if not is_filled(taken, True) or not is_filled(untaken, False):
        return None
    padding = mask.attributes["padding"]
    if 0 in taken.shape or any(low < 0 or high < 0 for low, high, _ in padding):
        return None
    if new.opcode == "broadcast" and not new.operands[0].shape:
        (value,) = new.operands
    elif new.opcode == "pad" and new.attributes["padding"] == padding:
        value = new.operands[0]
        if value.shape != taken.shape or not _is_sparse(taken, choice):
            return None
    else:
        return None
    places = [
        (size, low, between + 1, count)
        for size, (low, _, between), count in zip(choice.shape, padding, taken.shape)
    ]
    return Store(old, value, tuple([number for axis in places for number in axis]))
