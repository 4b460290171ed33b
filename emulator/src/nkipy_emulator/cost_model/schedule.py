"""Walks a computation and places its instructions on the lanes.

Parameters and constants begin in the HBM and are read on first use. A value stays on
chip if it was fused, or takes no more than a quarter of the SBUF; a larger one is
written to the HBM and read again by each use. Results end in the HBM. Reads,
computation and writes of large values overlap, tile by tile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import prod

from nkipy.hlo.ir import HLOComputation, HLOInstruction
from nkipy.hlo.opcodes import OPCODES, CostKind
from nkipy_emulator.cost_model.constants import RESIDENT_FRACTION, Target
from nkipy_emulator.cost_model.engines import Engines, Work
from nkipy_emulator.cost_model.fusion import fused_values
from nkipy_emulator.cost_model.lanes import Interval, Lanes
from nkipy_emulator.cost_model.values import Value, Values, initial, nbytes_of


class Costs:
    """What all computations of a module share.

    Attributes:
        nested: the schedules of called computations, each begun at 0, by identity.
        ranks: the size of a group that stands for all ranks.
    """

    def __init__(self, target: Target, engines: Engines, ranks: int = 1) -> None:
        self.target = target
        self.engines = engines
        self.ranks = ranks
        self.budget = int(target.sbuf_bytes * RESIDENT_FRACTION)
        self.nested: dict[HLOComputation, Schedule] = {}
        self.notes: dict[str, None] = {}  # in order, each once

    def note(self, text: str) -> None:
        self.notes[text] = None


class Schedule:
    """The timeline of one run of a computation.

    Args:
        costs: the hardware, and what called computations cost.
        start: when the lanes begin.
    """

    def __init__(self, costs: Costs, start: float = 0.0) -> None:
        self.costs = costs
        self.start = start
        self.lanes = Lanes(costs.target)
        self.lanes.barrier(start)
        self.values: dict[HLOInstruction, Values] = {}
        #: Parameters whose memory may be written.
        self.writable: frozenset[HLOInstruction] = frozenset()
        self._stored: frozenset[HLOInstruction] = frozenset()
        self._fused: set[HLOInstruction] = set()
        self._last: HLOInstruction | None = None

    def run_entry(
        self,
        computation: HLOComputation,
        results: Sequence[HLOInstruction],
        writable: Iterable[HLOInstruction],
    ) -> None:
        """Place a program, whose parameters begin and whose results end in the HBM."""
        self.writable = frozenset(writable)
        self._stored = frozenset(results)
        for parameter in computation.parameters:
            self.values[parameter] = Value(
                nbytes_of(parameter),
                (self.start, self.start),
                in_sbuf=False,
                in_hbm_at=self.start,
                is_source=True,
            )
        self._run(computation, self._stored)
        for result in results:
            self._write_result(result)

    def run_nested(self, computation: HLOComputation) -> None:
        """Place a called computation, whose small parameters are on chip."""
        self.writable = frozenset(computation.parameters)
        for parameter in computation.parameters:
            self.values[parameter] = initial(parameter, self.start, self.costs.budget)
        root = computation.root
        roots = () if root is None else (root, *root.operands)
        self._run(computation, frozenset(roots))

    def _run(
        self, computation: HLOComputation, results: frozenset[HLOInstruction]
    ) -> None:
        self._fused = fused_values(computation, results)
        for inst in computation.instructions:
            HANDLERS[OPCODES[inst.opcode].cost.kind](self, inst)

    # -- where values are ------------------------------------------------------------
    def value(self, inst: HLOInstruction) -> Value:
        """The value of an instruction with an array result."""
        value = self.values[inst]
        return value if isinstance(value, Value) else value[0]

    def elements(self, inst: HLOInstruction) -> list[Value]:
        """The values of an instruction's result, one for each array."""
        value = self.values[inst]
        return [value] if isinstance(value, Value) else value

    def fetch(self, inst: HLOInstruction, value: Value) -> Interval:
        """When the value is on chip; it is read if it is not."""
        if value.in_sbuf:
            return value.first, value.last
        at = self.start if value.in_hbm_at is None else value.in_hbm_at
        ready = self.lanes.transfer(_name(inst), "load", (at, at), value.nbytes)
        if value.nbytes <= self.costs.budget:
            value.in_sbuf = True
            value.first, value.last = ready
        return ready

    def inputs(self, inst: HLOInstruction) -> Interval:
        """When the first tile of all operands, and all of them, are on chip."""
        first = last = self.start
        for operand in inst.operands:
            value = self.values[operand]
            if isinstance(value, Value):
                if value.in_sbuf:
                    begin, end = value.first, value.last
                else:
                    begin, end = self.fetch(operand, value)
                if begin > first:
                    first = begin
                if end > last:
                    last = end
        return first, last

    def store(self, inst: HLOInstruction, value: Value) -> float:
        """When the value is in the HBM; it is written if it is not."""
        if value.in_hbm_at is None:
            ready = (value.first, value.last)
            name = _name(inst)
            value.in_hbm_at = self.lanes.transfer(name, "store", ready, value.nbytes)[1]
        return value.in_hbm_at

    def define(self, inst: HLOInstruction, ready: Interval) -> None:
        """The result of an engine: its first tile and all of it are there at `ready`.

        What follows waits for all of it unless it is fused; a write does not.
        """
        if inst.dtype is None:
            shapes = inst.tuple_shapes or ()
            self.values[inst] = [self._defined(inst, s.nbytes, ready) for s in shapes]
            return
        nbytes = inst.nbytes
        if inst in self._fused:
            self.values[inst] = Value(nbytes, ready)
        else:
            self.values[inst] = self._defined(inst, nbytes, ready)

    def _defined(self, inst: HLOInstruction, nbytes: int, ready: Interval) -> Value:
        value = Value(nbytes, ready)
        if nbytes > self.costs.budget:
            self.store(inst, value)
            value.in_sbuf = False
        elif inst in self._stored:
            self.store(inst, value)
        value.first = value.last
        return value

    def _write_result(self, inst: HLOInstruction) -> None:
        """Write a result that is a view, or copy a parameter that is returned."""
        if inst in self.writable or inst.dtype is None:
            return
        value = self.value(inst)
        if value.is_source:
            at = value.last if value.in_hbm_at is None else value.in_hbm_at
            self.lanes.transfer(_name(inst), "copy", (at, at), nbytes_of(inst), 2)
        elif inst.opcode == "broadcast":
            ready = (value.first, value.last)
            self.lanes.transfer(_name(inst), "store", ready, nbytes_of(inst))
        else:
            self.store(inst, value)

    def is_stored(self, inst: HLOInstruction) -> bool:
        """Whether `inst` is a result of the program."""
        return inst in self._stored

    # -- placing ---------------------------------------------------------------------
    def place(self, inst: HLOInstruction, work: Work) -> None:
        """Place an instruction of an engine."""
        ready = self.lanes.compute(
            inst.name or inst.opcode,
            inst.opcode,
            work.engine,
            self.inputs(inst),
            work.ns,
            prod(inst.shape) * 4,
            work.flops,
        )
        self.placed(inst, ready)

    def placed(self, inst: HLOInstruction, ready: Interval) -> None:
        """Note that `inst` has its place, and that its result is there at `ready`."""
        self._last = inst
        self.define(inst, ready)

    def is_chained(self, inst: HLOInstruction) -> bool:
        """Whether `inst` uses what was placed just before it."""
        return self._last in inst.operands


def _name(inst: HLOInstruction) -> str:
    return inst.name or inst.opcode


Handler = Callable[[Schedule, HLOInstruction], None]
#: How an instruction of each kind is placed; filled by :mod:`.handlers`.
HANDLERS: dict[CostKind, Handler] = {}
