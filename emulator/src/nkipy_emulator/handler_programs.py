"""Programs that are calls of handlers of ours, and nothing else.

They need no XLA: the handlers run in the calling thread, and in others where the work
is large (``handler_program.h``). That saves some microseconds of each call, and the
compilation.

Programs that may take long are left to XLA's way, on which what runs can be left
behind at a signal or a deadline.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from nkipy.hlo.ir import HLOInstruction, HLOModule, Shape
from nkipy.hlo.numerics import apply_auto_cast
from nkipy.hlo.options import SimulationOptions
from nkipy.hlo.proto_shapes import ELEMENT_TYPES
from nkipy.hlo.rewrites.base import Place, rewrite
from nkipy.hlo.rewrites.dots import flatten_dots
from nkipy_emulator import _xla
from nkipy_emulator.array_calls import SLIDES, send_array_operations
from nkipy_emulator.fast_calls import ALONE, ELEMENTS, PRODUCTS, Mode
from nkipy_emulator.function_calls import send_functions
from nkipy_emulator.handler_calls import Attribute, attributes_of, is_handler_call
from nkipy_emulator.joins import send_joins
from nkipy_emulator.memory import ZERO_COPY_BYTES
from nkipy_emulator.moves import send_moves
from nkipy_emulator.plain_calls import is_plain, send_plain
from nkipy_emulator.sums import call_of_sum, sum_of

Value = HLOInstruction
#: A longer program has something else in it.
_MOST_INSTRUCTIONS = 64
#: What such a program may take, by the estimates below: a signal waits for so long.
_MOST_NANOSECONDS = 20e6
#: Of an element of the largest array that a handler reads or writes, at the most.
#: Estimates; of most, what memory takes.
_NANOSECONDS: Mapping[str, float] = MappingProxyType(
    {
        "nkipy_sort": 100,
        "nkipy_elements": 20,
        "nkipy_among": 20,
        "nkipy_small_products": 10,
    }
)
_NANOSECONDS_OF_OTHERS = 2
#: Of a multiplication in a product, an estimate.
_NANOSECONDS_OF_PRODUCTS = 0.2


class HandlerProgram(NamedTuple):
    """What ``read_handler_program`` (``handler_program.h``) reads.

    Attributes:
        threads: how many may work.
        inputs: how many arrays it gets.
        values: element type, shape and place of each: of inputs, then of constants,
            then of what steps make. The place is a value's own number, or that of one
            whose elements it has in another shape.
        constants: the bytes of each.
        steps: a handler, its attributes by name, in the order of these, and the numbers
            of the values that it reads and of those that it makes.
        results: the numbers of the values that are results.
    """

    threads: int
    inputs: int
    values: tuple[tuple[int, tuple[int, ...], int], ...]
    constants: tuple[bytes, ...]
    steps: tuple[tuple[Any, tuple[Any, ...], tuple[int, ...], tuple[int, ...]], ...]
    results: tuple[int, ...]


def handler_program(
    module: HLOModule, options: SimulationOptions | None = None, mode: Mode = ALONE
) -> HandlerProgram | None:
    """`module` as such a program; None if it is another one, or may take long.

    Args:
        module: any one.
        options: how it is simulated; functions are not to be rounded in parts.
        mode: where handlers are called: where they are faster in such a program, or
            wherever they can be.
    """
    entry = module.entry.instructions
    if len(entry) > _MOST_INSTRUCTIONS or not module.results:
        return None
    if any(inst.opcode == "custom-call" for inst in entry):
        return None  # of others, whatever they are called
    made = apply_auto_cast(send_functions(module, mode), options)
    made = send_plain(send_array_operations(flatten_dots(made), mode), mode)
    made = _with_sums(send_joins(send_moves(made, mode), mode))
    found = _Program(made)
    try:
        return found.program()
    except _NoHandlerError:
        return None


def _with_sums(module: HLOModule) -> HLOModule:
    """`module` with calls for sums of any size."""

    def rule(inst: Value, operands: tuple[Value, ...], place: Place) -> Value | None:
        summed = sum_of(inst, operands, least=1) if place.is_entry else None
        if summed is None:
            return None
        call = call_of_sum(summed, inst)
        return place.builder.emit(
            call.opcode, call.operands, call.shape, call.dtype, call.attributes
        )

    return rewrite(module, rule)


class _NoHandlerError(Exception):
    """What is to be computed is no handler's."""


