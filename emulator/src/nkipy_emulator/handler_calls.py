"""Calls of handlers of ours that compute, and read their operands where they lie.

Such a handler takes an operand as it is, or memory that is larger, in which the operand
begins where the call vector says, or the number of one of the program's inputs, which
lies where the call vector says (``operands.h``). By that it also knows the call that it
works for, and stops when that is over (``handled_call.h``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOInstruction, HLOModule
from nkipy.hlo.proto_shapes import ELEMENT_TYPES
from nkipy.hlo.rewrites.base import Place, rewrite
from nkipy.hlo.rewrites.lending import controlled, lend
from nkipy_emulator import _xla

Value = HLOInstruction
#: What the configuration of a call begins with whose operands are no larger memory.
_AS_THEY_ARE = b"{words = array<i64>"
#: An attribute of a handler, as it is written: a text, a list of numbers, or a number.
_ATTRIBUTE = re.compile(
    r'(\w+) = (?:"([^"]*)"|array<i64(?:: ([-\d, ]*))?>|(-?\d+) : i64)'
)
Attribute = str | int | tuple[int, ...]


def handler(target: str, config: str) -> Mapping[str, Any]:
    """Attributes of a call to a handler that has no effect but its results.

    Args:
        target: the handler.
        config: its own attributes, of which it has at least one.
    """
    return _xla.handler_call(target, _AS_THEY_ARE + f", {config}}}".encode())


def is_handler_call(inst: Value) -> bool:
    """Whether `inst` is a call with such attributes."""
    return inst.opcode == "custom-call" and inst.attributes.get(
        "backend_config", b""
    ).startswith(_AS_THEY_ARE)


def attributes_of(call: Value) -> dict[str, Attribute]:
    """The handler's own attributes, of a call with those of :func:`handler`."""
    found: dict[str, Attribute] = {}
    for part in _ATTRIBUTE.finditer(call.attributes["backend_config"].decode()):
        name, text, numbers, number = part.groups()
        if number is not None:
            found[name] = int(number)
        elif text is not None:
            found[name] = text
        else:
            found[name] = tuple(map(int, numbers.split(","))) if numbers else ()
    return found


def call_on_memory(
    call: Value, operands: tuple[Value, ...], words: Sequence[int], b: HLOBuilder
) -> Value:
    """The call on other operands, some of which are larger memory.

    Args:
        call: has attributes of :func:`handler`.
        operands: those that take the place of the call's, and the call vector.
        words: for each operand which word of the call vector says where in it the
            call's begins; -1 where they are the same.
        b: where the new call goes.
    """
    config = call.attributes["backend_config"].removeprefix(_AS_THEY_ARE)
    numbers = ", ".join(map(str, words))
    attributes = {
        **call.attributes,
        "backend_config": f"{{words = array<i64: {numbers}>".encode() + config,
    }
    shapes = call.tuple_shapes
    return b.emit("custom-call", operands, call.shape, call.dtype, attributes, shapes)


def call_on_inputs(
    call: Value,
    operands: tuple[Value, ...],
    words: Sequence[Sequence[int]],
    likes: Sequence[Value | None],
    b: HLOBuilder,
) -> Value:
    """The call on inputs of the program, which some operands are the numbers of.

    Args:
        call: has attributes of :func:`handler`.
        operands: those that take the place of the call's, s32[] for which of several
            inputs is meant, and the call vector.
        words: for each operand which words of the call vector say where these inputs
            lie; none for those that are as they were.
        likes: for each that is a number, a value of the inputs' type and shape.
        b: where the new call goes.
    """
    places: list[int] = []
    tables: list[int] = []
    for inputs, like in zip(words, likes):
        if like is None:
            places.append(-1)
            continue
        places.append(-2 - len(words) - len(tables))
        kind = (ELEMENT_TYPES[like.dtype], prod(like.shape))
        tables += (len(inputs), *kind, *inputs)
    return call_on_memory(call, operands, (*places, *tables), b)


def let_stop(module: HLOModule, vector: Value) -> HLOModule:
    """`module` whose handlers stop when nobody wants the results; itself without any.

    Args:
        module: what to copy. Its calls are in its entry, and in what that controls.
        vector: the parameter that points to the state of the running call.
    """
    calls = [
        c for c in module.computations() if any(map(is_handler_call, c.instructions))
    ]
    if not calls:
        return module
    module, lent = lend(module, vector, set(calls).intersection(controlled(module)))

    def rule(inst: Value, operands: tuple[Value, ...], place: Place) -> Value | None:
        if not is_handler_call(inst):
            return None
        known = lent[place.computation]
        given = (*operands, place.values.get(known, known))
        return call_on_memory(inst, given, (-1,) * len(operands), place.builder)

    return rewrite(module, rule)
