"""A kernel's program: what was run, as data that runs again without the kernel.

An instruction names its record, its operands (views of tensors, registers, numbers),
what else it was told, and the line of the kernel's source that it is of. Loops whose
count only a register knows keep their body once.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from nkipy_nki.dtypes import DTypeRecord
from nkipy_nki.engines import Engine
from nkipy_nki.modes import dependency
from nkipy_nki.records import InstructionRecord
from nkipy_nki.regions import MemoryRegion


class Line(NamedTuple):
    """A place in a kernel's source."""

    file: str
    number: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.number}"

    @property
    def caller(self) -> Line | None:
        """The line that calls its function; None of one in the kernel's own."""
        return None

    @property
    def calls(self) -> tuple[Line, ...]:
        """The lines that lead to its function, from the innermost to the kernel's."""
        found, caller = [], self.caller
        while caller is not None:
            found.append(caller)
            caller = caller.caller
        return tuple(found)

    @property
    def told(self) -> str:
        """The line, its function, and the calls, for the end of an error's text."""
        return f"  at {self} in {self.function}" + "".join(
            f"\n  called at {line} in {line.function}" for line in self.calls
        )


class CalledLine(Line):
    """A line of a function that the kernel calls. It equals the same line elsewhere."""

    _caller: Line

    @property
    def caller(self) -> Line:
        return self._caller

    @staticmethod
    def of(line: Line, callers: Sequence[Line]) -> Line:
        """A line with those that lead to its function, the innermost first.

        Of many, which a function makes that calls itself, those in the midst are left
        out.
        """
        if len(callers) > MOST_CALLS:
            callers = [*callers[: MOST_CALLS - 1], callers[-1]]
        found: Line | None = None
        for at in (*reversed(callers), line):
            if found is None:
                found = at
                continue
            made = CalledLine(*at)
            made._caller = found
            found = made
        assert found is not None
        return found


#: At most so many calls are kept of a line.
MOST_CALLS = 50
NOWHERE = Line("<unknown>", 0, "")


