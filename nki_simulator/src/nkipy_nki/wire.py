"""Programs as bytes: what a custom call carries, and what is run again from it.

The bytes are JSON, in which tensors, views, lines and values stand in tables and are
referred to by number, and behind it the values of constants. Nothing in them is code.
What is read may come from anywhere: everything is checked before it is used, and no
more memory is taken than there are bytes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, NoReturn

import numpy as np

from nkipy.chips import find_chip
from nkipy_nki.capacity import size_problem
from nkipy_nki.checking import check
from nkipy_nki.dtypes import DTypeRecord, find_dtype
from nkipy_nki.engines import Engine
from nkipy_nki.errors import NkiProgramError, NkiValidationError
from nkipy_nki.findings import FINDINGS, Findings
from nkipy_nki.modes import dependency
from nkipy_nki.ordering import add_edges
from nkipy_nki.program import (
    NOWHERE,
    Allocation,
    Dynamic,
    Edge,
    Instruction,
    Line,
    Loop,
    Program,
    Register,
    Step,
    View,
)
from nkipy_nki.records import INSTRUCTIONS, InstructionRecord
from nkipy_nki.regions import MemoryRegion

__all__ = ["decode", "encode", "is_program"]

#: Of the format: it changes where older readers would misread what is written.
VERSION = 1
_MAGIC = b"NKIPROG\0"
_HEADER = struct.Struct("<8sIQ")
#: The most levels that loops may be in one another.
_MAX_DEPTH = 16
_MAX_ELEMENTS = 1 << 40
#: Ends the name of a type whose values are kept in float32 (``NKI_PRECISE_FP=0``).
_KEPT = " in float32"
_INT64 = 1 << 63


def encode(programs: Sequence[Program]) -> bytes:
    """The programs of a kernel's cores as bytes.

    Raises:
        TypeError: an attribute is no plain data.
    """
    parts: list[bytes] = []
    written = [_Writer(program, parts).write() for program in programs]
    text = json.dumps({"programs": written}, separators=(",", ":")).encode()
    return b"".join([_HEADER.pack(_MAGIC, VERSION, len(text)), text, *parts])


class _Writer:
    """Writes a program. Constants' values go to `parts`, behind the text."""

    def __init__(self, program: Program, parts: list[bytes]) -> None:
        self._program = program
        self._parts = parts
        self._views: dict[Any, int] = {}
        self._view_rows: list[Any] = []
        self._lines: dict[Line, int] = {}
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
            _dtype_name(made.dtype),
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
        return self._lines.setdefault(line, len(self._lines))

    def _view(self, view: View) -> int:
        row = [
            view.allocation.id,
            _dtype_name(view.dtype),
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


def _dtype_name(dtype: DTypeRecord) -> str:
    return f"{dtype.name}{_KEPT if dtype.is_kept_in_float32 else ''}"


def _plain(value: Any) -> Any:
    """An attribute as JSON has it."""
    if isinstance(value, Enum):
        return {"enum": [type(value).__name__, value.name]}
    if isinstance(value, (tuple, list)):
        return [_plain(part) for part in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{value!r} is no plain data")


def is_program(data: bytes) -> bool:
    """Whether bytes begin as those of a program."""
    return data[: len(_MAGIC)] == _MAGIC


# -- reading ---------------------------------------------------------------------------
def decode(data: bytes) -> tuple[Program, ...]:
    """The programs that `encode` wrote.

    Raises:
        NkiProgramError: the bytes are no program, or one that does what may not be.
    """
    text, rest = _split(data)
    try:
        found = json.loads(text)
        programs = _fields(found, programs=list)["programs"]
        if not 1 <= len(programs) <= 2:
            _refuse(f"it is of {len(programs)} cores")
        return tuple(_Reader(row, rest).read() for row in programs)
    except RecursionError:
        _refuse("it is nested too deep")
    except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
        if isinstance(error, NkiProgramError):
            raise
        _refuse(f"{type(error).__name__}: {error}")


def _refuse(why: str) -> NoReturn:
    raise NkiProgramError(f"this is no NKI program that can be run: {why}")


def _split(data: bytes) -> tuple[bytes, memoryview]:
    if len(data) < _HEADER.size:
        _refuse(f"{len(data)} bytes are too few")
    magic, version, size = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        _refuse("it does not begin as one")
    if version != VERSION:
        _refuse(f"it is of version {version}, and this reads version {VERSION}")
    view = memoryview(data)[_HEADER.size :]
    if size > len(view):
        _refuse("it is cut off")
    return bytes(view[:size]), view[size:]


def _fields(found: Any, **kinds: type) -> dict[str, Any]:
    """A dict's values, which must be of these kinds."""
    if not isinstance(found, dict):
        _refuse(f"a {type(found).__name__} stands for a dict")
    for name, kind in kinds.items():
        if type(found.get(name)) is not kind:
            _refuse(f"{name} is {type(found.get(name)).__name__}, not {kind.__name__}")
    return found


def _integer(value: Any, low: int = -_INT64, high: int = _INT64) -> int:
    """An int from `low` on, below `high`."""
    if type(value) is not int or not low <= value < high:
        _refuse(f"{value!r} is no whole number from {low} on, below {high}")
    return value


def _integers(values: Any, low: int = -_INT64, high: int = _INT64) -> tuple[int, ...]:
    if type(values) is not list or len(values) > 32:
        _refuse(f"{values!r} is no short list")
    return tuple(_integer(value, low, high) for value in values)


#: What a program is checked by that comes from anywhere: no variable changes that.
_LEVELS = {name: kind.level for name, kind in FINDINGS.items()}
_LEVELS |= {
    name: "off"
    for name, kind in FINDINGS.items()
    if "would-not-compile" in (name, kind.group)
}


class _Reader:
    """Reads a program. `rest` is what stands behind the text."""

    def __init__(self, found: Any, rest: memoryview) -> None:
        self._found = _fields(
            found,
            chip=str,
            core=int,
            allocations=list,
            views=list,
            lines=list,
            constants=list,
            inputs=list,
            outputs=list,
            registers=int,
            returns_tuple=bool,
            body=list,
        )
        self._rest = rest
        chip = find_chip(self._found["chip"])
        if chip is None:
            _refuse(f"no chip is called {self._found['chip']!r}")
        self._chip = chip
        self._findings = Findings(_LEVELS)
        self._lines = [self._line(row) for row in self._found["lines"]]
        self._program = Program(chip.name, _integer(self._found["core"], 0, 2))
        self._views: list[View] = []

    def read(self) -> Program:
        found, program = self._found, self._program
        for number, row in enumerate(found["allocations"]):
            program.allocations.append(self._allocation(number, row))
        if sum(made.nbytes for made in program.allocations) > 2 * self._chip.hbm_bytes:
            _refuse(f"its tensors are larger than the memory of a {self._chip.name}")
        program.registers = _integer(found["registers"], 0, 1 << 24)
        for row in found["views"]:
            self._views.append(self._view(row))
        for row in found["constants"]:
            self._constant(row)
        count = len(program.allocations)
        program.inputs = [_integer(i, 0, count) for i in found["inputs"]]
        program.outputs = [self._at(self._views, i) for i in found["outputs"]]
        program.returns_tuple = found["returns_tuple"]
        program.body = [self._step(row, 0) for row in found["body"]]
        self._add_edges(found.get("edges", []))
        return program

    def _add_edges(self, rows: Any) -> None:
        if type(rows) is not list:
            _refuse(f"edges is {type(rows).__name__}, not list")
        steps = list(self._program.instructions())
        edges: dict[Instruction, list[Edge]] = {}
        for consumer, producer, kind in rows:
            edge = Edge(self._at(steps, producer), dependency(kind))
            edges.setdefault(self._at(steps, consumer), []).append(edge)
        if problem := add_edges(self._program, edges):
            _refuse(problem)

    def _at(self, table: list[Any], number: Any) -> Any:
        return table[_integer(number, 0, len(table))]

    def _line(self, row: Any) -> Line:
        file, number, function = row
        if type(file) is not str or type(function) is not str:
            _refuse(f"{row!r} is no line")
        return Line(file, _integer(number, 0, 1 << 31), function)

    def _allocation(self, number: int, row: Any) -> Allocation:
        region, shape, dtype, name, line, address, role, core = row
        if role not in ("local", "input", "constant") or type(name) is not str:
            _refuse(f"{row!r} is no tensor")
        made = Allocation(
            number,
            MemoryRegion(region),
            _integers(shape, 1, _MAX_ELEMENTS),
            self._dtype(dtype),
            name,
            self._at(self._lines, line),
            None if address is None else self._address(address),
            role,
            None if core is None else _integer(core, 0, 2),
        )
        if made.dtype.is_scalar_only and made.size != 1:
            _refuse(f"{made} has more elements than one")
        if problem := size_problem(made, self._chip):
            _refuse(problem)
        return made

    def _dtype(self, name: Any) -> DTypeRecord:
        if type(name) is not str:
            _refuse(f"{name!r} is no element type")
        precise = not name.endswith(_KEPT)
        found = find_dtype(name.removesuffix(_KEPT), precise=precise, is_scalar=True)
        if _dtype_name(found) != name:
            _refuse(f"{name!r} is no element type")
        return found

    def _address(self, found: Any) -> tuple[int, int]:
        partition, byte = _integers(found, 0)
        return partition, byte

    def _constant(self, row: Any) -> None:
        number, start, size = _integers(row, 0)
        made = self._at(self._program.allocations, number)
        if start + size > len(self._rest) or size != made.nbytes:
            _refuse(f"the values of {made} are not there")
        data = np.frombuffer(self._rest[start : start + size], np.uint8)
        element = made.dtype.element
        self._program.constants[number] = data.view(element).reshape(made.shape)

    def _view(self, row: Any) -> View:
        allocation, dtype, offset, shape, strides, *dynamic = row
        made = View(
            self._at(self._program.allocations, allocation),
            self._dtype(dtype),
            _integer(offset, 0),
            _integers(shape, 1, _MAX_ELEMENTS),
            _integers(strides),
            self._dynamic(dynamic[0]) if dynamic else None,
        )
        if len(made.shape) != len(made.strides):
            _refuse(f"{row!r} is no view")
        if made.dynamic is not None:
            _require_indices(made, made.dynamic)
        if made.dtype.is_scalar_only and made.dtype is not made.allocation.dtype:
            _refuse(f"a view of {made.allocation} is of {made.dtype.name}")
        if made.dtype.is_kept_in_float32 != made.allocation.dtype.is_kept_in_float32:
            _refuse(f"a view of {made.allocation} is of other bits than the tensor")
        if made.size > max(made.allocation.size, self._chip.sbuf_bytes):
            _refuse(f"a view of {made.allocation} has {made.size} elements")
        low, high = made.extent
        if low < 0 or high * made.dtype.itemsize > made.allocation.nbytes:
            _refuse(f"a view leaves {made.allocation}")
        return made

    def _dynamic(self, row: Any, depth: int = 0) -> Dynamic:
        index, step, limit, axis, interleaved, *more = row
        found = self._operand(index)
        if not isinstance(found, (Register, View)) or type(interleaved) is not bool:
            _refuse(f"{row!r} is no index")
        if depth > _MAX_DEPTH:
            _refuse("a view has too many indices")
        return Dynamic(
            found,
            _integer(step),
            _integer(limit, 0),
            None if axis is None else _integer(axis, 0, 32),
            interleaved,
            self._dynamic(more[0], depth + 1) if more else None,
        )

    def _step(self, row: Any, depth: int) -> Step:
        if depth > _MAX_DEPTH:
            _refuse("loops are too many levels in one another")
        if isinstance(row, dict):
            counter, bounds, line, body = _fields(row, loop=list)["loop"]
            made = Loop(self._register(counter), None, [], self._at(self._lines, line))
            if bounds is not None:
                lower, upper, step = bounds
                made.bounds = self._bound(lower), self._bound(upper), _integer(step, 1)
            made.body = [self._step(inner, depth + 1) for inner in body]
            return made
        return self._instruction(*row)

    def _bound(self, found: Any) -> int | Register:
        return self._operand(found) if isinstance(found, dict) else _integer(found)

    def _instruction(
        self,
        record: Any,
        operands: Any,
        attributes: Any,
        engine: Any,
        line: Any,
        name: Any = "",
    ) -> Instruction:
        if type(record) is not str or record not in INSTRUCTIONS:
            _refuse(f"no instruction is called {record!r}")
        kind = INSTRUCTIONS[record]
        names = [n for n in kind.signature.parameters if n != "name"]
        if sorted([*_fields(operands), *_fields(attributes)]) != sorted(names):
            _refuse(f"{record} has other operands or attributes")
        if set(operands) != set(kind.operands) or type(name) is not str:
            _refuse(f"{record} has other operands")
        made = Instruction(
            kind,
            {n: self._operand(o) for n, o in operands.items()},
            {n: _attribute(value, kind, n) for n, value in attributes.items()},
            Engine(engine),
            self._at(self._lines, line) if self._lines else NOWHERE,
            name,
        )
        try:
            check(made, self._chip, self._findings)
        except NkiValidationError as error:
            _refuse(str(error))
        return made

    def _operand(self, found: Any) -> Any:
        if isinstance(found, list):
            return tuple(self._operand(part) for part in found)
        if isinstance(found, dict):
            ((kind, value),) = found.items()
            readers: dict[str, Callable[[Any], Any]] = {
                "view": lambda number: self._at(self._views, number),
                "register": self._register,
            }
            return readers[kind](value)
        if found is None or type(found) in (int, float, str):
            return found
        _refuse(f"{found!r} is no operand")

    def _register(self, found: Any) -> Register:
        number, dtype = found
        if dtype not in ("int32", "int64"):
            _refuse(f"a register of {dtype!r}")
        return Register(_integer(number, 0, self._program.registers), dtype)


def _require_indices(view: View, dynamic: Dynamic) -> None:
    """A view's indices must be as many as it needs."""
    for link in dynamic.chain():
        index = link.index
        if link.axis is None:
            fits = not link.interleaved and (
                isinstance(index, Register) or index.size == 1
            )
        elif isinstance(index, Register) or link.axis >= len(view.shape):
            fits = False
        elif link.interleaved:
            fits = len(view.shape) == len(index.shape) == 2 and link.axis == 1
        else:
            fits = index.size >= view.shape[link.axis] and index.shape != ()
        if not fits:
            _refuse(f"an index of a view of {view.allocation} does not fit it")


def _attribute(found: Any, record: InstructionRecord, name: str) -> Any:
    """An attribute's value. One of an enumeration is of its default's."""
    if isinstance(found, list):
        return tuple(_attribute(part, record, name) for part in found)
    if isinstance(found, dict):
        kind, member = found["enum"]
        known = type(record.signature.parameters[name].default)
        if not issubclass(known, Enum) or kind != known.__name__:
            _refuse(f"{name} of {record.name} is of {kind!r}")
        return known[member]
    return found
