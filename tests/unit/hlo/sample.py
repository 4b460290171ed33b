"""What a valid program for an opcode, and the ways to get it wrong, are written as.

Shapes are written as in HLO's text: ``f32[2,3]``, ``(f32[2], s32[2])``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

from nkipy.hlo.dtypes import FROM_HLO_NAME
from nkipy.hlo.ir import HLOComputation, HLOInstruction, HLOModule, Shape


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
