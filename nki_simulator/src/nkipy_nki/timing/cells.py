"""The parts of tensors that a run accesses, and who accessed each last."""

from __future__ import annotations

import numpy as np

from nkipy_nki.accesses import Rectangle

__all__ = ["Cell", "Space"]

#: From so many rectangles on, they are compared by NumPy.
_MANY = 24


class Cell:
    """A rectangle that was accessed, as such.

    Attributes:
        rectangle: the bytes.
        writer: the place of its latest write, or -1.
        readers: the latest reads since, by queue.
        near: the other cells that overlap it.
        inner: those of them that are wholly in it.
    """

    __slots__ = ("inner", "near", "readers", "rectangle", "writer")

    def __init__(self, rectangle: Rectangle) -> None:
        self.rectangle = rectangle
        self.writer = -1
        self.readers: dict[int, int] = {}
        self.near: tuple[Cell, ...] = ()
        self.inner: tuple[Cell, ...] = ()

    def meet(self, other: Cell) -> None:
        """Remember that another cell overlaps."""
        self.near += (other,)
        if _holds(self.rectangle, other.rectangle):
            self.inner += (other,)

    def write(self, place: int) -> None:
        """What was written in it before no longer is there, and nor are its readers."""
        for inner in self.inner:
            inner.writer = -1
            inner.readers.clear()
        self.writer = place
        if self.readers:
            self.readers.clear()


def _holds(outer: Rectangle, inner: Rectangle) -> bool:
    return (
        outer[0] <= inner[0]
        and inner[1] <= outer[1]
        and outer[2] <= inner[2]
        and inner[3] <= outer[3]
    )


class Space(dict[Rectangle, Cell]):
    """The cells of an allocation, or of a memory, by rectangle."""

    __slots__ = ("_bounds", "_list")

    def __init__(self) -> None:
        self._list: list[Cell] = []
        #: Of many cells, the rectangles.
        self._bounds: np.ndarray | None = None

    def __missing__(self, rectangle: Rectangle) -> Cell:
        made = self[rectangle] = Cell(rectangle)
        if self._list:
            for other in self._overlapping(rectangle):
                made.meet(other)
                other.meet(made)
        self._list.append(made)
        if self._bounds is not None or len(self._list) == _MANY:
            self._extend(rectangle)
        return made

    def _extend(self, rectangle: Rectangle) -> None:
        count = len(self._list)
        if self._bounds is None:
            self._bounds = np.empty((4, 4 * _MANY), np.int64)
            self._bounds[:, :count] = np.transpose([c.rectangle for c in self._list])
            return
        if count > self._bounds.shape[1]:
            self._bounds = np.concatenate([self._bounds, self._bounds], axis=1)
        self._bounds[:, count - 1] = rectangle

    def _overlapping(self, rectangle: Rectangle) -> list[Cell]:
        top, bottom, left, right = rectangle
        cells = self._list
        if self._bounds is not None:
            tops, bottoms, lefts, rights = self._bounds[:, : len(cells)]
            hit = (tops < bottom) & (top < bottoms) & (lefts < right) & (left < rights)
            return [cells[i] for i in np.flatnonzero(hit)]
        found = []
        for cell in cells:
            its = cell.rectangle
            if its[0] < bottom and top < its[1] and its[2] < right and left < its[3]:
                found.append(cell)
        return found
