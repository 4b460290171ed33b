"""When each instruction of a run begins and ends: an estimate.

Each engine takes the instructions of its queue in order, one after the other; an
instruction takes its record's cost in cycles of the engine's clock. It begins when its
queue is free and all that it waits for is done:

- what an engine made can be read some cycles after the end (``overhead_cycles`` of the
  chip's record), and by another engine after a further hop (``hop_ns``);
- a transfer begins ``dma_start_ns`` after what it waits for, unless its queue or the DMA
  engines are busy for longer.

Not modelled: the time that a loop's branches take, the generation of descriptors, banks
of the PSUM, other cores at the same HBM, waits of the cores of a logical core for each
other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from nkipy.chips import Chip, find_chip
from nkipy_nki.engines import Engine
from nkipy_nki.program import Instruction, Program
from nkipy_nki.timing.dependencies import dependencies, engine_of, queues
from nkipy_nki.timing.trace import Trace, unrolled
from nkipy_nki.timing.transfers import Pipe, Transfer, transfer_of

__all__ = ["Part", "Schedule", "clock_of", "schedule"]


@dataclass(frozen=True)
class Part:
    """A part of the critical path: a step, and the wait before it.

    Attributes:
        place: the step's.
        wait: ns from the end of the part before it to its start.
        time: ns of the step that the next part, or the end, waited for.
    """

    place: int
    wait: float
    time: float


@dataclass(eq=False)
class Schedule:
    """When the steps of a run begin and end; times are in ns, and estimates.

    Attributes:
        program: what was run.
        chip: the target.
        trace: what was carried out.
        queues: of each step, its engine's number, or that of its DMA queue.
        waits: of each step, the places of those that it waits for.
        start: of each step, when it begins.
        end: when its engine is free again.
        done: when its result can be read.
        busy: how long each engine works; of the DMA, how long all its engines would
            together.
        transfers: what is known of each step that is a transfer, by place.
    """

    program: Program
    chip: Chip
    trace: Trace
    queues: list[int]
    waits: list[tuple[int, ...]]
    start: list[float] = field(default_factory=list)
    end: list[float] = field(default_factory=list)
    done: list[float] = field(default_factory=list)
    busy: dict[Engine, float] = field(default_factory=dict)
    transfers: dict[int, Transfer] = field(default_factory=dict)
    #: Of each step, the place of what it waited for last, or -1, and until when.
    _cause: list[int] = field(default_factory=list)
    _release: list[float] = field(default_factory=list)

    @property
    def steps(self) -> Sequence[Instruction]:
        """What was carried out."""
        return self.trace.steps

    @cached_property
    def total(self) -> float:
        """When all is done."""
        return max(self.done, default=0.0)

    @cached_property
    def serial(self) -> float:
        """How long it would take if each step began when the one before it is done."""
        chip = self.chip
        steps = zip(self.steps, self.start, self.done)
        lead = {True: chip.dma_start_ns, False: chip.hop_ns}
        return sum(
            lead[engine_of(step) is Engine.dma] + done - start
            for step, start, done in steps
        )

    @cached_property
    def critical_path(self) -> list[Part]:
        """What the end waited for, from the beginning: its times sum to the total."""
        parts: list[Part] = []
        if not self.done:
            return parts
        place = self.done.index(self.total)
        until = self.total
        while place >= 0:
            start, release = self.start[place], self._release[place]
            parts.append(Part(place, start - release, until - start))
            place, until = self._cause[place], release
        return parts[::-1]


def clock_of(engine: Engine, chip: Chip) -> float:
    """An engine's clock in GHz; that of registers and branches is ScalarE's."""
    return {
        Engine.tensor: chip.tensor_ghz,
        Engine.vector: chip.vector_ghz,
        Engine.gpsimd: chip.gpsimd_ghz,
    }.get(engine, chip.scalar_ghz)


def schedule(
    program: Program,
    executed: Trace | Iterable[Instruction] | None = None,
    chip: Chip | None = None,
) -> Schedule:
    """Estimate when the instructions of a run begin and end.

    Args:
        program: what was run.
        executed: the instructions in the order in which they were carried out: a
            :class:`Trace`, which also knows registers; None for a program all of whose
            loops have known bounds.
        chip: for another target than the program's.

    Raises:
        ValueError: the target is not known; a loop's bounds are not, and `executed` is
            not given; or a record's cost is no time.
    """
    chip = chip or find_chip(program.chip)
    if chip is None:
        raise ValueError(f"no chip is called {program.chip!r}")
    if executed is None:
        executed = unrolled(program)
    trace = executed if isinstance(executed, Trace) else Trace(executed)
    queue_of = queues(trace.steps, chip)
    made = Schedule(program, chip, trace, queue_of, dependencies(trace, queue_of))
    _Scheduler(made).run()
    return made


class _Scheduler:
    """Fills in a schedule."""

    def __init__(self, made: Schedule) -> None:
        chip = made.chip
        self.made = made
        self.pipe = Pipe()
        engines = list(Engine)
        self.cycle = {e: 1 / clock_of(e, chip) for e in engines}
        self.overhead = {
            e: chip.overhead_cycles.get(e.name, 0) * self.cycle[e] for e in engines
        }
        #: The latest step of each queue.
        self.latest: dict[int, int] = {}
        self.exclusive = [
            (frozenset((Engine[a], Engine[b])), memory)
            for a, b, memory in chip.exclusive
        ]
        #: The latest step of each engine that excludes another, by memory.
        self.users: dict[tuple[str, Engine], int] = {}

    def run(self) -> None:
        made = self.made
        made.busy = dict.fromkeys(map(engine_of, made.steps), 0.0)
        for place, step in enumerate(made.steps):
            engine = engine_of(step)
            cost = _cost(step, made.chip)
            if engine is Engine.dma:
                self._transfer(place, step, cost)
            else:
                self._compute(place, step, engine, cost)
            self.latest[made.queues[place]] = place

    def _ready(self, place: int, hop: float) -> tuple[float, float, int]:
        """When all is done that a step waits for; until when it waited, for what."""
        made = self.made
        done, queue_of, mine = made.done, made.queues, made.queues[place]
        ready, release, cause = 0.0, 0.0, -1
        for earlier in made.waits[place]:
            at = done[earlier]
            then = at if queue_of[earlier] == mine else at + hop
            if then > ready:
                ready, release, cause = then, at, earlier
        return ready, release, cause

    def _compute(
        self, place: int, step: Instruction, engine: Engine, cost: float
    ) -> None:
        ready, release, cause = self._ready(place, self.made.chip.hop_ns)
        before = self.latest.get(engine.value, -1)
        if before >= 0 and self.made.end[before] >= ready:
            ready = release = self.made.end[before]
            cause = before
        if self.exclusive:
            ready, release, cause = self._exclude(
                place, step, engine, (ready, release, cause)
            )
        duration = cost * self.cycle[engine]
        self.made.busy[engine] += duration
        end = ready + duration
        self._keep(ready, end, end + self.overhead[engine], release, cause)

    def _exclude(
        self,
        place: int,
        step: Instruction,
        engine: Engine,
        found: tuple[float, float, int],
    ) -> tuple[float, float, int]:
        """Wait until no engine has a memory that it and this one cannot have at once."""
        for pair, memory in self.exclusive:
            if engine not in pair or not _touches(step, memory):
                continue
            self.users[memory, engine] = place
            for other in pair - {engine}:
                user = self.users.get((memory, other), -1)
                if user >= 0 and self.made.end[user] > found[0]:
                    found = self.made.end[user], self.made.end[user], user
        return found

    def _transfer(self, place: int, step: Instruction, factor: float) -> None:
        made = self.made
        transfer = transfer_of(step, made.chip, factor)
        made.transfers[place] = transfer
        ready, release, cause = self._ready(place, 0.0)
        ready += made.chip.dma_start_ns
        before = self.latest.get(made.queues[place], -1)
        if before >= 0 and made.end[before] > ready:
            ready = release = made.end[before]
            cause = before
        start = ready
        if transfer.share:
            start, waited = self.pipe.place(ready, transfer.share, place)
            if waited >= 0:
                release, cause = start, waited
        made.busy[Engine.dma] += transfer.share
        end = start + transfer.duration
        self._keep(start, end, end, release, cause)

    def _keep(
        self, start: float, end: float, done: float, release: float, cause: int
    ) -> None:
        made = self.made
        made.start.append(start)
        made.end.append(end)
        made.done.append(done)
        made._release.append(release)
        made._cause.append(cause)


def _cost(step: Instruction, chip: Chip) -> float:
    cost = step.record.cost(step, chip)
    if not 0 <= cost < math.inf:
        raise ValueError(
            f"the cost of {step.record.name} at {step.line} is {cost!r}, which is no "
            "number of cycles"
        )
    return cost


def _touches(step: Instruction, memory: str) -> bool:
    return any(view.region.value == memory for _, view in step.views())
