"""Finds steps that a program repeats, each of what the one before has made.

``for _ in range(5000): x = x * 0.5 + 0.1`` is traced as ten thousand instructions.
:mod:`nkipy.hlo.rewrites.rolling` makes a loop of what is found here. From step to step
may differ: constants, and where slices and stores begin.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import accumulate
from math import prod
from typing import NamedTuple

import numpy as np

from nkipy.hlo import dtypes as dt
from nkipy.hlo.ir import HLOComputation, HLOInstruction, HLOModule
from nkipy.hlo.opcodes import OPCODES, CostKind
from nkipy.hlo.rewrites.base import literal_below
from nkipy.hlo.rewrites.repetition import Run, ValueRow

Value = HLOInstruction

#: Instructions of a body: about as many as a compiler fuses without taking long.
_IN_BODY = 64
#: Instructions that are worth a loop, and how often it runs at least.
_FEWEST = 192
_FEWEST_ITERATIONS = 3
#: The same of steps that move elements: a loop is in memory between its iterations, and
#: each of them goes there for what is moved, so that calls take longer.
_FEWEST_MOVING = 2000
#: If no step makes an array of more than so many elements, calls take little time.
_FEWEST_MOVING_SMALL = 192
_MOST_SMALL = 4096
#: Instructions of code of their own, such as sums and products, of a body, and those
#: that are worth a loop whatever is moved: a compiler takes milliseconds for each.
_HEAVY_IN_BODY = 4
_FEWEST_HEAVY = 32
#: How many iterations ago a value that a body reads may have been made.
_MOST_AGES = 4
#: Bytes of what all iterations of a loop make, where that is read after the loop.
_MOST_COLLECTED = 1 << 28
#: Bytes of constants that differ, which are in the code of a loop.
_MOST_VARIED = 1 << 22

#: What is not fused with others.
_HEAVY = frozenset(
    {
        *(CostKind.REDUCE, CostKind.WINDOW, CostKind.SORT),
        *(CostKind.DOT, CostKind.CONVOLUTION, CostKind.FACTOR),
    }
)
_INDEXED = frozenset({"dynamic-slice", "dynamic-update-slice", "gather", "scatter"})
#: What a loop may consist of.
_ROLLED = frozenset(
    {
        opcode
        for opcode, record in OPCODES.items()
        if record.cost.kind
        in (
            *(CostKind.ELEMENTWISE, CostKind.VIEW, CostKind.TRANSPOSE, CostKind.RENAME),
            *(CostKind.MOVE, *_HEAVY),
        )
    }
    | {"get-tuple-element"}
) - {"rng", "opt-barrier", "parameter", "iota"}
_LEAVES = frozenset({"constant", "broadcast", "parameter", "iota"})
#: What a constant that is not known while compiling does not change the values of.
_TAKE_VARIED = frozenset(
    {
        *("add", "subtract", "multiply", "maximum", "minimum", "compare", "select"),
        *("and", "or", "xor", "concatenate", "dot"),
    }
)
#: What goes directly before what reads it.
_LATE = frozenset({"slice", "reshape", "broadcast"})
#: Where the operands begin that say where an instruction reads or stores.
_FIRST_START = {"dynamic-slice": 1, "dynamic-update-slice": 2}


def has_long_row(module: HLOModule) -> bool:
    """Whether so many that can be in a loop come one after the other as it is worth.

    That is not so of most programs, for which no more is done.
    """
    row = heavy = 0
    for inst in module.entry.instructions:
        if inst.opcode in _ROLLED:
            row += 1
            heavy += _is_heavy(inst)
            if row >= _FEWEST or heavy >= _FEWEST_HEAVY:
                return True
        elif inst.opcode not in _LEAVES:
            row = heavy = 0
    return False


def _is_heavy(inst: Value) -> bool:
    return OPCODES[inst.opcode].cost.kind in _HEAVY


def _is_moving(inst: Value) -> bool:
    return OPCODES[inst.opcode].cost.kind is not CostKind.ELEMENTWISE


def _counts(found: Iterable[bool]) -> list[int]:
    """How many are true of those before each place, and of all."""
    return list(accumulate(found, initial=0))


def _between(counts: Sequence[int], start: int, end: int) -> int:
    """How many there are from `start` to `end`, or to the end of all."""
    return counts[min(end, len(counts) - 1)] - counts[start]


class Slot(NamedTuple):
    """What an iteration reads of one before: which value of its, and how long ago."""

    place: int
    age: int


class Loop:
    """A run as a loop.

    Attributes:
        start: the position of the first value that is made in it.
        size: the number of values that an iteration makes.
        period: the number of those of a step.
        count: how many iterations there are.
        slots: the values that one iteration hands to the next.
        collected: the places in a step of values that are kept of all steps, to be
            read after the loop.
        varied: the constants that differ, as place in the body and operand.
        moved: the places of slices that begin elsewhere in other iterations.
    """

    def __init__(self, start: int, size: int, period: int, count: int) -> None:
        self.start, self.size, self.period, self.count = start, size, period, count
        self.end = start + size * count
        self.slots: list[Slot] = []
        self.collected: list[int] = []
        self.varied: list[tuple[int, int]] = []
        self.moved: list[int] = []

    @property
    def steps(self) -> int:
        """How many an iteration makes."""
        return self.size // self.period

    def slot_of(self, position: int) -> Slot:
        """How what comes after the loop reads the value at `position` of it."""
        iteration, place = divmod(position - self.start, self.size)
        return Slot(place, self.count - iteration)


def is_leaf(inst: Value) -> bool:
    """Whether it is made of one constant or of none, and is no step for itself."""
    while inst.opcode in ("broadcast", "reshape"):
        (inst,) = inst.operands
    return inst.opcode in ("constant", "iota")


class Steps(ValueRow):
    """The values of an entry computation that are no leaves, by their positions.

    Attributes:
        instructions: those of the computation, each slice directly before what reads it
            first: programs that take an array apart do so before the steps.
        values: those of them that are no leaves.
    """

    def __init__(self, module: HLOModule, check_bounds: bool = False) -> None:
        self.instructions = _moved_to_readers(module)
        self._check_bounds = check_bounds
        self._of_forms: dict[int, Hashable] = {}
        values = [
            i for i in self.instructions if i.opcode != "parameter" and not is_leaf(i)
        ]
        super().__init__(values, module.results, self._key)
        #: Of how many values before each position it is so: what a step is like is
        #: asked of many that may begin in the same place.
        self._heavy_before = _counts(map(_is_heavy, self.values))
        self._moving_before = _counts(map(_is_moving, self.values))

    def _key(self, position: int, inst: Value) -> Hashable:
        """The same for instructions that differ in what may differ alone."""
        if inst.opcode not in _ROLLED:
            return position
        if self._check_bounds and inst.opcode in _INDEXED and not _is_within(inst):
            return position  # it is looked at where it is
        form = None if inst.form is None else self._of_forms.get(id(inst.form))
        if form is None:
            given = [
                (n, _attribute(v))
                for n, v in inst.attributes.items()
                if inst.opcode != "slice" or n == "strides"
            ]
            results = inst.tuple_shapes
            form = inst.opcode, inst.dtype, inst.shape, results, tuple(sorted(given))
            if inst.form is not None:
                self._of_forms[id(inst.form)] = form
        return form, tuple([(o.dtype, o.shape) for o in inst.operands])

    def runs(self) -> Iterator[Run]:
        """Repetitions, from the first on, that can be loops."""
        done = seen = 0
        for again in self.again():
            if again.end <= seen or again.start < done:
                continue
            period = again.period
            start = self._begin(again.end - 1, period, max(seen, done + period))
            seen = end = self._end(start, period)
            if self._is_worth(start, period, end - start):
                yield Run(start, end, period)
                done = end

    def _heavy(self, start: int, size: int) -> int:
        return _between(self._heavy_before, start, start + size)

    def _is_worth(self, start: int, period: int, length: int) -> bool:
        """Whether so many values are worth a loop."""
        heavy = self._heavy(start, period)
        if heavy * (length // period) >= _FEWEST_HEAVY:
            return True
        end = start + period
        moves = _between(self._moving_before, start, end)
        if heavy or not moves:
            return length >= _FEWEST
        if length < min(_FEWEST_MOVING, _FEWEST_MOVING_SMALL):
            return False
        step = self.values[start:end]
        is_small = all(prod(inst.shape) <= _MOST_SMALL for inst in step)
        return length >= (_FEWEST_MOVING_SMALL if is_small else _FEWEST_MOVING)

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
        for number, (mine, other) in enumerate(zip(inst.operands, before.operands)):
            if mine is other:
                continue
            made, other_made = self.position.get(mine), self.position.get(other)
            if made is None:
                if not _is_same_leaf(mine, other, _may_vary(inst, number)):
                    return False
            elif (
                other_made is None
                or made - other_made != period
                or position - made >= _MOST_AGES * period
            ):
                return False
        return True

    def loops(self, run: Run) -> Iterator[Loop]:
        """The run as a loop, unless what it makes is read too long afterwards."""
        period = run.period
        heavy = self._heavy(run.start, period)
        steps = _IN_BODY // period
        if heavy:
            steps = min(steps, _HEAVY_IN_BODY // heavy)
        size = period * max(1, steps)
        start = self._between_tuples(self._behind_invariants(run), run)
        count = (run.end - start) // size
        if count < _FEWEST_ITERATIONS or not self._is_worth(
            start, period, count * size
        ):
            return
        # The rest is done before, where what is read of it is nothing special.
        start += (run.end - start) % size // period * period
        loop = Loop(start, size, period, count)
        slots = {
            slot
            for place in range(size)
            for number in range(len(self.values[start + place].operands))
            if (slot := self.source(loop, place, number)) is not None and slot.age > 0
        }
        read = [
            loop.slot_of(position)
            for position in range(start, loop.end)
            if self.last_read.get(self.values[position], -1) >= loop.end
        ]
        collected = {s.place % period for s in read if s.age > _MOST_AGES}
        slots |= {slot for slot in read if slot.place % period not in collected}
        slots |= {Slot(p, a) for p, age in slots for a in range(1, age)}
        loop.slots, loop.collected = sorted(slots), sorted(collected)
        loop.varied, loop.moved = self._varied(loop), self._moved(loop)
        if self._can_hold(loop):
            yield loop

    def _can_hold(self, loop: Loop) -> bool:
        """Whether a state, memory and code can have what a loop is to have."""
        places = [*loop.collected, *(slot.place for slot in loop.slots)]
        if any(self.values[loop.start + p].tuple_shapes for p in places):
            return False
        if max((slot.age for slot in loop.slots), default=1) > _MOST_AGES:
            return False
        for place in range(loop.size):
            for number, operand in enumerate(self.values[loop.start + place].operands):
                is_own = self.source(loop, place, number) is not None
                if operand.tuple_shapes is not None and not is_own:
                    return False
        sizes = [self.values[loop.start + p].nbytes for p in loop.collected]
        tables = [self._literal(loop, *varied).nbytes for varied in loop.varied]
        return (
            loop.count * loop.steps * sum(sizes) <= _MOST_COLLECTED
            and loop.count * sum(tables) <= _MOST_VARIED
        )

    def _literal(self, loop: Loop, place: int, number: int) -> np.ndarray:
        literal = literal_below(self.values[loop.start + place].operands[number])
        assert literal is not None
        return literal

    def _behind_invariants(self, run: Run) -> int:
        """Where the run begins, if what no step changes is to be there before."""
        start = run.start
        for position in range(run.end - run.period, run.end):
            before = self.values[position - run.period].operands
            for mine, other in zip(self.values[position].operands, before):
                while mine is other and start <= self.position.get(mine, -1):
                    start += run.period
        return start

    def _between_tuples(self, start: int, run: Run) -> int:
        """Where a step can begin so that nobody in it reads a tuple of one before."""
        for position in range(start, min(start + run.period, run.end)):
            inst = self.values[position]
            if inst.opcode == "get-tuple-element":
                if self.position.get(inst.operands[0], start) < start:
                    start = position + 1
        return start

    def source(self, loop: Loop, place: int, number: int) -> Slot | None:
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
        return Slot(before, -iteration)

    def _varied(self, loop: Loop) -> list[tuple[int, int]]:
        found = []
        for place in range(loop.size):
            first = self.values[loop.start + place]
            for number, leaf in enumerate(first.operands):
                if not _may_vary(first, number) or leaf in self.position:
                    continue
                if not is_leaf(leaf):
                    continue
                others = self.of_place(loop, place)
                if any(
                    not _is_same_leaf(leaf, o.operands[number], False) for o in others
                ):
                    found.append((place, number))
        return found

    def _moved(self, loop: Loop) -> list[int]:
        return [
            place
            for place in range(loop.size)
            if self.values[loop.start + place].opcode == "slice"
            and len({i.attributes["starts"] for i in self.of_place(loop, place)}) > 1
        ]

    def of_place(self, loop: Loop, place: int) -> Sequence[Value]:
        """The values of one place, by iteration."""
        return self.values[loop.start + place : loop.end : loop.size]


def _moved_to_readers(module: HLOModule) -> list[Value]:
    """The instructions of the entry, those that only move elements as late as can be.

    Results are where they were.
    """
    results = set(module.results)
    waiting: dict[Value, None] = {}
    ordered: list[Value] = []

    def put(inst: Value) -> None:
        pending = [inst]
        while pending:
            last = pending[-1]
            before = [o for o in last.operands if o in waiting]
            if before:
                pending += reversed(before)
                continue
            pending.pop()
            if last is inst or last in waiting:  # else it was read twice
                waiting.pop(last, None)
                ordered.append(last)

    for inst in module.entry.instructions:
        if inst.opcode in _LATE and inst not in results and not is_leaf(inst):
            waiting[inst] = None
        else:
            put(inst)
    return ordered


def _attribute(value: object) -> Hashable:
    if isinstance(value, HLOComputation):
        return id(value)
    return repr(value)


def _is_within(inst: Value) -> bool:
    """Whether it is known that all places of a slice or store are in its array."""
    first = _FIRST_START.get(inst.opcode)
    if first is None:
        return False
    array = inst.operands[0]
    taken = inst.shape if first == 1 else inst.operands[1].shape
    literals = [literal_below(start) for start in inst.operands[first:]]
    return all(
        literal is not None and 0 <= int(literal) <= size - wanted
        for literal, size, wanted in zip(literals, array.shape, taken)
    )


def _may_vary(inst: Value, number: int) -> bool:
    """Whether an operand may be another constant in another step."""
    if inst.opcode == "divide":
        return dt.is_float(inst.operands[0].dtype)
    first = _FIRST_START.get(inst.opcode)
    return inst.opcode in _TAKE_VARIED or (first is not None and number >= first)


def _is_same_leaf(x: Value, y: Value, may_vary: bool) -> bool:
    """Whether two values that are no steps are the same, but for elements."""
    if x is y:
        return True
    if x.opcode != y.opcode or x.shape != y.shape or x.dtype != y.dtype:
        return False
    if x.opcode == "constant":
        one, other = x.attributes["literal"], y.attributes["literal"]
        if may_vary and one.shape == other.shape:
            return True
        return one.tobytes() == other.tobytes()
    if x.opcode == "parameter" or len(x.operands) != len(y.operands):
        return False
    if {n: _attribute(v) for n, v in x.attributes.items()} != {
        n: _attribute(v) for n, v in y.attributes.items()
    }:
        return False
    return all(_is_same_leaf(a, b, may_vary) for a, b in zip(x.operands, y.operands))
