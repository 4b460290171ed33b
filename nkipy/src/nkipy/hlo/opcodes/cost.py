"""What decides the cost of an instruction, as far as its opcode tells.

A model of an accelerator's time goes by these classes, not by names of opcodes. The
engines are those of a NeuronCore.
"""

from __future__ import annotations

from enum import IntEnum, auto
from typing import NamedTuple

#: Matrix products; elementwise arithmetic; functions by tables; everything else.
TENSOR, VECTOR, SCALAR, GPSIMD = "TensorE", "VectorE", "ScalarE", "GpSimd"
ENGINES = (TENSOR, VECTOR, SCALAR, GPSIMD)


class CostKind(IntEnum):
    """What decides an instruction's cost."""

    SOURCE = auto()  # parameters and constants: nothing until they are used
    RENAME = auto()  # all of the operand's bytes under another shape or type: nothing
    VIEW = auto()  # another way to address the same bytes: nothing
    TUPLE = auto()  # names for several values: nothing
    ELEMENTWISE = auto()  # elements of the result
    REDUCE = auto()  # elements of the inputs, and operations of the reducer
    WINDOW = auto()  # elements, and the logarithm of the window's size
    SORT = auto()  # elements, and comparators of a bitonic network
    DOT = auto()
    CONVOLUTION = auto()
    TRANSPOSE = auto()  # elements, through the PE array; or a view
    MOVE = auto()  # bytes, and how long they are contiguous
    FACTOR = auto()  # columns that depend on each other
    COLLECTIVE = auto()  # bytes and the size of the group
    CONTROL = auto()  # what the called computations cost
    CUSTOM = auto()  # by the target of the call


class CostClass(NamedTuple):
    """`steps` are instructions of `engine` that one instruction of HLO becomes."""

    kind: CostKind
    engine: str = VECTOR
    steps: int = 1


SOURCE = CostClass(CostKind.SOURCE)
RENAME = CostClass(CostKind.RENAME)
VIEW = CostClass(CostKind.VIEW)
TUPLE = CostClass(CostKind.TUPLE)
MOVE = CostClass(CostKind.MOVE)
COLLECTIVE = CostClass(CostKind.COLLECTIVE)
CONTROL = CostClass(CostKind.CONTROL)


def elementwise(engine: str = VECTOR, steps: int = 1) -> CostClass:
    """The class of an opcode that computes each element of its result by itself."""
    return CostClass(CostKind.ELEMENTWISE, engine, steps)
