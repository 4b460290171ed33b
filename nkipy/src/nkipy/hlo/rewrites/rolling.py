"""Writes steps that a program repeats as a loop.

``for _ in range(5000): x = x * 0.5 + 0.1`` is traced as ten thousand instructions, and
a compiler takes time for each. Where many in a row are the same steps again
(:mod:`nkipy.hlo.rewrites.repeated_steps`), they become a ``while`` whose body is as
many steps as a compiler fuses well. Constants may differ from step to step, and where
slices and stores begin: they are read from tables, by the number of the iteration. What
each iteration makes for readers behind the loop is stored into one array.

The same operations are done in the same order, so that values are the same to the bit;
but for the terms of sums, which a compiler may add in another order in a loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOComputation, HLOInstruction, HLOModule, Shape
from nkipy.hlo.rewrites.base import constant_below, element, with_operands
from nkipy.hlo.rewrites.dead_code import eliminate_dead_code
from nkipy.hlo.rewrites.repeated_steps import Loop, Slot, Steps, has_long_row, is_leaf

Value = HLOInstruction
#: What differs: an operand of a place in the body, or where a slice begins along an
#: axis, which has the number ``-1 - axis``.
_Varied = tuple[int, int]


def roll_steps(module: HLOModule, check_bounds: bool = False) -> HLOModule:
    """`module` with loops for repeated steps; itself if it has none that are long.

    With `check_bounds`, indices that may be out of bounds stay where they are: what is
    in a loop is not looked at (:mod:`nkipy.hlo.rewrites.bounds`).
    """
    if not has_long_row(module):
        return module
    steps = Steps(module, check_bounds)
    loops = [loop for run in steps.runs() for loop in steps.loops(run)]
    if not loops:
        return module
    # What is read of each step is of one array now, and its readers may be steps too.
    return roll_steps(_rolled(module, steps, loops), check_bounds)


class _Part(NamedTuple):
    """One step's part of an array that has those of all in its first axis."""

    all: Value
    step: int


Parts = dict[Value, _Part]


def _rolled(module: HLOModule, steps: Steps, loops: list[Loop]) -> HLOModule:
    made = HLOModule(module.name)
    made.entry.parameters = list(module.parameters)
    b = HLOBuilder(made.entry)
    values: dict[Value, Value] = {}
    parts: Parts = {}
    taken = {computation.name for computation in module.computations()}
    pending = iter([*loops, None])
    loop = next(pending)
    for inst in steps.instructions:
        position = steps.position.get(inst, -1)
        if loop is not None and position >= loop.start:
            if position == loop.end - 1:
                b.current_source_location = inst.source_location
                _Body(steps, loop, b, values, parts).emit(taken)
                loop = next(pending)
            continue
        if inst.opcode == "reshape" and inst.operands[0] in parts:
            parts[inst] = parts[inst.operands[0]]
        if inst.opcode == "concatenate" and parts:
            pieces = _pieces(b, inst, values, parts)
            values[inst] = b.concatenate(pieces, inst.attributes["dimension"])
            continue
        values[inst] = kept = with_operands(inst, [values[o] for o in inst.operands])
        made.entry.instructions.append(kept)
    made.set_results([values[r] for r in module.results], module.output_names)
    made.aliases = list(module.aliases)
    eliminate_dead_code(made)
    return made


def _pieces(
    b: HLOBuilder, inst: Value, values: dict[Value, Value], parts: Parts
) -> list[Value]:
    """What a concatenation joins: parts of consecutive steps are one piece."""
    axis, pieces = inst.attributes["dimension"], []
    for run in _consecutive(inst.operands, parts):
        shape, n = run[0].shape, len(run)
        if n == 1:
            pieces.append(values[run[0]])
            continue
        first, last = sorted((parts[run[0]], parts[run[-1]]), key=lambda p: p.step)
        rows = b.slice_dim(first.all, 0, first.step, last.step + 1)
        if parts[run[0]] is last:
            rows = b.reverse(rows, (0,))
        rows = b.reshape(rows, (n, *shape))
        order = [*range(1, axis + 1), 0, *range(axis + 1, len(shape) + 1)]
        joined = (*shape[:axis], n * shape[axis], *shape[axis + 1 :])
        pieces.append(b.reshape(b.transpose(rows, order), joined))
    return pieces


def _consecutive(operands: Sequence[Value], parts: Parts) -> list[list[Value]]:
    """Operands that are of one step after the other, or the other way round."""
    runs: list[list[Value]] = []
    direction = 0
    for operand in operands:
        part, last = parts.get(operand), parts.get(runs[-1][-1]) if runs else None
        step = 0
        if part is not None and last is not None and part.all is last.all:
            step = part.step - last.step
        if step in (1, -1) and (len(runs[-1]) == 1 or step == direction):
            runs[-1].append(operand)
            direction = step
        else:
            runs.append([operand])
    return runs


