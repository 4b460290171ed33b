"""One valid program or more for each opcode, and ways to get each wrong.

Shapes are written as in HLO's text: ``f32[2,3]``, ``(f32[2], s32[2])``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nkipy.core.dtypes import FROM_HLO_NAME
from nkipy.core.hlo.ir import HLOComputation, HLOInstruction, HLOModule, Shape
from nkipy.core.hlo.opcodes import BINARY, UNARY, WindowDim


def shape_of(text: str) -> Shape:
    name, dims = re.fullmatch(r"(\w+)\[([\d,]*)\]", text).groups()
    return Shape(FROM_HLO_NAME[name], tuple(int(d) for d in dims.split(",") if d))


def shapes_of(text: str) -> Shape | tuple[Shape, ...]:
    if not text.startswith("("):
        return shape_of(text)
    return tuple(map(shape_of, re.findall(r"\w+\[[\d,]*\]", text)))


def instruction(
    opcode: str, operands: tuple, result: str, attributes: dict | None = None
) -> HLOInstruction:
    shape = shapes_of(result)
    if isinstance(shape, Shape):
        return HLOInstruction(
            opcode, operands, shape.dims, shape.dtype, attributes or {}
        )
    return HLOInstruction(
        opcode, operands, (), None, attributes or {}, tuple_shapes=shape
    )


def computation(name: str, parameters: str, *body: tuple) -> HLOComputation:
    """Each item of `body` is (opcode, indices of operands, result[, attributes])."""
    out = HLOComputation(name)
    for text in re.findall(r"\([^)]*\)|\w+\[[\d,]*\]", parameters):
        shape = shapes_of(text)
        if isinstance(shape, Shape):
            out.add_parameter(shape.dims, shape.dtype)
        else:
            out.add_parameter((), None, tuple_shapes=shape)
    for opcode, indices, result, *attributes in body:
        operands = tuple(out.instructions[i] for i in indices)
        out.instructions.append(instruction(opcode, operands, result, *attributes))
    out.root = out.instructions[-1]
    return out


def reducer(opcode: str = "add", dtype: str = "f32") -> HLOComputation:
    scalar = f"{dtype}[]"
    return computation(
        f"{opcode}_{dtype}", f"{scalar} {scalar}", (opcode, (0, 1), scalar)
    )


def comparator(*dtypes: str) -> HLOComputation:
    parameters = " ".join(f"{d}[] {d}[]" for d in dtypes)
    return computation(
        "less", parameters, ("compare", (0, 1), "pred[]", {"direction": "LT"})
    )


@dataclass(frozen=True)
class Wrong:
    """A change that makes a sample invalid, and part of what the verifier says."""

    message: str
    operands: tuple[str, ...] | None = None
    result: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sample:
    opcode: str
    operands: tuple[str, ...]
    result: str
    attributes: dict[str, Any] = field(default_factory=dict)
    wrong: tuple[Wrong, ...] = ()
    compiles: bool = True  # XLA's CPU compiler takes it as it is

    @property
    def label(self) -> str:
        return f"{self.opcode} {' '.join(self.operands)} -> {self.result}"

    def build(self) -> HLOModule:
        module = HLOModule("sample")
        entry = module.entry
        operands = []
        for i, text in enumerate(self.operands):
            shape = shapes_of(text)
            if isinstance(shape, Shape):
                operands.append(module.add_parameter(shape.dims, shape.dtype, f"x{i}"))
                continue
            parts = [
                module.add_parameter(s.dims, s.dtype, f"x{i}_{j}")
                for j, s in enumerate(shape)
            ]
            operands.append(module.add_operation(instruction("tuple", parts, text)))
            operands[-1].operands = tuple(parts)
        op = instruction(self.opcode, tuple(operands), self.result, self.attributes)
        if self.opcode == "parameter":
            op.name = "x"
            entry.parameters.append(op)
        module.add_operation(op)
        if op.tuple_shapes is None:
            module.set_results(op)
            return module
        module.set_results(
            [
                module.add_operation(
                    HLOInstruction(
                        "get-tuple-element", (op,), s.dims, s.dtype, {"index": i}
                    )
                )
                for i, s in enumerate(op.tuple_shapes)
            ]
        )
        return module

    def with_error(self, wrong: Wrong) -> Sample:
        attributes = {**self.attributes, **wrong.attributes}
        for name in wrong.without:
            del attributes[name]
        return replace(
            self,
            operands=self.operands if wrong.operands is None else wrong.operands,
            result=self.result if wrong.result is None else wrong.result,
            attributes=attributes,
        )


def _plain(dtypes: frozenset) -> str:
    """An element type to show an elementwise opcode with."""
    for name in ("f32", "s32", "pred"):
        if FROM_HLO_NAME[name] in dtypes:
            return name
    raise AssertionError("no type")


def _elementwise() -> list[Sample]:
    out = []
    for table, count in ((UNARY, 1), (BINARY, 2)):
        for names, dtypes in table.items():
            name = _plain(dtypes)
            other = "s32" if name == "f32" else "u8"
            x = f"{name}[2,3]"
            wrong = [
                Wrong("has to be", result=f"{name}[2,4]"),
                Wrong("has to be", result=f"{other}[2,3]"),
                Wrong("operands instead of", operands=(x,) * (count + 1)),
                Wrong("unknown attribute", attributes={"dimension": 0}),
            ]
            if count == 2:
                for y in (f"{name}[3]", f"{other}[2,3]"):
                    wrong.append(Wrong("operands differ", operands=(x, y)))
            outside = sorted(set(FROM_HLO_NAME) - _names_of(dtypes))
            for bad in outside[:1]:
                z = f"{bad}[2,3]"
                wrong.append(Wrong("not defined", operands=(z,) * count, result=z))
            for opcode in names.split():
                out.append(Sample(opcode, (x,) * count, x, {}, tuple(wrong)))
    return out


def _names_of(dtypes: frozenset) -> set[str]:
    return {name for name, dtype in FROM_HLO_NAME.items() if dtype in dtypes}


def _literal(dtype: str, dims: tuple[int, ...] = (2, 3)) -> np.ndarray:
    values = np.arange(np.prod(dims)).reshape(dims).astype(FROM_HLO_NAME[dtype])
    values.flags.writeable = False
    return values


_F, _S = "f32[2,3]", "s32[]"
_GROUPS = {"replica_groups": ((0, 1),)}
_DIM0 = {"dimensions": (0,)}

_SIMPLE = [
    Sample("is-finite", (_F,), "pred[2,3]", {}, (Wrong("has to be", result=_F),)),
    Sample(
        "compare",
        (_F, _F),
        "pred[2,3]",
        {"direction": "LE"},
        (
            Wrong("has to be", result=_F),
            Wrong("attribute 'direction'", attributes={"direction": "LESS"}),
            Wrong("missing attributes: direction", without=("direction",)),
            Wrong("operands differ", operands=(_F, "f32[3,2]")),
        ),
    ),
    Sample(
        "select",
        ("pred[2,3]", _F, _F),
        _F,
        {},
        (
            Wrong("not of type pred", operands=(_F, _F, _F)),
            Wrong("operands differ", operands=("pred[]", _F, _F)),
            Wrong("operands differ", operands=("pred[2,3]", _F, "f16[2,3]")),
        ),
    ),
    Sample(
        "clamp",
        ("f32[]", _F, _F),
        _F,
        {},
        (Wrong("a bound", operands=("f32[3]", _F, _F)),),
    ),
    Sample("convert", (_F,), "bf16[2,3]", {}, (Wrong("has to be", result="s8[3]"),)),
    Sample(
        "bitcast-convert",
        (_F,),
        "u32[2,3]",
        {},
        (
            Wrong("has to be", result="u16[2,3]"),
            Wrong("no bit pattern", result="pred[2,3]"),
        ),
    ),
    Sample("bitcast-convert", (_F,), "u16[2,3,2]"),
    Sample(
        "bitcast-convert",
        ("u8[3,4]",),
        "f32[3]",
        {},
        (Wrong("last dimension is not 4", operands=("u8[4,3]",)),),
    ),
    Sample(
        "reduce-precision",
        (_F,),
        _F,
        {"exponent_bits": 5, "mantissa_bits": 10},
        (
            Wrong("exponent_bits 0", attributes={"exponent_bits": 0}),
            Wrong("mantissa_bits -1", attributes={"mantissa_bits": -1}),
            Wrong("not defined", operands=("s32[2]",), result="s32[2]"),
        ),
    ),
    Sample("opt-barrier", (_F,), _F, {}, (Wrong("be", result="f32[6]"),)),
    Sample("opt-barrier", ("(f32[2], s32[])",), "(f32[2], s32[])"),
    Sample(
        "parameter",
        (),
        _F,
        {"parameter_number": 0},
        (
            Wrong("numbered [1]", attributes={"parameter_number": 1}),
            Wrong("missing attributes", without=("parameter_number",)),
        ),
    ),
    *(
        Sample(
            "constant",
            (),
            f"{name}[2,3]",
            {"literal": _literal(name)},
            (
                Wrong("has to be", result=f"{name}[3,2]"),
                Wrong("has to be", result="s8[6]"),
                Wrong("an ndarray", attributes={"literal": [[0]]}),
            ),
        )
        for name in FROM_HLO_NAME
    ),
    Sample("constant", (), "f32[]", {"literal": _literal("f32", ())}),
    Sample("constant", (), "s32[0,3]", {"literal": _literal("s32", (0, 3))}),
    Sample(
        "iota",
        (),
        "s32[2,3]",
        {"iota_dimension": 1},
        (
            Wrong("out of range", attributes={"iota_dimension": 2}),
            Wrong("out of range", attributes={"iota_dimension": -1}),
            Wrong("not defined", result="pred[2,3]"),
        ),
    ),
    Sample("replica-id", (), "u32[]", {}, (Wrong("has to be u32[]", result="u32[1]"),)),
    Sample("partition-id", (), "u32[]", {}, (Wrong("not defined", result=_S),)),
]

_MOVEMENT = [
    Sample("reshape", (_F,), "f32[3,1,2]", {}, (Wrong("6 elem", result="f32[5]"),)),
    Sample("reshape", ("f32[1,1]",), "f32[]"),
    Sample(
        "broadcast",
        ("f32[3]",),
        "f32[2,3,4]",
        {"dimensions": (1,)},
        (
            Wrong("in the operand 3", attributes={"dimensions": (2,)}),
            Wrong("0 dimensions for", attributes={"dimensions": ()}),
            Wrong("not distinct", attributes={"dimensions": (3,)}),
            Wrong("a tuple of ints", attributes={"dimensions": [1]}),
            Wrong("has to be f32", result="f16[2,3,4]"),
        ),
    ),
    Sample(
        "broadcast",
        ("f32[2,3]",),
        "f32[2,3,4]",
        {"dimensions": (0, 1)},
        (Wrong("ascending", attributes={"dimensions": (1, 0)}),),
    ),
    Sample("broadcast", ("f32[]",), "f32[2]", {"dimensions": ()}),
    Sample(
        "transpose",
        ("f32[2,3,4]",),
        "f32[4,2,3]",
        {"dimensions": (2, 0, 1)},
        (
            Wrong("has to be f32[3,4,2]", attributes={"dimensions": (1, 2, 0)}),
            Wrong("do not permute", attributes={"dimensions": (1, 0)}),
            Wrong("not distinct", attributes={"dimensions": (2, 0, 0)}),
        ),
    ),
    Sample(
        "reverse",
        (_F,),
        _F,
        {"dimensions": (1,)},
        (Wrong("not distinct", attributes={"dimensions": (1, 1)}),),
    ),
    Sample(
        "concatenate",
        (_F, "f32[2,1]"),
        "f32[2,4]",
        {"dimension": 1},
        (
            Wrong("differ in other", attributes={"dimension": 0}),
            Wrong("has to be", result="f32[2,5]"),
            Wrong("element type", operands=(_F, "f16[2,1]")),
        ),
    ),
    Sample(
        "slice",
        ("f32[10,4]",),
        "f32[3,2]",
        {"starts": (1, 2), "limits": (10, 4), "strides": (3, 1)},
        (
            Wrong("not within", attributes={"limits": (11, 4)}),
            Wrong("not within", attributes={"strides": (0, 1)}),
            Wrong("not all of length", attributes={"starts": (1,)}),
            Wrong("has to be f32[9,2]", attributes={"strides": (1, 1)}),
        ),
    ),
    Sample(
        "dynamic-slice",
        (_F, _S, _S),
        "f32[1,2]",
        {"dynamic_slice_sizes": (1, 2)},
        (
            Wrong("not one start", operands=(_F, _S)),
            Wrong("exceeds", attributes={"dynamic_slice_sizes": (1, 4)}),
            Wrong("a start index is f32[]", operands=(_F, _S, "f32[]")),
        ),
    ),
    Sample(
        "dynamic-update-slice",
        (_F, "f32[1,2]", _S, _S),
        _F,
        {},
        (
            Wrong("larger", operands=(_F, "f32[1,4]", _S, _S)),
            Wrong("a start index is s32[1]", operands=(_F, "f32[1,2]", _S, "s32[1]")),
        ),
    ),
    Sample(
        "pad",
        (_F, "f32[]"),
        "f32[5,4]",
        {"padding": ((1, 1, 1), (0, 1, 0))},
        (
            Wrong("has to be", result="f32[4,4]"),
            Wrong("not of length", attributes={"padding": ((1, 1, 1),)}),
            Wrong("padding (0, 0, -1)", attributes={"padding": ((0, 0, -1),) * 2}),
            Wrong("not a scalar", operands=(_F, "f32[1]")),
        ),
    ),
    Sample("pad", (_F, "f32[]"), "f32[1,3]", {"padding": ((-1, 0, 0), (0, 0, 0))}),
    Sample(
        "tuple",
        (_F, _S),
        f"({_F}, {_S})",
        {},
        (Wrong("has to be", result=f"({_F}, {_F})"), Wrong("has to be", result=_F)),
    ),
    Sample(
        "get-tuple-element",
        (f"({_F}, {_S})",),
        _S,
        {"index": 1},
        (
            Wrong("has to be f32", attributes={"index": 0}),
            Wrong("index 2", attributes={"index": 2}),
            Wrong("not a tuple", operands=(_F,)),
        ),
    ),
]

_DOT = {
    "lhs_contracting_dims": (2,),
    "rhs_contracting_dims": (1,),
    "lhs_batch_dims": (0,),
    "rhs_batch_dims": (0,),
}
_CONV = {
    "window": (WindowDim(3, 2, 1, 1), WindowDim(3, 1, 1, 1)),
    "dim_labels": "bf01_oi01->bf01",
    "feature_group_count": 1,
    "batch_group_count": 1,
}
_GATHER = {
    "offset_dims": (1,),
    "collapsed_slice_dims": (0,),
    "start_index_map": (0,),
    "index_vector_dim": 1,
    "slice_sizes": (1, 4),
    "indices_are_sorted": False,
}
_SCATTER = {
    "update_window_dims": (1,),
    "inserted_window_dims": (0,),
    "scatter_dims_to_operand_dims": (0,),
    "index_vector_dim": 1,
    "indices_are_sorted": True,
    "unique_indices": True,
    "to_apply": reducer(),
}
_SOLVE = {
    "left_side": True,
    "lower": False,
    "unit_diagonal": False,
    "transpose_a": True,
}

_ALGEBRA = [
    Sample(
        "dot",
        ("f32[5,2,3]", "f32[5,3,4]"),
        "f32[5,2,4]",
        _DOT,
        (
            Wrong("contracting", attributes={"rhs_contracting_dims": (2,)}),
            Wrong("batch", attributes={"lhs_batch_dims": ()}),
            Wrong("not distinct", attributes={"lhs_batch_dims": (2,)}),
            Wrong("has to be f32[5,2,4]", result="f32[5,4,2]"),
            Wrong("element type", operands=("f32[5,2,3]", "bf16[5,3,4]")),
            Wrong("missing", without=("lhs_batch_dims",)),
        ),
    ),
    Sample("dot", ("bf16[5,2,3]", "bf16[5,3,4]"), "f32[5,2,4]", _DOT),
    Sample(
        "convolution",
        ("f32[2,3,8,8]", "f32[4,3,3,3]"),
        "f32[2,4,4,8]",
        _CONV,
        (
            Wrong("malformed", attributes={"dim_labels": "bf01_oi01"}),
            Wrong("malformed", attributes={"dim_labels": "bf01_oi02->bf01"}),
            Wrong("has to be", attributes={"dim_labels": "bf01_oi01->fb01"}),
            Wrong(
                "window 1 is 2",
                attributes={"window": (*_CONV["window"][:1], WindowDim(2))},
            ),
            Wrong("one rank", attributes={"window": _CONV["window"][:1]}),
            Wrong("input features", attributes={"feature_group_count": 2}),
            Wrong("batch_group_count 0", attributes={"batch_group_count": 0}),
        ),
    ),
    Sample(
        "convolution",
        ("f32[1,9,6]", "f32[2,3,4]"),
        "f32[1,6,4]",
        {
            "window": (WindowDim(2, 1, 0, 0, 1, 3, True),),
            "dim_labels": "b0f_0io->b0f",
            "feature_group_count": 2,
        },
    ),
    Sample(
        "cholesky",
        ("f32[2,3,3]",),
        "f32[2,3,3]",
        {"lower": True},
        (Wrong("square", operands=(_F,), result=_F),),
    ),
    Sample(
        "triangular-solve",
        ("f32[3,3]", "f32[3,2]"),
        "f32[3,2]",
        _SOLVE,
        (
            Wrong("do not fit", attributes={"left_side": False}),
            Wrong("differ in rank", operands=("f32[3,3]", "f32[3]"), result="f32[3]"),
        ),
    ),
    Sample(
        "gather",
        ("f32[9,4]", "s32[5,1]"),
        "f32[5,4]",
        _GATHER,
        (
            Wrong("has to be", result="f32[4,5]"),
            Wrong("not integers", operands=("f32[9,4]", "f32[5,1]")),
            Wrong("index vectors of 2", operands=("f32[9,4]", "s32[5,2]")),
            Wrong("exceeds", attributes={"slice_sizes": (1, 5)}),
            Wrong("over 1", attributes={"slice_sizes": (2, 4)}),
            Wrong("offset_dims", attributes={"offset_dims": (2,)}),
            Wrong("index_vector_dim 3", attributes={"index_vector_dim": 3}),
        ),
    ),
    Sample(
        "gather",
        ("f32[9,4]", "s32[5]"),
        "f32[2,5]",
        {
            "offset_dims": (0,),
            "collapsed_slice_dims": (0,),
            "start_index_map": (1,),
            "index_vector_dim": 1,
            "slice_sizes": (1, 2),
        },
    ),
    Sample(
        "scatter",
        ("f32[9,4]", "s32[5,1]", "f32[5,4]"),
        "f32[9,4]",
        _SCATTER,
        (
            Wrong("to_apply 'add_s32'", attributes={"to_apply": reducer("add", "s32")}),
            Wrong("larger", operands=("f32[9,4]", "s32[5,1]", "f32[5,5]")),
            Wrong("differ in their", operands=("f32[9,4]", "s32[6,1]", "f32[5,4]")),
            Wrong("windows are not", attributes={"inserted_window_dims": ()}),
        ),
    ),
    Sample(
        "sort",
        (_F,),
        _F,
        {"dimension": 1, "is_stable": True, "to_apply": comparator("f32")},
        (
            Wrong("out of range", attributes={"dimension": 2}),
            Wrong("takes", attributes={"to_apply": comparator("s32")}),
            Wrong("returns f32[]", attributes={"to_apply": reducer()}),
        ),
    ),
    Sample(
        "sort",
        (_F, "s32[2,3]"),
        f"({_F}, s32[2,3])",
        {"dimension": 0, "is_stable": False, "to_apply": comparator("f32", "s32")},
        (Wrong("differ in shape", operands=(_F, "s32[2]")),),
    ),
    Sample(
        "reduce",
        ("f32[2,3,4]", "f32[]"),
        "f32[3]",
        {"dimensions": (0, 2), "to_apply": reducer()},
        (
            Wrong("has to be", result="f32[4]"),
            Wrong("not distinct", attributes={"dimensions": (0, 3)}),
            Wrong("takes", attributes={"to_apply": reducer("add", "s32")}),
            Wrong("not a scalar", operands=("f32[2,3,4]", "f32[1]")),
            Wrong("as many", operands=("f32[2,3,4]", "f32[]", "f32[]")),
            Wrong("missing attributes: to_apply", without=("to_apply",)),
        ),
    ),
    Sample(
        "reduce",
        (_F, "s32[2,3]", "f32[]", "s32[]"),
        "(f32[2], s32[2])",
        {
            "dimensions": (1,),
            "to_apply": computation(
                "both",
                "f32[] s32[] f32[] s32[]",
                ("maximum", (0, 2), "f32[]"),
                ("minimum", (1, 3), "s32[]"),
                ("tuple", (4, 5), "(f32[], s32[])"),
            ),
        },
        (Wrong("has to be", result="(f32[2], s32[3])"),),
    ),
    Sample(
        "reduce-window",
        ("f32[1,8]", "f32[]"),
        "f32[1,4]",
        {
            "window": (WindowDim(1), WindowDim(3, 2, 1, 0)),
            "to_apply": reducer("maximum"),
        },
        (
            Wrong("has to be", result="f32[1,5]"),
            Wrong("not of rank 2", attributes={"window": (WindowDim(1),)}),
            Wrong("positive", attributes={"window": (WindowDim(0), WindowDim(3))}),
            Wrong("WindowDim", attributes={"window": ((1, 1), (3, 2))}),
        ),
    ),
]

_ADD_ONE = computation(
    "body",
    "(s32[], f32[4])",
    ("get-tuple-element", (0,), "s32[]", {"index": 0}),
    ("get-tuple-element", (0,), "f32[4]", {"index": 1}),
    ("constant", (), "s32[]", {"literal": np.array(1, np.int32)}),
    ("add", (1, 3), "s32[]"),
    ("add", (2, 2), "f32[4]"),
    ("tuple", (4, 5), "(s32[], f32[4])"),
)
_BELOW_FIVE = computation(
    "condition",
    "(s32[], f32[4])",
    ("get-tuple-element", (0,), "s32[]", {"index": 0}),
    ("constant", (), "s32[]", {"literal": np.array(5, np.int32)}),
    ("compare", (1, 2), "pred[]", {"direction": "LT"}),
)
_NEGATE = computation("negate_f32", "f32[2]", ("negate", (0,), "f32[2]"))
_EXPONENTIAL = computation("exp_f32", "f32[2]", ("exponential", (0,), "f32[2]"))

_CALLS = [
    Sample(
        "while",
        ("(s32[], f32[4])",),
        "(s32[], f32[4])",
        {"condition": _BELOW_FIVE, "body": _ADD_ONE},
        (
            Wrong("condition 'body' returns", attributes={"condition": _ADD_ONE}),
            Wrong("body 'condition' returns", attributes={"body": _BELOW_FIVE}),
            Wrong("takes", operands=("(s32[], f32[5])",), result="(s32[], f32[5])"),
        ),
    ),
    Sample(
        "conditional",
        ("pred[]", "f32[2]", "f32[2]"),
        "f32[2]",
        {"branches": (_NEGATE, _EXPONENTIAL)},
        (
            Wrong("not pred or s32", operands=("u8[]", "f32[2]", "f32[2]")),
            Wrong("not one operand", attributes={"branches": (_NEGATE,)}),
            Wrong("takes", operands=("pred[]", "f32[2]", "f32[3]")),
        ),
    ),
    Sample(
        "conditional",
        ("s32[]", "f32[2]", "f32[2]", "f32[2]"),
        "f32[2]",
        {"branches": (_NEGATE, _EXPONENTIAL, _NEGATE)},
    ),
    Sample(
        "call",
        ("f32[2]",),
        "f32[2]",
        {"to_apply": _NEGATE},
        (Wrong("takes", operands=("f32[3]",)), Wrong("be", result="f32[3]")),
    ),
    Sample(
        "custom-call",
        (_F, "s32[2]"),
        f"({_F}, s32[2])",
        {
            "custom_call_target": "AwsNeuronCustomNativeKernel",
            "backend_config": b'{"k": 1}\n\xff',
            "api_version": 2,
            "has_side_effect": True,
            "output_operand_aliasing": ((0, 0), (1, 1)),
            "frontend_attributes": (("has_collectives", "1"),),
        },
        (
            Wrong("target is empty", attributes={"custom_call_target": ""}),
            Wrong("api_version 5", attributes={"api_version": 5}),
            Wrong("differ", attributes={"output_operand_aliasing": ((0, 1),)}),
            Wrong("operand 2", attributes={"output_operand_aliasing": ((0, 2),)}),
            Wrong("output 2 of", attributes={"output_operand_aliasing": ((2, 0),)}),
            Wrong("twice", attributes={"output_operand_aliasing": ((0, 0), (0, 0))}),
            Wrong("backend_config", attributes={"backend_config": "text"}),
        ),
        compiles=False,
    ),
    Sample(
        "custom-call",
        (_F,),
        _F,
        {
            "custom_call_target": "T",
            "api_version": 1,
            "output_operand_aliasing": ((None, 0),),
        },
        (
            Wrong(
                "names output 0 of", attributes={"output_operand_aliasing": ((0, 0),)}
            ),
        ),
        compiles=False,
    ),
]

_COLLECTIVES = [
    Sample(
        "all-reduce",
        (_F,),
        _F,
        {**_GROUPS, "to_apply": reducer()},
        (
            Wrong("two replica_groups", attributes={"replica_groups": ((0,), (0,))}),
            Wrong("takes", attributes={"to_apply": reducer("add", "s32")}),
            Wrong("be", result="f32[6]"),
        ),
        compiles=False,
    ),
    Sample(
        "all-gather",
        (_F,),
        "f32[4,3]",
        {**_GROUPS, **_DIM0},
        (
            Wrong("has to be f32[6,3]", attributes={"replica_groups": ((0, 1, 2),)}),
            Wrong("different sizes", attributes={"replica_groups": ((0, 1), (2,))}),
            Wrong("2 dimensions", attributes={"dimensions": (0, 1)}),
        ),
        compiles=False,
    ),
    Sample(
        "reduce-scatter",
        (_F,),
        "f32[1,3]",
        {**_GROUPS, **_DIM0, "to_apply": reducer()},
        (
            Wrong("does not divide", attributes={"dimensions": (1,)}),
            Wrong("be", result=_F),
        ),
        compiles=False,
    ),
    Sample(
        "all-to-all",
        (_F,),
        _F,
        {**_GROUPS, **_DIM0},
        (
            Wrong("does not divide", attributes={"dimensions": (1,)}),
            Wrong("out of range", attributes={"dimensions": (2,)}),
        ),
        compiles=False,
    ),
    Sample(
        "collective-permute",
        (_F,),
        _F,
        {"source_target_pairs": ((0, 1), (1, 0))},
        (
            Wrong("source is", attributes={"source_target_pairs": ((0, 1), (0, 0))}),
            Wrong("target is", attributes={"source_target_pairs": ((0, 1), (1, 1))}),
            Wrong("a tuple of", attributes={"source_target_pairs": ((0, 1, 2),)}),
        ),
        compiles=False,
    ),
]

SAMPLES = [*_elementwise(), *_SIMPLE, *_MOVEMENT, *_ALGEBRA, *_CALLS, *_COLLECTIVES]
