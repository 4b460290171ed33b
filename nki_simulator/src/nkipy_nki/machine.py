"""The state of a core that runs a program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from nkipy.chips import Chip
from nkipy_nki.engines import Engine
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.findings import Findings
from nkipy_nki.generators import Generators
from nkipy_nki.memory import Memory
from nkipy_nki.program import Instruction, Line, Register, View
from nkipy_nki.reduce_registers import ReduceRegisters

__all__ = ["Machine", "Prepared"]


class Prepared(NamedTuple):
    """The first part of an instruction in two parts, which was carried out.

    Attributes:
        name: the instruction's.
        line: of the kernel.
        operands: the tensors that it is of.
        plan: what it has found out for the second part.
    """

    name: str
    line: Line
    operands: tuple[View, ...]
    plan: Any


class Machine:
    """The state of a core that runs a program.

    Attributes:
        chip: which it is of.
        memory: its tensors.
        registers: the sequencer's, by number.
        reduce_registers: those of each engine.
        generators: of random bits, by engine, each made when it is first asked for.
        findings: what is found.
        debug_output: what ``device_print`` wrote: a name and the values.
        observers: called with the machine and each instruction that was carried out.
        show: called with what ``device_print`` wrote, at once, if there is anything.
        go_on: called before steps of a program, if there is anything: it raises a
            TimeoutError if the run takes too long.
        core: which it is of those that run together; None if it runs alone.
        prepared: the first part of a collective in two parts, until the second.
    """

    def __init__(
        self, chip: Chip, memory: Memory, findings: Findings, core: Any = None
    ) -> None:
        self.chip = chip
        self.core = core
        self.memory = memory
        self.findings = findings
        self.registers: dict[int, int] = {}
        self.reduce_registers: dict[Engine, ReduceRegisters] = {}
        self.generators: dict[Engine, Generators] = {}
        self.debug_output: list[tuple[str, np.ndarray]] = []
        self.observers: list[Callable[[Machine, Instruction], None]] = []
        self.show: Callable[[str, np.ndarray], None] | None = None
        self.go_on: Callable[[], None] | None = None
        self.prepared: Prepared | None = None
        if core is not None:
            self.observers.append(core)

    def write_debug_output(self, name: str, values: np.ndarray) -> None:
        """Keep values that a kernel prints, and show them."""
        self.debug_output.append((name, values))
        if self.show is not None:
            self.show(name, values)

    def generators_of(self, engine: Engine) -> Generators:
        """The generators of random bits of an engine."""
        found = self.generators.get(engine)
        if found is None:
            found = self.generators[engine] = Generators(engine)
        return found

    def value(self, number: int | Register) -> int:
        """A number, or what a register holds."""
        if not isinstance(number, Register):
            return number
        held = self.registers.get(number.id)
        if held is None:
            raise NkiValidationError(
                f"register {number.id} is read, and was never set: set it with "
                "nisa.register_alloc(value), register_move or register_load"
            )
        return held
