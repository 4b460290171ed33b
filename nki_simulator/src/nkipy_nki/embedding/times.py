"""How long the engines work on a program, and on what: an estimate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

from nkipy_nki.dtypes import PACKED
from nkipy_nki.embedding.interfaces import decoded
from nkipy_nki.engines import Engine
from nkipy_nki.program import Instruction, Program
from nkipy_nki.timing import Schedule, Trace, schedule, schedule_together
from nkipy_nki.timing.labels import NAMES
from nkipy_nki.timing.queues import FIRST_DMA_QUEUE, engine_of
from nkipy_nki.timing.trace import Sampled, sampled, unrolled

__all__ = ["StepTime", "WorkTime", "engine_times"]

#: The engines whose times a custom call's cost has.
_WORKING = (Engine.tensor, Engine.vector, Engine.scalar, Engine.gpsimd, Engine.dma)
#: The instructions and iterations of a core's program up to which loops are unrolled:
#: it is estimated when a program is loaded, whoever made it.
_MOST_UNROLLED = 50_000
#: The instructions up to which two iterations of each loop are estimated otherwise.
_MOST_SAMPLED = 50_000
#: The instructions of a core that are told one by one; the others are summed up.
_MOST_STEPS = 1000
#: The times of an engine that are told; what is later is summed up in the last one.
_MOST_TIMES = 1000


@dataclass(frozen=True)
class StepTime:
    """An instruction of a kernel at work; times are in ns, and estimates.

    Attributes:
        name: the instruction's, with the name that the kernel gave it.
        lane: which core's or DMA queue's it is, if an engine has several.
        line: the kernel's, as ``file:number``.
        start, end: since the kernel began.
        nbytes: of a transfer.
        flops: additions and multiplications of a product.
    """

    name: str
    lane: str
    line: str
    start: float
    end: float
    nbytes: int = 0
    flops: int = 0


@dataclass(frozen=True)
class WorkTime:
    """An engine at work without a pause; times are in ns, and estimates.

    Attributes:
        engine: ``"VectorE"``, ``"DMA"`` and so on; that of all cores together.
        start, end: since the kernel began. Those of an engine do not overlap.
        steps: what it does, by start. Of a core, the first 1,000 are told.
        hidden: how many it does besides.
        nbytes, flops: of all of them.
        extrapolated: of the hidden ones, those of iterations that nothing was computed
            for: each is taken to be as long as the second of its loop.
    """

    engine: str
    start: float
    end: float
    steps: tuple[StepTime, ...]
    hidden: int
    nbytes: int
    flops: int
    extrapolated: int = 0


@lru_cache(maxsize=16)
def engine_times(program: bytes) -> tuple[WorkTime, ...]:
    """When each engine is busy with a program, on any of its cores, and with what.

    An estimate. Of a program of more than 50,000 instructions and iterations, or with a
    loop whose bounds only the run knows, two iterations of each loop are estimated, and
    cores do not wait for each other; the other iterations are as long as the second, in
    steps that say so. The body of a loop of unknown bounds counts once. All bodies do
    if two iterations of each are too many, or ``with_schedule`` turns instructions
    around in such a program.

    Raises:
        NkiProgramError: the bytes are no program.
    """
    cores = decoded(program)
    work: dict[str, list[WorkTime]] = {}
    for made, times in _scheduled(cores):
        for one in _steps(made, times, several=len(cores) > 1):
            work.setdefault(one.engine, []).append(one)
    return tuple(one for done in work.values() for one in _bounded(_merged(done)))


def _scheduled(cores: Sequence[Program]) -> list[tuple[Schedule, Sampled]]:
    """The schedules, and what was left out of them."""
    try:
        traces = [unrolled(program, _MOST_UNROLLED) for program in cores]
        return [(made, Sampled()) for made in schedule_together(cores, traces)]
    except ValueError:
        return [_extrapolated(program) for program in cores]


def _extrapolated(program: Program) -> tuple[Schedule, Sampled]:
    trace, left_out = sampled(program, _MOST_SAMPLED)
    made = schedule(program, trace)
    if made.trace is trace:
        return made, left_out
    return schedule(program, Trace(program.instructions())), Sampled()


def _steps(made: Schedule, left_out: Sampled, several: bool) -> Iterable[WorkTime]:
    """Each instruction that takes an engine's time, and iterations left out."""
    told = set(sorted(range(len(made.steps)), key=made.start.__getitem__)[:_MOST_STEPS])
    later = 0.0
    for first, stop in pairwise(sorted({0, *left_out.times, len(made.steps)})):
        done = [
            _moved(one, later)
            for place in range(first, stop)
            for one in _step(made, place, place in told, several)
        ]
        yield from done
        more = left_out.times.get(first, 1) - 1
        begin = made.floors.get(first, 0.0)
        end = max(begin, *made.done[first:stop])
        later += more * (end - begin)
        later += left_out.ends.get(stop, 0) * made.chip.loop_barrier_ns
        if more and done:
            yield from _left_out(done, more, end + later)


