"""When each instruction of a run begins and ends: an estimate.

Each engine takes the instructions of its queue in order, one after the other; an
instruction takes its record's cost in cycles of the engine's clock. It begins when its
queue is free and all that it waits for is done:

- what an engine made can be read some cycles after the end (``overhead_cycles`` of the
  chip's record), and by another engine after ``semaphore_latency_ns`` more;
- what the kernel says comes after another instruction waits for its end too, or for
  its start only (``nisa.dependency``, ``nl.no_reorder``, ``with_schedule``);
- a transfer begins ``dma_start_ns`` after what it waits for, unless its queue or the
  DMA engines are busy for longer;
- ``core_barrier`` and ``sendrecv`` begin when those of the other core of a logical one
  can, if that is estimated too (:func:`schedule_together`);
- an iteration of a loop of the device's ends when all that it began is done, and
  ``loop_barrier_ns`` later something else begins (:mod:`nkipy_nki.timing.iterations`).

What several steps want at the same time goes to the one that can begin first, and of
two that can begin together to the one earlier in the program: the DMA engines, and a
memory that two engines cannot have at once.

Not modelled: how much fits in the memories, which transfers that run ahead may exceed
(the report's memory over time shows it); the
generation of descriptors by software; banks of the PSUM; other cores at the same HBM.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from heapq import heappop, heappush
from typing import TypeAlias

from nkipy.chips import Chip, find_chip
from nkipy_nki.engines import Engine
from nkipy_nki.program import Instruction, Program
from nkipy_nki.timing.dependencies import dependencies, issue_order
from nkipy_nki.timing.iterations import iteration_ends
from nkipy_nki.timing.queues import FIRST_DMA_QUEUE, queues
from nkipy_nki.timing.rearranging import rearranged
from nkipy_nki.timing.trace import Trace, unrolled
from nkipy_nki.timing.transfers import ReservationTable, Transfer, Transfers

#: When a step can begin, when what it waited for let go, and the place of that, or -1.
_Ready: TypeAlias = "tuple[float, float, int]"

__all__ = ["Part", "Schedule", "clock_of", "schedule", "schedule_together"]


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
        issued: by place, those of steps that a step does not begin before.
        barriers: by place, how many iterations of loops end before a step.
        floors: by place of those, when what comes from there on can begin.
        waited: ns of waits for the other core.
        start: of each step, when it begins.
        end: when its engine is free again.
        done: when its result can be read.
        busy: how long each engine works; of the DMA, how long all its engines would
            together.
        transfers: what is known of each step that is a transfer, by place.
        reservations: when the DMA engines work.
    """

    program: Program
    chip: Chip
    trace: Trace
    queues: list[int]
    waits: list[tuple[int, ...]]
    issued: Mapping[int, Sequence[int]] = field(default_factory=dict)
    barriers: Mapping[int, int] = field(default_factory=dict)
    floors: dict[int, float] = field(default_factory=dict)
    waited: float = 0.0
    start: list[float] = field(init=False)
    end: list[float] = field(init=False)
    done: list[float] = field(init=False)
    busy: dict[Engine, float] = field(default_factory=dict)
    transfers: dict[int, Transfer] = field(default_factory=dict)
    reservations: ReservationTable = field(default_factory=ReservationTable)
    #: Of each step, ns that it takes if nothing else runs, with what is before it.
    _alone: list[float] = field(init=False)
    #: Of each step, the place of what it waited for last, or -1, and until when.
    _cause: list[int] = field(init=False)
    _release: list[float] = field(init=False)

    def __post_init__(self) -> None:
        count = len(self.trace.steps)
        self.start, self.end, self.done = ([0.0] * count for _ in range(3))
        self._alone, self._release = [0.0] * count, [0.0] * count
        self._cause = [-1] * count

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
        """How long it would take if each step began when the one before it is done.

        It is a sum over the steps, whatever they wait for: of a transfer, its start
        (``dma_start_ns``) and how long it takes alone; of others, the way from another
        engine (``semaphore_latency_ns``), the cost, and until the result can be read.
        At each end of an iteration, ``loop_barrier_ns`` comes in addition, and where
        the other core is waited for, how long.
        """
        ends = sum(self.barriers.values()) * self.chip.loop_barrier_ns
        return math.fsum((*self._alone, ends, self.waited))

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
    made = _unscheduled(program, executed, chip)
    for _ in _Scheduler(made).run({}):
        raise AssertionError("a core alone meets no other")
    return made


