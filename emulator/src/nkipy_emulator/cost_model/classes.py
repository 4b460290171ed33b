"""How the cost of each opcode is found: one record per opcode."""

from __future__ import annotations

from enum import IntEnum, auto
from typing import NamedTuple

from nkipy_emulator.cost_model.types import GPSIMD, SCALAR, VECTOR


class Kind(IntEnum):
    """What decides an instruction's cost."""

    SOURCE = auto()  # parameters and constants: nothing until they are used
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
    CUSTOM = auto()  # by the record of the call's target


class CostClass(NamedTuple):
    """`steps` are instructions of `engine` that one instruction of HLO becomes."""

    kind: Kind
    engine: str = VECTOR
    steps: int = 1


COST_CLASSES: dict[str, CostClass] = {}


def _define(names: str, kind: Kind, engine: str = VECTOR, steps: int = 1) -> None:
    for name in names.split():
        COST_CLASSES[name] = CostClass(kind, engine, steps)


_define("parameter constant replica-id partition-id", Kind.SOURCE)
_define("reshape broadcast slice bitcast-convert opt-barrier", Kind.VIEW)
_define("tuple get-tuple-element", Kind.TUPLE)

# VectorE: arithmetic, comparison, bits, conversion. The numbers of steps are *ours*,
# counted from what the instruction set has: no division (a reciprocal and a product),
# no rounding but that of conversions, no sign but comparisons.
_define(
    "add subtract multiply maximum minimum and or xor not negate abs compare select "
    "convert copy shift-left shift-right-arithmetic shift-right-logical is-finite",
    Kind.ELEMENTWISE,
)
_define("divide clamp sign reduce-precision", Kind.ELEMENTWISE, steps=2)
_define("round-nearest-even", Kind.ELEMENTWISE, steps=2)
_define("floor ceil round-nearest-afz", Kind.ELEMENTWISE, steps=3)
_define("remainder", Kind.ELEMENTWISE, steps=4)
# ScalarE: functions by tables. One step where there is such a function.
_define(
    "exponential log log-plus-one sqrt rsqrt sine cosine tanh erf logistic",
    Kind.ELEMENTWISE,
    SCALAR,
)
_define("exponential-minus-one cbrt", Kind.ELEMENTWISE, SCALAR, 2)
_define("tan power atan2", Kind.ELEMENTWISE, SCALAR, 3)
# GpSimd: what no other engine can.
_define("iota", Kind.ELEMENTWISE, GPSIMD)
_define("popcnt count-leading-zeros", Kind.ELEMENTWISE, GPSIMD, 5)

_define("reduce", Kind.REDUCE)
_define("reduce-window", Kind.WINDOW)
_define("sort", Kind.SORT, GPSIMD)
_define("dot", Kind.DOT)
_define("convolution", Kind.CONVOLUTION)
_define("transpose", Kind.TRANSPOSE)
_define(
    "concatenate pad reverse dynamic-slice dynamic-update-slice gather scatter",
    Kind.MOVE,
)
_define("cholesky triangular-solve", Kind.FACTOR)
_define(
    "all-reduce all-gather reduce-scatter all-to-all collective-permute",
    Kind.COLLECTIVE,
)
_define("while conditional call", Kind.CONTROL)
_define("custom-call", Kind.CUSTOM)
