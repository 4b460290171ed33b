"""Writes equal layers of a program as a loop, so that their code is made once.

Layers do the same with parameters of their own, which no loop of HLO's can choose among
without a copy of them. Here, an iteration's number tells handlers which ones they read
(``choose`` in ``operands.h``): they do so where these lie, and small ones are copied.
The same operations are done in the same order, so that values are the same to the bit.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from itertools import count as numbers_from
from math import prod
from typing import NamedTuple

import numpy as np

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOComputation, HLOInstruction, HLOModule, Shape
from nkipy.hlo.opcodes import OPCODES, CostKind
from nkipy.hlo.rewrites.base import element, with_operands
from nkipy.hlo.rewrites.dead_code import eliminate_dead_code
from nkipy.hlo.rewrites.repetition import Run, ValueRow
from nkipy_emulator.array_calls import send_products
from nkipy_emulator.fast_calls import Mode
from nkipy_emulator.handler_calls import call_on_inputs, handler, is_handler_call
from nkipy_emulator.products import has_blas, product_of

Value = HLOInstruction

#: Instructions of all layers that are worth a loop, and of each; how many layers.
_FEWEST = 192
_FEWEST_IN_LAYER = 16
_FEWEST_LAYERS = 3
#: How often an instruction is compared with others before it, so that a long program
#: is not looked through for ever.
_MOST_STEPS = 16
#: Bytes of a parameter that may be copied in each iteration.
_SMALL = 1 << 15

#: Of a product that goes to a handler even if XLA may be faster.
_MOST_MULTIPLICATIONS = 1 << 24

#: What a layer does not consist of: what has effects, or runs other computations.
_KEPT_OUT = frozenset(
    {
        opcode
        for opcode, record in OPCODES.items()
        if record.cost.kind
        in (CostKind.CONTROL, CostKind.COLLECTIVE, CostKind.TUPLE, CostKind.SOURCE)
    }
    | {"custom-call", "opt-barrier", "rng"}
)
#: What is made anew in the loop, of a constant or a parameter alone, and of how many.
_OF_LEAVES = frozenset({"broadcast", "reshape"})
_DEEPEST_LEAF = 8
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
    row = _Row(module)
    runs = list(row.runs()) if len(row.values) >= _FEWEST else []
    if not runs:
        return module
    sent = module
    if mode != "never" and has_blas():
        dots = filter(_is_of_weights, _of_runs(row, runs))
        sent = send_products(module, dots)
        eliminate_dead_code(sent)
        row = _Row(sent)
    for start, end, period in row.runs():
        # Only the first layer may have had what it was given from elsewhere.
        for begin in (start - period, start):
            loop = _Layers.of(row, begin, period, (end - begin) // period)
            if loop is not None:
                return _rolled(sent, row, loop, vector, first)
    return module


def _of_runs(row: _Row, runs: Sequence[Run]) -> Iterator[Value]:
    for start, end, period in runs:
        yield from row.values[start - period : end - (end - start) % period]


def _is_of_weights(inst: Value) -> bool:
    """Whether it is a product that takes little time, with a large parameter."""
    product = product_of(inst) if inst.opcode == "dot" else None
    if product is None or product.multiplications > _MOST_MULTIPLICATIONS:
        return False
    return any(o.opcode == "parameter" and o.nbytes > _SMALL for o in product.operands)


def has_layers(module: HLOModule) -> bool:
    """Whether :func:`roll_layers` has made a loop of it.

    What is left has few loops that are alike.
    """
    return any(c.name.startswith(_BODY) for c in module.computations())


def _base(value: Value) -> Value:
    for _ in range(_DEEPEST_LEAF):
        if value.opcode not in _OF_LEAVES:
            break
        (value,) = value.operands
    return value


def _is_leaf(value: Value) -> bool:
    """Whether it has the elements of a constant or a parameter, and no others."""
    return _base(value).opcode in ("constant", "parameter")


class _Row(ValueRow):
    """The instructions of an entry computation that are no leaves.

    Those are alike that differ in their operands alone.
    """

    def __init__(self, module: HLOModule) -> None:
        self._computations: dict[HLOComputation, Hashable] = {}
        values = [i for i in module.entry.instructions if not _is_leaf(i)]
        super().__init__(values, module.results, self._key)

    def _key(self, position: int, inst: Value) -> Hashable:
        can_be_in = inst.opcode not in _KEPT_OUT or is_handler_call(inst)
        if not can_be_in or inst.tuple_shapes is not None:
            return position
        return self._kind(inst), tuple([(o.dtype, o.shape) for o in inst.operands])

    def _kind(self, inst: Value) -> Hashable:
        given = [(name, self._attribute(v)) for name, v in inst.attributes.items()]
        return inst.opcode, inst.dtype, inst.shape, tuple(sorted(given))

    def _attribute(self, value: object) -> str:
        if isinstance(value, HLOComputation):
            return repr(self._computation(value))
        if isinstance(value, np.ndarray):
            return repr((value.dtype, value.shape, value.tobytes()))
        return repr(value)

    def _computation(self, computation: HLOComputation) -> Hashable:
        if computation not in self._computations:
            instructions = list(computation.instructions)
            places = {inst: i for i, inst in enumerate(instructions)}
            assert computation.root is not None
            self._computations[computation] = (
                places[computation.root],
                tuple(
                    (self._kind(i), tuple([places[o] for o in i.operands]))
                    for i in instructions
                ),
            )
        return self._computations[computation]

    def runs(self) -> Iterator[Run]:
        """Where layers follow each other that are alike, behind the first of them."""
        keys, seen, done = self.keys, 0, 0
        steps = _MOST_STEPS * len(keys)
        for start, end, period in self.again():
            if end <= seen:
                continue
            seen = end
            while start > done + period and keys[start - 1] == keys[start - 1 - period]:
                start -= 1
                steps -= 1
                if steps == 0:
                    return
            while seen < len(keys) and keys[seen] == keys[seen - period]:
                seen += 1
            first = start - period
            layer = self.values[first:start]
            # What is fused is faster than a loop, which is in memory after each layer.
            ends = any(i.opcode == "dot" or is_handler_call(i) for i in layer)
            if first >= done and ends and _is_worth(period, (seen - first) // period):
                yield Run(start, seen, period)
                done = seen


def _is_worth(period: int, times: int) -> bool:
    is_long = period >= _FEWEST_IN_LAYER and period * times >= _FEWEST
    return is_long and times >= _FEWEST_LAYERS


class _Source(NamedTuple):
    """What a layer's instruction has for an operand.

    Attributes:
        place: of a value that a layer makes: which one; else -1.
        is_carried: whether that is the layer's before.
        value: of others: the first layer's; for what is carried, what it begins with.
        parameters: those that it is of, by layer, if it is of a parameter.
        by_number: whether a handler reads one of these where it lies.
    """

    place: int = -1
    is_carried: bool = False
    value: Value | None = None
    parameters: tuple[Value, ...] = ()
    by_number: bool = False

    @property
    def is_chosen(self) -> bool:
        """Whether layers have different parameters."""
        return len(set(self.parameters)) > 1


class _Layers:
    """Equal layers, which can be a loop.

    Attributes:
        first: the instructions of the first layer.
        start, end: their positions, and the one behind the last layer's.
        times: how many layers there are.
        sources: of each instruction's operands.
        carried: places of values that the next layer has, or what follows: what they
            are before the first, if that is read.
    """

    def __init__(self, row: _Row, start: int, period: int, times: int) -> None:
        self._row = row
        self.start, self.period, self.times = start, period, times
        self.end = start + period * times
        self.first = row.values[start : start + period]
        self.sources: list[list[_Source]] = []
        self.carried: dict[int, Value | None] = {}

    @classmethod
    def of(cls, row: _Row, start: int, period: int, times: int) -> _Layers | None:
        """None if they do not only differ in parameters."""
        found = cls(row, start, period, times)
        if not _is_worth(period, times) or not found._ends_are_known():
            return None
        for place in range(period):
            sources = found._sources(place)
            if sources is None:
                return None
            found.sources.append(sources)
        return found

    def _ends_are_known(self) -> bool:
        """Whether what follows reads nothing but what the last layer has made."""
        last = self.end - self.period
        for position in range(self.start, self.end):
            if self._row.last_read.get(self._row.values[position], -1) >= self.end:
                if position < last:
                    return False
                self.carried[position - last] = None
        return True

    def _sources(self, place: int) -> list[_Source] | None:
        layers = self._row.values[self.start + place : self.end : self.period]
        found = []
        for operands in zip(*(inst.operands for inst in layers)):
            source = self._source(operands, layers[0])
            if source is None:
                return None
            found.append(source)
        return found

    def _source(self, operands: tuple[Value, ...], reader: Value) -> _Source | None:
        positions = [self._row.position.get(o) for o in operands]
        if all(position is None for position in positions):
            return self._leaf(operands, reader)
        if all(o is operands[0] for o in operands):
            is_before = positions[0] is not None and positions[0] < self.start
            return _Source(value=operands[0]) if is_before else None
        begins = range(self.start, self.end, self.period)
        places = {
            -self.period - 1 if p is None else p - begin
            for p, begin in zip(positions[1:], begins[1:])
        }
        if len(places) != 1:
            return None
        (place,) = places
        if 0 <= place < self.period and positions[0] == self.start + place:
            return _Source(place)
        first = -1 if positions[0] is None else positions[0]
        if not -self.period <= place < 0 or first >= self.start:
            return None
        place += self.period
        if self.carried.setdefault(place, operands[0]) is None:
            self.carried[place] = operands[0]
        if self.carried[place] is not operands[0]:
            return None
        return _Source(place, True, operands[0])

    def _leaf(self, operands: tuple[Value, ...], reader: Value) -> _Source | None:
        first = operands[0]
        if not all(self._are_alike(first, o) for o in operands):
            return None
        bases = tuple(map(_base, operands))
        if bases[0].opcode == "constant":
            return _Source(value=first)
        by_number = is_handler_call(reader) and first.opcode == "parameter"
        nbytes = bases[0].nbytes
        if nbytes == 0 or (nbytes > _SMALL and not by_number):
            return None  # which may lie nowhere, or would be copied
        return _Source(value=first, parameters=bases, by_number=by_number)

    def _are_alike(self, one: Value, other: Value) -> bool:
        """Whether two leaves are the same, but for a parameter."""
        if one is other:
            return True
        if one.opcode == other.opcode == "parameter":
            return (one.dtype, one.shape) == (other.dtype, other.shape)
        if self._row._kind(one) != self._row._kind(other):
            return False
        return all(map(self._are_alike, one.operands, other.operands))


# -- the copy --------------------------------------------------------------------------
def _rolled(
    module: HLOModule, row: _Row, layers: _Layers, vector: Value, first: int
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
        layers: _Layers,
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
                if not _is_leaf(source.value):
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

    def add(self, inst: Value, sources: Sequence[_Source]) -> None:
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

    def _operand(self, source: _Source) -> Value:
        if source.place >= 0:
            values = self.carried if source.is_carried else self.own
            return values[source.place]
        assert source.value is not None
        if not source.parameters:
            if _is_leaf(source.value):
                return self._leaf(source.value, None)
            return self.outside[source.value]
        return self._leaf(source.value, self._parameter(source))

    def _parameter(self, source: _Source) -> Value:
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
