"""Registers of the sequencers: moved, loaded, stored, computed with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nkipy.chips import Chip
from nkipy_nki.calls import Call
from nkipy_nki.costs import INTERVAL
from nkipy_nki.declaring import instruction
from nkipy_nki.dtypes import find_dtype
from nkipy_nki.engines import Engine
from nkipy_nki.program import Instruction, Register, View
from nkipy_nki.records import Held, Rule, Sample, reads, writes
from nkipy_nki.regions import HBM, MemoryRegion
from nkipy_nki.registers import BITS, VirtualRegister, new_register
from nkipy_nki.sampling import sample

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


def _moves() -> Iterator[Sample]:
    for src in (7, -(1 << 31), (1 << 32) - 1, Held(5), Held(-3)):
        yield sample({"dst": Held(), "src": src})
    yield sample({"dst": Held(None, "int64"), "src": Held(-9)}, label="wider")
    yield sample({"dst": Held(1, "int64"), "src": 1 << 40}, label="64 bits")


def _wrong_moves() -> Iterator[Sample]:
    yield sample({"dst": Held(), "src": 1 << 32}, message="must be an int of 32 bits")
    yield sample({"dst": Held(), "src": 1.5}, message="must be an int of 32 bits")
    yield sample({"dst": Held(), "src": Held(1, "int64")}, message="src has 64 bits")
    yield sample({"dst": 3, "src": 3}, message="must be a register")
    x = np.ones((1, 1), np.int32)
    yield sample({"dst": Held(), "src": x}, message="src is a tensor")


@instruction(
    Engine.sync,
    dst=writes(_NOWHERE, register=True),
    src=reads(_NOWHERE, register=True, scalar=True),
    rules=[_move_problem],
    meaning=lambda call: _set(call, call.machine.value(call.operands["src"])),
    cost=_sequencer,
    samples=_moves,
    refused=_wrong_moves,
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


#: Elements that a register is loaded from.
_ELEMENTS = (
    *(("int8", -5), ("uint8", 250), ("int16", -300), ("uint16", 65000)),
    *(("int32", -(1 << 31)), ("uint32", (1 << 32) - 1), ("bfloat16", -3.0)),
    *(("float32", 2.5), ("float32", 3.5), ("float16", -0.75)),
)


def _one(dtype: str, value: float, shape: tuple[int, ...] = (1, 1)) -> np.ndarray:
    return np.full(shape, value, find_dtype(dtype, is_scalar=True).element)


def _loads() -> Iterator[Sample]:
    for dtype, value in _ELEMENTS:
        yield sample({"dst": Held(), "src": _one(dtype, value)}, label=dtype)
    for shape in ((1,), (1, 1)):
        x = {"dst": Held(), "src": _one("int32", 12, shape)}
        yield sample(x, regions={"src": MemoryRegion.private_hbm}, label="HBM")


def _wrong_loads() -> Iterator[Sample]:
    x = np.ones((1, 2), np.int32)
    yield sample({"dst": Held(), "src": x}, message="must have one element")
    x = _one("float32", np.nan)
    yield sample({"dst": Held(), "src": x}, message="no whole number")
    yield sample({"dst": Held(), "src": ((1, 1), "int32")}, message="never written")
    yield sample(
        {"dst": Held(), "src": np.zeros((1, 1), np.uint32)},
        dtypes={"src": "float8_e4m3fn_x4"},
        chip="trn3",
        message="of which a register holds none",
    )
    x = _one("float32", 1.0)
    in_psum = {"src": MemoryRegion.psum}
    yield sample({"dst": Held(), "src": x}, regions=in_psum, message="is in psum")


@instruction(
    Engine.sync,
    dst=writes(_NOWHERE, register=True),
    src=reads(_MEMORY),
    rules=[_one_element, _not_packed],
    meaning=_load,
    cost=_sequencer,
    samples=_loads,
    refused=_wrong_loads,
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


def _stores() -> Iterator[Sample]:
    for dtype, value in (("int32", -7), ("uint8", 200), ("int8", 300), ("int16", 5)):
        yield sample({"dst": ((1, 1), dtype), "src": Held(value)}, label=dtype)
    for dtype in ("float32", "bfloat16"):
        yield sample({"dst": ((1, 1), dtype), "src": Held(-12)}, label=dtype)
    x = {"dst": ((1,), "int32"), "src": Held(12)}
    yield sample(x, regions={"dst": MemoryRegion.private_hbm}, label="HBM")


def _wrong_stores() -> Iterator[Sample]:
    two = ((2, 1), "int32")
    yield sample({"dst": two, "src": Held(1)}, message="must have one element")
    one = ((1, 1), "int32")
    yield sample({"dst": one, "src": 5}, message="must be a register")
    packed = ((1, 1), "float8_e4m3fn_x4")
    yield sample(
        {"dst": packed, "src": Held(1)},
        chip="trn3",
        message="of which a register holds none",
    )


@instruction(
    Engine.sync,
    dst=writes(_MEMORY),
    src=reads(_NOWHERE, register=True),
    rules=[_one_element, _not_packed],
    meaning=_store,
    cost=_sequencer,
    samples=_stores,
    refused=_wrong_stores,
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


def _scalar_loads() -> Iterator[Sample]:
    for dtype, value in (("int32", -7), ("int32", (1 << 31) - 1), ("int64", 1 << 40)):
        x = {"dst": Held(None, dtype), "src": _one(dtype, value)}
        yield sample(x, label=dtype, dense=True)
        hbm = {"src": MemoryRegion.private_hbm}
        yield sample(x, regions=hbm, label=f"{dtype} HBM", dense=True)


def _wrong_scalar_loads() -> Iterator[Sample]:
    x = np.ones((1, 2), np.int32)
    yield sample({"dst": Held(), "src": x}, message="must be [1, 1]")
    x = _one("int64", 1)
    yield sample({"dst": Held(), "src": x}, message="and dst is int32")
    x = _one("float32", 1.0)
    yield sample({"dst": Held(), "src": x}, message="is float32, and may be")


@instruction(
    Engine.sync,
    dst=writes(_NOWHERE, register=True),
    src=reads(_MEMORY, *_SCALARS),
    rules=[_same_bits("src", "dst")],
    meaning=_load,
    cost=_sequencer,
    samples=_scalar_loads,
    refused=_wrong_scalar_loads,
)
def scalar_load(dst: Any, src: Any, name: str | None = None) -> Instruction:
    """Load a scalar from a tensor of one element: see ``nki.isa.scalar_load``."""
    raise NotImplementedError


def _store_scalar(call: Call) -> None:
    view: View = call.operands["dst"]
    value = call.machine.value(call.operands["value"])
    call.store("dst", np.full(view.shape, value, view.dtype.element))


def _scalar_stores() -> Iterator[Sample]:
    for dtype, value in (("int32", -7), ("int64", -(1 << 40))):
        x = {"dst": ((1, 1), dtype), "value": Held(value, dtype)}
        yield sample(x, label=dtype, dense=True)
        hbm = {"dst": MemoryRegion.shared_hbm}
        yield sample(x, regions=hbm, label=f"{dtype} HBM", dense=True)


def _wrong_scalar_stores() -> Iterator[Sample]:
    two = {"dst": ((1, 2), "int32"), "value": Held(1)}
    yield sample(two, message="must be [1, 1]")
    other = {"dst": ((1, 1), "int32"), "value": Held(1, "int64")}
    yield sample(other, message="and value is int64")


@instruction(
    Engine.sync,
    dst=writes(_MEMORY, *_SCALARS),
    value=reads(_NOWHERE, register=True),
    rules=[_same_bits("dst", "value")],
    meaning=_store_scalar,
    cost=_sequencer,
    samples=_scalar_stores,
    refused=_wrong_scalar_stores,
)
def scalar_store(dst: Any, value: Any, name: str | None = None) -> Instruction:
    """Store a scalar in a tensor of one element: see ``nki.isa.scalar_store``."""
    raise NotImplementedError


def _op_problem(made: Instruction, chip: Chip) -> str | None:
    op, dst = made.attributes["op"], made.operands["dst"]
    if not isinstance(op, str) or op not in _SCALAR_OPS:
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


#: Numbers whose sums and products wrap.
_PAIRS = ((7, -3), (-7, 3), (1 << 30, 1 << 30), (-(1 << 31), -1), (5, 5), (9, 0))
_OF_64_BITS = ("add", "subtract", "multiply")


def _computations() -> Iterator[Sample]:
    for op in _SCALAR_OPS:
        for left, right in _PAIRS:
            x = {"dst": Held(), "left": Held(left), "right": Held(right)}
            yield sample(x, op=op, label=op)
        yield sample({"dst": Held(), "left": Held(6), "right": 4}, op=op, label=op)
    for op in _OF_64_BITS:
        wide = {"dst": Held(None, "int64"), "right": 1 << 40}
        yield sample({**wide, "left": Held(1 << 62, "int64")}, op=op, label=op)


def _wrong_computations() -> Iterator[Sample]:
    x = {"dst": Held(), "left": Held(1), "right": Held(2)}
    yield sample(x, op="power", message="op is 'power'")
    yield sample({**x, "left": Held(1, "int64")}, op="add", message="must be of int32")
    yield sample({**x, "right": 1.5}, op="add", message="must be of int32")


@instruction(
    Engine.sync,
    dst=writes(_NOWHERE, register=True),
    left=reads(_NOWHERE, register=True, scalar=True),
    right=reads(_NOWHERE, register=True, scalar=True),
    rules=[_op_problem],
    meaning=_scalar_op,
    cost=_sequencer,
    samples=_computations,
    refused=_wrong_computations,
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
