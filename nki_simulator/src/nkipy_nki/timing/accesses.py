"""What an instruction reads and writes, as rectangles of bytes.

A tensor is rows of as many bytes: on the chip a row is a partition, in the HBM what the
last dimension has. An access is the smallest rectangle of rows and of bytes in them that
holds the view; rows are whole where a view runs from one into the next. What lies at an
address that the kernel gave is placed in its memory, so that tensors which share an
address meet there.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from nkipy_nki.program import Allocation, Instruction, Register, View
from nkipy_nki.records import OperandRule
from nkipy_nki.timing.trace import Indices

__all__ = ["Access", "Rectangle", "accesses", "rectangle", "space_of"]

#: The first row, one behind the last, the first byte, one behind the last.
Rectangle: TypeAlias = "tuple[int, int, int, int]"
_REGISTER: Rectangle = (0, 1, 0, 1)


class Access(NamedTuple):
    """One access.

    Attributes:
        space: what the rectangle is of: an allocation, a memory, or a register's number.
        rectangle: of bytes.
        is_write: whether it is written.
    """

    space: Any
    rectangle: Rectangle
    is_write: bool


def pitch_of(allocation: Allocation) -> int:
    """Bytes of a row."""
    shape = allocation.shape
    if allocation.region.is_on_chip:
        return allocation.partition_bytes or 1
    if len(shape) < 2:
        return allocation.nbytes or 1
    return shape[-1] * allocation.dtype.itemsize or 1


def space_of(allocation: Allocation) -> Any:
    """What a tensor's rectangles are of."""
    if allocation.address is not None and allocation.region.is_on_chip:
        return allocation.region
    return allocation


def rectangle(view: View, shift: int | None = 0) -> Rectangle | None:
    """The smallest rectangle that holds a view.

    Args:
        view: what is accessed.
        shift: how many elements further a dynamic index puts it; None if that is not
            known, which takes the whole tensor.

    Returns:
        None if the view has no elements.
    """
    allocation = view.allocation
    pitch = pitch_of(allocation)
    if shift is None:
        found = (0, -(-allocation.nbytes // pitch), 0, pitch)
    else:
        size = view.dtype.itemsize
        top, left = divmod((view.offset + shift) * size, pitch)
        bottom, right = top, left + size
        for count, stride in zip(view.shape, view.strides):
            if count == 0:
                return None
            rows, rest = divmod(stride * size, pitch)
            if rest:
                span = (count - 1) * stride * size
                left, right = left + min(span, 0), right + max(span, 0)
            else:
                span = (count - 1) * rows
                top, bottom = top + min(span, 0), bottom + max(span, 0)
        if left < 0 or right > pitch:
            top, bottom = top + left // pitch, bottom + (right - 1) // pitch
            left, right = 0, pitch
        found = (top, bottom + 1, left, right)
    if allocation.address is None or not allocation.region.is_on_chip:
        return found
    row, byte = allocation.address
    return found[0] + row, found[1] + row, found[2] + byte, found[3] + byte


def _shift(view: View, indices: Indices) -> int | None:
    """How far a dynamic index puts a view, if that is known."""
    dynamic = view.dynamic
    if dynamic is None:
        return 0
    if isinstance(dynamic.index, Register):
        index = indices.get(dynamic.index.id)
        if index is not None and 0 <= index < dynamic.limit:
            return index * dynamic.step
    return None


def accesses(instruction: Instruction, indices: Indices) -> list[Access]:
    """What an instruction reads, and then what it writes."""
    reads: list[Access] = []
    writes: list[Access] = []
    rules = instruction.record.operands
    for name, operand in instruction.operands.items():
        if isinstance(operand, View):
            _add(operand, rules[name], indices, reads, writes)
        elif isinstance(operand, Register):
            at = operand.id, _REGISTER
            if rules[name].written:
                writes.append(Access(*at, True))
            else:
                reads.append(Access(*at, False))
        elif isinstance(operand, tuple):
            for view in operand:
                _add(view, rules[name], indices, reads, writes)
    reads += writes
    return reads


def _add(
    view: View,
    rule: OperandRule,
    indices: Indices,
    reads: list[Access],
    writes: list[Access],
) -> None:
    """Add the accesses that an operand is, its index's with them."""
    shift: int | None = 0
    if view.dynamic is not None:
        shift = _shift(view, indices)
        index = view.dynamic.index
        if isinstance(index, Register):
            reads.append(Access(index.id, _REGISTER, False))
        elif (found := rectangle(index, _shift(index, indices))) is not None:
            reads.append(Access(space_of(index.allocation), found, False))
    found = rectangle(view, shift)
    if found is None:
        return
    space = space_of(view.allocation)
    if rule.read:
        reads.append(Access(space, found, False))
    if rule.written:
        writes.append(Access(space, found, True))
