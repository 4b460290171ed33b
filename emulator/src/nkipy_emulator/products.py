"""Products of a matrix and a vector, which a handler of ours computes where they lie.

XLA copies a matrix that is transposed or begins at an address of no use to it, and
multiplies vectors on one core in steps of one element. A sum of an argument's rows or
columns is a product with ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import NamedTuple

import numpy as np

from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.dtypes import float32, float64
from nkipy.hlo.ir import HLOComputation, HLOInstruction
from nkipy.hlo.rewrites.base import literal_below
from nkipy_emulator.handler_calls import handler
from nkipy_emulator.memory import ZERO_COPY_BYTES

__all__ = ["Product", "View", "call", "merged", "product_of", "view_of"]

Value = HLOInstruction
_DTYPES = (float32, float64)
#: Results that lie beside each other are computed together: so many at least.
_LEAST_ACROSS = 64


class View(NamedTuple):
    """Elements of a value: those at ``offset + sum(index * step)``, in elements."""

    base: Value
    offset: int
    shape: tuple[int, ...]
    steps: tuple[int, ...]


class Product(NamedTuple):
    """A product of a matrix, results by terms, and a vector; None is one of ones."""

    matrix: View
    vector: View | None

    def reads(self, value: Value) -> bool:
        """Whether `value` is what an operand's elements are taken from."""
        bases = (view.base for view in self if view is not None)
        return any(base is value for base in bases)


def product_of(
    inst: Value,
    operands: tuple[Value, ...],
    source: Callable[[Value], Value | None] = lambda value: None,
    least: int = ZERO_COPY_BYTES,
) -> Product | None:
    """What an instruction multiplies, if the handler is to do it.

    Args:
        inst: any instruction.
        operands: its operands, or what stands for them in a copy.
        source: the memory that a value is a copy of, element by element, if any.
        least: how many bytes a matrix has that the handler is to multiply.
    """
    product = None
    if inst.dtype in _DTYPES and inst.opcode == "dot":
        product = _of_dot(inst, operands, source)
    elif inst.dtype in _DTYPES and inst.opcode == "reduce":
        product = _of_sum(inst, operands, source)
    if product is None:
        return None
    assert inst.dtype is not None
    results, terms = product.matrix.shape
    if results * terms * inst.dtype.itemsize < least:
        return None
    row, column = product.matrix.steps
    is_across = row == 1 and results >= _LEAST_ACROSS
    return product if column == 1 or is_across else None


def _of_dot(
    dot: Value, operands: tuple[Value, ...], source: Callable[[Value], Value | None]
) -> Product | None:
    attributes = dot.attributes
    if attributes["lhs_batch_dims"] or attributes["rhs_batch_dims"]:
        return None
    names = ("lhs_contracting_dims", "rhs_contracting_dims")
    sides = [
        _side(operand, attributes[name], source)
        for operand, name in zip(operands, names)
    ]
    if any(operand.dtype != dot.dtype for operand in operands):
        return None
    sides.sort(key=lambda side: side is not None and side.shape[0] > 1)
    vector, matrix = sides
    if vector is None or matrix is None or vector.shape[0] > 1:
        return None
    return Product(matrix, vector)


def _of_sum(
    inst: Value, operands: tuple[Value, ...], source: Callable[[Value], Value | None]
) -> Product | None:
    """Of a sum of an argument, or a view of one: what is computed is summed at once."""
    if len(operands) != 2 or not _adds(inst.attributes["to_apply"]):
        return None
    start = literal_below(operands[1])
    if start is None or start.any() or np.signbit(start):
        return None
    view = view_of(operands[0], source)
    if view.base.opcode != "parameter":
        return None
    summed = inst.attributes["dimensions"]
    terms = merged(view, summed)
    free = merged(view, [i for i in range(len(view.shape)) if i not in summed])
    if terms is None or free is None:
        return None
    shape, steps = zip(free, terms)
    return Product(view._replace(shape=shape, steps=steps), None)


def _adds(computation: HLOComputation) -> bool:
    root, parameters = computation.root, computation.parameters
    if root is None or root.opcode != "add" or len(parameters) != 2:
        return False
    return set(root.operands) == set(parameters)