@dataclass(eq=False, slots=True)
class Allocation:
    """A tensor that a kernel has, or gets.

    Attributes:
        id: its place in the program's list.
        region: where it lies.
        shape: on the chip, the first dimension is that of partitions.
        dtype: what it was declared with; views may read it otherwise.
        name: given by the kernel, or "".
        line: where it was made.
        address: the partition and the byte in it where it was asked to lie, if so.
        role: ``"local"``, ``"input"`` or ``"constant"``.
        core: which core of a logical one has it; None if they share it.
        lease: of a tile that a kernel has, what is told when it has it no more.
        owner: what stands for the run that made it.
        stored_partition_bytes: on the chip, bytes of a partition as they are kept here.
    """

    id: int
    region: MemoryRegion
    shape: tuple[int, ...]
    dtype: DTypeRecord
    name: str = ""
    line: Line = NOWHERE
    address: tuple[int, int] | None = None
    role: str = "local"
    core: int | None = None
    lease: weakref.ref[Any] | None = None
    owner: object = None
    stored_partition_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        per_partition = math.prod(self.shape[1:])
        self.stored_partition_bytes = per_partition * self.dtype.itemsize

    @property
    def size(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def partition_bytes(self) -> int:
        """On the chip: bytes of a partition."""
        return math.prod(self.shape[1:]) * self.dtype.device_itemsize

    def __str__(self) -> str:
        name = self.name or f"tensor {self.id}"
        return f"{name} {list(self.shape)} {self.dtype.name} in {self.region.value}"


@dataclass(frozen=True, eq=False, slots=True)
class Register:
    """A register of the sequencer, by its number in the program.

    Attributes:
        id: the number.
        dtype: ``"int32"`` or ``"int64"``.
        owner: what stands for the run that made it.
    """

    id: int
    dtype: str = "int32"
    owner: object = None

    def __str__(self) -> str:
        return f"register {self.id}"


@dataclass(frozen=True, eq=False, slots=True)
class Dynamic:
    """An index that only the run knows.

    The element at ``(i, j, ...)`` of a view lies `step` times the index further.

    Attributes:
        index: a register; or a view: of one element, if `axis` is None; of one for each
            element along `axis`, those of a column before those of the next; or as
            ``indirect`` has it (`interleaved`).
        step: in elements of the view's dtype.
        limit: how many indices there are: each is less.
        axis: the view's axis along which the index differs. It takes the place of the
            position along it.
        interleaved: whether the index is that of ``indirect``, which differs by
            partition: a group's indices are interleaved over its partitions.
        more: a further index, added to this one.
    """

    index: Register | View
    step: int
    limit: int
    axis: int | None = None
    interleaved: bool = False
    more: Dynamic | None = None

    def chain(self) -> Iterator[Dynamic]:
        """This index and the further ones."""
        link: Dynamic | None = self
        while link is not None:
            yield link
            link = link.more

    @property
    def is_scalar(self) -> bool:
        """Whether all elements of the view are moved alike."""
        return self.axis is None and (self.more is None or self.more.is_scalar)

    @property
    def axes(self) -> set[int]:
        """Those along which an index takes the place of the position."""
        return {link.axis for link in self.chain() if link.axis is not None}


class View:
    """Elements of a tensor: an offset, and a stride and a count for each dimension.

    Attributes:
        allocation: the tensor.
        dtype: what its bytes are read as.
        offset: of the first element, in elements of `dtype`.
        shape: counts.
        strides: in elements of `dtype`.
        dynamic: an index that is added to it at run time.
    """

    __slots__ = ("allocation", "dtype", "dynamic", "offset", "shape", "strides")

    def __init__(
        self,
        allocation: Allocation,
        dtype: DTypeRecord,
        offset: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        dynamic: Dynamic | None = None,
    ) -> None:
        self.allocation = allocation
        self.dtype = dtype
        self.offset = offset
        self.shape = shape
        self.strides = strides
        self.dynamic = dynamic

    @property
    def region(self) -> MemoryRegion:
        return self.allocation.region

    @property
    def is_whole(self) -> bool:
        """Whether it is the tensor as it was made."""
        made = self.allocation
        return (
            (self.offset, self.dtype, self.dynamic) == (0, made.dtype, None)
            and tuple(self.shape) == tuple(made.shape)
            and tuple(self.strides) == contiguous_strides(made.shape)
        )

    @property
    def size(self) -> int:
        """How many elements it selects."""
        return math.prod(self.shape)

    @property
    def partitions(self) -> int:
        """On the chip: how many."""
        return self.shape[0]

    @property
    def free_size(self) -> int:
        """On the chip: elements of a partition."""
        return math.prod(self.shape[1:])

    @property
    def partition_step(self) -> int:
        """On the chip: elements of the view's dtype from a partition to the next."""
        return self.allocation.stored_partition_bytes // self.dtype.itemsize

    @property
    def first_partition(self) -> int:
        """On the chip: the one it begins at, a dynamic index left out."""
        if not self.offset:
            return 0
        per_partition = self.partition_step
        return self.offset // per_partition if per_partition else 0

    @property
    def extent(self) -> tuple[int, int]:
        """The first element, and one behind the last, a dynamic index left out."""
        low = high = self.offset
        indexed = () if self.dynamic is None else self.dynamic.axes
        for axis, (count, stride) in enumerate(zip(self.shape, self.strides)):
            if count == 0:
                return self.offset, self.offset
            if axis in indexed:
                continue
            low += min(0, (count - 1) * stride)
            high += max(0, (count - 1) * stride)
        return low, high + 1


def plain_view(view: View) -> View:
    """The same elements, by a view that is nothing more."""
    shape = tuple(view.shape)
    return View(
        view.allocation, view.dtype, view.offset, shape, view.strides, view.dynamic
    )


def contiguous_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Those of an array in C's order, in elements."""
    strides: list[int] = []
    step = 1
    for count in reversed(shape):
        strides.append(step)
        step *= count
    return tuple(reversed(strides))


def runs_of(shape: Sequence[int], strides: Sequence[int]) -> list[tuple[int, int]]:
    """Dimensions merged where they follow each other: counts and strides."""
    runs: list[tuple[int, int]] = []
    for count, stride in zip(shape, strides):
        if count == 1:
            continue
        if runs and runs[-1][1] == count * stride:
            count *= runs.pop()[0]
        runs.append((count, stride))
    return runs


def whole(allocation: Allocation) -> View:
    """The view of all of a tensor."""
    shape = allocation.shape
    return View(allocation, allocation.dtype, 0, shape, contiguous_strides(shape))


Operand: TypeAlias = "View | Register | float | int | None | tuple[View, ...]"


class Edge(NamedTuple):
    """What an instruction comes after.

    Attributes:
        producer: the other instruction.
        kind: how.
    """

    producer: Instruction
    kind: dependency


@dataclass(eq=False, slots=True)
class Instruction:
    """One instruction.

    Attributes:
        record: what it is.
        operands: by the record's names.
        attributes: by the record's names: texts, numbers, tuples of those.
        engine: which carries it out.
        line: of the kernel.
        name: given by the kernel, or "".
        after: what it comes after beside what its data ask for.
        form: what stands for all that its record's rules and its cost look at, the same
            object for instructions that are alike in that; None if it is not known.
    """

    record: InstructionRecord
    operands: dict[str, Any]
    attributes: dict[str, Any]
    engine: Engine = Engine.unknown
    line: Line = NOWHERE
    name: str = ""
    after: tuple[Edge, ...] = ()
    form: object = None

    def views(self) -> Iterator[tuple[str, View]]:
        """Its operands that are views, each with its name."""
        for name, operand in self.operands.items():
            if isinstance(operand, View):
                yield name, operand
            elif isinstance(operand, tuple):
                yield from ((name, view) for view in operand)


@dataclass(eq=False, slots=True)
class Loop:
    """Instructions that are run for each value of a register, or while it is not 0.

    Attributes:
        counter: the register; of a `while` loop, its condition.
        bounds: lower, upper (not reached) and step; None of a `while` loop, whose body
            sets the condition.
        body: what is run.
        line: of the kernel.
    """

    counter: Register
    bounds: tuple[int | Register, int | Register, int] | None
    body: list[Step] = field(default_factory=list)
    line: Line = NOWHERE


Step: TypeAlias = "Instruction | Loop"


@dataclass(eq=False, slots=True)
class Program:
    """What one core runs.

    Attributes:
        chip: the target's name, such as ``"trn2"``.
        core: which of the logical core's.
        allocations: its tensors; an :class:`Allocation`'s `id` is its place here.
        body: what is run, in order.
        constants: the values of tensors whose role is ``"constant"``, by id.
        inputs: ids of the tensors that arguments lie in, in order.
        outputs: the views that the kernel returns.
        registers: how many registers there are.
        returns_tuple: whether it returns several.
    """

    chip: str
    core: int = 0
    allocations: list[Allocation] = field(default_factory=list)
    body: list[Step] = field(default_factory=list)
    constants: dict[int, Any] = field(default_factory=dict)
    inputs: list[int] = field(default_factory=list)
    outputs: list[View] = field(default_factory=list)
    registers: int = 0
    returns_tuple: bool = False

    def instructions(self) -> Iterator[Instruction]:
        """Its instructions, those of a loop's body once."""
        return _instructions(self.body)


def _instructions(steps: Sequence[Step]) -> Iterator[Instruction]:
    for step in steps:
        if isinstance(step, Loop):
            yield from _instructions(step.body)
        else:
            yield step
