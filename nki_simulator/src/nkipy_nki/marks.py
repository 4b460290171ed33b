"""Which of a tensor's elements were written.

Most tensors are written in few rectangles, of rows and of bytes in them, one beside the
other. They are kept as long as nothing else is written; then a truth value for each
unit of bytes takes their place.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

import numpy as np

from nkipy_nki.positions import elements_in
from nkipy_nki.program import View, runs_of

__all__ = ["Marks", "units_of"]

_BOOL = np.dtype(bool)
#: The first row, one behind the last, the first byte, one behind the last.
_Part: TypeAlias = "tuple[int, int, int, int]"
#: At most so many rectangles are kept.
_MOST_PARTS = 16


def units_of(table: np.ndarray, unit: int, view: View, offset: int) -> np.ndarray:
    """What a table has for a view's elements, several for an element in a last axis.

    Args:
        table: a truth value for each unit of the tensor.
        unit: bytes of one, at most those of an element.
        view: whose dynamic index is left out.
        offset: in elements, added to the view's.
    """
    return elements_in(table, view, offset, _BOOL, view.dtype.itemsize // unit)


@lru_cache(maxsize=4096)
def _extent(
    shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int, pitch: int
) -> tuple[int, int] | None:
    """Rows of a view, and bytes in each; None if it is no rectangle."""
    if 0 in shape:
        return None
    runs = runs_of(shape, strides)
    width = itemsize
    if runs and runs[-1][1] == 1:
        width *= runs.pop()[0]
    if not runs:
        return 1, width
    ((rows, stride), *others) = runs
    return None if others or stride * itemsize != pitch else (rows, width)


class Marks:
    """Which elements of a tensor were written, while some were not.

    Args:
        size: bytes of the tensor.
        unit: bytes that are marked together.
        pitch: bytes of a row.
    """

    __slots__ = ("_area", "_hole", "_parts", "_units", "pitch", "size", "unit")

    def __init__(self, size: int, unit: int, pitch: int) -> None:
        self.size = size
        self.unit = unit
        self.pitch = pitch
        #: What was written, no two of them overlapping, as long as `_units` is None.
        self._parts: list[_Part] = []
        self._area = 0
        self._units: np.ndarray | None = None
        #: A unit that was not written when this was last looked at.
        self._hole = 0

    def copy(self) -> Marks:
        """The same marks, which change apart."""
        made = Marks(self.size, self.unit, self.pitch)
        made._parts, made._area = list(self._parts), self._area
        made._units = None if self._units is None else self._units.copy()
        made._hole = self._hole
        return made

    @property
    def units(self) -> np.ndarray:
        """By unit, whether it was written."""
        if self._units is None:
            self._units = np.zeros(self.size // self.unit, bool)
            if self._parts:
                rows = np.ndarray(
                    (self.size // self.pitch, self.pitch // self.unit),
                    _BOOL,
                    self._units,
                )
                for top, bottom, left, right in self._parts:
                    rows[top:bottom, left // self.unit : right // self.unit] = True
                self._parts = []
        return self._units

    def refine(self, size: int) -> None:
        """Keep marks for units that are no larger than an element of so many bytes."""
        if size >= self.unit:
            return
        times = self.unit // size
        if self._units is not None:
            self._units = np.repeat(self._units, times)
            self._hole *= times
        self.unit = size

    def of(self, view: View, offset: int = 0) -> np.ndarray:
        """Those of a view's elements, of several units of one in a last axis."""
        self.refine(view.dtype.itemsize)
        return units_of(self.units, self.unit, view, offset)

    def written(self, view: View, offset: int = 0) -> bool | np.ndarray:
        """Whether all elements of a view were written, or none; else of each, whether.

        Raises:
            ValueError, TypeError: the view leaves the tensor.
        """
        if self._units is None and (part := self._rectangle(view, offset)):
            if self._covers(part):
                return True
            if self._is_within(part) and not self._meets(part):
                return False
        found = self.of(view, offset)
        if found.all():
            return True
        some = np.asarray(found.reshape(*view.shape, -1).all(-1))
        return some if some.any() else False

    def add(self, view: View, offset: int, where: np.ndarray | None) -> bool:
        """Remember that a view was written; if `where` is given, where it is true.

        Returns:
            Whether all of the tensor was written.
        """
        self.refine(view.dtype.itemsize)
        if where is None and self._units is None:
            part = self._rectangle(view, offset)
            if part is not None and self._add_part(part):
                return self._area == self.size
        marks = units_of(self.units, self.unit, view, offset)
        marks[... if where is None else where] = True
        units = self.units
        if not units.size:
            return True
        if units[self._hole]:
            self._hole = int(units.argmin())
        return bool(units[self._hole])

    def _rectangle(self, view: View, offset: int) -> _Part | None:
        size, pitch = view.dtype.itemsize, self.pitch
        extent = _extent(view.shape, view.strides, size, pitch) if pitch else None
        if extent is None:
            return None
        rows, width = extent
        top, left = divmod((view.offset + offset) * size, pitch)
        if left + width > pitch:
            if left or rows > 1 or width % pitch:
                return None
            rows, width = width // pitch, pitch
        return top, top + rows, left, left + width

    def _is_within(self, part: _Part) -> bool:
        return part[0] >= 0 and part[1] * self.pitch <= self.size

    def _covers(self, part: _Part) -> bool:
        """Whether one of the rectangles holds this one."""
        top, bottom, left, right = part
        for first, end, begin, stop in self._parts:
            if first <= top and bottom <= end and begin <= left and right <= stop:
                return True
        return False

    def _meets(self, part: _Part) -> bool:
        """Whether one of the rectangles overlaps this one."""
        top, bottom, left, right = part
        for first, end, begin, stop in self._parts:
            if first < bottom and top < end and begin < right and left < stop:
                return True
        return False

    def _add_part(self, part: _Part) -> bool:
        """Keep a rectangle, unless it overlaps others, or they are many."""
        parts = self._parts
        if self._covers(part):
            return True
        if not self._is_within(part) or self._meets(part):
            return False
        merged = _merged(parts[-1], part) if parts else None
        if merged is not None:
            parts[-1] = merged
        elif len(parts) < _MOST_PARTS:
            parts.append(part)
        else:
            return False
        top, bottom, left, right = part
        self._area += (bottom - top) * (right - left)
        return True


def _merged(first: _Part, then: _Part) -> _Part | None:
    """Both as one, if the second one continues the first."""
    top, bottom, left, right = then
    if first[:2] == then[:2] and first[3] == left:
        return top, bottom, first[2], right
    if first[2:] == then[2:] and first[1] == top:
        return first[0], bottom, left, right
    return None
