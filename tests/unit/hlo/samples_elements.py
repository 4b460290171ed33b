"""Samples of elementwise opcodes, sources of values, and data movement."""

from __future__ import annotations

import numpy as np

from nkipy.hlo.dtypes import FROM_HLO_NAME
from nkipy.hlo.opcodes import BINARY, UNARY
from tests.unit.hlo.sample import (
    Sample,
    Wrong,
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
        for opcode, dtypes in table.items():
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
            out.append(Sample(opcode, (x,) * count, x, {}, tuple(wrong)))
    return out


def _names_of(dtypes: frozenset) -> set[str]:
    return {name for name, dtype in FROM_HLO_NAME.items() if dtype in dtypes}


def _literal(dtype: str, dims: tuple[int, ...] = (2, 3)) -> np.ndarray:
    values = np.arange(np.prod(dims)).reshape(dims).astype(FROM_HLO_NAME[dtype])
    values.flags.writeable = False
    return values


_F, _S = "f32[2,3]", "s32[]"

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

ELEMENTS = [*_elementwise(), *_SIMPLE, *_MOVEMENT]
