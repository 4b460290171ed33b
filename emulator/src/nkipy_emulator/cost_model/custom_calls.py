"""Custom calls, as the records of their targets say: see nkipy.hlo.custom_calls."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from nkipy.hlo import custom_calls
from nkipy.hlo.custom_calls import (
    UNKNOWN_COST,
    CustomCall,
    CustomCallError,
    EngineTime,
    EngineTimes,
    Passes,
    View,
)
from nkipy.hlo.ir import HLOInstruction, HLOModule
from nkipy.hlo.opcodes import CostClass, CostKind
from nkipy.hlo.queries import rank_groups
from nkipy.hlo.rewrites.custom_calls import expand_calls
from nkipy_emulator.cost_model.collectives import groups_text
from nkipy_emulator.cost_model.types import COLLECTIVES

if TYPE_CHECKING:
    from nkipy_emulator.cost_model.schedule import Schedule


#: Of a computation; each takes about 200 bytes of a timeline's file.
MAX_STEPS = 1 << 14


def with_stand_ins(module: HLOModule) -> HLOModule:
    """`module` with the HLO that calls are costed as in their place.

    Raises:
        EntryPointError: an installed package has a record, which cannot be loaded.
        CustomCallError, HLOVerificationError: a record's HLO does not fit the call.
    """
    return expand_calls(module, CustomCall.costed_as)


def place_custom_call(schedule: Schedule, inst: HLOInstruction) -> None:
    """Place a call that computes or moves something."""
    cost = _cost_of(schedule, inst)
    if isinstance(cost, EngineTimes):
        times = cost.of(inst, schedule.costs.target.name)
        if times is not None:
            _place_times(schedule, inst, times)
            for note in cost.notes(inst):
                schedule.costs.note(note)
            return
        cost = _unknown(schedule, inst.attributes["custom_call_target"])
    if cost.over == "operand" and inst.operands:
        cls = CostClass(CostKind.REDUCE, cost.engine, cost.steps)
        schedule.place(inst, schedule.costs.engines.reduce(inst, cls))
    else:
        cls = CostClass(CostKind.ELEMENTWISE, cost.engine, cost.steps)
        schedule.place(inst, schedule.costs.engines.elementwise(inst, cls, True))


def is_view(inst: HLOInstruction) -> bool:
    """Whether a call costs nothing, its result being its first operand."""
    record = custom_calls.find(inst.attributes["custom_call_target"])
    return record is not None and isinstance(record.cost, View) and bool(inst.operands)


def _cost_of(schedule: Schedule, inst: HLOInstruction) -> Passes | EngineTimes:
    target = inst.attributes["custom_call_target"]
    record = custom_calls.find(target)
    cost = UNKNOWN_COST if record is None else record.cost
    if cost is UNKNOWN_COST:
        _unknown(schedule, target)
    # A view of nothing is one pass, and calls with stand-ins have been replaced.
    return cost if isinstance(cost, (Passes, EngineTimes)) else UNKNOWN_COST


def _unknown(schedule: Schedule, target: str) -> Passes:
    """What is counted for a call of which nothing is known; the estimate says so."""
    schedule.costs.note(
        f"custom call {target!r} is not known: counted as one pass over its result"
    )
    return UNKNOWN_COST


def _place_times(
    schedule: Schedule, inst: HLOInstruction, times: Sequence[EngineTime]
) -> None:
    """Begin when all operands are there and each engine is free for its first part."""
    _check_times(inst, times)
    lanes = schedule.lanes
    start = schedule.inputs(inst)[1]
    for time in times:
        start = max(start, lanes.free[time.engine] - time.start_ns)
    end = start
    for time in times:
        begin = start + time.start_ns
        span = (begin, begin + time.duration_ns)
        name = inst.name or inst.opcode
        is_exchange = time.engine == COLLECTIVES and bool(rank_groups(inst))
        groups = groups_text(inst, schedule.costs.ranks) if is_exchange else ""
        lanes.occupy(
            time.engine, name, inst.opcode, span, time.nbytes, time.flops, groups
        )
        _place_steps(schedule, name, time, start)
        lanes.free[time.engine] = max(lanes.free[time.engine], span[1])
        end = max(end, span[1])
    schedule.placed(inst, (end, end))


def _place_steps(schedule: Schedule, name: str, time: EngineTime, start: float) -> None:
    """Note what an engine does during a call that begins at `start`."""
    known = schedule.lanes.raw_steps
    if len(known) + len(time.steps) > MAX_STEPS:
        schedule.costs.note(
            f"the timeline has the first {len(known)} instructions of kernels"
        )
        return
    known += [
        (
            *(step.name, name, time.engine, step.lane, step.source),
            *(start + step.start_ns, start + step.start_ns + step.duration_ns),
            *(step.nbytes, step.flops),
        )
        for step in time.steps
    ]


def _check_times(inst: HLOInstruction, times: Sequence[EngineTime]) -> None:
    ordered = sorted(times, key=lambda time: (time.engine, time.start_ns))
    for one, next_ in pairwise(ordered):
        if one.engine == next_.engine and (
            next_.start_ns < one.start_ns + one.duration_ns
        ):
            raise CustomCallError(
                f"custom call {inst.attributes['custom_call_target']!r}: the times of "
                f"{one.engine} overlap: {one!r} and {next_!r}"
            )
