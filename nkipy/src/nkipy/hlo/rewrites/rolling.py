"""Writes steps that a program repeats as a loop.

``for _ in range(5000): x = x * 0.5 + 0.1`` is traced as ten thousand instructions, and
a compiler takes time for each. Where many in a row are the same steps again, each of
what the one before has made, they become a ``while`` whose body is as many steps as a
compiler fuses well. Constants of one element may differ from step to step: they are
read from a table, by the number of the iteration.

The same operations are done in the same order, so that values are the same to the bit.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from itertools import count
from math import prod
from typing import NamedTuple

import numpy as np

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOComputation, HLOInstruction, HLOModule, Shape
from nkipy.hlo.opcodes import OPCODES, CostKind
from nkipy.hlo.rewrites.base import constant_below, element, with_operands
from nkipy.hlo.rewrites.dead_code import eliminate_dead_code

Value = HLOInstruction

#: Instructions of a body: about as many as a compiler fuses without taking long.
_IN_BODY = 64
#: Instructions that are worth a loop, and how often it runs at least.
_FEWEST = 192
_FEWEST_ITERATIONS = 3
#: The same of steps that move elements: a loop is in memory between its iterations, and
#: each of them goes there for what is moved, so that calls take longer.
_FEWEST_MOVING = 2000
#: Equal instructions in a row, by which steps are taken to begin anew.
_WINDOW = 8
#: How many iterations ago a value that a body reads may have been made.
_MOST_AGES = 4

#: What a loop may consist of. An index may be out of bounds, which is looked at where
#: it is; products and sums are in orders of their own.
_ROLLED = frozenset(
    {
        opcode
        for opcode, record in OPCODES.items()
        if record.cost.kind
        in (CostKind.ELEMENTWISE, CostKind.VIEW, CostKind.TRANSPOSE, CostKind.RENAME)
    }
    | {"concatenate", "pad", "reverse"}
) - {"dynamic-slice", "gather", "rng", "opt-barrier", "parameter"}
_LEAVES = frozenset({"constant", "broadcast", "parameter"})
#: What a number that is not known while compiling does not change the code of.
_TAKE_VARIED = frozenset({"add", "subtract", "multiply", "maximum", "minimum"})


def roll_steps(module: HLOModule) -> HLOModule:
    """`module` with loops for repeated steps; itself if it has none that are long."""
    if not _has_long_row(module):
        return module
    steps = _Steps(module)
    loops = [loop for run in steps.runs() for loop in steps.loops(run)]
    return _rolled(module, steps, loops) if loops else module


def _has_long_row(module: HLOModule) -> bool:
    """Whether so many that can be in a loop come one after the other as it is worth.

    That is not so of most programs, for which no more is done.
    """
    row = 0
    for inst in module.entry.instructions:
        if inst.opcode in _ROLLED:
            row += 1
            if row >= _FEWEST:
                return True
        elif inst.opcode not in _LEAVES:
            row = 0
    return False


class _Run(NamedTuple):
    """Each value from `start` to `end` is made as the one `period` before it is."""

    start: int
    end: int
    period: int


class _Slot(NamedTuple):
    """What an iteration reads of one before: which value of its, and how long ago."""

    place: int
    age: int


class _Loop:
    """A run as a loop.

    Attributes:
        start: the position of the first value that is made in it.
        size: the number of values that an iteration makes.
        period: the number of those of a step.
        count: how many iterations there are.
        slots: the values that one iteration hands to the next.
        varied: the constants that differ, as place in the body and operand.
    """

    def __init__(self, start: int, size: int, period: int, count: int) -> None:
        self.start, self.size, self.period, self.count = start, size, period, count
        self.end = start + size * count
        self.slots: list[_Slot] = []
        self.varied: list[tuple[int, int]] = []

    def slot_of(self, position: int) -> _Slot:
        """How what comes after the loop reads the value at `position` of it."""
        iteration, place = divmod(position - self.start, self.size)
        return _Slot(place, self.count - iteration)


def _is_leaf(inst: Value) -> bool:
    """Whether it is made of a constant alone, and not counted as an instruction."""
    return constant_below(inst) is not None


class _Steps:
    """The values of an entry computation that are no leaves, by their positions.

    Attributes:
        values: these.
        position: of each.
    """

    def __init__(self, module: HLOModule) -> None:
        self.values = [
            i
            for i in module.entry.instructions
            if i.opcode != "parameter" and not _is_leaf(i)
        ]
        self.position = {inst: i for i, inst in enumerate(self.values)}
        self._numbers: dict[Hashable, int] = {}
        self._of_forms: dict[int, Hashable] = {}
        self.keys = [
            self._numbers.setdefault(self._key(i, inst), len(self._numbers))
            for i, inst in enumerate(self.values)
        ]
        #: Of each value, the last position that reads it; one more for results.
        self.last_read: dict[Value, int] = {}
        for i, inst in enumerate(self.values):
            for operand in inst.operands:
                self.last_read[operand] = i
        self.last_read.update(dict.fromkeys(module.results, len(self.values)))

    def _key(self, position: int, inst: Value) -> Hashable:
        """The same for instructions that differ in their operands alone."""
        if inst.opcode not in _ROLLED or inst.tuple_shapes is not None:
            return position
        form = None if inst.form is None else self._of_forms.get(id(inst.form))
        if form is None:
            given = [(n, _attribute(v)) for n, v in inst.attributes.items()]
            form = inst.opcode, inst.dtype, inst.shape, tuple(sorted(given))
            if inst.form is not None:
                self._of_forms[id(inst.form)] = form
        return form, tuple([(o.dtype, o.shape) for o in inst.operands])

    def runs(self) -> Iterator[_Run]:
        """Repetitions, from the first on, that can be loops."""
        last: dict[tuple[int, ...], int] = {}
        keys, done, seen = self.keys, 0, 0
        for i in range(_WINDOW, len(keys) + 1):
            window = tuple(keys[i - _WINDOW : i])
            before = last.get(window)
            last[window] = i
            if before is None or i <= seen or i - _WINDOW < done:
                continue
            period = i - before
            start = self._begin(i - 1, period, max(seen, done + period))
            seen = end = self._end(start, period)
            if end - start >= self._fewest(start, period):
                yield _Run(start, end, period)
                done = end

    def _fewest(self, start: int, period: int) -> int:
        """How many values a loop is worth."""
        kinds = [
            OPCODES[i.opcode].cost.kind for i in self.values[start : start + period]
        ]
        moves = any(kind is not CostKind.ELEMENTWISE for kind in kinds)
        return _FEWEST_MOVING if moves else _FEWEST

    def _begin(self, position: int, period: int, first: int) -> int:
        """From where on, back to `first`, each value is as one before it."""
        while position > first and self._repeats(position - 1, period):
            position -= 1
        return position

    def _end(self, position: int, period: int) -> int:
        """Up to where that is so, and what moves from step to step goes on to move."""
        kinds: dict[int, list[bool]] = {}
        start = position
        while position < len(self.values) and self._repeats(position, period):
            place = (position - start) % period
            operands = self.values[position].operands
            before = self.values[position - period].operands
            moving = [x is not y for x, y in zip(operands, before)]
            moving = [m and o in self.position for m, o in zip(moving, operands)]
            if kinds.setdefault(place, moving) != moving:
                break
            position += 1
        return position

    def _repeats(self, position: int, period: int) -> bool:
        """Whether a value is made as the one `period` before it is."""
        if position < period or self.keys[position] != self.keys[position - period]:
            return False
        inst, before = self.values[position], self.values[position - period]
        for mine, other in zip(inst.operands, before.operands):
            if mine is other:
                continue
            made, other_made = self.position.get(mine), self.position.get(other)
            if made is None:
                if not _is_same_leaf(mine, other, inst.opcode in _TAKE_VARIED):
                    return False
            elif (
                other_made is None
                or made - other_made != period
                or position - made >= _MOST_AGES * period
            ):
                return False
        return True

    def loops(self, run: _Run) -> Iterator[_Loop]:
        """The run as a loop, unless what it makes is read too long afterwards."""
        period = run.period
        size = period * max(1, _IN_BODY // period)
        start = self._behind_invariants(run)
        count = (run.end - start) // size
        if count < _FEWEST_ITERATIONS or count * size < _FEWEST:
            return
        # The rest is done before, where what is read of it is nothing special.
        start += (run.end - start) % size // period * period
        loop = _Loop(start, size, period, count)
        slots = {
            slot
            for place in range(size)
            for number in range(len(self.values[start + place].operands))
            if (slot := self.source(loop, place, number)) is not None and slot.age > 0
        }
        for position in range(start, loop.end):
            if self.last_read.get(self.values[position], -1) >= loop.end:
                slots.add(loop.slot_of(position))
        if max((s.age for s in slots), default=1) > _MOST_AGES:
            return
        slots |= {_Slot(p, a) for p, age in slots for a in range(1, age)}
        loop.slots = sorted(slots)
        loop.varied = self._varied(loop)
        yield loop

    def _behind_invariants(self, run: _Run) -> int:
        """Where the run begins, if what no step changes is to be there before."""
        start = run.start
        for position in range(run.end - run.period, run.end):
            before = self.values[position - run.period].operands
            for mine, other in zip(self.values[position].operands, before):
                while mine is other and start <= self.position.get(mine, -1):
                    start += run.period
        return start

    def source(self, loop: _Loop, place: int, number: int) -> _Slot | None:
        """Where a value of an iteration has an operand from, which moves; else None.

        Its age is 0 if it is of the same iteration.
        """
        position = loop.start + place
        operand = self.values[position].operands[number]
        after = self.values[position + loop.period].operands[number]
        made = self.position.get(operand)
        if made is None or operand is after:
            return None
        iteration, before = divmod(made - loop.start, loop.size)
        return _Slot(before, -iteration)

    def _varied(self, loop: _Loop) -> list[tuple[int, int]]:
        found = []
        for place in range(loop.size):
            first = self.values[loop.start + place]
            if first.opcode not in _TAKE_VARIED:
                continue
            for number, leaf in enumerate(first.operands):
                if leaf in self.position or not _is_leaf(leaf):
                    continue
                others = self.of_place(loop, place)
                if any(
                    not _is_same_leaf(leaf, o.operands[number], False) for o in others
                ):
                    found.append((place, number))
        return found

    def of_place(self, loop: _Loop, place: int) -> Sequence[Value]:
        """The values of one place, by iteration."""
        return self.values[loop.start + place : loop.end : loop.size]


def _attribute(value: object) -> Hashable:
    if isinstance(value, HLOComputation):
        return id(value)
    return repr(value)


def _is_same_leaf(x: Value, y: Value, may_vary: bool) -> bool:
    """Whether two values that are no steps are the same, but for a number."""
    if x is y:
        return True
    if x.opcode != y.opcode or x.shape != y.shape or x.dtype != y.dtype:
        return False
    if x.opcode == "constant":
        one, other = x.attributes["literal"], y.attributes["literal"]
        if may_vary and one.size == 1 and dt.is_float(one.dtype):
            return True
        return one.tobytes() == other.tobytes()
    if x.opcode == "parameter" or len(x.operands) != len(y.operands):
        return False
    if {n: _attribute(v) for n, v in x.attributes.items()} != {
        n: _attribute(v) for n, v in y.attributes.items()
    }:
        return False
    return all(_is_same_leaf(a, b, may_vary) for a, b in zip(x.operands, y.operands))


# -- the copy --------------------------------------------------------------------------
def _rolled(module: HLOModule, steps: _Steps, loops: list[_Loop]) -> HLOModule:
    made = HLOModule(module.name)
    made.entry.parameters = list(module.parameters)
    b = HLOBuilder(made.entry)
    values: dict[Value, Value] = {}
    taken = {computation.name for computation in module.computations()}
    pending = iter([*loops, None])
    loop = next(pending)
    for inst in module.entry.instructions:
        position = steps.position.get(inst, -1)
        if loop is not None and position >= loop.start:
            if position == loop.end - 1:
                b.current_source_location = inst.source_location
                _Body(steps, loop, b, values).emit(taken)
                loop = next(pending)
            continue
        values[inst] = kept = with_operands(inst, [values[o] for o in inst.operands])
        made.entry.instructions.append(kept)
    made.set_results([values[r] for r in module.results], module.output_names)
    made.aliases = list(module.aliases)
    eliminate_dead_code(made)
    return made


class _Body:
    """One loop, as it is written."""

    def __init__(
        self, steps: _Steps, loop: _Loop, b: HLOBuilder, values: dict[Value, Value]
    ) -> None:
        self.steps, self.loop, self.b, self.values = steps, loop, b, values
        self.first = steps.values[loop.start : loop.start + loop.size]
        #: What is before the loop and the same for each iteration.
        self.invariants = list(dict.fromkeys(self._invariants()))

    def _invariants(self) -> Iterator[Value]:
        for place, inst in enumerate(self.first):
            for number, operand in enumerate(inst.operands):
                source = self.steps.source(self.loop, place, number)
                if source is None and not _is_leaf(operand):
                    yield operand

    def emit(self, taken: set[str]) -> None:
        """Append the loop, and enter the values that what follows reads of it.

        Names of computations that are taken are not used, and those used are added.
        """
        loop, b = self.loop, self.b
        counter = b.constant(np.int32(0), dt.int32)
        initial = [counter, *map(self._initial, loop.slots)]
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
        for position in range(loop.start, loop.end):
            value = self.steps.values[position]
            if self.steps.last_read.get(value, -1) >= loop.end:
                number = numbers[loop.slot_of(position)]
                self.values[value] = element(b, done, number)

    def _initial(self, slot: _Slot) -> Value:
        """What stands for a value of an iteration before the first."""
        like = self.first[slot.place]
        position = self.loop.start + slot.place - slot.age * self.loop.size
        if position >= 0:
            value = self.steps.values[position]
            if (value.shape, value.dtype) == (like.shape, like.dtype):
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
        outside = dict(zip(self.invariants, rest[len(loop.slots) :]))
        numbers = self._numbers(b, counter)
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
                elif _is_leaf(operand):
                    scalar = numbers.get((place, number))
                    operands.append(_leaf(b, operand, inside, scalar))
                else:
                    operands.append(outside[operand])
            kept = with_operands(inst, operands)
            b.append(kept)
            own.append(kept)
        one = b.add(counter, b.constant(np.int32(1), dt.int32))
        after = [
            own[place] if age == 1 else carried[_Slot(place, age - 1)]
            for place, age in loop.slots
        ]
        parts = (one, *after, *outside.values())
        made.root = b.emit("tuple", parts, (), None, tuple_shapes=shapes)
        return made

    def _numbers(self, b: HLOBuilder, counter: Value) -> dict[tuple[int, int], Value]:
        """The constants that differ, of one iteration."""
        loop = self.loop
        columns: dict[np.dtype, list[tuple[tuple[int, int], np.ndarray]]] = {}
        for place, number in loop.varied:
            leaves = [i.operands[number] for i in self.steps.of_place(loop, place)]
            literals = [_literal(leaf) for leaf in leaves]
            column = np.array([literal.reshape(()) for literal in literals])
            columns.setdefault(literals[0].dtype, []).append(((place, number), column))
        found: dict[tuple[int, int], Value] = {}
        for dtype, given in columns.items():
            table = np.stack([column for _, column in given], 1).astype(dtype)
            zero = b.constant(np.int32(0), dt.int32)
            row = b.dynamic_slice(
                b.constant(table, dtype), (counter, zero), (1, len(given))
            )
            for i, (key, _) in enumerate(given):
                found[key] = b.reshape(b.slice(row, (0, i), (1, i + 1)), ())
        return found


def _literal(leaf: Value) -> np.ndarray:
    constant = constant_below(leaf)
    assert constant is not None
    return constant.attributes["literal"]


def _leaf(
    b: HLOBuilder,
    leaf: Value,
    inside: dict[Value, Value],
    number: Value | None = None,
) -> Value:
    """A leaf in the body, of another number if that is given."""
    if number is not None:
        if prod(leaf.shape) == 1 and leaf.opcode == "constant":
            return b.reshape(number, leaf.shape)
        (operand,) = leaf.operands or (None,)
        assert operand is not None
        below = _leaf(b, operand, inside, number)
        made = with_operands(leaf, [below])
        b.append(made)
        return made
    if leaf not in inside:
        if leaf.opcode == "constant":
            made = b.emit("constant", (), leaf.shape, leaf.dtype, leaf.attributes)
        else:
            operands = [_leaf(b, o, inside) for o in leaf.operands]
            made = with_operands(leaf, operands)
            b.append(made)
        inside[leaf] = made
    return inside[leaf]
