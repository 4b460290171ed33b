"""What the rules have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import NoReturn

import numpy as np

from nkipy.hlo.dtypes import HLO_NAMES, is_integer
from nkipy.hlo.instruction import HLOComputation, HLOInstruction, Shape

Inst = HLOInstruction
Result = tuple[tuple[int, ...], np.dtype] | tuple[Shape, ...]
#: Gives a pair of dims and dtype, or a tuple of Shapes (also if empty) for a tuple.
Rule = Callable[[HLOInstruction], Result]


class RuleError(Exception):
    """A rule is broken; the verifier adds which instruction it is."""


class LackError(RuleError):
    """Not a rule of HLO's is broken, but something is asked for that nkipy lacks."""


def lack(message: str) -> NoReturn:
    raise LackError(message)


def fail(message: str) -> NoReturn:
    raise RuleError(message)


def require(condition: bool, message: str) -> None:
    if not condition:
        raise RuleError(message)


def array(inst: Inst, what: str = "operand") -> Inst:
    """The same instruction, which must not have a tuple result."""
    if inst.dtype is None:
        fail(f"{what} is a tuple, not an array")
    return inst


def arrays(inst: Inst) -> tuple[Inst, ...]:
    """The operands, all of which must be arrays."""
    for operand in inst.operands:
        array(operand)
    return inst.operands


def scalar(inst: Inst, what: str) -> Inst:
    if inst.dtype is None or inst.shape != ():
        fail(f"{what} is {inst.shape_text()}, not a scalar")
    return inst


def integer_scalars(values: Sequence[Inst], what: str) -> None:
    """Scalars of one integer type."""
    for value in values:
        scalar(value, what)
        if not is_integer(value.dtype) or value.dtype != values[0].dtype:
            fail(f"{what} is {value.shape_text()}; all have to be of one integer type")


def signature(inst: Inst) -> Shape | tuple[Shape, ...]:
    """The shape of a value of any kind."""
    if inst.tuple_shapes is not None:
        return inst.tuple_shapes
    return Shape(inst.dtype, inst.shape)


def text(shape: Shape | tuple[Shape, ...]) -> str:
    """A shape or tuple of shapes in HLO's notation."""
    if isinstance(shape, Shape):
        return str(shape)
    return f"({', '.join(map(str, shape))})"


def dimensions(
    dims: Sequence[int], rank: int, what: str, ordered: bool = False
) -> None:
    """Distinct dimension numbers of something of rank `rank`."""
    if not dims:
        return
    if len(set(dims)) != len(dims) or min(dims) < 0 or max(dims) >= rank:
        fail(f"{what} {_braces(dims)} are not distinct dimensions of rank {rank}")
    if ordered and any(a >= b for a, b in zip(dims, dims[1:])):
        fail(f"{what} {_braces(dims)} are not in ascending order")


def dimension(d: int, rank: int, what: str) -> None:
    if not 0 <= d < rank:
        fail(f"{what} {d} is out of range for rank {rank}")


def without(dims: Sequence[int], removed: Sequence[int]) -> tuple[int, ...]:
    """The sizes of the dimensions that are not removed."""
    return tuple([s for i, s in enumerate(dims) if i not in removed])


def same_dtype(values: Sequence[Inst], what: str) -> None:
    if any(v.dtype != values[0].dtype for v in values):
        names = ", ".join(HLO_NAMES.get(v.dtype, str(v.dtype)) for v in values)
        fail(f"{what} differ in element type: {names}")


def callee(
    computation: HLOComputation,
    parameters: Sequence[Shape | tuple[Shape, ...]],
    result: Shape | tuple[Shape, ...],
    what: str,
) -> None:
    """A computation of the given signature.

    Scalars of a callee are compared as they are; that it is itself valid is checked
    apart.
    """
    count, given = len(computation.parameters), len(parameters)
    if count != given:  # first, as there may be very many
        fail(f"{what} {computation.name!r} takes {count} arguments, not {given}")
    found = [signature(p) for p in computation.parameters]
    if found != list(parameters):
        fail(
            f"{what} {computation.name!r} takes ({', '.join(map(text, found))}), not "
            f"({', '.join(map(text, parameters))})"
        )
    root = result_of(computation)
    if root != result:
        fail(f"{what} {computation.name!r} returns {text(root)}, not {text(result)}")


def result_of(computation: HLOComputation) -> Shape | tuple[Shape, ...]:
    if computation.root is None:
        fail(f"computation {computation.name!r} has no root")
    return signature(computation.root)


def element_type(inst: Inst) -> np.dtype:
    """The result's own element type, for opcodes that let it be chosen."""
    if inst.dtype not in HLO_NAMES:
        fail(f"the result's element type is {inst.dtype}")
    return inst.dtype


def size_of(dims: Sequence[int]) -> int:
    """The number of elements."""
    return prod(dims)


def _braces(dims: Sequence[int]) -> str:
    return "{" + ",".join(map(str, dims)) + "}"
