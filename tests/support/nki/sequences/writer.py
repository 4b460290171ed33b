"""Makes random plans that are sound: each is made again from its seed alone."""

from __future__ import annotations

import random
from typing import Any

from tests.support.nki.sequences.interpreter import Interpreter
from tests.support.nki.sequences.memory import Seen, element
from tests.support.nki.sequences.plan import Loop, Place, Plan, Register, Step, Tensor
from tests.support.nki.sequences.steps import STEPS, Unfit, loop_step
from tests.support.nki.sequences.values import COUNT, FLOATS, INDICES, PICKS, WHOLE

__all__ = ["random_plan"]

_CHIPS = ("trn1", "trn2", "trn2", "trn3")
_ROWS = (4, 8, 33, 128)
_COUNTS = (1, 1, 2, 3, 4, 5, 8, 16, 32, 33, 64, 100, 128)
_FACTORS = (1, 1, 2, 2, 3, 4)


def random_plan(seed: str, steps: int = 12) -> Plan:
    """A plan of about so many steps."""
    return _Writer(seed).write(steps)


class _Writer:
    """A plan as it grows.

    Attributes:
        rng: where all choices come from.
        plan: what is made.
        generation: of the plan's chip.
    """

    def __init__(self, seed: str) -> None:
        self.rng = random.Random(f"{seed}:steps")
        chip = self.rng.choice(_CHIPS)
        self.generation = {"trn1": 2, "trn2": 3, "trn3": 4}[chip]
        self.plan = Plan(chip, f"{seed}:values", self._tensors())
        self._state = Interpreter(self.plan)
        #: Registers that views may begin at: a number that each value is less than,
        #: and what it is multiplied by. Those of the state hold what it says.
        self._registers: dict[str, tuple[int, int]] = {}
        #: Whether the view that is made must lie where the state says.
        self._is_known = False

    # -- tensors -----------------------------------------------------------------------
    def _dtype(self) -> str:
        chosen = self.rng.choice(("float32",) * 6 + FLOATS + ("int32",) * 2 + WHOLE)
        if chosen == "float8_e4m3fn" and self.generation < 4:
            return "bfloat16"
        return chosen

    def _shape(self, wide: bool) -> tuple[int, ...]:
        rows = self.rng.choice(_ROWS)
        if wide:
            return (128, self.rng.choice((40, 64)))
        free = self.rng.choice(
            [(12,), (16,), (24,), (32,), (4, 6), (3, 8), (2, 3, 4), (5, 4), (2, 2, 6)]
        )
        return (rows, *free)

    def _tensors(self) -> list[Tensor]:
        wide = self.rng.random() < 0.04
        made = [
            Tensor(f"s{i}", "sbuf", self._shape(wide), self._dtype()) for i in range(5)
        ]
        made.append(Tensor("f", "sbuf", (128, 32), "float32"))
        made.append(
            Tensor("h", "hbm", self.rng.choice([(8, 12), (6, 4, 5)]), "float32")
        )
        made.append(Tensor("g", "hbm", (8, 24), self._dtype()))
        made.append(Tensor(INDICES[0], "sbuf", (4, 1), "int32"))
        made.append(Tensor(COUNT, "sbuf", (1, 1), "int32"))
        made.append(Tensor(PICKS[0], "sbuf", (128, 6), "uint32"))
        for i in range(3):
            dtype = "float32" if i < 2 else self._dtype()
            shape = (self.rng.choice((32, 128)), self.rng.choice((16, 24)))
            made.append(Tensor(f"p{i}", "psum", shape, dtype, filled=False))
        return made

    def names(self, regions: str, dtypes: tuple[str, ...] = ()) -> list[str]:
        """Tensors that lie in regions and are, or can be seen as, of dtypes."""
        return [
            tensor.name
            for tensor in self.plan.tensors
            if tensor.region in regions.split()
            and tensor.name not in (INDICES[0], COUNT, PICKS[0])
            and (not dtypes or tensor.dtype in dtypes)
        ]

    # -- places ------------------------------------------------------------------------
    def counts(self) -> tuple[int, tuple[int, ...]]:
        """Partitions, and free dimensions."""
        dims = self.rng.choice((1, 1, 2, 3))
        free = tuple(self.rng.choice(_FACTORS) for _ in range(dims))
        if self.rng.random() < 0.2:
            free = (self.rng.choice((7, 12, 16)),)
        rows = self.rng.choice(_COUNTS)
        if self.rng.random() < 0.04:
            rows, free = 128, (40,)
        return rows, free

    def place(
        self,
        rows: int,
        free: tuple[int, ...],
        regions: str,
        dtypes: tuple[str, ...] = (),
        written: bool = False,
        aligned: bool = True,
    ) -> Place:
        """Elements to read or write, as many in a partition as `free` has.

        Raises:
            Unfit: none was found.
        """
        names = self.names(regions, dtypes)
        if not names:
            raise Unfit
        for _ in range(6):
            name = self.rng.choice(names)
            try:
                looks = self._looks(name, rows, free, dtypes, written, aligned)
            except Unfit:
                continue
            place = Place(name, tuple(looks))
            seen = self.see(place)
            if written and not seen.is_distinct:
                continue
            if not written and not self._state.memory.are_written(seen):
                continue
            return place
        raise Unfit

    def see(self, place: Place) -> Seen:
        held = dict.fromkeys(self._registers, 0)
        return self._state.memory.see(place, held | self._state.registers)

    def is_written(self, place: Place) -> bool:
        return self._state.memory.are_written(self.see(place))

    def dtype(self, place: Place) -> str:
        return self.see(place).dtype

    def region(self, place: Place) -> str:
        return self._state.memory.tensors[place.tensor].region

    def _looks(
        self,
        name: str,
        rows: int,
        free: tuple[int, ...],
        dtypes: tuple[str, ...],
        written: bool,
        aligned: bool,
    ) -> list[tuple[Any, ...]]:
        tensor = self._state.memory.tensors[name]
        looks = self._reinterpreted(tensor, dtypes)
        shape = self.see(Place(name, tuple(looks))).shape
        first = self._first(shape[0], rows, aligned and tensor.region != "hbm")
        count = 1
        for factor in free:
            count *= factor
        if self.rng.random() < 0.2 and not looks:
            size = count_of(shape[1:])
            return [("ap", self._pattern(rows, size, free, written), first * size)]
        if (first, rows) != (0, shape[0]) or self.rng.random() < 0.2:
            looks.append(("slice", 0, first, first + rows, 1))
        self._is_known = tensor.region == "psum"
        return looks + self._free_looks(shape, free, count, written)

    def _reinterpreted(
        self, tensor: Tensor, dtypes: tuple[str, ...]
    ) -> list[tuple[Any, ...]]:
        """Whole numbers as others, now and then."""
        if tensor.dtype not in WHOLE or self.rng.random() > 0.2:
            return []
        dtype = self.rng.choice(dtypes or WHOLE)
        if dtype not in WHOLE or dtype == tensor.dtype:
            return []
        if tensor.shape[-1] * element(tensor.dtype).itemsize % element(dtype).itemsize:
            return []
        return [("view", dtype)]

    def _first(self, extent: int, rows: int, aligned: bool) -> int:
        """The partition that so many begin at."""
        if aligned:
            allowed = (0,) if rows > 64 else (0, 64) if rows > 32 else (0, 32, 64, 96)
            starts = [start for start in allowed if start + rows <= extent]
        else:
            starts = list(range(extent - rows + 1))
        if not starts:
            raise Unfit
        return self.rng.choice(starts)

    def _pattern(
        self, rows: int, size: int, free: tuple[int, ...], written: bool
    ) -> tuple[tuple[int, int], ...]:
        """Strides of each dimension, whatever the tensor's own are."""
        pairs = [
            (self.rng.randrange(written, 6) if count > 1 else 1, count)
            for count in free
        ]
        if written and len(pairs) > 1:  # one dimension behind the other, in any order
            step = self.rng.choice((1, 1, 2))
            order = self.rng.sample(range(len(pairs)), len(pairs))
            for axis in order:
                pairs[axis] = (step, pairs[axis][1])
                step *= pairs[axis][1]
        if sum(stride * (count - 1) for stride, count in pairs) >= size:
            raise Unfit
        return ((size, rows), *pairs)

    def _free_looks(
        self, shape: tuple[int, ...], free: tuple[int, ...], count: int, written: bool
    ) -> list[tuple[Any, ...]]:
        looks: list[tuple[Any, ...]] = []
        spread = None
        if not written and len(free) > 1 and self.rng.random() < 0.3:
            spread = self.rng.randrange(len(free))
            count //= free[spread]
        if len(shape) > 2:
            if len(shape) == len(free) + 1 and self.rng.random() < 0.5:
                return self._sliced(shape, free)
            looks.append(("flatten", 1, len(shape) - 1))
        extent = count_of(shape[1:])
        looks.append(self._stretch(1, extent, count))
        kept = [f for i, f in enumerate(free) if i != spread]
        if len(kept) > 1:
            order = self.rng.sample(range(len(kept)), len(kept))
            looks.append(("reshape_dim", 1, tuple(kept[i] for i in order)))
            if order != sorted(order):
                back = [order.index(i) + 1 for i in range(len(kept))]
                looks.append(("permute", (0, *back)))
        if spread is not None:
            looks.append(("spread", 1 + spread, free[spread]))
        return looks

    def _sliced(
        self, shape: tuple[int, ...], free: tuple[int, ...]
    ) -> list[tuple[Any, ...]]:
        return [
            self._stretch(axis, extent, count)
            for axis, (extent, count) in enumerate(zip(shape[1:], free), 1)
        ]

    def _stretch(self, axis: int, extent: int, count: int) -> tuple[Any, ...]:
        """So many elements of a dimension, at some distance, or from where a register
        says.
        """
        step = self.rng.choice((1, 1, 1, 2, 3))
        span = (count - 1) * step + 1
        if span > extent:
            raise Unfit
        usable = [
            name
            for name, (values, times) in self._registers.items()
            if (values - 1) * times + count <= extent
            and (name in self._state.registers or not self._is_known)
        ]
        if step == 1 and usable and self.rng.random() < 0.5:
            name = self.rng.choice(usable)
            return ("ds", axis, name, count, self._registers[name][1])
        start = self.rng.randrange(extent - span + 1)
        return ("slice", axis, start, start + span, step)

    # -- steps -------------------------------------------------------------------------
    def write(self, steps: int) -> Plan:
        self._add_registers()
        tries = 0
        while len(self.plan.steps) < steps and tries < 40 * steps:
            tries += 1
            try:
                if self.rng.random() < 0.08:
                    self._add_loop()
                else:
                    self._add(self._steps())
            except Unfit:
                continue
        self._show_all()
        return self.plan

    def _steps(self) -> tuple[Step, ...]:
        names, weights = zip(*((make, weight) for make, weight in STEPS))
        (make,) = self.rng.choices(names, weights)
        made: Step | tuple[Step, ...] = make(self)
        return made if isinstance(made, tuple) else (made,)

    def _add(self, steps: tuple[Step, ...]) -> None:
        for step in steps:
            self.plan.steps.append(step)
            self._mark(step)

    def _mark(self, step: Step) -> None:
        for name in step.writes:
            self._state.memory.mark(self.see(step.operands[name]))

    def _add_registers(self) -> None:
        for name in ("r0", "r1"):
            value = self.rng.randrange(4)
            self.plan.steps.append(Register(name, value))
            self._registers[name] = (value + 1, 1)
            self._state.registers[name] = value
        first = Place(INDICES[0], (("slice", 0, 0, 1, 1),))
        self.plan.steps.append(Register("r2", first))
        self._registers["r2"] = INDICES[1], 1

    def _add_loop(self) -> None:
        """Steps that are exact, of which some begin where the counter says."""
        kind = self.rng.choice(("for", "for", "register", "while"))
        counter, upper = f"i{len(self.plan.steps)}", self.rng.choice((1, 2, 3))
        before = dict(self._registers)
        if kind != "while":
            times = 1 if kind == "register" else self.rng.choice((1, 2))
            self._registers[counter] = (4 if kind == "register" else upper, times)
        try:
            count = self.rng.choice((1, 2, 3))
            body = tuple(loop_step(self) for _ in range(count))
        finally:
            self._registers = before
        bound: int | str = (
            self.rng.choice(("r0", "r1")) if kind == "register" else upper
        )
        down = COUNT if kind == "while" else ""
        self.plan.steps.append(Loop(counter, 0, bound, body, down))

    def _show_all(self) -> None:
        """Copy each tensor that is wholly written to itself, which shows all of it."""
        for tensor in self.plan.tensors:
            place = Place(tensor.name)
            if not self.is_written(place):
                continue
            name = "tensor_copy" if tensor.region == "psum" else "dma_copy"
            self.plan.steps.append(Step(name, {"dst": place, "src": place}))


def count_of(shape: tuple[int, ...]) -> int:
    """How many elements a shape has."""
    total = 1
    for extent in shape:
        total *= extent
    return total
