"""Opcodes that call computations, and custom calls."""

from __future__ import annotations

from collections.abc import Sequence

from nkipy.hlo.dtypes import HLO_NAMES, bool_, int32
from nkipy.hlo.ir import HLOInstruction, Shape
from nkipy.hlo.rules.base import (
    Inst,
    Result,
    Rule,
    arrays,
    callee,
    dimension,
    dimensions,
    element_type,
    fail,
    require,
    result_of,
    scalar,
    signature,
    without,
)


def reducer(inst: Inst, inputs: Sequence[Inst], inits: Sequence[Inst]) -> None:
    """Inputs of one shape, as many scalars, and a computation that combines them."""
    if len(inputs) != len(inits):
        fail(f"{len(inst.operands)} operands are not as many inputs as initial values")
    for x, init in zip(inputs, inits):
        scalar(init, "an initial value")
        require(x.shape == inputs[0].shape, "inputs differ in shape")
        require(x.dtype == init.dtype, "input and initial value differ in type")
    scalars = tuple(Shape(x.dtype, ()) for x in inputs)
    result = scalars if len(scalars) > 1 else scalars[0]
    callee(inst.attributes["to_apply"], scalars * 2, result, "to_apply")


def reduce(inst: Inst) -> Result:
    values = arrays(inst)
    inputs, inits = values[: len(values) // 2], values[len(values) // 2 :]
    dims = inst.attributes["dimensions"]
    dimensions(dims, len(inputs[0].shape), "dimensions")
    reducer(inst, inputs, inits)
    return each_of(inputs, without(inputs[0].shape, dims))


def each_of(inputs: Sequence[Inst], dims: tuple[int, ...]) -> Result:
    """One result for each input, of its element type; a tuple if there are several."""
    if len(inputs) == 1:
        return dims, inputs[0].dtype
    return tuple(Shape(x.dtype, dims) for x in inputs)


def sort(inst: Inst) -> Result:
    values = arrays(inst)
    first = values[0]
    dimension(inst.attributes["dimension"], len(first.shape), "dimension")
    require(all(v.shape == first.shape for v in values), "operands differ in shape")
    pairs = [Shape(v.dtype, ()) for v in values for _ in range(2)]
    callee(inst.attributes["to_apply"], pairs, Shape(bool_, ()), "to_apply")
    return each_of(values, first.shape)


def _as_result(shape: Shape | tuple[Shape, ...]) -> Result:
    return (shape.dims, shape.dtype) if isinstance(shape, Shape) else shape


def while_(inst: Inst) -> Result:
    state = signature(inst.operands[0])
    callee(inst.attributes["condition"], [state], Shape(bool_, ()), "condition")
    callee(inst.attributes["body"], [state], state, "body")
    return _as_result(state)


def conditional(inst: Inst) -> Result:
    selector, *values = inst.operands
    branches = inst.attributes["branches"]
    require(len(branches) == len(values), "not one operand for each branch")
    scalar(selector, "the selector")
    if selector.dtype not in (bool_, int32):
        fail(f"the selector is {HLO_NAMES[selector.dtype]}, not pred or s32")
    if selector.dtype == bool_:
        require(len(branches) == 2, "a pred selects between two branches")
    result = result_of(branches[0])
    for i, (branch, value) in enumerate(zip(branches, values)):
        callee(branch, [signature(value)], result, f"branch {i}")
    return _as_result(result)


def call(inst: Inst) -> Result:
    target = inst.attributes["to_apply"]
    result = result_of(target)
    callee(target, [signature(v) for v in inst.operands], result, "to_apply")
    return _as_result(result)


def custom_call(inst: Inst) -> Result:
    """Any result; aliased operands have to have the shape of what they become."""
    require(bool(inst.attributes["custom_call_target"]), "custom_call_target is empty")
    version = inst.attributes.get("api_version", 0)
    require(0 <= version <= 4, f"api_version {version} is not in 0..4")
    outputs: set[int | None] = set()
    for output, operand in inst.attributes.get("output_operand_aliasing", ()):
        require(output not in outputs, f"output {output} is aliased twice")
        outputs.add(output)
        _alias(inst, output, operand)
    if inst.tuple_shapes is not None:
        return inst.tuple_shapes
    return inst.shape, element_type(inst)


def _alias(inst: HLOInstruction, output: int | None, operand: int) -> None:
    if not 0 <= operand < len(inst.operands):
        fail(f"output_operand_aliasing names operand {operand}")
    shapes = inst.tuple_shapes
    if output is None or shapes is None:
        if output is not None or shapes is not None:
            fail(
                f"output_operand_aliasing names output {output} of {inst.shape_text()}"
            )
        shape = signature(inst)
    elif not 0 <= output < len(shapes):
        fail(f"output_operand_aliasing names output {output} of {len(shapes)}")
    else:
        shape = shapes[output]
    if signature(inst.operands[operand]) != shape:
        fail(f"output {output} and operand {operand} differ in shape or element type")


RULES: dict[str, Rule] = {
    "reduce": reduce,
    "sort": sort,
    "while": while_,
    "conditional": conditional,
    "call": call,
    "custom-call": custom_call,
}