class _Program:
    """A program as it is found, results first."""

    def __init__(self, module: HLOModule) -> None:
        self._module = module
        self._constants: dict[Value, bytes] = {}
        self._steps: list[Value] = []
        self._nanoseconds = 0.0

    def program(self) -> HandlerProgram:
        module = self._module
        for result in module.results:
            self._visit(result)
        if not self._steps or self._nanoseconds > _MOST_NANOSECONDS:
            raise _NoHandlerError
        numbers = _Numbers()
        for value in (*module.parameters, *self._constants):
            numbers.add((value, 0), Shape(_dtype(value), value.shape))
        steps = []
        for call in self._steps:
            operands = tuple(map(numbers.number, call.operands))
            shapes = call.tuple_shapes or (Shape(_dtype(call), call.shape),)
            made = tuple(
                numbers.add((call, i), shape) for i, shape in enumerate(shapes)
            )
            target = _xla.target(call.attributes["custom_call_target"])
            attributes = tuple(sorted(attributes_of(call).items()))
            steps.append((target, attributes, operands, made))
        results = tuple(map(numbers.number, module.results))
        first = len(module.parameters) + len(self._constants)
        places = [numbers.values[i][2] for i in results]
        if min(places) < first or len(set(places)) < len(places):
            raise _NoHandlerError
        return HandlerProgram(
            *(_xla.cores(), len(module.parameters), tuple(numbers.values)),
            *(tuple(self._constants.values()), tuple(steps), results),
        )

    def _visit(self, value: Value) -> None:
        """Note what computes `value`, operands first."""
        call, _ = _origin(value)
        if 0 in value.shape or call in self._steps or call in self._constants:
            if 0 in value.shape:
                raise _NoHandlerError
            return
        if call.opcode == "parameter":
            return
        if call.opcode in ("constant", "iota"):
            self._constants[call] = _bytes(call)
            return
        if not is_handler_call(call):
            raise _NoHandlerError
        for operand in call.operands:
            self._visit(operand)
        self._steps.append(call)
        self._nanoseconds += _nanoseconds(call)


class _Numbers:
    """The values of a program.

    Attributes:
        values: as :class:`HandlerProgram` has them.
    """

    def __init__(self) -> None:
        self.values: list[tuple[int, tuple[int, ...], int]] = []
        self._known: dict[tuple[Value, int], int] = {}

    def add(self, origin: tuple[Value, int], shape: Shape) -> int:
        number = len(self.values)
        self.values.append((ELEMENT_TYPES[shape.dtype], shape.dims, number))
        self._known[origin] = number
        return number

    def number(self, value: Value) -> int:
        """That of a value, in the shape that it has."""
        place = self._known[_origin(value)]
        kind, shape, _ = self.values[place]
        if shape == value.shape:
            return place
        self.values.append((kind, value.shape, place))
        return len(self.values) - 1


def _origin(value: Value) -> tuple[Value, int]:
    """What makes the elements of `value`, and which of its results they are."""
    while True:
        if value.opcode == "reshape":
            (value,) = value.operands
        elif value.opcode == "get-tuple-element":
            (below,) = value.operands
            index = value.attributes["index"]
            if below.opcode != "tuple":
                return below, index
            value = below.operands[index]
        else:
            return value, 0


def _dtype(value: Value) -> np.dtype:
    if value.dtype is None:
        raise _NoHandlerError
    return value.dtype


def _bytes(value: Value) -> bytes:
    """The elements of a constant, or of an ``iota``."""
    if value.nbytes > ZERO_COPY_BYTES:
        raise _NoHandlerError
    if value.opcode == "constant":
        return np.asarray(value.attributes["literal"]).tobytes()
    axis = value.attributes["iota_dimension"]
    along = np.arange(value.shape[axis]).astype(_dtype(value))
    shape = [1] * len(value.shape)
    shape[axis] = len(along)
    return np.broadcast_to(along.reshape(shape), value.shape).tobytes()


def _nanoseconds(call: Value) -> float:
    target = call.attributes["custom_call_target"]
    if target == PRODUCTS:
        layout: Attribute = attributes_of(call)["layout"]
        assert isinstance(layout, tuple)
        return prod(layout[:4]) * _NANOSECONDS_OF_PRODUCTS
    if target == SLIDES:
        terms = prod(call.operands[1].shape)
        return prod(call.shape) * terms * _NANOSECONDS_OF_PRODUCTS
    each = _NANOSECONDS.get(target, _NANOSECONDS_OF_OTHERS)
    if target == ELEMENTS and is_plain(str(attributes_of(call)["function"])):
        each = _NANOSECONDS_OF_OTHERS
    shapes = [x.shape for x in call.operands if x.dtype is not None]
    shapes += [s.dims for s in call.tuple_shapes or ()] or [call.shape]
    return max(map(prod, shapes)) * each