class _Body:
    """One loop, as it is written."""

    def __init__(
        self,
        steps: Steps,
        loop: Loop,
        b: HLOBuilder,
        values: dict[Value, Value],
        parts: Parts,
    ) -> None:
        self.steps, self.loop, self.b, self.values = steps, loop, b, values
        self.parts = parts
        self.first = steps.values[loop.start : loop.start + loop.size]
        #: What is before the loop and the same for each iteration.
        self.invariants = list(dict.fromkeys(self._invariants()))

    def _invariants(self) -> Iterator[Value]:
        for place, inst in enumerate(self.first):
            for number, operand in enumerate(inst.operands):
                source = self.steps.source(self.loop, place, number)
                if source is None and not is_leaf(operand):
                    yield operand

    def emit(self, taken: set[str]) -> None:
        """Append the loop, and enter the values that what follows reads of it.

        Names of computations that are taken are not used, and those used are added.
        """
        loop, b = self.loop, self.b
        counter = b.constant(np.int32(0), dt.int32)
        initial = [counter, *map(self._initial, loop.slots)]
        initial += map(self._room, loop.collected)
        initial += [self.values[i] for i in self.invariants]
        shapes = tuple([Shape(v.dtype, v.shape) for v in initial])
        state = b.emit("tuple", tuple(initial), (), None, tuple_shapes=shapes)
        attributes = {"body": self._body(shapes), "condition": self._condition(shapes)}
        for kind, computation in attributes.items():
            number = next(n for n in count() if f"steps_{kind}_{n}" not in taken)
            computation.name = f"steps_{kind}_{number}"
            taken.add(computation.name)
        done = b.emit("while", (state,), (), None, attributes, shapes)
        numbers = {slot: 1 + i for i, slot in enumerate(loop.slots)}
        first = 1 + len(loop.slots)
        collected = {
            place: element(b, done, first + i) for i, place in enumerate(loop.collected)
        }
        for position in range(loop.start, loop.end):
            value = self.steps.values[position]
            if self.steps.last_read.get(value, -1) < loop.end:
                continue
            step, place = divmod(position - loop.start, loop.period)
            if place in collected:
                part = self.parts[value] = _Part(collected[place], step)
                row = b.slice_dim(part.all, 0, step, step + 1)
                self.values[value] = b.reshape(row, value.shape)
            else:
                self.values[value] = element(b, done, numbers[loop.slot_of(position)])

    def _room(self, place: int) -> Value:
        """An array for the values of a place, of all steps."""
        like = self.first[place]
        assert like.dtype is not None
        count = self.loop.count * self.loop.steps
        return self.b.full((count, *like.shape), 0, like.dtype)

    def _initial(self, slot: Slot) -> Value:
        """What stands for a value of an iteration before the first."""
        like = self.first[slot.place]
        position = self.loop.start + slot.place - slot.age * self.loop.size
        if position >= 0:
            value = self.steps.values[position]
            # Of a loop before, there is what has readers behind it, and nothing else.
            is_there = value in self.values
            if is_there and (value.shape, value.dtype) == (like.shape, like.dtype):
                return self.values[value]
        # Nobody reads it before it is made.
        assert like.dtype is not None
        return self.b.full(like.shape, 0, like.dtype)

    def _condition(self, shapes: tuple[Shape, ...]) -> HLOComputation:
        made = HLOComputation("steps_condition")
        state = made.add_parameter((), None, "state", shapes)
        b = HLOBuilder(made)
        end = b.constant(np.int32(self.loop.count), dt.int32)
        made.root = b.compare(element(b, state, 0), end, "LT")
        return made

    def _body(self, shapes: tuple[Shape, ...]) -> HLOComputation:
        made = HLOComputation("steps_body")
        state = made.add_parameter((), None, "state", shapes)
        b, loop = HLOBuilder(made), self.loop
        counter, *rest = [element(b, state, i) for i in range(len(shapes))]
        carried = dict(zip(loop.slots, rest))
        rooms = rest[len(loop.slots) :][: len(loop.collected)]
        outside = dict(zip(self.invariants, rest[len(loop.slots) + len(rooms) :]))
        differing = self._differing(b, counter)
        inside: dict[Value, Value] = {}
        own: list[Value] = []
        for place, inst in enumerate(self.first):
            b.current_source_location = inst.source_location
            operands = []
            for number, operand in enumerate(inst.operands):
                slot = self.steps.source(loop, place, number)
                if slot is not None:
                    of_slot = own[slot.place] if slot.age == 0 else carried[slot]
                    operands.append(of_slot)
                elif is_leaf(operand):
                    other = differing.get((place, number))
                    operands.append(_leaf(b, operand, inside, other))
                else:
                    operands.append(outside[operand])
            if place in loop.moved:
                own.append(_slice_at(b, inst, operands[0], place, differing))
                continue
            kept = with_operands(inst, operands)
            b.append(kept)
            own.append(kept)
        one = b.add(counter, b.constant(np.int32(1), dt.int32))
        after = [
            own[place] if age == 1 else carried[Slot(place, age - 1)]
            for place, age in loop.slots
        ]
        first = b.multiply(counter, b.constant(np.int32(loop.steps), dt.int32))
        stored = []
        for place, room in zip(loop.collected, rooms):
            for step in range(loop.steps):
                value = own[step * loop.period + place]
                at = b.add(first, b.constant(np.int32(step), dt.int32))
                room = _stored_at(b, room, value, at)
            stored.append(room)
        parts = (one, *after, *stored, *outside.values())
        made.root = b.emit("tuple", parts, (), None, tuple_shapes=shapes)
        return made

    def _differing(self, b: HLOBuilder, counter: Value) -> dict[_Varied, Value]:
        """What differs from iteration to iteration, of this one."""
        columns: dict[tuple[np.dtype, tuple[int, ...]], dict[_Varied, np.ndarray]] = {}
        for key, column in self._columns():
            of_kind = columns.setdefault((column.dtype, column.shape[1:]), {})
            of_kind[key] = column
        found: dict[_Varied, Value] = {}
        zero = b.constant(np.int32(0), dt.int32)
        for (dtype, shape), given in columns.items():
            table = b.constant(np.stack([*given.values()], 1), dtype)
            starts = (counter, *[zero] * (1 + len(shape)))
            row = b.dynamic_slice(table, starts, (1, len(given), *shape))
            for i, key in enumerate(given):
                found[key] = b.reshape(b.slice_dim(row, 1, i, i + 1), shape)
        return found

    def _columns(self) -> Iterator[tuple[_Varied, np.ndarray]]:
        """What differs, and its values by iteration."""
        for place, number in self.loop.varied:
            leaves = [i.operands[number] for i in self.steps.of_place(self.loop, place)]
            literals = [_literal(leaf) for leaf in leaves]
            if literals[0].size == 1:
                literals = [literal.reshape(()) for literal in literals]
            yield (place, number), np.stack(literals)
        for place in self.loop.moved:
            slices = self.steps.of_place(self.loop, place)
            starts = np.array([i.attributes["starts"] for i in slices], np.int32)
            for axis, column in enumerate(starts.T):
                if (column != column[0]).any():
                    yield (place, -1 - axis), column


