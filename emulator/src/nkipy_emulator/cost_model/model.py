"""From a module to an estimate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nkipy.chips import DEFAULT
from nkipy.hlo.ir import HLOComputation, HLOModule
from nkipy.hlo.opcodes import OPCODES, CostKind
from nkipy_emulator.cost_model import handlers  # noqa: F401  (fills the table)
from nkipy_emulator.cost_model.constants import Target, find_target
from nkipy_emulator.cost_model.control import MAX_COUNT, called_computations
from nkipy_emulator.cost_model.custom_calls import with_stand_ins
from nkipy_emulator.cost_model.engines import Engines
from nkipy_emulator.cost_model.schedule import Costs, Schedule
from nkipy_emulator.cost_model.types import LAUNCH, Estimate

if TYPE_CHECKING:
    from nkipy.hlo.options import SimulationOptions


def estimate(
    module: HLOModule,
    target: str | Target = DEFAULT.name,
    *,
    numerics: SimulationOptions | None = None,
    lnc: int = 1,
    ranks: int = 1,
    launch_ns: float | None = None,
    replicas: int | None = None,
) -> Estimate:
    """The estimated device time of one execution of a verified module.

    A roofline for each instruction, placed on a timeline by what waits for what; see
    ``docs/cost_model.md``. Nothing in it was calibrated against hardware.

    Args:
        module: the program of one core.
        target: a target's or an instance's name, or a table of your own.
        numerics: ``auto_cast`` makes float32 products as fast as those of
            ``auto_cast_type``.
        lnc: physical cores that act as one.
        ranks: the number of cores that take part in collectives.
        launch_ns: fixed cost of an execution, by default that of ``constants`` or of
            the environment variable ``NKIPY_EMULATOR_LAUNCH_NS``.
        replicas: another name of `ranks`, HLO's; it counts if it is given.

    Raises:
        CostModelError: the target is unknown or has no such `lnc`.
        EntryPointError: an installed package has the record of a custom call, which
            cannot be loaded.
        CustomCallError, HLOVerificationError: such a record does not fit the call.
    """
    hardware = find_target(target, lnc, launch_ns)
    cast = None
    if numerics is not None and numerics.auto_cast != "none":
        cast = numerics.auto_cast_type
    module = with_stand_ins(module)
    ranks = ranks if replicas is None else replicas
    costs = Costs(hardware, Engines(hardware, cast), ranks)
    for computation in _controlled(module):
        nested = costs.nested[computation] = Schedule(costs)
        nested.run_nested(computation)
    schedule = _entry(module, costs)
    return Estimate(
        total_ns=min(round(schedule.lanes.end), MAX_COUNT),
        events=schedule.lanes.events(),
        busy_ns={k: round(v) for k, v in schedule.lanes.busy.items() if v},
        target=hardware.name,
        lnc=lnc,
        notes=tuple(costs.notes),
        steps=schedule.lanes.steps(),
    )


def _entry(module: HLOModule, costs: Costs) -> Schedule:
    launch = costs.target.launch_ns
    schedule = Schedule(costs, launch)
    if launch:
        schedule.lanes.occupy(LAUNCH, "launch", "launch", (0.0, launch))
    parameters = module.parameters
    writable = [parameters[i] for i in module.input_output_alias.values()]
    schedule.run_entry(module.entry, module.results, writable)
    return schedule


def _controlled(module: HLOModule) -> list[HLOComputation]:
    """Computations that loops, branches and calls run, callees before callers."""
    ordered = module.computations()
    wanted = {
        callee
        for computation in ordered
        for inst in computation.instructions
        if OPCODES[inst.opcode].cost.kind is CostKind.CONTROL
        for callee in called_computations(inst)
    }
    return [c for c in ordered if c in wanted]
