"""Programs as bytes: what a custom call carries, and what is run again from it.

The bytes are JSON, in which tensors, views, lines and values stand in tables and are
referred to by number, and behind it the values of constants. Nothing in them is code.
What is read may come from anywhere: everything is checked before it is used, and no
more memory is taken than there are bytes. What is wrong is said with its place, such as
``body[3]``, the fourth step of a program.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from reprlib import Repr
from typing import Any, NoReturn, TypeVar

import numpy as np

from nkipy.chips import find_chip
from nkipy_nki.capacity import size_problem
from nkipy_nki.checking import check
from nkipy_nki.dtypes import DTypeRecord, find_dtype
from nkipy_nki.engines import Engine
from nkipy_nki.errors import NkiError, NkiProgramError, NkiValidationError
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
#: How far an index may move elements: all indices of a view together fit 64 bits.
_MAX_REACH = 1 << 56
#: The most indices that are read to find one view's elements: an index is a view, which
#: may have an index. It bounds the time of one access.
_MAX_INDICES = 64
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
    place = _Place()
    try:
        return _programs(data, place)
    except RecursionError:
        raise _refusal(f"{place}it is nested too deep") from None
    except _WrongError as error:
        raise _refusal(f"{place}{error}") from None
    except (ValueError, TypeError, LookupError, ArithmeticError) as error:
        raise _refusal(f"{place}it is made otherwise ({error!r})") from error


def _programs(data: bytes, place: _Place) -> tuple[Program, ...]:
    text, rest = _split(data)
    rows = _fields(_document(text), programs=list)["programs"]
    if not 1 <= len(rows) <= 2:
        _refuse(f"it is of {len(rows)} cores")
    programs: list[Program] = []
    for number, row in enumerate(rows):
        place.core = number
        programs.append(_Reader(row, rest, place).read())
    place.core, place.path = 0, []
    _require_apart(programs, len(rest))
    if any(program.inputs != programs[0].inputs for program in programs):
        _refuse("its cores do not have the same inputs")
    return tuple(programs)


def _document(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:  # UnicodeDecodeError is one
        _refuse(f"its text is no JSON ({error})")


def _require_apart(programs: Sequence[Program], size: int) -> None:
    """Constants do not share bytes: a run has a copy of each."""
    total = sum(
        program.allocations[number].nbytes
        for program in programs
        for number in program.constants
    )
    if total > size:
        _refuse(f"its constants are {total} bytes, and {size} are behind its text")


class _WrongError(ValueError):
    """Something in a program is wrong."""


class _Place:
    """What is read: for the text of an error.

    Attributes:
        core: which program.
        path: the table and the row; of a step in loops, each of their rows.
    """

    def __init__(self) -> None:
        self.core = 0
        self.path: list[str] = []

    def __str__(self) -> str:
        where = "".join(self.path)
        if not where:
            return ""
        return f"{f'core {self.core}, ' if self.core else ''}{where}: "

    def each(self, name: str, rows: Sequence[Any]) -> Iterator[Any]:
        """The rows of a table, each while it is what is read."""
        for number, row in enumerate(rows):
            self.path.append(f"{name}[{number}]")
            yield row
            self.path.pop()


def _refusal(why: str) -> NkiProgramError:
    return NkiProgramError(f"this is no NKI program that can be run: {why}")


def _refuse(why: str) -> NoReturn:
    raise _WrongError(why)


_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 60
_SHORT.maxlevel = 3


def _text(found: Any) -> str:
    """Anything from a program, in a text."""
    return _SHORT.repr(found)


def _row(found: Any, what: str, fields: str, optional: int = 0) -> list[Any]:
    """A list that must have these fields, the last ones of which may be missing."""
    names = fields.split()
    if type(found) is list and len(names) - optional <= len(found) <= len(names):
        return found
    _refuse(f"{_text(found)} is no {what}: that is a list of {', '.join(names)}")


_Member = TypeVar("_Member", bound=Enum)
_Entry = TypeVar("_Entry")


def _member(kind: type[_Member], value: Any, what: str) -> _Member:
    """The member of an enumeration that has a value."""
    for member in kind:
        if type(member.value) is type(value) and member.value == value:
            return member
    names = ", ".join(str(member.value) for member in kind)
    _refuse(f"{what} is {_text(value)}, and must be one of {names}")


def _string(value: Any, what: str) -> str:
    if type(value) is not str:
        _refuse(f"{what} is {_text(value)}, and must be a text")
    return value


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


def _integer(value: Any, what: str, low: int = -_INT64, high: int = _INT64) -> int:
    """An int from `low` on, below `high`."""
    if type(value) is not int or not low <= value < high:
        wanted = f"must be a whole number from {low} on, below {high}"
        _refuse(f"{what} is {_text(value)}, and {wanted}")
    return value


def _integers(
    values: Any, what: str, low: int = -_INT64, high: int = _INT64
) -> tuple[int, ...]:
    if type(values) is not list or len(values) > 32:
        _refuse(f"{what} is {_text(values)}, and must be a list of at most 32")
    return tuple(_integer(value, what, low, high) for value in values)


def _at(table: Sequence[_Entry], number: Any, what: str) -> _Entry:
    """The entry of a table that is referred to by number."""
    return table[_integer(number, what, 0, len(table))]


#: What a program is checked by that comes from anywhere: no variable changes that.
_LEVELS = {name: kind.level for name, kind in FINDINGS.items()}
_LEVELS |= {
    name: "off"
    for name, kind in FINDINGS.items()
    if "would-not-compile" in (name, kind.group)
}


class _Reader:
    """Reads a program. `rest` is what stands behind the text."""

    def __init__(self, found: Any, rest: memoryview, place: _Place) -> None:
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
        self._place = place
        chip = find_chip(self._found["chip"])
        if chip is None:
            _refuse(f"no chip is called {_text(self._found['chip'])}")
        self._chip = chip
        self._findings = Findings(_LEVELS)
        self._program = Program(chip.name, _integer(self._found["core"], "core", 0, 2))
        self._lines: list[Line] = []
        self._views: list[View] = []
        #: By view, how many indices are read to find its elements.
        self._indices: dict[View, int] = {}

    def read(self) -> Program:
        found, program = self._found, self._program
        self._lines = [self._line(row) for row in self._each("lines")]
        for number, row in enumerate(self._each("allocations")):
            program.allocations.append(self._allocation(number, row))
        if sum(made.nbytes for made in program.allocations) > 2 * self._chip.hbm_bytes:
            _refuse(f"its tensors are larger than the memory of a {self._chip.name}")
        program.registers = _integer(found["registers"], "registers", 0, 1 << 24)
        for row in self._each("views"):
            self._views.append(self._view(row))
        for row in self._each("constants"):
            self._constant(row)
        for number in self._each("inputs"):
            self._input(number)
        program.outputs = [self._at_view(i) for i in self._each("outputs")]
        if sum(v.size * v.dtype.itemsize for v in program.outputs) > (
            2 * self._chip.hbm_bytes
        ):
            _refuse(f"its outputs are larger than the memory of a {self._chip.name}")
        program.returns_tuple = found["returns_tuple"]
        program.body = [self._step(row) for row in self._each("body")]
        self._add_edges(found.get("edges", []))
        return program

    def _each(self, name: str) -> Iterator[Any]:
        return self._place.each(name, self._found[name])

    def _add_edges(self, rows: Any) -> None:
        if type(rows) is not list:
            _refuse(f"edges is {_text(rows)}, and must be a list")
        steps = list(self._program.instructions())
        edges: dict[Instruction, list[Edge]] = {}
        for row in self._place.each("edges", rows):
            consumer, producer, kind = _row(row, "edge", "consumer producer kind")
            how = _member(dependency, kind, "kind")
            edge = Edge(_at(steps, producer, "producer"), how)
            edges.setdefault(_at(steps, consumer, "consumer"), []).append(edge)
        if problem := add_edges(self._program, edges):
            _refuse(problem)

    def _at_view(self, number: Any) -> View:
        return _at(self._views, number, "a view's number")

    def _at_line(self, number: Any) -> Line:
        return _at(self._lines, number, "line")

    def _line(self, row: Any) -> Line:
        file, number, function = _row(row, "line", "file number function")
        return Line(
            _string(file, "file"),
            _integer(number, "number", 0, 1 << 31),
            _string(function, "function"),
        )

    def _allocation(self, number: int, row: Any) -> Allocation:
        region, shape, dtype, name, line, address, role, core = _row(
            row, "tensor", "region shape dtype name line address role core"
        )
        if type(role) is not str or role not in ("local", "input", "constant"):
            _refuse(f"role is {_text(role)}, and must be local, input or constant")
        made = Allocation(
            number,
            _member(MemoryRegion, region, "region"),
            _integers(shape, "shape", 1, _MAX_ELEMENTS),
            self._dtype(dtype),
            _string(name, "name"),
            self._at_line(line),
            None if address is None else self._address(address),
            role,
            None if core is None else _integer(core, "core", 0, 2),
        )
        if made.dtype.is_scalar_only and made.size != 1:
            _refuse(f"{made} has more elements than one")
        if made.region.is_on_chip and not made.shape:
            _refuse(f"{made} has no dimension, and the first is that of partitions")
        if problem := size_problem(made, self._chip):
            _refuse(problem)
        return made

    def _dtype(self, name: Any) -> DTypeRecord:
        text = _string(name, "dtype")
        precise = not text.endswith(_KEPT)
        try:
            found = find_dtype(
                text.removesuffix(_KEPT), precise=precise, is_scalar=True
            )
        except (TypeError, ValueError, NkiError):
            found = None
        if found is None or _dtype_name(found) != text:
            _refuse(f"dtype is {_text(name)}, which is no element type")
        return found

    def _address(self, found: Any) -> tuple[int, int]:
        place = _row(found, "address", "partition byte")
        partition, byte = _integers(place, "address", 0)
        return partition, byte

    def _constant(self, row: Any) -> None:
        number, start, size = _integers(
            _row(row, "constant", "tensor start size"), "it", 0
        )
        made = _at(self._program.allocations, number, "tensor")
        if start + size > len(self._rest) or size != made.nbytes:
            _refuse(f"the values of {made} are not there")
        if made.role != "constant" or number in self._program.constants:
            _refuse(f"{made} is no constant, or has values already")
        data = np.frombuffer(self._rest[start : start + size], np.uint8)
        element = made.dtype.element
        self._program.constants[number] = data.view(element).reshape(made.shape)

    def _input(self, number: Any) -> None:
        made = _at(self._program.allocations, number, "an input")
        if made.role != "input" or number in self._program.inputs:
            _refuse(f"{made} is no input, or is one already")
        self._program.inputs.append(number)

    def _view(self, row: Any) -> View:
        allocation, dtype, offset, shape, strides, *dynamic = _row(
            row, "view", "tensor dtype offset shape strides index", optional=1
        )
        made = View(
            _at(self._program.allocations, allocation, "tensor"),
            self._dtype(dtype),
            _integer(offset, "offset", 0),
            _integers(shape, "shape", 1, _MAX_ELEMENTS),
            _integers(strides, "strides", -_MAX_ELEMENTS, _MAX_ELEMENTS),
            self._dynamic(dynamic[0]) if dynamic else None,
        )
        if len(made.shape) != len(made.strides):
            _refuse(f"it has {len(made.shape)} counts and {len(made.strides)} strides")
        self._indices[made] = self._count_indices(made)
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

    def _count_indices(self, view: View) -> int:
        """How many indices are read to find a view's elements."""
        links = () if view.dynamic is None else view.dynamic.chain()
        count = 0
        for link in links:
            count += 1
            if isinstance(link.index, View):
                count += self._indices[link.index]
        if count > _MAX_INDICES:
            _refuse(
                f"{count} indices are read to find the elements of this view of "
                f"{view.allocation}, and {_MAX_INDICES} may be: an index whose "
                "tensor is indexed itself counts with all of its own"
            )
        return count

    def _dynamic(self, row: Any, depth: int = 0) -> Dynamic:
        index, step, limit, axis, interleaved, *more = _row(
            row, "index", "index step limit axis interleaved more", optional=1
        )
        found = self._operand(index)
        if not isinstance(found, (Register, View)):
            _refuse(f"index is {_text(index)}, and must be a register or a view")
        if type(interleaved) is not bool:
            _refuse(f"interleaved is {_text(interleaved)}, and must be true or false")
        if depth > _MAX_DEPTH:
            _refuse("a view has too many indices")
        if abs(_integer(step, "step")) * _integer(limit, "limit", 0) > _MAX_REACH:
            _refuse(f"{limit} indices with a step of {step} reach beyond any tensor")
        return Dynamic(
            found,
            step,
            limit,
            None if axis is None else _integer(axis, "axis", 0, 32),
            interleaved,
            self._dynamic(more[0], depth + 1) if more else None,
        )

    def _step(self, row: Any, depth: int = 0) -> Step:
        if isinstance(row, dict):
            return self._loop(row, depth)
        return self._instruction(
            *_row(
                row,
                "instruction",
                "record operands attributes engine line name",
                optional=1,
            )
        )

    def _loop(self, row: dict[str, Any], depth: int) -> Loop:
        counter, bounds, line, body = _row(
            _fields(row, loop=list)["loop"], "loop", "counter bounds line body"
        )
        if depth == _MAX_DEPTH:
            _refuse(f"loops are more than {_MAX_DEPTH} levels in one another")
        if type(body) is not list:
            _refuse(f"body is {_text(body)}, and must be a list")
        made = Loop(self._register(counter), None, [], self._at_line(line))
        if bounds is not None:
            lower, upper, step = _row(bounds, "bounds of a loop", "lower upper step")
            made.bounds = (
                self._bound(lower, "lower"),
                self._bound(upper, "upper"),
                _integer(step, "step", 1),
            )
        for inner in self._place.each(".body", body):
            made.body.append(self._step(inner, depth + 1))
        return made

    def _bound(self, found: Any, what: str) -> int | Register:
        if not isinstance(found, dict):
            return _integer(found, what)
        operand = self._operand(found)
        if not isinstance(operand, Register):
            _refuse(f"{what} is a view, and must be a whole number or a register")
        return operand

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
            _refuse(f"no instruction is called {_text(record)}")
        kind = INSTRUCTIONS[record]
        others = set(kind.signature.parameters) - set(kind.operands) - {"name"}
        _require_names(operands, set(kind.operands), f"operands of {record}")
        _require_names(attributes, others, f"attributes of {record}")
        made = Instruction(
            kind,
            {n: self._named_operand(n, o) for n, o in operands.items()},
            {n: _attribute(value, kind, n) for n, value in attributes.items()},
            _member(Engine, engine, "engine"),
            self._at_line(line) if self._lines else NOWHERE,
            _string(name, "name"),
        )
        self._check(made)
        return made

    def _check(self, made: Instruction) -> None:
        try:
            check(made, self._chip, self._findings)
        except NkiValidationError as error:
            _refuse(str(error))
        except (ValueError, TypeError, KeyError, IndexError, ArithmeticError):
            given = ", ".join(f"{n}={_text(v)}" for n, v in made.attributes.items())
            _refuse(f"{made.record.name} does not take these attributes: {given}")

    def _named_operand(self, name: str, found: Any) -> Any:
        try:
            return self._operand(found)
        except _WrongError as error:
            _refuse(f"{name}: {error}")

    def _operand(self, found: Any) -> Any:
        if isinstance(found, list):
            return tuple(self._operand(part) for part in found)
        if isinstance(found, dict):
            readers: dict[str, Callable[[Any], Any]] = {
                "view": self._at_view,
                "register": self._register,
            }
            if len(found) != 1 or not found.keys() <= readers.keys():
                _refuse(f"{_text(found)} is no operand: that is a view or a register")
            ((kind, value),) = found.items()
            return readers[kind](value)
        if found is None or type(found) in (int, float, str):
            return found
        _refuse(f"{_text(found)} is no operand")

    def _register(self, found: Any) -> Register:
        number, dtype = _row(found, "register", "number dtype")
        if type(dtype) is not str or dtype not in ("int32", "int64"):
            _refuse(f"a register is of {_text(dtype)}, and must be of int32 or int64")
        count = self._program.registers
        return Register(_integer(number, "a register's number", 0, count), dtype)


def _require_names(found: Any, names: set[str], what: str) -> None:
    """A dict must have these keys."""
    given = set(_fields(found))
    if missing := sorted(names - given):
        _refuse(f"the {what} lack {', '.join(missing)}")
    if extra := sorted(given - names):
        _refuse(f"the {what} have {_text(extra[0])} among them")


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
    if not isinstance(found, dict):
        return found
    if list(found) != ["enum"]:
        _refuse(f"{name} is {_text(found)}, which is no value of an enumeration")
    kind, member = _row(found["enum"], "value of an enumeration", "kind member")
    known = type(record.signature.parameters[name].default)
    if not issubclass(known, Enum) or kind != known.__name__:
        _refuse(f"{name} is of {_text(kind)}, and {record.name} does not take that")
    if type(member) is not str or member not in known.__members__:
        names = ", ".join(known.__members__)
        _refuse(f"{name} is {_text(member)}, and must be one of {names}")
    return known[member]