def _slice_at(
    b: HLOBuilder,
    inst: Value,
    x: Value,
    place: int,
    differing: dict[_Varied, Value],
) -> Value:
    """A slice that begins where the table says."""
    strides, starts = inst.attributes["strides"], []
    for axis, start in enumerate(inst.attributes["starts"]):
        fixed = differing.get((place, -1 - axis))
        starts.append(b.constant(np.int32(start), dt.int32) if fixed is None else fixed)
    sizes = [(n - 1) * stride + 1 for n, stride in zip(inst.shape, strides)]
    window = b.dynamic_slice(x, starts, sizes)
    return b.slice(window, [0] * len(sizes), sizes, strides)


def _stored_at(b: HLOBuilder, room: Value, value: Value, at: Value) -> Value:
    """`room` with a value in a row of its first axis."""
    zero = b.constant(np.int32(0), dt.int32)
    starts = (at, *[zero] * len(value.shape))
    return b.dynamic_update_slice(room, b.reshape(value, (1, *value.shape)), starts)


def _literal(leaf: Value) -> np.ndarray:
    constant = constant_below(leaf)
    assert constant is not None
    return constant.attributes["literal"]


def _leaf(
    b: HLOBuilder,
    leaf: Value,
    inside: dict[Value, Value],
    other: Value | None = None,
) -> Value:
    """A leaf in the body, of another constant if that is given."""
    if other is not None:
        if leaf.opcode == "constant":
            return b.reshape(other, leaf.shape)
        (operand,) = leaf.operands
        below = _leaf(b, operand, inside, other)
        made = with_operands(leaf, [below])
        b.append(made)
        return made
    if leaf not in inside:
        operands = tuple([_leaf(b, o, inside) for o in leaf.operands])
        inside[leaf] = b.emit(
            leaf.opcode, operands, leaf.shape, leaf.dtype, leaf.attributes
        )
    return inside[leaf]