def _step(
    made: Schedule, place: int, is_told: bool, several: bool
) -> Iterable[WorkTime]:
    """An instruction, if it takes an engine's time."""
    step = made.steps[place]
    engine, start, end = engine_of(step), made.start[place], made.end[place]
    if engine not in _WORKING or end <= start:
        return
    transfer = made.transfers.get(place)
    nbytes = transfer.nbytes if transfer else 0
    flops = _flops(step)
    steps: tuple[StepTime, ...] = ()
    if is_told:
        lane = _lane(made, place, several)
        line, name = str(step.line), _name(step)
        steps = (StepTime(name, lane, line, start, end, nbytes, flops),)
    yield WorkTime(NAMES[engine], start, end, steps, 1 - len(steps), nbytes, flops)


def _moved(one: WorkTime, by: float) -> WorkTime:
    if not by:
        return one
    steps = tuple(replace(s, start=s.start + by, end=s.end + by) for s in one.steps)
    return replace(one, start=one.start + by, end=one.end + by, steps=steps)


def _left_out(done: Sequence[WorkTime], more: int, end: float) -> Iterable[WorkTime]:
    """Iterations of which each does what `done` is, engine by engine, in one piece.

    Each piece ends when the last iteration does.
    """
    for engine in dict.fromkeys(one.engine for one in done):
        own = [one for one in done if one.engine == engine]
        whole = _together(own)
        busy = sum(one.end - one.start for one in _merged(own))
        start, count = end - more * busy, more * (whole.hidden + len(whole.steps))
        nbytes, flops = more * whole.nbytes, more * whole.flops
        steps: tuple[StepTime, ...] = ()
        if whole.steps:
            name = f"{more:,} more iterations (extrapolated)"
            like = replace(whole.steps[0], name=name, start=start, end=end)
            steps = (replace(like, nbytes=nbytes, flops=flops),)
        yield WorkTime(engine, start, end, steps, count, nbytes, flops, count)


def _name(step: Instruction) -> str:
    return f"{step.record.name} {step.name}" if step.name else step.record.name


def _lane(made: Schedule, place: int, several: bool) -> str:
    parts = [f"core {made.program.core}"] if several else []
    if (queue := made.queues[place]) >= FIRST_DMA_QUEUE:
        parts.append(f"queue {queue - FIRST_DMA_QUEUE}")
    return " ".join(parts)


def _flops(step: Instruction) -> int:
    """Those of a product; 0 of all else, transposes among it."""
    stationary = step.operands.get("stationary")
    if stationary is None or step.attributes.get("is_transpose"):
        return 0
    each = PACKED if stationary.dtype.is_packed else 1
    return 2 * stationary.size * each * step.operands["dst"].free_size


def _merged(done: Sequence[WorkTime]) -> list[WorkTime]:
    """Times that overlap or touch, together."""
    made: list[list[WorkTime]] = []
    end = -1.0
    for one in sorted(done, key=lambda one: one.start):
        if one.start <= end:
            made[-1].append(one)
        else:
            made.append([one])
        end = max(end, one.end)
    return [_together(parts) for parts in made]


def _together(parts: Sequence[WorkTime]) -> WorkTime:
    return replace(
        parts[0],
        end=max(part.end for part in parts),
        steps=tuple(step for part in parts for step in part.steps),
        hidden=sum(part.hidden for part in parts),
        nbytes=sum(part.nbytes for part in parts),
        flops=sum(part.flops for part in parts),
        extrapolated=sum(part.extrapolated for part in parts),
    )


def _bounded(times: list[WorkTime]) -> list[WorkTime]:
    """The times, of which those beyond so many are one, in a piece before the end."""
    first, rest = times[: _MOST_TIMES - 1], times[_MOST_TIMES - 1 :]
    if len(rest) < 2:
        return times
    busy = sum(one.end - one.start for one in rest)
    hidden = sum(one.hidden + len(one.steps) for one in rest)
    one = _together(rest)
    return [*first, replace(one, start=one.end - busy, steps=(), hidden=hidden)]
