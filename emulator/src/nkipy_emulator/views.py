"""Elements of values as those of what views are taken from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import NamedTuple

from nkipy.hlo.ir import HLOInstruction

__all__ = ["View", "merged", "view_of"]

Value = HLOInstruction


class View(NamedTuple):
    """Elements of a value: those at ``offset + sum(index * step)``, in elements."""

    base: Value
    offset: int
    shape: tuple[int, ...]
    steps: tuple[int, ...]


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
