"""Opcodes that call computations, and custom calls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from nkipy.hlo.dtypes import HLO_NAMES, bool_, int32
from nkipy.hlo.errors import HLOUnsupportedError
from nkipy.hlo.instruction import HLOInstruction, Shape
from nkipy.hlo.opcodes.attribute import (
    Attribute,
    Fields,
    Kind,
    NameOf,
    if_true,
    optional,
)
from nkipy.hlo.opcodes.compiled import AS_IT_IS, refused
from nkipy.hlo.opcodes.cost import CONTROL, GPSIMD, CostClass, CostKind
from nkipy.hlo.opcodes.kinds import (
    BOOL,
    BYTES,
    COMPUTATION,
    COMPUTATIONS,
    INT,
    INTS,
    STR,
    is_int,
)
from nkipy.hlo.opcodes.movement import DIMENSION
from nkipy.hlo.opcodes.record import OnCpu, define
from nkipy.hlo.opcodes.rule import (
    Inst,
    Result,
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
from nkipy.hlo.opcodes.text import quoted, string_map
from nkipy.third_party.xla.wire_fields import ENUMS

if TYPE_CHECKING:
    from nkipy.hlo.wire_reader import Reader


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


# -- over elements ---------------------------------------------------------------------
_TO_APPLY = Attribute("to_apply", COMPUTATION)
define(
    "reduce",
    operands=(2, None),
    rule=reduce,
    cost=CostClass(CostKind.REDUCE),
    compiled=AS_IT_IS,
    on_cpu=OnCpu.CONTRACTS,
    attributes=(Attribute("dimensions", INTS), _TO_APPLY),
)
define(
    "sort",
    operands=(1, None),
    rule=sort,
    cost=CostClass(CostKind.SORT, GPSIMD),
    compiled=AS_IT_IS,
    attributes=(
        DIMENSION,
        optional("is_stable", BOOL, text=if_true("is_stable"), default=False),
        _TO_APPLY,
    ),
)


# -- control flow ----------------------------------------------------------------------
def _branches_text(value: Any, inst: Inst, name_of: NameOf) -> str:
    names = [f"%{name_of(c)}" for c in value]
    if inst.operands[0].dtype == bool_:
        return "true_computation={}, false_computation={}".format(*names)
    return f"branch_computations={{{', '.join(names)}}}"


define(
    "while",
    operands=1,
    rule=while_,
    cost=CONTROL,
    compiled=AS_IT_IS,
    takes_tuples=True,
    attributes=(Attribute("body", COMPUTATION), Attribute("condition", COMPUTATION)),
)
define(
    "conditional",
    operands=(2, None),
    rule=conditional,
    cost=CONTROL,
    compiled=AS_IT_IS,
    attributes=(Attribute("branches", COMPUTATIONS, text=_branches_text),),
)
define(
    "call",
    operands=(0, None),
    rule=call,
    cost=CONTROL,
    compiled=AS_IT_IS,
    takes_tuples=True,
    attributes=(_TO_APPLY,),
)


# -- custom-call -----------------------------------------------------------------------
def _is_strings(value: Any) -> bool:
    return type(value) is tuple and all(
        type(pair) is tuple and len(pair) == 2 and set(map(type, pair)) == {str}
        for pair in value
    )


def encode_strings(pairs: Iterable[tuple[str, str]]) -> Fields:
    """Fields of a ``FrontendAttributes`` message."""
    return {"map": [{"key": key, "value": value} for key, value in pairs]}


def decode_strings(fields: Fields) -> dict[str, str]:
    """The entries of a ``FrontendAttributes`` message."""
    return {e.get("key", ""): e.get("value", "") for e in fields.get("map", ())}


def _decode_strings(
    fields: Fields, name: str, reader: Reader
) -> tuple[tuple[str, str], ...] | None:
    return tuple(decode_strings(fields[name]).items()) if name in fields else None


_STRINGS = Kind(
    "a tuple of (str, str)", _is_strings, encode_strings, _decode_strings, string_map
)


def _is_aliasing(value: Any) -> bool:
    return type(value) is tuple and all(
        type(pair) is tuple
        and len(pair) == 2
        and (pair[0] is None or is_int(pair[0]))
        and is_int(pair[1])
        for pair in value
    )


def _encode_aliasing(pairs: Any) -> list[Fields]:
    return [
        {"output_shape_index": () if out is None else (out,), "operand_index": operand}
        for out, operand in pairs
    ]


def _decode_aliasing(
    fields: Fields, name: str, reader: Reader
) -> tuple[tuple[int | None, int], ...] | None:
    if name not in fields:
        return None
    return tuple(_decode_alias(entry, reader) for entry in fields[name])


def _decode_alias(entry: Fields, reader: Reader) -> tuple[int | None, int]:
    index = reader.ints(entry, "output_shape_index")
    if len(index) > 1 or reader.ints(entry, "operand_shape_index"):
        raise HLOUnsupportedError("output_operand_aliasing of nested tuples")
    return (index[0] if index else None, entry.get("operand_index", 0))


def _aliasing_text(pairs: Any, inst: Inst, name_of: NameOf) -> str:
    entries = ", ".join(
        f"{{{'' if output is None else output}}}: ({operand}, {{}})"
        for output, operand in pairs
    )
    return f"output_to_operand_aliasing={{{entries}}}" if entries else ""


_ALIASING = Kind(
    "a tuple of (output or None, operand)",
    _is_aliasing,
    _encode_aliasing,
    _decode_aliasing,
)
_VERSIONS = {number: name for name, number in ENUMS["CustomCallApiVersion"].items()}


def _if_set(fields: Fields, name: str, reader: Reader) -> Any:
    return fields.get(name) or None


def _version_text(value: int, inst: Inst, name_of: NameOf) -> str:
    return f"api_version={_VERSIONS[value]}" if value else ""


def _config_text(value: bytes, inst: Inst, name_of: NameOf) -> str:
    return f"backend_config={quoted(value)}" if value else ""


def _strings_text(value: Any, inst: Inst, name_of: NameOf) -> str:
    return f"frontend_attributes={string_map(value)}" if value else ""


define(
    "custom-call",
    operands=(0, None),
    rule=custom_call,
    cost=CostClass(CostKind.CUSTOM),
    compiled=refused("NCC_EVRF015"),
    takes_tuples=True,
    attributes=(
        Attribute("custom_call_target", STR._replace(text=quoted)),
        optional(
            "has_side_effect",
            BOOL._replace(decode=_if_set),
            field="custom_call_has_side_effect",
            text=if_true("custom_call_has_side_effect"),
        ),
        optional("output_operand_aliasing", _ALIASING, text=_aliasing_text),
        optional(
            "api_version",
            INT._replace(decode=_if_set),
            field="custom_call_api_version",
            text=_version_text,
        ),
        optional("backend_config", BYTES, text=_config_text),
        optional("frontend_attributes", _STRINGS, text=_strings_text),
    ),
)
