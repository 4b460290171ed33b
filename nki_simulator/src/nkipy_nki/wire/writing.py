"""Writes programs as bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import Enum
from typing import Any

import numpy as np

from nkipy_nki.program import (
    Allocation,
    Dynamic,
    Instruction,
    Line,
    Loop,
    Program,
    Register,
    Step,
    View,
)
from nkipy_nki.wire.framing import HEADER, MAGIC, VERSION, dtype_name

__all__ = ["encode"]


def encode(programs: Sequence[Program]) -> bytes:
    """The programs of a kernel's cores as bytes.

    Raises:
        TypeError: an attribute is no plain data.
    """
    parts: list[bytes] = []
    written = [_Writer(program, parts).write() for program in programs]
    text = json.dumps({"programs": written}, separators=(",", ":")).encode()
    return b"".join([HEADER.pack(MAGIC, VERSION, len(text)), text, *parts])


class _Writer:
    """Writes a program. Constants' values go to `parts`, behind the text."""

    def __init__(self, program: Program, parts: list[bytes]) -> None:
        self._program = program
        self._parts = parts
        self._views: dict[Any, int] = {}
        self._view_rows: list[Any] = []
        #: Their fields, and the number of the line that calls the function, if any.
        self._lines: dict[tuple[Any, ...], int] = {}
        #: By instruction, how many come before it.
        self._numbers: dict[Instruction, int] = {}

    def write(self) -> dict[str, Any]:
        program = self._program
        body = [self._step(step) for step in program.body]
        outputs = [self._view(view) for view in program.outputs]
        made = [self._allocation(a) for a in program.allocations]
        return {
            "chip": program.chip,
            "core": program.core,
            "allocations": made,
            "views": self._view_rows,
            "lines": [list(line) for line in self._lines],
            "constants": [self._constant(i) for i in sorted(program.constants)],
            "inputs": program.inputs,
            "outputs": outputs,
            "registers": program.registers,
            "returns_tuple": program.returns_tuple,
            "body": body,
            "edges": self._edges(),
        }

    def _edges(self) -> list[list[Any]]:
        """What comes after what: the numbers of two instructions, and how."""
        numbers = self._numbers
        return [
            [number, numbers[edge.producer], edge.kind.value]
            for step, number in numbers.items()
            for edge in step.after
        ]

    def _allocation(self, made: Allocation) -> list[Any]:
        return [
            made.region.value,
            list(made.shape),
            dtype_name(made.dtype),
            made.name,
            self._line(made.line),
            None if made.address is None else list(made.address),
            made.role,
            made.core,
        ]

    def _constant(self, number: int) -> list[int]:
        data = np.ascontiguousarray(self._program.constants[number]).tobytes()
        start = sum(map(len, self._parts))
        self._parts.append(data)
        return [number, start, len(data)]

    def _line(self, line: Line) -> int:
        caller = [] if line.caller is None else [self._line(line.caller)]
        return self._lines.setdefault((*line, *caller), len(self._lines))

    def _view(self, view: View) -> int:
        row = [
            view.allocation.id,
            dtype_name(view.dtype),
            view.offset,
            list(view.shape),
            list(view.strides),
        ]
        if view.dynamic is not None:
            row.append(self._dynamic(view.dynamic))
        key = json.dumps(row)
        if key not in self._views:
            self._views[key] = len(self._view_rows)
            self._view_rows.append(row)
        return self._views[key]

    def _dynamic(self, dynamic: Dynamic) -> list[Any]:
        index = self._operand(dynamic.index)
        made = [index, dynamic.step, dynamic.limit, dynamic.axis, dynamic.interleaved]
        return made if dynamic.more is None else [*made, self._dynamic(dynamic.more)]

    def _step(self, step: Step) -> Any:
        if isinstance(step, Loop):
            bounds = step.bounds and [self._operand(bound) for bound in step.bounds]
            body = [self._step(inner) for inner in step.body]
            counter = [step.counter.id, step.counter.dtype]
            return {"loop": [counter, bounds, self._line(step.line), body]}
        self._numbers[step] = len(self._numbers)
        operands = {n: self._operand(o) for n, o in step.operands.items()}
        attributes = {n: _plain(value) for n, value in step.attributes.items()}
        line = self._line(step.line)
        row = [step.record.name, operands, attributes, step.engine.value, line]
        return [*row, step.name] if step.name else row

    def _operand(self, operand: Any) -> Any:
        if isinstance(operand, View):
            return {"view": self._view(operand)}
        if isinstance(operand, Register):
            return {"register": [operand.id, operand.dtype]}
        if isinstance(operand, tuple):
            return [self._operand(part) for part in operand]
        return operand


def _plain(value: Any) -> Any:
    """An attribute as JSON has it."""
    if isinstance(value, Enum):
        return {"enum": [type(value).__name__, value.name]}
    if isinstance(value, (tuple, list)):
        return [_plain(part) for part in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{value!r} is no plain data")
