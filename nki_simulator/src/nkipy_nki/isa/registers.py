"""Registers of the sequencers: moved, loaded, stored, computed with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nkipy.chips import Chip
from nkipy_nki.costs import INTERVAL
from nkipy_nki.declaring import instruction
from nkipy_nki.engines import Engine
from nkipy_nki.machine import Call
from nkipy_nki.program import Instruction, Register, View
from nkipy_nki.records import Rule, Sample, reads, writes
from nkipy_nki.regions import HBM, MemoryRegion
from nkipy_nki.registers import BITS, VirtualRegister, new_register

__all__ = [
    "register_alloc",
    "register_load",
    "register_move",
    "register_store",
]

_NOWHERE: frozenset[MemoryRegion] = frozenset()
_MEMORY = frozenset({MemoryRegion.sbuf, *HBM})

#: What scalars are computed with. Division rounds down, as Python's does.
_SCALAR_OPS: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "floor_divide": lambda a, b: a // b if b else 0,
    "mod": lambda a, b: a % b if b else 0,
    "less": lambda a, b: int(a < b),
    "less_equal": lambda a, b: int(a <= b),
    "greater": lambda a, b: int(a > b),
    "greater_equal": lambda a, b: int(a >= b),
    "equal": lambda a, b: int(a == b),
    "not_equal": lambda a, b: int(a != b),
}


def _wrapped(value: int, dtype: str) -> int:
    """A whole number in two's complement of a register's bits."""
    bits = BITS[dtype]
    return (value + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1))


def _set(call: Call, value: int) -> None:
    register: Register = call.operands["dst"]
    call.machine.registers[register.id] = _wrapped(value, register.dtype)


def _sequencer(made: Instruction, chip: Chip) -> float:
    return INTERVAL


def _no_samples() -> Iterator[Sample]:
    """Registers are tried in kernels: a sample has no way to look at one."""
    return iter(())


def _one_element(made: Instruction, chip: Chip) -> str | None:
    for name, view in made.views():
        if view.size != 1:
            return f"{name} has the shape {list(view.shape)}, and must have one element"
    return None


def _move_problem(made: Instruction, chip: Chip) -> str | None:
    dst, src = made.operands["dst"], made.operands["src"]
    if isinstance(src, Register):
        if BITS[src.dtype] > BITS[dst.dtype]:
            return f"src has {BITS[src.dtype]} bits, and dst {BITS[dst.dtype]}"
        return None
    bits = BITS[dst.dtype]
    if not isinstance(src, int) or not -(1 << (bits - 1)) <= src < 1 << bits:
        return f"src is {src!r}, and must be an int of {bits} bits, or a register"
    return None


@instruction(
    Engine.sync,
    dst=writes(_NOWHERE, register=True),
    src=reads(_NOWHERE, register=True, scalar=True),
    rules=[_move_problem],
    meaning=lambda call: _set(call, call.machine.value(call.operands["src"])),
    cost=_sequencer,
    samples=_no_samples,
    refused=_no_samples,
)
def register_move(dst: Any, src: Any, name: str | None = None) -> Instruction:
    """Set a register to a number, or to what another holds.

    Args:
        dst: the register.
        src: an int that is known, or a register.
    """
    raise NotImplementedError


def _load(call: Call) -> None:
    view: View = call.operands["src"]
    element = call.raw("src").reshape(())[()]
    if not view.dtype.is_float:
        _set(call, int(element))
        return
    value = float(call.read("src").reshape(()))
    if not np.isfinite(value):
        call.report("wrong-operand", f"src holds {value}, which is no whole number")
        value = 0.0
    _set(call, round(value))


def _not_packed(made: Instruction, chip: Chip) -> str | None:
    for name, view in made.views():
        if view.dtype.is_packed:
            return f"{name} is {view.dtype.name}, of which a register holds none"
    return None


@instruction(
    Engine.sync,
    dst=writes(_NOWHERE, register=True),
    src=reads(_MEMORY),
    rules=[_one_element, _not_packed],
    meaning=_load,
    cost=_sequencer,
    samples=_no_samples,
    refused=_no_samples,
)
def register_load(dst: Any, src: Any, name: str | None = None) -> Instruction:
    """Load a register from a tensor of one element, in SBUF or HBM.

    Args:
        dst: the register.
        src: shape [1] or [1, 1]. A float is rounded to the nearest whole number, half
            to even.
    """
    raise NotImplementedError


def _store(call: Call) -> None:
    view: View = call.operands["dst"]
    value = call.machine.value(call.operands["src"])
    call.write("dst", np.full(view.shape, value, np.int64))


@instruction(
    Engine.sync,
    dst=writes(_MEMORY),
    src=reads(_NOWHERE, register=True),
    rules=[_one_element, _not_packed],
    meaning=_store,
    cost=_sequencer,
    samples=_no_samples,
    refused=_no_samples,
)
def register_store(dst: Any, src: Any, name: str | None = None) -> Instruction:
    """Store what a register holds in a tensor of one element, in SBUF or HBM.

    Args:
        dst: shape [1] or [1, 1].
        src: the register.
    """
    raise NotImplementedError


# -- scalars ---------------------------------------------------------------------------
_SCALARS = tuple(BITS)


def _same_bits(tensor: str, scalar: str) -> Rule:
    """A rule: a tensor of one element, and a scalar, are of one type."""

    def rule(made: Instruction, chip: Chip) -> str | None:
        view, register = made.operands[tensor], made.operands[scalar]
        if view.shape not in ((1, 1), (1,)):
            return f"{tensor} has the shape {list(view.shape)}, and must be [1, 1]"
        if view.dtype.name != register.dtype:
            return f"{tensor} is {view.dtype.name}, and {scalar} is {register.dtype}"
        return None

    return rule


@instruction(
    Engine.sync,
    dst=writes(_NOWHERE, register=True),
    src=reads(_MEMORY, *_SCALARS),
    rules=[_same_bits("src", "dst")],
    meaning=_load,
    cost=_sequencer,
    samples=_no_samples,
    refused=_no_samples,
)
def scalar_load(dst: Any, src: Any, name: str | None = None) -> Instruction:
    """Load a scalar from a tensor of one element: see ``nki.isa.scalar_load``."""
    raise NotImplementedError


def _store_scalar(call: Call) -> None:
    view: View = call.operands["dst"]
    value = call.machine.value(call.operands["value"])
    call.store("dst", np.full(view.shape, value, view.dtype.element))


@instruction(
    Engine.sync,
    dst=writes(_MEMORY, *_SCALARS),
    value=reads(_NOWHERE, register=True),
    rules=[_same_bits("dst", "value")],
    meaning=_store_scalar,
    cost=_sequencer,
    samples=_no_samples,
    refused=_no_samples,
)
def scalar_store(dst: Any, value: Any, name: str | None = None) -> Instruction:
    """Store a scalar in a tensor of one element: see ``nki.isa.scalar_store``."""
    raise NotImplementedError


def _op_problem(made: Instruction, chip: Chip) -> str | None:
    op, dst = made.attributes["op"], made.operands["dst"]
    if op not in _SCALAR_OPS:
        return f"op is {op!r}, and must be one of {', '.join(_SCALAR_OPS)}"
    for name in ("left", "right"):
        operand = made.operands[name]
        dtype = operand.dtype if isinstance(operand, Register) else dst.dtype
        if dtype != dst.dtype or isinstance(operand, float):
            return f"{name} is {operand!r}, and must be of {dst.dtype}"
    return None


def _scalar_op(call: Call) -> None:
    left, right = (call.machine.value(call.operands[n]) for n in ("left", "right"))
    _set(call, _SCALAR_OPS[call.attributes["op"]](left, right))


@instruction(
    Engine.sync,
    dst=writes(_NOWHERE, register=True),
    left=reads(_NOWHERE, register=True, scalar=True),
    right=reads(_NOWHERE, register=True, scalar=True),
    rules=[_op_problem],
    meaning=_scalar_op,
    cost=_sequencer,
    samples=_no_samples,
    refused=_no_samples,
)
def scalar_op(
    dst: Any, left: Any, right: Any, op: str, name: str | None = None
) -> Instruction:
    """Compute with two scalars: what operators of an ``NkiScalar`` make."""
    raise NotImplementedError


def register_alloc(x: Any = None) -> VirtualRegister:
    """A new register of 32 bits.

    Args:
        x: what it is set to: an int, a register, or a tensor of one element; if None,
            nothing.
    """
    made: VirtualRegister = new_register(VirtualRegister)
    if isinstance(x, View):
        register_load(made, x)
    elif x is not None:
        register_move(made, x)
    return made
