"""How long the engines work on a program, and on what: an estimate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from nkipy_nki.dtypes import PACKED
from nkipy_nki.embedding.interfaces import decoded
from nkipy_nki.engines import Engine
from nkipy_nki.program import Instruction, Program
from nkipy_nki.timing import Schedule, Trace, schedule
from nkipy_nki.timing.labels import NAMES
from nkipy_nki.timing.queues import FIRST_DMA_QUEUE, engine_of
from nkipy_nki.timing.trace import unrolled

__all__ = ["StepTime", "WorkTime", "engine_times"]

#: The engines whose times a custom call's cost has.
_WORKING = (Engine.tensor, Engine.vector, Engine.scalar, Engine.gpsimd, Engine.dma)
#: The instructions and iterations of a core's program up to which loops are unrolled:
#: it is estimated when a program is loaded, whoever made it.
_MOST_UNROLLED = 50_000
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
    """

    engine: str
    start: float
    end: float
    steps: tuple[StepTime, ...]
    hidden: int
    nbytes: int
    flops: int


@lru_cache(maxsize=16)
def engine_times(program: bytes) -> tuple[WorkTime, ...]:
    """When each engine is busy with a program, on any of its cores, and with what.

    An estimate: cores do not wait for each other in it. The body of a loop counts once
    if only the run knows the bounds of one, or the program has more than 50,000
    instructions and iterations, of which the estimate would take long.

    Raises:
        NkiProgramError: the bytes are no program.
    """
    cores = decoded(program)
    work: dict[str, list[WorkTime]] = {}
    for made in cores:
        for one in _steps(_scheduled(made), several=len(cores) > 1):
            work.setdefault(one.engine, []).append(one)
    return tuple(one for done in work.values() for one in _bounded(_merged(done)))


def _scheduled(program: Program) -> Schedule:
    try:
        return schedule(program, unrolled(program, _MOST_UNROLLED))
    except ValueError:
        return schedule(program, Trace(program.instructions()))


def _steps(made: Schedule, several: bool) -> Iterable[WorkTime]:
    """Each instruction that takes an engine's time."""
    told = set(sorted(range(len(made.steps)), key=made.start.__getitem__)[:_MOST_STEPS])
    for place, step in enumerate(made.steps):
        engine, start, end = engine_of(step), made.start[place], made.end[place]
        if engine not in _WORKING or end <= start:
            continue
        transfer = made.transfers.get(place)
        nbytes = transfer.nbytes if transfer else 0
        flops = _flops(step)
        steps: tuple[StepTime, ...] = ()
        if place in told:
            lane = _lane(made, place, several)
            line, name = str(step.line), _name(step)
            steps = (StepTime(name, lane, line, start, end, nbytes, flops),)
        name = NAMES[engine]
        yield WorkTime(name, start, end, steps, 1 - len(steps), nbytes, flops)


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