def schedule_together(
    programs: Sequence[Program], executed: Sequence[Trace], chip: Chip | None = None
) -> list[Schedule]:
    """Estimate when the instructions of the cores of a logical core begin and end.

    Where all cores carry out as many ``core_barrier`` and ``sendrecv``, each of those
    begins when the cores' are ready for it; else cores do not wait for each other.

    Args:
        programs: of the cores.
        executed: what each carried out.
        chip: for another target than the programs'.

    Raises:
        ValueError: as of :func:`schedule`.
    """
    made = [_unscheduled(p, t, chip) for p, t in zip(programs, executed)]
    meetings = [
        [place for place, step in enumerate(one.steps) if step.record.name in _MEETING]
        for one in made
    ]
    if len({len(places) for places in meetings}) > 1:
        meetings = [[] for _ in made]
    cores = [_Scheduler(one) for one in made]
    going = [
        core.run({place: number for number, place in enumerate(places)})
        for core, places in zip(cores, meetings)
    ]
    while [one for one in [next(core, False) for core in going] if one is not False]:
        met = set.intersection(*({*core.held} for core in cores))
        if not met:
            break
        for number in met:
            at = max(core.held[number][1][0] for core in cores)
            for core in cores:
                core.meet(number, at)
    for core, rest in zip(cores, going):
        while core.held:  # in an order that no run has
            for number in [*core.held]:
                core.meet(number, core.held[number][1][0])
            next(rest, None)
    return made


#: The instructions at which cores wait for each other.
_MEETING = frozenset({"core_barrier", "sendrecv"})


def _unscheduled(
    program: Program,
    executed: Trace | Iterable[Instruction] | None,
    chip: Chip | None,
) -> Schedule:
    """A schedule without times."""
    chip = chip or find_chip(program.chip)
    if chip is None:
        raise ValueError(f"no chip is called {program.chip!r}")
    if executed is None:
        executed = unrolled(program)
    trace = executed if isinstance(executed, Trace) else Trace(executed)
    trace = rearranged(program, trace)
    queue_of = queues(trace.steps, chip)
    waits = dependencies(trace, queue_of)
    issued, ends = issue_order(trace.steps), iteration_ends(program, trace.steps)
    return Schedule(program, chip, trace, queue_of, waits, issued, ends)


def _exclusive(chip: Chip) -> dict[int, dict[str, list[int]]]:
    found: dict[int, dict[str, list[int]]] = {}
    for first, second, memory in chip.exclusive:
        for one, other in ((first, second), (second, first)):
            memories = found.setdefault(Engine[one].value, {})
            memories.setdefault(memory, []).append(Engine[other].value)
    return found


