"""Writes equal layers of a program as a loop, so that their code is made once.

Layers do the same with parameters of their own, which no loop of HLO's can choose among
without a copy of them. Here, an iteration's number tells handlers which ones they read
(``choose`` in ``operands.h``): they do so where these lie, and small ones are copied.
The same operations are done in the same order, so that values are the same to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count as numbers_from
from math import prod

import numpy as np

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOComputation, HLOInstruction, HLOModule, Shape
from nkipy.hlo.rewrites.base import element, with_operands
from nkipy.hlo.rewrites.dead_code import eliminate_dead_code
from nkipy.hlo.rewrites.repetition import Run
from nkipy_emulator.array_calls import send_products
from nkipy_emulator.equal_layers import FEWEST, SMALL, LayerRow, Layers, Source, is_leaf
from nkipy_emulator.fast_calls import Mode
from nkipy_emulator.handler_calls import call_on_inputs, handler
from nkipy_emulator.products import has_blas, product_of

Value = HLOInstruction

#: Of a product that goes to a handler even if XLA may be faster.
_MOST_MULTIPLICATIONS = 1 << 24

#: What the loop's computations are called.
_BODY, _CONDITION = "layers_body", "layers_condition"


def roll_layers(
    module: HLOModule, vector: Value, first: int, mode: Mode = "auto"
) -> HLOModule:
    """`module` with a loop for equal layers; itself if it has none.

    Args:
        module: the program.
        vector: its last parameter, the call vector.
        first: the word of it that says where the first parameter lies.
        mode: where handlers are called. Products with weights go to one, too, if they
            take little time: then it is the compilation that takes long.
    """
    row = LayerRow(module)
    runs = list(row.runs()) if len(row.values) >= FEWEST else []
    if not runs:
        return module
    sent = module
    if mode != "never" and has_blas():
        dots = filter(_is_of_weights, _of_runs(row, runs))
        sent = send_products(module, dots)
        eliminate_dead_code(sent)
        row = LayerRow(sent)
    for start, end, period in row.runs():
        # Only the first layer may have had what it was given from elsewhere.
        for begin in (start - period, start):
            loop = Layers.of(row, begin, period, (end - begin) // period)
            if loop is not None:
                return _rolled(sent, row, loop, vector, first)
    return module


def _of_runs(row: LayerRow, runs: Sequence[Run]) -> Iterator[Value]:
    for start, end, period in runs:
        yield from row.values[start - period : end - (end - start) % period]


def _is_of_weights(inst: Value) -> bool:
    """Whether it is a product that takes little time, with a large parameter."""
    product = product_of(inst) if inst.opcode == "dot" else None
    if product is None or product.multiplications > _MOST_MULTIPLICATIONS:
        return False
    return any(o.opcode == "parameter" and o.nbytes > SMALL for o in product.operands)


def has_layers(module: HLOModule) -> bool:
    """Whether :func:`roll_layers` has made a loop of it.

    What is left has few loops that are alike.
    """
    return any(c.name.startswith(_BODY) for c in module.computations())


def _rolled(
    module: HLOModule, row: LayerRow, layers: Layers, vector: Value, first: int
) -> HLOModule:
    made = HLOModule(module.name)
    made.entry.parameters = list(module.parameters)
    b = HLOBuilder(made.entry)
    copies: dict[Value, Value] = {}
    for inst in module.entry.instructions:
        position = row.position.get(inst, -1)
        if layers.start <= position < layers.end:
            if position == layers.end - 1:
                taken = {computation.name for computation in module.computations()}
                loop = _Loop(layers, b, copies, vector, first)
                made_by_last = loop.emit(taken)
                for place, value in made_by_last.items():
                    copies[row.values[layers.end - layers.period + place]] = value
            continue
        copies[inst] = kept = with_operands(inst, [copies[o] for o in inst.operands])
        made.entry.instructions.append(kept)
    made.set_results([copies[r] for r in module.results], module.output_names)
    made.aliases = list(module.aliases)
    eliminate_dead_code(made)
    return made


class _Loop:
    """The loop, as it is written."""

    def __init__(
        self,
        layers: Layers,
        b: HLOBuilder,
        copies: dict[Value, Value],
        vector: Value,
        first: int,
    ) -> None:
        self._layers, self._b, self._copies = layers, b, copies
        self._vector, self._first_word = vector, first
        self._carried = sorted(layers.carried)
        self._outside = list(dict.fromkeys(self._values_outside()))

    def _values_outside(self) -> Iterator[Value]:
        """What each iteration reads from before the loop."""
        yield self._vector
        for source in (s for sources in self._layers.sources for s in sources):
            if source.parameters and not source.is_chosen and not source.by_number:
                yield source.parameters[0]
            elif not source.parameters and source.place < 0:
                assert source.value is not None
                if not is_leaf(source.value):
                    yield source.value

    def emit(self, taken: set[str]) -> dict[int, Value]:
        """Append the loop; what the last iteration has made, by place.

        Names of computations that are taken are not used.
        """
        b = self._b
        initial = [b.constant(np.int32(0), dt.int32)]
        initial += [self._initial(place) for place in self._carried]
        initial += [self._copies[value] for value in self._outside]
        shapes = tuple([Shape(v.dtype, v.shape) for v in initial])
        state = b.emit("tuple", tuple(initial), (), None, tuple_shapes=shapes)
        attributes = {"body": self._body(shapes), "condition": self._condition(shapes)}
        for computation in attributes.values():
            names = (f"{computation.name}_{number}" for number in numbers_from())
            computation.name = next(name for name in names if name not in taken)
        done = b.emit("while", (state,), (), None, attributes, shapes)
        return {p: element(b, done, 1 + i) for i, p in enumerate(self._carried)}

    def _initial(self, place: int) -> Value:
        value = self._layers.carried[place]
        if value is not None:
            return self._copies[value]
        like = self._layers.first[place]  # nobody reads it before it is made
        return self._b.full(like.shape, 0, like.dtype)

    def _condition(self, shapes: tuple[Shape, ...]) -> HLOComputation:
        made = HLOComputation(_CONDITION)
        state = made.add_parameter((), None, "state", shapes)
        b = HLOBuilder(made)
        end = b.constant(np.int32(self._layers.times), dt.int32)
        made.root = b.compare(element(b, state, 0), end, "LT")
        return made

    def _body(self, shapes: tuple[Shape, ...]) -> HLOComputation:
        made = HLOComputation(_BODY)
        state = made.add_parameter((), None, "state", shapes)
        body = _Body(HLOBuilder(made), state, self._first_word, self._vector)
        b, count = body.b, len(self._carried)
        rest = [element(b, state, i) for i in range(1, len(shapes))]
        body.carried = dict(zip(self._carried, rest))
        body.outside = dict(zip(self._outside, rest[count:]))
        for inst, sources in zip(self._layers.first, self._layers.sources):
            body.add(inst, sources)
        one = b.add(body.number, b.constant(np.int32(1), dt.int32))
        parts = (one, *[body.own[place] for place in self._carried], *rest[count:])
        made.root = b.emit("tuple", parts, (), None, tuple_shapes=shapes)
        return made


class _Body:
    """The body of the loop, as it is written.

    Attributes:
        b: where to.
        number: of the iteration.
        own: what it has made so far, by place.
        carried, outside: what it has of the iteration before, by place, and of what is
            before the loop.
    """

    def __init__(self, b: HLOBuilder, state: Value, word: int, vector: Value) -> None:
        self.b = b
        self.number = element(b, state, 0)
        self.own: list[Value] = []
        self.carried: dict[int, Value] = {}
        self.outside: dict[Value, Value] = {}
        self._first_word, self._vector = word, vector
        self._copied: dict[tuple[Value, ...], Value] = {}

    def add(self, inst: Value, sources: Sequence[Source]) -> None:
        """Append an instruction whose operands are from there."""
        self.b.current_source_location = inst.source_location
        if any(source.by_number for source in sources):
            operands = [
                self.number if s.by_number else self._operand(s) for s in sources
            ]
            inputs = [s.parameters if s.by_number else () for s in sources]
            self.own.append(self._on_inputs(inst, operands, inputs))
            return
        kept = with_operands(inst, [self._operand(source) for source in sources])
        if not sources:  # else it would be in two computations
            kept = self.b.emit(inst.opcode, (), inst.shape, inst.dtype, inst.attributes)
        else:
            self.b.append(kept)
        self.own.append(kept)

    def _on_inputs(
        self,
        call: Value,
        operands: Sequence[Value],
        inputs: Sequence[tuple[Value, ...]],
    ) -> Value:
        words = [
            [self._first_word + p.attributes["parameter_number"] for p in parameters]
            for parameters in inputs
        ]
        likes = [parameters[0] if parameters else None for parameters in inputs]
        given = (*operands, self.outside[self._vector])
        return call_on_inputs(call, given, words, likes, self.b)

    def _operand(self, source: Source) -> Value:
        if source.place >= 0:
            values = self.carried if source.is_carried else self.own
            return values[source.place]
        assert source.value is not None
        if not source.parameters:
            if is_leaf(source.value):
                return self._leaf(source.value, None)
            return self.outside[source.value]
        return self._leaf(source.value, self._parameter(source))

    def _parameter(self, source: Source) -> Value:
        """The one of this iteration."""
        parameters = source.parameters
        if not source.is_chosen:
            return self.outside[parameters[0]]
        if parameters not in self._copied:
            like = parameters[0]
            copy = handler("nkipy_copy", f"elements = {prod(like.shape)} : i64")
            call = HLOInstruction("custom-call", (like,), like.shape, like.dtype, copy)
            made = self._on_inputs(call, [self.number], [parameters])
            self._copied[parameters] = made
        return self._copied[parameters]

    def _leaf(self, value: Value, parameter: Value | None) -> Value:
        """Like a leaf outside, of this parameter."""
        if value.opcode == "parameter":
            assert parameter is not None
            return parameter
        operands = tuple([self._leaf(o, parameter) for o in value.operands])
        return self.b.emit(
            value.opcode, operands, value.shape, value.dtype, value.attributes
        )
