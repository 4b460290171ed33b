"""Carries out instructions: the state of a core, and what a meaning sees of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nkipy.chips import Chip
from nkipy_nki.dtypes import narrow, widen
from nkipy_nki.engines import Engine
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.findings import Findings
from nkipy_nki.memory import Memory, Storage
from nkipy_nki.program import Instruction, Loop, Register, Step, View

__all__ = ["Call", "Machine"]


class Machine:
    """A core that runs a program.

    Attributes:
        chip: which it is of.
        memory: its tensors.
        registers: the sequencer's, by number.
        accumulators: reduce registers, by engine: one float32 for each partition.
        findings: what is found.
        debug_output: what ``device_print`` wrote: a name and the values.
    """

    def __init__(self, chip: Chip, memory: Memory, findings: Findings) -> None:
        self.chip = chip
        self.memory = memory
        self.findings = findings
        self.registers: dict[int, int] = {}
        self.accumulators: dict[Engine, np.ndarray] = {}
        self.debug_output: list[tuple[str, np.ndarray]] = []

    def run(self, steps: Sequence[Step]) -> None:
        """Run instructions and loops."""
        for step in steps:
            if isinstance(step, Loop):
                self.run_loop(step)
            else:
                self.execute(step)

    def run_loop(self, loop: Loop, done: int = 0) -> None:
        """Run a loop, of which so many iterations were run."""
        number = loop.counter.id
        if loop.bounds is None:
            while self.value(loop.counter):
                self.run(loop.body)
            return
        lower, upper, step = loop.bounds
        start, stop = self.value(lower), self.value(upper)
        for i in range(start + done * step, stop, step):
            self.registers[number] = i
            self.run(loop.body)

    def execute(self, instruction: Instruction) -> None:
        """Carry out one instruction."""
        instruction.record.meaning(Call(self, instruction))

    def value(self, number: int | Register) -> int:
        """A number, or what a register holds."""
        if not isinstance(number, Register):
            return number
        held = self.registers.get(number.id)
        if held is None:
            raise NkiValidationError("a register is read that was never set")
        return held


class Call:
    """One instruction as it is carried out: its operands are read and written here.

    Attributes:
        machine: the core.
        instruction: what is carried out.
        operands: the instruction's.
        attributes: the instruction's.
    """

    __slots__ = ("attributes", "instruction", "machine", "operands")

    def __init__(self, machine: Machine, instruction: Instruction) -> None:
        self.machine = machine
        self.instruction = instruction
        self.operands = instruction.operands
        self.attributes = instruction.attributes

    # -- reading -----------------------------------------------------------------------
    def raw(self, name: str) -> np.ndarray:
        """An operand's elements as they are stored. They must not be changed.

        Raises:
            NkiValidationError: one was never written, or an index is out of bounds.
        """
        return self.elements(self.operands[name], name)

    def read(self, name: str) -> np.ndarray:
        """An operand's values in float32, in which engines compute."""
        view = self.operands[name]
        return widen(self.elements(view, name), view.dtype)

    def flat(self, name: str) -> np.ndarray:
        """The same, of shape (partitions, elements of a partition)."""
        values = self.read(name)
        return values.reshape(values.shape[0], -1)

    def number(self, name: str) -> Any:
        """An operand that is a number, a register or one element for each partition.

        Returns:
            A float32, or an array of shape (partitions, 1).
        """
        operand = self.operands[name]
        if isinstance(operand, View):
            return self.read(name).reshape(operand.shape[0], -1)
        if isinstance(operand, Register):
            return np.float32(self.machine.value(operand))
        return np.float32(operand)

    def elements(self, view: View, name: str = "") -> np.ndarray:
        """The elements of any view, which must have been written."""
        storage = self.machine.memory.storage(view.allocation)
        if view.dynamic is not None:
            return self._gather(view, storage, name)
        if storage.written is not None and storage.unwritten(view):
            self._report_unwritten(view, storage.marks(view), name)
        return storage.elements(view)

    def _gather(self, view: View, storage: Storage, name: str) -> np.ndarray:
        places, valid = self.places(view, name)
        if not valid.all():
            self.report_out_of_bounds(view, places, valid, name)
            places = np.where(valid, places, 0)
        whole = _all_elements(view)
        marks = storage.marks(whole)
        if marks is not None:
            taken = np.asarray(marks.reshape(whole.shape[0], -1).all(1))[places]
            if not taken.all():
                self._report_unwritten(view, taken, name)
        return storage.elements(whole)[places]

    # -- writing -----------------------------------------------------------------------
    def write(self, name: str, values: np.ndarray) -> None:
        """Round float32 values to an operand's dtype and store them there."""
        view = self.operands[name]
        self.store(name, narrow(np.asarray(values), view.dtype))

    def store(self, name: str, elements: np.ndarray) -> None:
        """Store elements of the operand's dtype, in any shape of as many elements."""
        view = self.operands[name]
        if elements.shape != view.shape:
            elements = np.reshape(elements, view.shape)
        storage = self.machine.memory.storage(view.allocation)
        if view.dynamic is not None:
            self._scatter(view, storage, elements, name)
            return
        storage.elements(view)[...] = elements
        if storage.written is not None:
            storage.mark(view)

    def _scatter(
        self, view: View, storage: Storage, elements: np.ndarray, name: str
    ) -> None:
        places, valid = self.places(view, name)
        if not valid.all():
            self.report_out_of_bounds(view, places, valid, name)
            places, elements = places[valid], elements[valid]
        whole = _all_elements(view)
        storage.elements(whole)[places] = elements
        marks = storage.marks(whole)
        if marks is not None:
            marks[places] = True

    # -- dynamic indices ---------------------------------------------------------------
    def places(self, view: View, name: str = "") -> tuple[np.ndarray, np.ndarray]:
        """Where each element of a view with a dynamic index lies in its tensor.

        Returns:
            Positions in elements of the view's dtype, of the view's shape; and whether
            each is in bounds.
        """
        dynamic = view.dynamic
        assert dynamic is not None
        if isinstance(dynamic.index, Register):
            index = np.asarray(self.machine.value(dynamic.index))
        else:
            index = np.asarray(self.elements(dynamic.index, name)).astype(np.int64)
        if dynamic.group is not None:
            index = _dealt(index, dynamic.group, view.shape)
        elif dynamic.axis is None:
            index = index.reshape(())
        else:
            shape = [1] * len(view.shape)
            shape[dynamic.axis] = -1
            index = index.reshape(shape)
        places = view.offset + index * dynamic.step
        for axis, (count, stride) in enumerate(zip(view.shape, view.strides)):
            steps = np.arange(count) * stride
            places = places + steps.reshape(
                [-1 if a == axis else 1 for a in range(len(view.shape))]
            )
        limit = view.allocation.nbytes // view.dtype.itemsize
        valid = (places >= 0) & (places < limit)
        valid &= (index >= 0) & (index < dynamic.limit)
        return places, valid

    # -- findings ----------------------------------------------------------------------
    def report(self, kind: str, message: str, **details: Any) -> None:
        """Report a finding at this instruction."""
        name = self.instruction.record.name
        line = self.instruction.line
        self.machine.findings.report(kind, message, line, name, **details)

    def _report_unwritten(self, view: View, marks: Any, name: str) -> None:
        marks = marks.reshape(*view.shape, -1).all(-1)
        first = tuple(map(int, np.argwhere(~marks)[0]))
        missing = int(marks.size - marks.sum())
        self.report(
            "uninitialized-read",
            f"{name} reads {missing} of {marks.size} elements that were never written, "
            f"the first at {list(first)} of {list(view.shape)}, of {view.allocation} "
            f"made at {view.allocation.line}",
            operand=name,
            missing=missing,
            position=list(first),
        )

    def report_out_of_bounds(
        self, view: View, places: np.ndarray, valid: np.ndarray, name: str
    ) -> None:
        """Report the first element of a view that is out of bounds."""
        position = tuple(map(int, np.argwhere(~valid)[0]))
        extent = view.allocation.nbytes // view.dtype.itemsize
        value = int(places[position])
        self.report(
            "out-of-bounds",
            f"{name} at {list(position)} of {list(view.shape)} is element {value} of "
            f"{view.allocation}, which has {extent}",
            operand=name,
            value=value,
            position=list(position),
            extent=extent,
        )


def _all_elements(view: View) -> View:
    """A tensor's elements, in one dimension, of a view's dtype."""
    count = view.allocation.nbytes // view.dtype.itemsize
    return View(view.allocation, view.dtype, 0, (count,), (1,))


def _dealt(index: np.ndarray, group: int, shape: tuple[int, ...]) -> np.ndarray:
    """The indices of each partition, out of a tile that deals them over a group.

    Index i of the partitions of group g lies at
    ``[g * group + i % group, i // group]``.
    """
    partitions, count = shape[0], shape[-1]
    i = np.arange(count)
    g = np.arange(partitions) // group
    rows = g[:, None] * group + i % group
    found = index.reshape(index.shape[0], -1)[rows, i // group]
    return found.reshape(partitions, *([1] * (len(shape) - 2)), count)
