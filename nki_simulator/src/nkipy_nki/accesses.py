"""What an instruction reads and writes, as rectangles of bytes.

A tensor is rows of as many bytes: on the chip a row is a partition, in the HBM what
the last dimension has. An access is the smallest rectangle of rows and of bytes in them
that holds the view; rows are whole where a view runs from one into the next. What lies
at an address that the kernel gave is placed in its memory, so that tensors which share
an address meet there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from nkipy_nki.program import Allocation, Dynamic, Instruction, Register, View
from nkipy_nki.records import OperandRule

__all__ = ["NO_INDICES", "REGISTER", "Access", "Accesses", "Indices", "Rectangle"]

#: What registers hold, by number.
Indices: TypeAlias = Mapping[int, int]
NO_INDICES: Indices = {}

#: The first row, one behind the last, the first byte, one behind the last.
Rectangle: TypeAlias = "tuple[int, int, int, int]"
#: Of a register, which is all of its space.
REGISTER: Rectangle = (0, 1, 0, 1)
_NOTHING: Rectangle = (0, 0, 0, 0)
#: Rectangles of so many views are kept.
_MOST_PLACES = 1 << 16
#: An access: what the rectangle is of (an allocation, a memory, or the number of a
#: register), the rectangle, and whether it is written.
Access: TypeAlias = "tuple[Any, Rectangle, bool]"


class _Rows(NamedTuple):
    """How a tensor's bytes lie in rows.

    Attributes:
        space: what its rectangles are of.
        pitch: bytes of a row.
        row: the first one.
        byte: in a row, the first one.
        whole: all of it.
    """

    space: Any
    pitch: int
    row: int
    byte: int
    whole: Rectangle


def _rows_of(allocation: Allocation) -> _Rows:
    space: Any = allocation
    row, byte, shape = 0, 0, allocation.shape
    itemsize = allocation.dtype.device_itemsize
    if allocation.region.is_on_chip:
        rows, pitch = shape[0], math.prod(shape[1:]) * itemsize
        if allocation.address is not None:
            space = allocation.region
            row, byte = allocation.address
    elif len(shape) > 1:
        rows, pitch = math.prod(shape[:-1]), shape[-1] * itemsize
    else:
        rows, pitch = 1, math.prod(shape) * itemsize
    whole = row, row + rows, byte, byte + pitch
    return _Rows(space, pitch or 1, row, byte, whole)


class _Span(NamedTuple):
    """How far a view reaches from its first element: rows, and bytes in a row."""

    up: int
    down: int
    left: int
    right: int


def _span(
    shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int, pitch: int
) -> _Span | None:
    """How far a view reaches; None if it has no elements."""
    up = down = left = 0
    right = itemsize
    for count, stride in zip(shape, strides):
        if count == 0:
            return None
        rows, rest = divmod(stride * itemsize, pitch)
        reach = (count - 1) * (stride * itemsize if rest else rows)
        if rest:
            left, right = left + min(reach, 0), right + max(reach, 0)
        else:
            up, down = up + min(reach, 0), down + max(reach, 0)
    return _Span(up, down, left, right)


class Accesses:
    """Finds accesses; what it has to work out again and again it keeps."""

    def __init__(self) -> None:
        self._rows: dict[Allocation, _Rows] = {}
        self._spans: dict[Any, _Span | None] = {}
        self._places: dict[Any, tuple[Any, Rectangle | None]] = {}

    def of(
        self, instruction: Instruction, indices: Indices = NO_INDICES
    ) -> list[Access]:
        """What an instruction reads and writes.

        Args:
            instruction: any.
            indices: what registers hold that index its views. A view whose index is not
                known accesses the whole tensor.
        """
        found: list[Access] = []
        rules = instruction.record.operands
        for name, operand in instruction.operands.items():
            if isinstance(operand, View):
                rule = rules[name]
                if operand.dynamic is not None or rule.read is rule.written:
                    self._add(operand, rule, indices, found)
                    continue
                where = operand.offset, operand.shape, operand.strides
                key = operand.allocation, operand.dtype, where
                place = self._places.get(key)
                if place is None:
                    if len(self._places) >= _MOST_PLACES:
                        self._places.clear()
                    place = self._places[key] = self.place(operand)
                space, rectangle = place
                if rectangle is not None:
                    found.append((space, rectangle, rule.written))
            elif isinstance(operand, Register):
                found.append((operand.id, REGISTER, rules[name].written))
            elif isinstance(operand, tuple):
                for view in operand:
                    self._add(view, rules[name], indices, found)
        return found

    def _add(
        self, view: View, rule: OperandRule, indices: Indices, found: list[Access]
    ) -> None:
        """Add the accesses that a view is, its index's with them."""
        if view.dynamic is not None:
            found += map(self._index, view.dynamic.chain())
        space, rectangle = self.place(view, indices)
        if rectangle is None:
            return
        if rule.read or not rule.written:
            found.append((space, rectangle, False))
        if rule.written:
            found.append((space, rectangle, True))

    def place(
        self, view: View, indices: Indices = NO_INDICES
    ) -> tuple[Any, Rectangle | None]:
        """The space and the rectangle of a view; None if it has no elements."""
        allocation = view.allocation
        rows = self._rows.get(allocation)
        if rows is None:
            rows = self._rows[allocation] = _rows_of(allocation)
        offset = view.offset
        if view.dynamic is not None:
            shift = _shift(view.dynamic, indices)
            if shift is None:
                return rows.space, rows.whole
            offset += shift
        space, pitch, row, byte, _ = rows
        itemsize = view.dtype.device_itemsize
        key = view.shape, view.strides, itemsize, pitch
        span = self._spans.get(key, _UNKNOWN)
        if span is _UNKNOWN:
            span = self._spans[key] = _span(*key)
        if span is None:
            return space, None
        up, down, left, right = span
        top, start = divmod(offset * itemsize, pitch)
        left, right = left + start, right + start
        if left >= 0 and right <= pitch:
            row += top
            return space, (row + up, row + down + 1, byte + left, byte + right)
        up, down = top + up + left // pitch, top + down + (right - 1) // pitch
        return space, (row + up, row + down + 1, byte, byte + pitch)

    def _index(self, link: Dynamic) -> Access:
        """The read of an index."""
        if isinstance(link.index, Register):
            return link.index.id, REGISTER, False
        space, rectangle = self.place(link.index)
        return space, rectangle or _NOTHING, False


_UNKNOWN: Any = object()


def _shift(dynamic: Dynamic, indices: Indices) -> int | None:
    """How many elements further a dynamic index puts a view, if that is known."""
    shift = 0
    for link in dynamic.chain():
        if not isinstance(link.index, Register) or not dynamic.is_scalar:
            return None
        index = indices.get(link.index.id)
        if index is None or not 0 <= index < link.limit:
            return None
        shift += index * link.step
    return shift
