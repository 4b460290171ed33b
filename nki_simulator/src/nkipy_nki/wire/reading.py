"""Reads programs that come from anywhere: everything is checked before it is used."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import Any

import numpy as np

from nkipy.chips import find_chip
from nkipy_nki.capacity import size_problem
from nkipy_nki.checking import check
from nkipy_nki.dtypes import DTypeRecord, find_dtype
from nkipy_nki.engines import Engine
from nkipy_nki.errors import NkiError, NkiValidationError
from nkipy_nki.findings import FINDINGS, Findings
from nkipy_nki.modes import dependency
from nkipy_nki.ordering import add_edges
from nkipy_nki.program import (
    MOST_CALLS,
    NOWHERE,
    Allocation,
    CalledLine,
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
from nkipy_nki.wire.fields import (
    Place,
    WrongError,
    dict_of,
    entry_of,
    integer_of,
    integers_of,
    member_of,
    refusal,
    refuse,
    row_of,
    shown,
    string_of,
)
from nkipy_nki.wire.framing import KEPT, dtype_name, split

__all__ = ["decode"]

#: The most levels that loops may be in one another.
_MAX_DEPTH = 16
_MAX_ELEMENTS = 1 << 40
#: How far an index may move elements: all indices of a view together fit 64 bits.
_MAX_REACH = 1 << 56
#: The most indices that are read to find one view's elements: an index is a view, which
#: may have an index. It bounds the time of one access.
_MAX_INDICES = 64


def decode(data: bytes) -> tuple[Program, ...]:
    """The programs that `encode` wrote.

    Raises:
        NkiProgramError: the bytes are no program, or one that does what may not be.
    """
    place = Place()
    try:
        return _programs(data, place)
    except RecursionError:
        raise refusal(f"{place}it is nested too deep") from None
    except WrongError as error:
        raise refusal(f"{place}{error}") from None
    except (ValueError, TypeError, LookupError, ArithmeticError) as error:
        raise refusal(f"{place}it is made otherwise ({error!r})") from error


def _programs(data: bytes, place: Place) -> tuple[Program, ...]:
    text, rest = split(data)
    rows = dict_of(_document(text), programs=list)["programs"]
    if not 1 <= len(rows) <= 2:
        refuse(f"it is of {len(rows)} cores")
    programs: list[Program] = []
    for number, row in enumerate(rows):
        place.core = number
        programs.append(_Reader(row, rest, place).read())
    place.core, place.path = 0, []
    _require_apart(programs, len(rest))
    if any(program.inputs != programs[0].inputs for program in programs):
        refuse("its cores do not have the same inputs")
    return tuple(programs)


def _document(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:  # UnicodeDecodeError is one
        refuse(f"its text is no JSON ({error})")


def _require_apart(programs: Sequence[Program], size: int) -> None:
    """Constants do not share bytes: a run has a copy of each."""
    total = sum(
        program.allocations[number].nbytes
        for program in programs
        for number in program.constants
    )
    if total > size:
        refuse(f"its constants are {total} bytes, and {size} are behind its text")


#: What a program is checked by that comes from anywhere: no variable changes that.
_LEVELS = {name: kind.level for name, kind in FINDINGS.items()}
_LEVELS |= {
    name: "off"
    for name, kind in FINDINGS.items()
    if "would-not-compile" in (name, kind.group)
}


class _Reader:
    """Reads a program. `rest` is what stands behind the text."""

    def __init__(self, found: Any, rest: memoryview, place: Place) -> None:
        self._found = dict_of(
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
            refuse(f"no chip is called {shown(self._found['chip'])}")
        self._chip = chip
        self._findings = Findings(_LEVELS)
        self._program = Program(
            chip.name, integer_of(self._found["core"], "core", 0, 2)
        )
        self._lines: list[Line] = []
        self._views: list[View] = []
        #: By view, how many indices are read to find its elements.
        self._indices: dict[View, int] = {}

    def read(self) -> Program:
        found, program = self._found, self._program
        for row in self._each("lines"):
            self._lines.append(self._line(row))
        for number, row in enumerate(self._each("allocations")):
            program.allocations.append(self._allocation(number, row))
        if sum(made.nbytes for made in program.allocations) > 2 * self._chip.hbm_bytes:
            refuse(f"its tensors are larger than the memory of a {self._chip.name}")
        program.registers = integer_of(found["registers"], "registers", 0, 1 << 24)
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
            refuse(f"its outputs are larger than the memory of a {self._chip.name}")
        program.returns_tuple = found["returns_tuple"]
        program.body = [self._step(row) for row in self._each("body")]
        self._add_edges(found.get("edges", []))
        return program

    def _each(self, name: str) -> Iterator[Any]:
        return self._place.each(name, self._found[name])

    def _add_edges(self, rows: Any) -> None:
        if type(rows) is not list:
            refuse(f"edges is {shown(rows)}, and must be a list")
        steps = list(self._program.instructions())
        edges: dict[Instruction, list[Edge]] = {}
        for row in self._place.each("edges", rows):
            consumer, producer, kind = row_of(row, "edge", "consumer producer kind")
            how = member_of(dependency, kind, "kind")
            edge = Edge(entry_of(steps, producer, "producer"), how)
            edges.setdefault(entry_of(steps, consumer, "consumer"), []).append(edge)
        if problem := add_edges(self._program, edges):
            refuse(problem)

    def _at_view(self, number: Any) -> View:
        return entry_of(self._views, number, "a view's number")

    def _at_line(self, number: Any) -> Line:
        return entry_of(self._lines, number, "line")

    def _line(self, row: Any) -> Line:
        file, number, function, *caller = row_of(
            row, "line", "file number function caller", optional=1
        )
        line = Line(
            string_of(file, "file"),
            integer_of(number, "number", 0, 1 << 31),
            string_of(function, "function"),
        )
        if not caller:
            return line
        calls = self._at_line(caller[0])
        if len(calls.calls) >= MOST_CALLS:
            refuse(f"line {line} is called by more than {MOST_CALLS} others")
        return CalledLine.of(line, (calls, *calls.calls))

    def _allocation(self, number: int, row: Any) -> Allocation:
        region, shape, dtype, name, line, address, role, core = row_of(
            row, "tensor", "region shape dtype name line address role core"
        )
        if type(role) is not str or role not in ("local", "input", "constant"):
            refuse(f"role is {shown(role)}, and must be local, input or constant")
        made = Allocation(
            number,
            member_of(MemoryRegion, region, "region"),
            integers_of(shape, "shape", 1, _MAX_ELEMENTS),
            self._dtype(dtype),
            string_of(name, "name"),
            self._at_line(line),
            None if address is None else self._address(address),
            role,
            None if core is None else integer_of(core, "core", 0, 2),
        )
        if made.dtype.is_scalar_only and made.size != 1:
            refuse(f"{made} has more elements than one")
        if made.region.is_on_chip and not made.shape:
            refuse(f"{made} has no dimension, and the first is that of partitions")
        if problem := size_problem(made, self._chip):
            refuse(problem)
        return made

    def _dtype(self, name: Any) -> DTypeRecord:
        text = string_of(name, "dtype")
        precise = not text.endswith(KEPT)
        try:
            found = find_dtype(text.removesuffix(KEPT), precise=precise, is_scalar=True)
        except (TypeError, ValueError, NkiError):
            found = None
        if found is None or dtype_name(found) != text:
            refuse(f"dtype is {shown(name)}, which is no element type")
        return found

    def _address(self, found: Any) -> tuple[int, int]:
        place = row_of(found, "address", "partition byte")
        partition, byte = integers_of(place, "address", 0)
        return partition, byte

    def _constant(self, row: Any) -> None:
        number, start, size = integers_of(
            row_of(row, "constant", "tensor start size"), "it", 0
        )
        made = entry_of(self._program.allocations, number, "tensor")
        if start + size > len(self._rest) or size != made.nbytes:
            refuse(f"the values of {made} are not there")
        if made.role != "constant" or number in self._program.constants:
            refuse(f"{made} is no constant, or has values already")
        data = np.frombuffer(self._rest[start : start + size], np.uint8)
        element = made.dtype.element
        self._program.constants[number] = data.view(element).reshape(made.shape)

    def _input(self, number: Any) -> None:
        made = entry_of(self._program.allocations, number, "an input")
        if made.role != "input" or number in self._program.inputs:
            refuse(f"{made} is no input, or is one already")
        self._program.inputs.append(number)

    def _view(self, row: Any) -> View:
        allocation, dtype, offset, shape, strides, *dynamic = row_of(
            row, "view", "tensor dtype offset shape strides index", optional=1
        )
        made = View(
            entry_of(self._program.allocations, allocation, "tensor"),
            self._dtype(dtype),
            integer_of(offset, "offset", 0),
            integers_of(shape, "shape", 1, _MAX_ELEMENTS),
            integers_of(strides, "strides", -_MAX_ELEMENTS, _MAX_ELEMENTS),
            self._dynamic(dynamic[0]) if dynamic else None,
        )
        if len(made.shape) != len(made.strides):
            refuse(f"it has {len(made.shape)} counts and {len(made.strides)} strides")
        self._indices[made] = self._count_indices(made)
        if made.dynamic is not None:
            _require_indices(made, made.dynamic)
        if made.dtype.is_scalar_only and made.dtype is not made.allocation.dtype:
            refuse(f"a view of {made.allocation} is of {made.dtype.name}")
        if made.dtype.is_kept_in_float32 != made.allocation.dtype.is_kept_in_float32:
            refuse(f"a view of {made.allocation} is of other bits than the tensor")
        if made.size > max(made.allocation.size, self._chip.sbuf_bytes):
            refuse(f"a view of {made.allocation} has {made.size} elements")
        low, high = made.extent
        if low < 0 or high * made.dtype.itemsize > made.allocation.nbytes:
            refuse(f"a view leaves {made.allocation}")
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
            refuse(
                f"{count} indices are read to find the elements of this view of "
                f"{view.allocation}, and {_MAX_INDICES} may be: an index whose "
                "tensor is indexed itself counts with all of its own"
            )
        return count

    def _dynamic(self, row: Any, depth: int = 0) -> Dynamic:
        index, step, limit, axis, interleaved, *more = row_of(
            row, "index", "index step limit axis interleaved more", optional=1
        )
        found = self._operand(index)
        if not isinstance(found, (Register, View)):
            refuse(f"index is {shown(index)}, and must be a register or a view")
        if type(interleaved) is not bool:
            refuse(f"interleaved is {shown(interleaved)}, and must be true or false")
        if depth > _MAX_DEPTH:
            refuse("a view has too many indices")
        if abs(integer_of(step, "step")) * integer_of(limit, "limit", 0) > _MAX_REACH:
            refuse(f"{limit} indices with a step of {step} reach beyond any tensor")
        return Dynamic(
            found,
            step,
            limit,
            None if axis is None else integer_of(axis, "axis", 0, 32),
            interleaved,
            self._dynamic(more[0], depth + 1) if more else None,
        )

    def _step(self, row: Any, depth: int = 0) -> Step:
        if isinstance(row, dict):
            return self._loop(row, depth)
        return self._instruction(
            *row_of(
                row,
                "instruction",
                "record operands attributes engine line name",
                optional=1,
            )
        )

    def _loop(self, row: dict[str, Any], depth: int) -> Loop:
        counter, bounds, line, body = row_of(
            dict_of(row, loop=list)["loop"], "loop", "counter bounds line body"
        )
        if depth == _MAX_DEPTH:
            refuse(f"loops are more than {_MAX_DEPTH} levels in one another")
        if type(body) is not list:
            refuse(f"body is {shown(body)}, and must be a list")
        made = Loop(self._register(counter), None, [], self._at_line(line))
        if bounds is not None:
            lower, upper, step = row_of(bounds, "bounds of a loop", "lower upper step")
            made.bounds = (
                self._bound(lower, "lower"),
                self._bound(upper, "upper"),
                integer_of(step, "step", 1),
            )
        for inner in self._place.each(".body", body):
            made.body.append(self._step(inner, depth + 1))
        return made

    def _bound(self, found: Any, what: str) -> int | Register:
        if not isinstance(found, dict):
            return integer_of(found, what)
        operand = self._operand(found)
        if not isinstance(operand, Register):
            refuse(f"{what} is a view, and must be a whole number or a register")
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
            refuse(f"no instruction is called {shown(record)}")
        kind = INSTRUCTIONS[record]
        others = set(kind.signature.parameters) - set(kind.operands) - {"name"}
        _require_names(operands, set(kind.operands), f"operands of {record}")
        _require_names(attributes, others, f"attributes of {record}")
        made = Instruction(
            kind,
            {n: self._named_operand(n, o) for n, o in operands.items()},
            {n: _attribute(value, kind, n) for n, value in attributes.items()},
            member_of(Engine, engine, "engine"),
            self._at_line(line) if self._lines else NOWHERE,
            string_of(name, "name"),
        )
        self._check(made)
        return made

    def _check(self, made: Instruction) -> None:
        try:
            check(made, self._chip, self._findings)
        except NkiValidationError as error:
            refuse(str(error))
        except (ValueError, TypeError, KeyError, IndexError, ArithmeticError):
            given = ", ".join(f"{n}={shown(v)}" for n, v in made.attributes.items())
            refuse(f"{made.record.name} does not take these attributes: {given}")

    def _named_operand(self, name: str, found: Any) -> Any:
        try:
            return self._operand(found)
        except WrongError as error:
            refuse(f"{name}: {error}")

    def _operand(self, found: Any) -> Any:
        if isinstance(found, list):
            return tuple(self._operand(part) for part in found)
        if isinstance(found, dict):
            readers: dict[str, Callable[[Any], Any]] = {
                "view": self._at_view,
                "register": self._register,
            }
            if len(found) != 1 or not found.keys() <= readers.keys():
                refuse(f"{shown(found)} is no operand: that is a view or a register")
            ((kind, value),) = found.items()
            return readers[kind](value)
        if found is None or type(found) in (int, float, str):
            return found
        refuse(f"{shown(found)} is no operand")

    def _register(self, found: Any) -> Register:
        number, dtype = row_of(found, "register", "number dtype")
        if type(dtype) is not str or dtype not in ("int32", "int64"):
            refuse(f"a register is of {shown(dtype)}, and must be of int32 or int64")
        count = self._program.registers
        return Register(integer_of(number, "a register's number", 0, count), dtype)


def _require_names(found: Any, names: set[str], what: str) -> None:
    """A dict must have these keys."""
    given = set(dict_of(found))
    if missing := sorted(names - given):
        refuse(f"the {what} lack {', '.join(missing)}")
    if extra := sorted(given - names):
        refuse(f"the {what} have {shown(extra[0])} among them")


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
            refuse(f"an index of a view of {view.allocation} does not fit it")


def _attribute(found: Any, record: InstructionRecord, name: str) -> Any:
    """An attribute's value. One of an enumeration is of its default's."""
    if isinstance(found, list):
        return tuple(_attribute(part, record, name) for part in found)
    if not isinstance(found, dict):
        return found
    if list(found) != ["enum"]:
        refuse(f"{name} is {shown(found)}, which is no value of an enumeration")
    kind, member = row_of(found["enum"], "value of an enumeration", "kind member")
    known = type(record.signature.parameters[name].default)
    if not issubclass(known, Enum) or kind != known.__name__:
        refuse(f"{name} is of {shown(kind)}, and {record.name} does not take that")
    if type(member) is not str or member not in known.__members__:
        names = ", ".join(known.__members__)
        refuse(f"{name} is {shown(member)}, and must be one of {names}")
    return known[member]
