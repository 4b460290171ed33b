"""Places an instruction of each kind that an engine computes, or that costs nothing."""

from __future__ import annotations

from math import prod

from nkipy.hlo.ir import HLOInstruction
from nkipy.hlo.opcodes import OPCODES, CostKind
from nkipy_emulator.cost_model import collectives, control, movement
from nkipy_emulator.cost_model.custom_calls import is_view, place_custom_call
from nkipy_emulator.cost_model.engines import (
    Product,
    convolution_product,
    dot_product,
)
from nkipy_emulator.cost_model.schedule import HANDLERS, Schedule
from nkipy_emulator.cost_model.values import Value, nbytes_of


def source(schedule: Schedule, inst: HLOInstruction) -> None:
    """A constant, or this core's number; parameters are there already."""
    if inst in schedule.values:
        return
    at = schedule.start
    # Single numbers are operands of instructions, not data.
    immediate = inst.opcode != "constant" or prod(inst.shape) <= 1
    schedule.values[inst] = Value(
        nbytes_of(inst),
        (at, at),
        in_sbuf=immediate,
        in_hbm_at=None if immediate else at,
        is_source=not immediate,
    )


def view(schedule: Schedule, inst: HLOInstruction) -> None:
    """The operand's bytes, addressed in another way."""
    operand = inst.operands[0]
    if inst.dtype is None:
        schedule.values[inst] = schedule.values[operand]
        return
    value = schedule.value(operand)
    if inst.opcode == "slice":
        value = value.resized(min(value.nbytes, nbytes_of(inst)))
    schedule.values[inst] = value


def tuples(schedule: Schedule, inst: HLOInstruction) -> None:
    """Names for values, and the values of names."""
    if inst.opcode == "tuple":
        schedule.values[inst] = [
            value for operand in inst.operands for value in schedule.elements(operand)
        ]
    else:
        elements = schedule.elements(inst.operands[0])
        schedule.values[inst] = elements[inst.attributes["index"]]


def elementwise(schedule: Schedule, inst: HLOInstruction) -> None:
    cls = OPCODES[inst.opcode].cost
    engines = schedule.costs.engines
    schedule.place(inst, engines.elementwise(inst, cls, schedule.is_chained(inst)))


def reduce(schedule: Schedule, inst: HLOInstruction) -> None:
    cls = OPCODES[inst.opcode].cost
    schedule.place(inst, schedule.costs.engines.reduce(inst, cls))


def window(schedule: Schedule, inst: HLOInstruction) -> None:
    cls = OPCODES[inst.opcode].cost
    schedule.place(inst, schedule.costs.engines.window(inst, cls))


def sort(schedule: Schedule, inst: HLOInstruction) -> None:
    cls = OPCODES[inst.opcode].cost
    schedule.place(inst, schedule.costs.engines.sort(inst, cls))


def dot(schedule: Schedule, inst: HLOInstruction) -> None:
    _product(schedule, inst, dot_product(inst))


def convolution(schedule: Schedule, inst: HLOInstruction) -> None:
    _product(schedule, inst, convolution_product(inst))


def _product(schedule: Schedule, inst: HLOInstruction, product: Product) -> None:
    schedule.place(inst, schedule.costs.engines.product(inst, product))


def transpose(schedule: Schedule, inst: HLOInstruction) -> None:
    """Where the last dimension stays last, only addresses change."""
    order = [d for d in inst.attributes["dimensions"] if inst.operands[0].shape[d] != 1]
    if not order or order[-1] == max(order):
        view(schedule, inst)
    else:
        schedule.place(inst, schedule.costs.engines.transpose(inst))


def factor(schedule: Schedule, inst: HLOInstruction) -> None:
    schedule.place(inst, schedule.costs.engines.factor(inst))


def custom_call(schedule: Schedule, inst: HLOInstruction) -> None:
    """As the record of its target says."""
    if is_view(inst):
        view(schedule, inst)
    else:
        place_custom_call(schedule, inst)


HANDLERS.update(
    {
        CostKind.SOURCE: source,
        CostKind.RENAME: view,
        CostKind.VIEW: view,
        CostKind.TUPLE: tuples,
        CostKind.ELEMENTWISE: elementwise,
        CostKind.REDUCE: reduce,
        CostKind.WINDOW: window,
        CostKind.SORT: sort,
        CostKind.DOT: dot,
        CostKind.CONVOLUTION: convolution,
        CostKind.TRANSPOSE: transpose,
        CostKind.MOVE: movement.move,
        CostKind.FACTOR: factor,
        CostKind.COLLECTIVE: collectives.collective,
        CostKind.CONTROL: control.control,
        CostKind.CUSTOM: custom_call,
    }
)
