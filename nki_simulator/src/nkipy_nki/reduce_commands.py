"""What instructions do with the reduce registers of their engine.

All instructions of an engine share its registers. On the vector engine, one that has
``reduce_cmd.idle`` leaves them in a state that is not known; on the scalar engine it
does not touch them.
"""

from __future__ import annotations

import numpy as np

from nkipy.chips import Chip
from nkipy_nki.calls import Call
from nkipy_nki.computing import flat
from nkipy_nki.engines import Engine
from nkipy_nki.modes import reduce_cmd as ReduceCommand
from nkipy_nki.operators import OPERATIONS
from nkipy_nki.program import Instruction, View
from nkipy_nki.records import Rule, writes
from nkipy_nki.reduce_registers import ReduceRegisters

__all__ = [
    "LOADING",
    "REDUCE_RES",
    "REDUCTIONS",
    "accumulate",
    "begin",
    "commands",
    "disturb",
    "initial_values",
    "reduction_is_named",
    "read_registers",
    "registers_of",
]

#: Operations that the vector engine's registers reduce by.
REDUCTIONS = frozenset({"add", "multiply", "maximum", "minimum"})
#: What instructions do with registers that they cannot leave alone.
LOADING = (
    ReduceCommand.reset_reduce,
    ReduceCommand.reduce,
    ReduceCommand.load_reduce,
)
#: Where the registers are written to.
REDUCE_RES = writes(vector=True, optional=True)


def commands(*allowed: ReduceCommand) -> Rule:
    """``reduce_cmd`` is one of these."""

    def rule(made: Instruction, chip: Chip) -> str | None:
        command = made.attributes["reduce_cmd"]
        if command in allowed:
            return None
        names = ", ".join(c.name for c in allowed)
        given = getattr(command, "name", repr(command))
        return f"reduce_cmd is {given}, and may be {names} only"

    return rule


def reduction_is_named(made: Instruction, chip: Chip) -> str | None:
    """``reduce_op`` is given where something is reduced."""
    if made.attributes["reduce_op"] is not None:
        return None
    command = made.attributes["reduce_cmd"]
    if command in (ReduceCommand.idle, ReduceCommand.reset):
        return None
    return f"reduce_op is None, and reduce_cmd is {command.name}"


def initial_values(name: str) -> Rule:
    """An operand is given with ``load_reduce``, and with it only."""

    def rule(made: Instruction, chip: Chip) -> str | None:
        given = made.operands[name]
        is_given = isinstance(given, View) or given not in (None, 0)
        if made.attributes["reduce_cmd"] is ReduceCommand.load_reduce:
            if given is None:
                return f"{name} is None, and reduce_cmd is load_reduce"
        elif is_given:
            return f"{name} is given, and reduce_cmd is not load_reduce"
        return None

    return rule


def registers_of(call: Call) -> ReduceRegisters:
    """The reduce registers of the instruction's engine."""
    engine = call.instruction.engine
    return call.machine.reduce_registers.setdefault(engine, ReduceRegisters())


def lanes_of(view: View) -> slice:
    """The registers of a tile's partitions."""
    return slice(view.first_partition, view.first_partition + view.shape[0])


def begin(
    call: Call,
    tile: str,
    operation: str,
    command: ReduceCommand,
    initial: str = "",
) -> np.ndarray:
    """Set the registers as a command asks, which is not ``idle``.

    Args:
        call: the instruction.
        tile: the operand whose partitions say which registers.
        operation: by which it reduces.
        command: what to do.
        initial: the operand that ``load_reduce`` takes.

    Returns:
        What the registers hold, in place.
    """
    registers, lanes = registers_of(call), lanes_of(call.operands[tile])
    if command in (ReduceCommand.reset, ReduceCommand.reset_reduce):
        registers.set(lanes, operation, _identity(operation))
    elif command is ReduceCommand.load_reduce:
        held = np.ravel(np.asarray(call.number(initial), np.float32))
        registers.set(lanes, operation, held)
    elif problem := registers.problem(lanes, operation):
        call.report("reduce-register", problem)
    return registers.values[lanes]


def disturb(call: Call, tile: str) -> None:
    """Let an instruction with ``idle`` leave the registers in no known state."""
    registers_of(call).disturb(lanes_of(call.operands[tile]))


def accumulate(
    call: Call,
    tile: str,
    values: np.ndarray,
    operation: str | None,
    command: ReduceCommand,
    initial: str = "",
) -> None:
    """Reduce values into the registers of the instruction's engine.

    Args:
        call: the instruction.
        tile: the operand whose partitions say which registers.
        values: what to reduce: float32, of shape (partitions, ...).
        operation: by which; None if nothing is reduced.
        command: what to do with the registers.
        initial: the operand that ``load_reduce`` takes.
    """
    if command is ReduceCommand.idle:
        if call.instruction.engine is Engine.vector:
            disturb(call, tile)
        return
    name = operation or "add"
    held = begin(call, tile, name, command, initial)
    if command is not ReduceCommand.reset:
        held[...] = OPERATIONS[name](held, _reduced(name, flat(values)))


#: Operations that reduce magnitudes, and what those are reduced by.
_OF_MAGNITUDES = {"abs_max": "maximum", "abs_min": "minimum"}


def _identity(operation: str) -> float:
    """What the registers are reset to."""
    if operation == "abs_max":
        return 0.0
    identity = OPERATIONS[_OF_MAGNITUDES.get(operation, operation)].identity
    assert identity is not None
    return identity


def _reduced(operation: str, values: np.ndarray) -> np.ndarray:
    plain = _OF_MAGNITUDES.get(operation)
    if plain is None:
        return OPERATIONS[operation].reduce(values)
    return OPERATIONS[plain].reduce(np.abs(values))


def read_registers(call: Call, tile: str) -> None:
    """Write the registers to ``reduce_res``, if it is given.

    With ``reduce_res_negate`` they are written with the opposite sign.
    """
    if call.operands["reduce_res"] is None:
        return
    registers, lanes = registers_of(call), lanes_of(call.operands[tile])
    if problem := registers.problem(lanes, None):
        call.report("reduce-register", problem)
    values = registers.values[lanes]
    if call.attributes.get("reduce_res_negate"):
        values = -values
    call.write("reduce_res", values)
