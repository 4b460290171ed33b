"""Copies a module with some instructions replaced by others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import (
    HLOComputation,
    HLOInstruction,
    HLOModule,
    callees,
    with_callees,
)

#: Given an instruction of the original, its operands in the copy and a builder at this
#: point of the copy: what takes its place, or None to keep it.
Rule = Callable[
    [HLOInstruction, tuple[HLOInstruction, ...], "Place"], "HLOInstruction | None"
]


class Place:
    """Where a rule is applied: in which computation, and what it may build with.

    Attributes:
        values: what each instruction before, of the original, is in the copy.
    """

    def __init__(
        self,
        computation: HLOComputation,
        builder: HLOBuilder,
        is_entry: bool,
        values: Mapping[HLOInstruction, HLOInstruction],
    ) -> None:
        self.computation = computation
        self.builder = builder
        self.is_entry = is_entry
        self.values = values


def constant_below(value: HLOInstruction) -> HLOInstruction | None:
    """The constant whose elements `value` has, each as often as it may be; or None."""
    while value.opcode in ("broadcast", "reshape"):
        (value,) = value.operands
    return value if value.opcode == "constant" else None


def literal_below(value: HLOInstruction) -> np.ndarray | None:
    """The literal of :func:`constant_below`."""
    constant = constant_below(value)
    return None if constant is None else constant.attributes["literal"]


def is_filled(value: HLOInstruction, element: float) -> bool:
    """Whether all elements of `value` are `element`, of one constant."""
    literal = literal_below(value)
    return literal is not None and literal.size == 1 and literal.reshape(()) == element


def combination(inst: HLOInstruction) -> str | None:
    """The opcode by which a reduction, or one of windows, combines two elements.

    None if it does something else, or more, or takes them in the other order.
    """
    applied = inst.attributes["to_apply"]
    if applied.root.operands != tuple(applied.parameters):
        return None
    return applied.root.opcode


def element(b: HLOBuilder, value: HLOInstruction, index: int) -> HLOInstruction:
    """One element of a tuple."""
    assert value.tuple_shapes is not None
    shape = value.tuple_shapes[index]
    attributes = {"index": index}
    return b.emit("get-tuple-element", (value,), shape.dims, shape.dtype, attributes)


def with_operands(
    inst: HLOInstruction, operands: Sequence[HLOInstruction]
) -> HLOInstruction:
    """`inst` if those are its operands, else a copy that has them."""
    if tuple(operands) == inst.operands:
        return inst
    return HLOInstruction(
        *(inst.opcode, tuple(operands), inst.shape, inst.dtype, inst.attributes),
        *(inst.source_location, inst.tuple_shapes, inst.name, inst.form),
    )


def rewrite(module: HLOModule, rule: Rule) -> HLOModule:
    """A copy of `module` in which `rule` has been applied to every instruction.

    Parameters are kept as they are. Instructions that neither the rule nor a change of
    their operands touches are shared with the original, which is not changed.
    """
    copies: dict[HLOComputation, HLOComputation] = {}
    for computation in module.entry.called():
        copy, _ = _copy(computation, rule, copies, None)
        # What all modules have, a builder may add once more.
        is_same = computation.is_fixed and _are_alike(copy, computation)
        copies[computation] = computation if is_same else copy
    result = HLOModule(module.name)
    _, values = _copy(module.entry, rule, copies, result.entry)
    result.set_results([values[r] for r in module.results], module.output_names)
    result.aliases = list(module.aliases)
    return result


def _are_alike(one: HLOComputation, other: HLOComputation) -> bool:
    return one.root is other.root and list(one.instructions) == list(other.instructions)


def _copy(
    computation: HLOComputation,
    rule: Rule,
    copies: Mapping[HLOComputation, HLOComputation],
    entry: HLOComputation | None,
) -> tuple[HLOComputation, dict[HLOInstruction, HLOInstruction]]:
    """A copy, put into `entry` if that is given, and where each instruction went."""
    copy = entry if entry is not None else HLOComputation(computation.name)
    builder = HLOBuilder(copy)
    values: dict[HLOInstruction, HLOInstruction] = {}
    place = Place(computation, builder, entry is not None, values)
    for inst in computation.instructions:
        operands = tuple([values[o] for o in inst.operands])
        builder.current_source_location = inst.source_location
        replaced = None
        if inst.opcode != "parameter":
            replaced = rule(inst, operands, place)
        if replaced is None:
            replaced = _keep(inst, operands, copies)
            copy.instructions.append(replaced)
        values[inst] = replaced
    copy.parameters.extend(values[p] for p in computation.parameters)
    if computation.root is not None:
        copy.root = values[computation.root]
    return copy, values


def _keep(
    inst: HLOInstruction,
    operands: tuple[HLOInstruction, ...],
    copies: Mapping[HLOComputation, HLOComputation],
) -> HLOInstruction:
    attributes, form = inst.attributes, inst.form
    if callees(inst):
        form = None
        attributes = with_callees(attributes, copies)
    if operands == inst.operands and attributes is inst.attributes:
        return inst
    return HLOInstruction(
        inst.opcode,
        operands,
        inst.shape,
        inst.dtype,
        attributes,
        inst.source_location,
        inst.tuple_shapes,
        inst.name,
        form,
    )