class _Scheduler:
    """Fills in a schedule: step by step, in the order in which they can begin.

    That a step is begun lets no other begin earlier than it could, so that all that
    could begin before have begun.
    """

    def __init__(self, made: Schedule) -> None:
        self.made = made
        self.chip = made.chip
        self.transfers = Transfers(made.chip)
        #: By an engine's number: ns of a cycle, and until a result can be read.
        self.cycle = {e.value: 1 / clock_of(e, self.chip) for e in Engine}
        self.overhead = {
            e.value: self.chip.overhead_cycles.get(e.name, 0) * self.cycle[e.value]
            for e in Engine
        }
        self.busy = dict.fromkeys(self.cycle, 0.0)
        #: Cycles of the forms of instructions.
        self.costs: dict[object, float] = {}
        #: The latest step of each queue.
        self.latest: dict[int, int] = {}
        #: By engine and memory, the engines that cannot have it at the same time.
        self.exclusive = _exclusive(self.chip)
        #: By memory and engine, the latest step that had a memory for itself.
        self.users: dict[tuple[str, int], int] = {}
        #: When what comes after the last end of an iteration can begin.
        self.floor: _Ready = (0.0, 0.0, -1)
        self.begun = bytearray(len(made.queues))
        #: By a step that has not begun, the first of queues that wait for it.
        self.blocked: dict[int, list[int]] = {}
        #: The first of queues that wait for none: when they can begin, and their place.
        self.ready: list[tuple[float, int, _Ready]] = []
        #: Those that wait for another core, by number; and which have met it.
        self.held: dict[int, tuple[int, _Ready]] = {}
        self.met: set[int] = set()

    def run(self, meetings: Mapping[int, int]) -> Iterator[None]:
        """Fill the schedule in.

        Args:
            meetings: by place, the numbers of steps at which another core is met.

        Yields:
            Where nothing can begin before a step that is held has been let go.
        """
        made, first = self.made, 0
        for place in (*made.barriers, len(made.queues)):
            yield from self._run(range(first, place), meetings)
            if first < place < len(made.queues):
                last = max(range(first, place), key=made.done.__getitem__)
                at = max(made.done[last], self.floor[0])
                wait = made.barriers[place] * self.chip.loop_barrier_ns
                self.floor = at + wait, at, last
                made.floors[place] = at + wait
            first = place
        used = {min(queue, FIRST_DMA_QUEUE) for queue in made.queues}
        made.busy = {e: self.busy[e.value] for e in Engine if _queue_of(e) in used}

    def meet(self, number: int, at: float) -> None:
        """Let a step go that was held, to begin when the other core's does."""
        place, (start, release, cause) = self.held.pop(number)
        self.made.waited += at - start
        self.met.add(number)
        heappush(self.ready, (at, place, (at, release, cause)))

    def _run(self, places: range, meetings: Mapping[int, int]) -> Iterator[None]:
        """Run steps between which no iteration ends."""
        made = self.made
        #: What of each queue is still to come, the next at the end.
        coming: dict[int, list[int]] = defaultdict(list)
        for place in reversed(places):
            coming[made.queues[place]].append(place)
        for waiting in coming.values():
            self._offer(waiting.pop())
        while self.ready or self.held:
            if not self.ready:
                yield
                continue
            _, place, found = heappop(self.ready)
            number = meetings.get(place, -1) if meetings else -1
            if number >= 0 and number not in self.met:
                self.held[number] = place, found
                continue
            queue = made.queues[place]
            self._begin(place, queue, found)
            self.latest[queue] = place
            self.begun[place] = True
            for other in self.blocked.pop(place, ()):
                self._offer(other)
            if coming[queue]:
                self._offer(coming[queue].pop())

    def _offer(self, place: int) -> None:
        """Let the first step of a queue begin when all that it waits for has."""
        made, begun = self.made, self.begun
        for earlier in (*made.waits[place], *made.issued.get(place, ())):
            if not begun[earlier]:
                self.blocked.setdefault(earlier, []).append(place)
                return
        queue = made.queues[place]
        if queue < FIRST_DMA_QUEUE:
            found = self._ready(place, queue, self.chip.semaphore_latency_ns, 0.0)
        else:
            found = self._ready(place, queue, 0.0, self.chip.dma_start_ns)
        heappush(self.ready, (found[0], place, found))

    def _begin(self, place: int, queue: int, found: _Ready) -> None:
        step = self.made.steps[place]
        form = step.form
        cost = self.costs.get(form, -1.0)
        if cost < 0:
            cost = self._cost(step)
            if form is not None:
                self.costs[form] = cost
        if queue < FIRST_DMA_QUEUE:
            self._compute(place, step, queue, cost, found)
        else:
            self._transfer(place, step, cost, found)

    def _cost(self, step: Instruction) -> float:
        cost = step.record.cost(step, self.chip)
        if not 0 <= cost < math.inf:
            raise ValueError(_WRONG_COST.format(step, cost))
        return cost

    def _ready(self, place: int, queue: int, latency: float, lead: float) -> _Ready:
        """When a step can begin, by its queue and what it waits for.

        Args:
            place: the step's.
            queue: its queue.
            latency: ns until another queue's end is known in this one.
            lead: ns from when it could begin, its queue apart, until it does.
        """
        made = self.made
        ready, release, cause = self.floor
        done, queues = made.done, made.queues
        for earlier in made.waits[place]:
            at = done[earlier]
            then = at if queues[earlier] == queue else at + latency
            if then > ready:
                ready, release, cause = then, at, earlier
        ready += lead
        for earlier in made.issued.get(place, ()):
            if (at := made.start[earlier]) > ready:
                ready, release, cause = at, at, earlier
        before = self.latest.get(queue, -1)
        if before >= 0 and (end := made.end[before]) >= ready:
            return end, end, before
        return ready, release, cause

    def _compute(
        self, place: int, step: Instruction, engine: int, cost: float, found: _Ready
    ) -> None:
        made, duration = self.made, cost * self.cycle[engine]
        memories = [m for m in self.exclusive.get(engine, ()) if _touches(step, m)]
        for memory in memories:
            found = self._exclude(memory, engine, found)
            self.users[memory, engine] = place
        self.busy[engine] += duration
        end = found[0] + duration
        done = end + self.overhead[engine]
        alone = duration + self.overhead[engine]
        made._alone[place] = self.chip.semaphore_latency_ns + alone
        self._keep(place, found, end, done)

    def _exclude(self, memory: str, engine: int, found: _Ready) -> _Ready:
        """Wait until no engine has a memory that it and this one cannot share."""
        ends = self.made.end
        for other in self.exclusive[engine][memory]:
            user = self.users.get((memory, other), -1)
            if user >= 0 and ends[user] > found[0]:
                found = ends[user], ends[user], user
        return found

    def _transfer(
        self, place: int, step: Instruction, factor: float, found: _Ready
    ) -> None:
        made = self.made
        transfer = made.transfers[place] = self.transfers.of(step, factor)
        end = found[0]
        if transfer.share:
            start, end, waited = made.reservations.reserve(end, transfer.share, place)
            if waited >= 0:
                found = start, start, waited
        self.busy[Engine.dma.value] += transfer.share
        end = max(end, found[0] + transfer.duration)
        alone = max(transfer.share, transfer.duration)
        made._alone[place] = self.chip.dma_start_ns + alone
        self._keep(place, found, end, end)

    def _keep(self, place: int, found: _Ready, end: float, done: float) -> None:
        made = self.made
        made.start[place], made._release[place], made._cause[place] = found
        made.end[place], made.done[place] = end, done


def _queue_of(engine: Engine) -> int:
    """An engine's queue; of the DMA's, the first."""
    return FIRST_DMA_QUEUE if engine is Engine.dma else engine.value


_WRONG_COST = "the cost of {0.record.name} at {0.line} is {1!r}: no number of cycles"


def _touches(step: Instruction, memory: str) -> bool:
    return any(view.region.value == memory for _, view in step.views())
