"""Loops, branches and calls: what the called computations cost, as often as they run.

The first iteration of a loop is in the timeline event by event, the others as one event
for each engine. A branch counts as the longest of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nkipy.hlo.ir import HLOComputation, HLOInstruction, callees_of
from nkipy_emulator.cost_model.constants import CONTROL_NS
from nkipy_emulator.cost_model.lanes import Raw
from nkipy_emulator.cost_model.loops import trip_count
from nkipy_emulator.cost_model.values import initial

if TYPE_CHECKING:
    from nkipy_emulator.cost_model.schedule import Schedule

#: Events that a timeline may have; what is beyond is summed up. Computations that call
#: others twice, which call others twice, would make any number of them.
MAX_EVENTS = 1 << 17
#: Where times and counts stop, for the same reason: all are exact in JSON.
MAX_NS, MAX_COUNT = 2.0**52, (1 << 53) - 1


def called_computations(inst: HLOInstruction) -> tuple[HLOComputation, ...]:
    """The computations that an instruction of control flow runs."""
    if inst.opcode == "while":  # in the order in which they run
        return inst.attributes["condition"], inst.attributes["body"]
    return callees_of(inst.attributes)


def control(schedule: Schedule, inst: HLOInstruction) -> None:
    """Place a loop, a branch or a call, with nothing else at the same time."""
    start = schedule.lanes.barrier(_ready(schedule, inst))
    nested = schedule.costs.nested
    if inst.opcode == "while":
        parts = [nested[c] for c in called_computations(inst)]
        count = trip_count(inst)
        if count is None:
            count = 1
            schedule.costs.note(
                f"{inst.name or 'while'}: the number of iterations is not known "
                "before the run; one is assumed"
            )
    else:
        parts = [max((nested[c] for c in called_computations(inst)), key=_length)]
        count = 1
    end = _repeat(schedule, inst, parts, start, count)
    schedule.lanes.barrier(end)
    schedule.values[inst] = initial(inst, end, schedule.costs.budget)


def _ready(schedule: Schedule, inst: HLOInstruction) -> float:
    """When all operands are where the callee expects them."""
    at = schedule.start
    for operand in inst.operands:
        for value in schedule.elements(operand):
            if value.nbytes <= schedule.costs.budget:
                at = max(at, schedule.fetch(operand, value)[1])
            else:
                at = max(at, schedule.store(operand, value))
    return at


def _repeat(
    schedule: Schedule,
    inst: HLOInstruction,
    parts: list[Schedule],
    start: float,
    count: int,
) -> float:
    """Place `parts`, one after the other, `count` times; the end of that."""
    lanes = schedule.lanes
    at = start + CONTROL_NS
    if count == 0:
        return at
    events = [part.lanes.raw for part in parts]
    steps = len(lanes.raw_steps) + sum(len(part.lanes.raw_steps) for part in parts)
    shown = len(lanes.raw) + sum(map(len, events)) + steps <= MAX_EVENTS
    if shown:
        for part in parts:
            lanes.extend(part.lanes, at)
            at += part.lanes.end
    else:
        at += sum(part.lanes.end for part in parts)
    for part in parts:
        for engine, busy in part.lanes.busy.items():
            lanes.busy[engine] = min(lanes.busy[engine] + busy * count, MAX_NS)
    hidden = count - 1 if shown else count
    if hidden:
        name = f"{inst.name or inst.opcode}: {hidden} iterations"
        lanes.raw += _summary(name, inst.opcode, at if shown else start, events, hidden)
    return max(at, min(start + count * (at - start), MAX_NS))


def _summary(
    name: str, opcode: str, start: float, parts: list[list[Raw]], count: int
) -> list[Raw]:
    """One event for each engine that `parts` use, for all of `count` iterations."""
    busy: dict[str, float] = {}
    moved: dict[str, int] = {}
    computed: dict[str, int] = {}
    for _, _, engine, begin, end, nbytes, flops, _ in (e for p in parts for e in p):
        busy[engine] = busy.get(engine, 0.0) + end - begin
        moved[engine] = moved.get(engine, 0) + nbytes
        computed[engine] = computed.get(engine, 0) + flops
    return [
        (
            name,
            opcode,
            engine,
            start,
            max(start, min(start + busy[engine] * count, MAX_NS)),
            min(moved[engine] * count, MAX_COUNT),
            min(computed[engine] * count, MAX_COUNT),
            "",
        )
        for engine in busy
    ]


def _length(schedule: Schedule) -> float:
    return schedule.lanes.end
