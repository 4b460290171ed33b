"""Finds equal layers of a program, which do the same with parameters of their own.

:mod:`nkipy_emulator.layers` makes a loop of what is found here.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import NamedTuple

import numpy as np

from nkipy.hlo.ir import HLOComputation, HLOInstruction, HLOModule
from nkipy.hlo.opcodes import OPCODES, CostKind
from nkipy.hlo.rewrites.repetition import Run, ValueRow
from nkipy_emulator.handler_calls import is_handler_call

Value = HLOInstruction

#: Instructions of all layers that are worth a loop, and of each; how many layers.
FEWEST = 192
_FEWEST_IN_LAYER = 16
_FEWEST_LAYERS = 3
#: How often an instruction is compared with others before it, so that a long program
#: is not looked through for ever.
_MOST_STEPS = 16
#: Bytes of a parameter that may be copied in each iteration.
SMALL = 1 << 15

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


def _base(value: Value) -> Value:
    for _ in range(_DEEPEST_LEAF):
        if value.opcode not in _OF_LEAVES:
            break
        (value,) = value.operands
    return value


def is_leaf(value: Value) -> bool:
    """Whether it has the elements of a constant or a parameter, and no others."""
    return _base(value).opcode in ("constant", "parameter")


class LayerRow(ValueRow):
    """The instructions of an entry computation that are no leaves.

    Those are alike that differ in their operands alone.
    """

    def __init__(self, module: HLOModule) -> None:
        self._computations: dict[HLOComputation, Hashable] = {}
        values = [i for i in module.entry.instructions if not is_leaf(i)]
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
    is_long = period >= _FEWEST_IN_LAYER and period * times >= FEWEST
    return is_long and times >= _FEWEST_LAYERS


class Source(NamedTuple):
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


class Layers:
    """Equal layers, which can be a loop.

    Attributes:
        first: the instructions of the first layer.
        start, end: their positions, and the one behind the last layer's.
        times: how many layers there are.
        sources: of each instruction's operands.
        carried: places of values that the next layer has, or what follows: what they
            are before the first, if that is read.
    """

    def __init__(self, row: LayerRow, start: int, period: int, times: int) -> None:
        self._row = row
        self.start, self.period, self.times = start, period, times
        self.end = start + period * times
        self.first = row.values[start : start + period]
        self.sources: list[list[Source]] = []
        self.carried: dict[int, Value | None] = {}

    @classmethod
    def of(cls, row: LayerRow, start: int, period: int, times: int) -> Layers | None:
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

    def _sources(self, place: int) -> list[Source] | None:
        layers = self._row.values[self.start + place : self.end : self.period]
        found = []
        for operands in zip(*(inst.operands for inst in layers)):
            source = self._source(operands, layers[0])
            if source is None:
                return None
            found.append(source)
        return found

    def _source(self, operands: tuple[Value, ...], reader: Value) -> Source | None:
        positions = [self._row.position.get(o) for o in operands]
        if all(position is None for position in positions):
            return self._leaf(operands, reader)
        if all(o is operands[0] for o in operands):
            is_before = positions[0] is not None and positions[0] < self.start
            return Source(value=operands[0]) if is_before else None
        begins = range(self.start, self.end, self.period)
        places = {
            -self.period - 1 if p is None else p - begin
            for p, begin in zip(positions[1:], begins[1:])
        }
        if len(places) != 1:
            return None
        (place,) = places
        if 0 <= place < self.period and positions[0] == self.start + place:
            return Source(place)
        first = -1 if positions[0] is None else positions[0]
        if not -self.period <= place < 0 or first >= self.start:
            return None
        place += self.period
        if self.carried.setdefault(place, operands[0]) is None:
            self.carried[place] = operands[0]
        if self.carried[place] is not operands[0]:
            return None
        return Source(place, True, operands[0])

    def _leaf(self, operands: tuple[Value, ...], reader: Value) -> Source | None:
        first = operands[0]
        if not all(self._are_alike(first, o) for o in operands):
            return None
        bases = tuple(map(_base, operands))
        if bases[0].opcode == "constant":
            return Source(value=first)
        by_number = is_handler_call(reader) and first.opcode == "parameter"
        nbytes = bases[0].nbytes
        if nbytes == 0 or (nbytes > SMALL and not by_number):
            return None  # which may lie nowhere, or would be copied
        return Source(value=first, parameters=bases, by_number=by_number)

    def _are_alike(self, one: Value, other: Value) -> bool:
        """Whether two leaves are the same, but for a parameter."""
        if one is other:
            return True
        if one.opcode == other.opcode == "parameter":
            return (one.dtype, one.shape) == (other.dtype, other.shape)
        if self._row._kind(one) != self._row._kind(other):
            return False
        return all(map(self._are_alike, one.operands, other.operands))
