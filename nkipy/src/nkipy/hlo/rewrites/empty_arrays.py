"""Leaves arrays without elements out of a program's parameters and results.

The runtime library has no tensors of zero bytes. So parameters without elements become
constants, which is all that they can be, and results without elements are left out: the
caller makes them from their shapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from nkipy.hlo.ir import AliasInfo, HLOInstruction, HLOModule
from nkipy.hlo.rewrites.dead_code import eliminate_dead_code


@dataclass(frozen=True)
class WithoutEmpty:
    """A module all of whose parameters and results have elements.

    Attributes:
        module: the module.
        inputs: for each of its parameters, the number of the original's parameter.
        outputs: for each of its results, the number of the original's result.
    """

    module: HLOModule
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def without_empty_arrays(module: HLOModule) -> WithoutEmpty:
    """`module`, or what is left of it, which is verified; it is not changed itself."""
    inputs = tuple(i for i, p in enumerate(module.parameters) if _has_elements(p))
    outputs = tuple(i for i, r in enumerate(module.results) if _has_elements(r))
    if len(inputs) < len(module.parameters) or len(outputs) < len(module.results):
        module = _without_empty(module, inputs, outputs)
    return WithoutEmpty(module, inputs, outputs)


def _has_elements(inst: HLOInstruction) -> bool:
    return prod(inst.shape) > 0


def _without_empty(
    module: HLOModule, inputs: tuple[int, ...], outputs: tuple[int, ...]
) -> HLOModule:
    made = HLOModule(module.name)
    values = _parameters(module, made, inputs)
    for inst in module.operations:
        values[inst] = made.add_operation(_with_operands(inst, values))
    made.set_results(
        [values[module.results[i]] for i in outputs],
        [module.output_names[i] for i in outputs],
    )
    made.aliases = [
        AliasInfo(
            outputs.index(alias.output_index),
            inputs.index(alias.param_index),
            alias.param_name,
            alias.is_user_returned,
        )
        for alias in module.aliases
        if alias.output_index in outputs
    ]
    eliminate_dead_code(made)
    made.verify()
    return made


def _parameters(
    module: HLOModule, made: HLOModule, inputs: tuple[int, ...]
) -> dict[HLOInstruction, HLOInstruction]:
    """What takes the place of each parameter; parameters come first in a module."""
    values = {}
    for i in inputs:
        old = module.parameters[i]
        values[old] = made.add_parameter(old.shape, old.dtype, old.name)
    for old in module.parameters:
        if old not in values:
            values[old] = made.add_operation(_empty_constant(old))
    return values


def _empty_constant(parameter: HLOInstruction) -> HLOInstruction:
    literal = np.empty(parameter.shape, parameter.dtype)
    literal.flags.writeable = False
    return HLOInstruction(
        "constant", (), parameter.shape, parameter.dtype, {"literal": literal}
    )


def _with_operands(
    inst: HLOInstruction, values: dict[HLOInstruction, HLOInstruction]
) -> HLOInstruction:
    operands = tuple(values[o] for o in inst.operands)
    if operands == inst.operands:
        return inst
    return HLOInstruction(
        inst.opcode,
        operands,
        inst.shape,
        inst.dtype,
        inst.attributes,
        inst.source_location,
        inst.tuple_shapes,
        inst.name,
    )