def merged(view: View, axes: Sequence[int]) -> tuple[int, int] | None:
    """Several axes as one: how many elements, and the step between them; or None."""
    size, step = 1, 0
    for axis in reversed(axes):
        if view.shape[axis] == 1:
            continue
        if size == 1:
            step = view.steps[axis]
        elif view.steps[axis] != step * size:
            return None
        size *= view.shape[axis]
    return size, step


def _side(
    operand: Value, contracting: tuple[int, ...], source: Callable[..., Value | None]
) -> View | None:
    """An operand as free elements by terms; None if it has not one dimension of each.

    Dimensions of one element do not count.
    """
    view = view_of(operand, source)
    if len(contracting) != 1:
        return None
    term = contracting[0]
    free = [i for i, n in enumerate(view.shape) if i != term and n != 1]
    if len(free) > 1:
        return None
    count, step = (view.shape[free[0]], view.steps[free[0]]) if free else (1, 0)
    return view._replace(
        shape=(count, view.shape[term]), steps=(step, view.steps[term])
    )


def view_of(
    value: Value, source: Callable[[Value], Value | None] = lambda value: None
) -> View:
    """`value` as elements of what transposes, slices and reshapes take it from.

    Args:
        value: any array.
        source: the memory that a value is a copy of, element by element, if any.
    """
    # The index along an axis of `base`: a start, and a stride times one of `value`.
    axes: list[int | None] = list(range(len(value.shape)))
    strides = [1] * len(value.shape)
    starts = [0] * len(value.shape)
    base = value
    while source(base) is None and base.opcode in ("transpose", "slice", "reshape"):
        below = base.operands[0]
        if base.opcode == "slice":
            steps = base.attributes["strides"]
            strides = [s if a is None else s * steps[a] for a, s in zip(axes, strides)]
            begins = zip(base.attributes["starts"], starts, steps)
            starts = [begin + start * step for begin, start, step in begins]
        else:
            places = _axes_below(base)
            if places is None:
                break
            axes = [None if a is None else places.get(a) for a in axes]
            moved = [0] * len(below.shape)
            for upper, lower in places.items():
                moved[lower] = starts[upper]
            starts = moved
        base = below
    sizes = [prod(base.shape[i + 1 :]) for i in range(len(base.shape))]
    offset = sum(start * size for start, size in zip(starts, sizes))
    in_elements = [
        0 if axis is None else stride * sizes[axis]
        for axis, stride in zip(axes, strides)
    ]
    while source(base) is None and base.opcode == "reshape":  # elements stay in order
        base = base.operands[0]
    return View(source(base) or base, offset, value.shape, tuple(in_elements))


def _axes_below(inst: Value) -> dict[int, int] | None:
    """Which axis of a transpose's or reshape's result is which of its operand.

    None for a reshape that does more than to add or drop axes of one element.
    """
    upper, lower = inst.shape, inst.operands[0].shape
    if inst.opcode == "transpose":
        return dict(enumerate(inst.attributes["dimensions"]))
    ours = [i for i, n in enumerate(upper) if n != 1]
    theirs = [i for i, n in enumerate(lower) if n != 1]
    if [upper[i] for i in ours] != [lower[i] for i in theirs]:
        return None
    return dict(zip(ours, theirs))


def call(product: Product, inst: Value, b: HLOBuilder) -> Value:
    """A call of the handler ``nkipy_matvec`` that can take the place of `inst`.

    Args:
        product: what it multiplies.
        inst: the instruction.
        b: where the call is to go, which is not in there yet.
    """
    assert inst.dtype is not None
    matrix, x = product
    if x is None:
        x = View(b.reshape(b.scalar(1, inst.dtype), (1,)), 0, (1, 1), (0, 0))
    layout = (matrix.offset, *matrix.shape, *matrix.steps, x.offset, x.steps[1])
    text = f"layout = array<i64: {', '.join(map(str, layout))}>"
    attributes = handler("nkipy_matvec", text)
    operands = (matrix.base, x.base)
    return HLOInstruction("custom-call", operands, inst.shape, inst.dtype, attributes)
