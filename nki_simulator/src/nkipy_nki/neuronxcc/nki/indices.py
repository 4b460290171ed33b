"""Index algebra: ``nl.arange`` and ``nl.mgrid``, what is made of them, and masks.

An index is a grid of whole numbers. As long as it is affine, an offset and a step for
each dimension, no number of it is worked out; what is not (``//``, ``%``, products) is
an array. A mask is a grid of truth values, and a rectangle as long as it is one.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from nkipy_nki.errors import NkiValidationError
from nkipy_nki.neuronxcc.nki.faults import fault
from nkipy_nki.running import whole_number

__all__ = ["Grid", "Mask", "arange", "as_mask", "broadcast_shapes", "mgrid"]

#: From where to where, along each dimension.
Box = tuple[tuple[int, int], ...]
_NOT_TRUE = "its value differs by element: give a mask= instead of a condition"


def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that others are broadcast to.

    Raises:
        NkiValidationError: they do not fit together.
    """
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        texts = " and ".join(str(list(shape)) for shape in shapes)
        raise NkiValidationError(
            f"shapes {texts} cannot be broadcast together"
        ) from None


class Grid:
    """A grid of indices.

    Attributes:
        shape: of the grid.
        offset: the first number, of an affine grid.
        steps: what is added along each dimension; None if the grid is not affine.
        shift: a tile of one whole number, which only the run knows, that is added to an
            affine grid; None without one.
    """

    __array_ufunc__ = None
    __slots__ = ("_values", "offset", "shape", "shift", "steps")

    def __init__(
        self,
        shape: tuple[int, ...],
        offset: int = 0,
        steps: tuple[int, ...] | None = None,
        values: np.ndarray | None = None,
        shift: Any = None,
    ) -> None:
        self.shape = shape
        self.offset = offset
        self.steps = steps
        self.shift = shift
        self._values = values

    def __repr__(self) -> str:
        return f"<indices {list(self.shape)}>"

    @property
    def values(self) -> np.ndarray:
        """All of its numbers, int64, of a shape that broadcasts to `shape`."""
        if self._values is None:
            assert self.steps is not None
            made = np.full((1,) * len(self.shape), self.offset, np.int64)
            for axis, (count, step) in enumerate(zip(self.shape, self.steps)):
                if step:
                    sizes = [-1 if a == axis else 1 for a in range(len(self.shape))]
                    made = made + (np.arange(count) * step).reshape(sizes)
            self._values = made
        return self._values

    def broadcast(self, shape: tuple[int, ...]) -> Grid:
        """The same numbers in a greater shape."""
        if shape == self.shape:
            return self
        if self.steps is None:
            return Grid(shape, values=np.broadcast_to(self.values, shape))
        more = len(shape) - len(self.shape)
        pairs = zip(self.shape, self.steps)
        steps = (0,) * more + tuple(s if n > 1 else 0 for n, s in pairs)
        return Grid(shape, self.offset, steps, shift=self.shift)

    def limits(self, box: Box | None = None) -> tuple[int, int]:
        """The least and the greatest number, in a rectangle of it that is not empty."""
        if self.steps is None:
            values = np.broadcast_to(self.values, self.shape)
            if box is not None:
                values = values[tuple(slice(*b) for b in box)]
            return int(values.min()), int(values.max())
        low = high = self.offset
        for axis, step in enumerate(self.steps):
            start, stop = box[axis] if box else (0, self.shape[axis])
            ends = step * start, step * (stop - 1)
            low, high = low + min(ends), high + max(ends)
        return low, high

    # -- shape -------------------------------------------------------------------------
    def __getitem__(self, key: Any) -> Grid:
        """The grid with new dimensions of one element: ``[:, None]``."""
        parts = key if isinstance(key, tuple) else (key,)
        if parts.count(Ellipsis):
            at = parts.index(Ellipsis)
            given = sum(p is not None and p is not Ellipsis for p in parts)
            whole = (slice(None),) * (len(self.shape) - given)
            parts = parts[:at] + whole + parts[at + 1 :]
        if any(p is not None and p != slice(None) for p in parts):
            raise NkiValidationError(f"indices take : and None only, not {key!r}")
        rest = len(self.shape) - sum(p is not None for p in parts)
        parts = (*parts, *(slice(None),) * rest)
        left = iter(range(len(self.shape)))
        axes = [None if p is None else next(left) for p in parts]
        shape = tuple(1 if a is None else self.shape[a] for a in axes)
        if self.steps is None:
            values = np.broadcast_to(self.values, self.shape)
            return Grid(shape, values=values.reshape(shape))
        steps = tuple(0 if a is None else self.steps[a] for a in axes)
        return Grid(shape, self.offset, steps, shift=self.shift)

    # -- arithmetic --------------------------------------------------------------------
    def _linear(self, other: Any, mine: int, its: int) -> Grid:
        """``mine * self + its * other``."""
        found = as_grid(other)
        shape = broadcast_shapes(self.shape, found.shape)
        left, right = self.broadcast(shape), found.broadcast(shape)
        shift = left.shift if right.shift is None else right.shift
        if shift is not None:
            _require_sum(left, right, mine, its)
        if left.steps is None or right.steps is None:
            return Grid(shape, values=mine * left.values + its * right.values)
        steps = tuple(mine * a + its * b for a, b in zip(left.steps, right.steps))
        offset = mine * left.offset + its * right.offset
        return Grid(shape, offset, steps, shift=shift)

    def _computed(self, other: Any, function: Callable[..., Any], swap: bool) -> Grid:
        found = as_grid(other)
        _require_known(self, found)
        shape = broadcast_shapes(self.shape, found.shape)
        pair = self.broadcast(shape).values, found.broadcast(shape).values
        if function in (operator.floordiv, operator.mod) and not pair[1 - swap].all():
            raise NkiValidationError("indices are divided by 0")
        values = function(*(pair[::-1] if swap else pair))
        return Grid(shape, values=np.broadcast_to(values, shape))

    def __add__(self, other: Any) -> Grid:
        return self._linear(other, 1, 1)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Grid:
        return self._linear(other, 1, -1)

    def __rsub__(self, other: Any) -> Grid:
        return self._linear(other, -1, 1)

    def __neg__(self) -> Grid:
        return self._linear(0, -1, 0)

    def __mul__(self, other: Any) -> Grid:
        if isinstance(other, Grid):
            return self._computed(other, operator.mul, False)
        return self._linear(0, operator.index(other), 0)

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Grid:
        return self._computed(other, operator.floordiv, False)

    def __rfloordiv__(self, other: Any) -> Grid:
        return self._computed(other, operator.floordiv, True)

    def __mod__(self, other: Any) -> Grid:
        return self._computed(other, operator.mod, False)

    def __rmod__(self, other: Any) -> Grid:
        return self._computed(other, operator.mod, True)

    # -- comparison --------------------------------------------------------------------
    def __lt__(self, other: Any) -> Mask:
        return _compared("less", self - other)

    def __le__(self, other: Any) -> Mask:
        return _compared("less_equal", self - other)

    def __gt__(self, other: Any) -> Mask:
        return _compared("greater", self - other)

    def __ge__(self, other: Any) -> Mask:
        return _compared("greater_equal", self - other)

    def __eq__(self, other: Any) -> Mask:  # type: ignore[override]
        return _compared("equal", self - other)

    def __ne__(self, other: Any) -> Mask:  # type: ignore[override]
        return _compared("not_equal", self - other)

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise fault("control_flow_condition_depending_on_arange", _NOT_TRUE)

    def __setitem__(self, key: Any, value: Any) -> None:
        raise fault("cannot_assign_to_index", "an index cannot be changed")

    def __index__(self) -> int:
        raise NkiValidationError(f"{self!r} is not one number: index a tensor with it")


def _require_known(*grids: Grid) -> None:
    """Refuse indices of which a part is known at run time only."""
    if any(grid.shift is not None for grid in grids):
        raise fault(
            "unsupported_expression_in_mask",
            "a number that only the run knows is compared or computed with; it may be "
            "added to indices once, of which a tensor is then indexed",
        )


def _require_sum(left: Grid, right: Grid, mine: int, its: int) -> None:
    """One number that only the run knows may be added to affine indices."""
    once = (left.shift is None) != (right.shift is None)
    kept = mine == 1 if right.shift is None else its == 1
    if not once or not kept or left.steps is None or right.steps is None:
        _require_known(left, right)


def as_grid(given: Any) -> Grid:
    """A grid, or a number as one without dimensions.

    Raises:
        NkiValidationError: it is neither.
    """
    if isinstance(given, Grid):
        return given
    if math.prod(getattr(given, "tile_shape", (0,))) == 1 and not given.dtype.is_float:
        return Grid((), 0, (), shift=given)
    if hasattr(given, "__index__") and not isinstance(given, Mask):
        return Grid((), operator.index(given), ())
    raise fault(
        "unsupported_expression_in_mask",
        f"indices are computed with, or compared with, {given!r}, and must be so with "
        "numbers, loop variables and indices",
    )


class Mask:
    """A grid of truth values: where an instruction is carried out.

    Attributes:
        shape: of the grid.
        box: the rectangle where it is true; None if it is no rectangle.
        comparison: the affine grid that is compared with 0, and the comparison's name,
            if it is one.
    """

    __array_ufunc__ = None
    __slots__ = ("_values", "box", "comparison", "shape")

    def __init__(
        self,
        shape: tuple[int, ...],
        box: Box | None,
        values: np.ndarray | None = None,
        comparison: tuple[Grid, str] | None = None,
    ) -> None:
        self.shape = shape
        self.box = box
        self.comparison = comparison
        self._values = values

    def __repr__(self) -> str:
        return f"<mask {list(self.shape)}>"

    @property
    def values(self) -> np.ndarray:
        """All of its truth values."""
        if self._values is None:
            assert self.box is not None
            self._values = np.zeros(self.shape, bool)
            self._values[tuple(slice(*b) for b in self.box)] = True
        return self._values

    @property
    def is_empty(self) -> bool:
        """Whether it is true nowhere."""
        if self.box is not None:
            return any(start >= stop for start, stop in self.box)
        return not self.values.any()

    @property
    def is_full(self) -> bool:
        """Whether it is true everywhere."""
        if self.box is not None:
            return all(b == (0, n) for b, n in zip(self.box, self.shape))
        return bool(self.values.all())

    @property
    def is_first_rows(self) -> bool:
        """Whether it is true for the first ones of the rows, and these wholly."""
        if self.box is None or not self.box or self.box[0][0]:
            return False
        return all(b == (0, n) for b, n in zip(self.box[1:], self.shape[1:]))

    def broadcast(self, shape: tuple[int, ...]) -> Mask:
        """The same in a greater shape.

        Raises:
            NkiValidationError: it does not fit.
        """
        if shape == self.shape:
            return self
        if broadcast_shapes(self.shape, shape) != shape:
            raise NkiValidationError(
                f"a mask of shape {list(self.shape)} is given for a tile of shape "
                f"{list(shape)}"
            )
        if self.box is None:
            return Mask(shape, None, np.broadcast_to(self.values, shape))
        more = len(shape) - len(self.shape)
        box: list[tuple[int, int]] = [(0, count) for count in shape[:more]]
        for bounds, mine, count in zip(self.box, self.shape, shape[more:]):
            whole = mine != count and bounds == (0, 1)
            box.append((0, count) if whole else bounds)
        if self.is_empty:
            box[0] = (0, 0)
        return Mask(shape, tuple(box))

    def _combined(self, other: Any, function: np.ufunc) -> Mask:
        found = as_mask(other)
        shape = broadcast_shapes(self.shape, found.shape)
        mine, its = self.broadcast(shape), found.broadcast(shape)
        if function is np.logical_and and mine.box is not None and its.box is not None:
            pairs = zip(mine.box, its.box)
            return Mask(
                shape, tuple((max(a, c), min(b, d)) for (a, b), (c, d) in pairs)
            )
        return Mask(shape, None, function(mine.values, its.values))

    def __and__(self, other: Any) -> Mask:
        return self._combined(other, np.logical_and)

    def __or__(self, other: Any) -> Mask:
        return self._combined(other, np.logical_or)

    def __xor__(self, other: Any) -> Mask:
        return self._combined(other, np.logical_xor)

    __rand__ = __and__
    __ror__ = __or__
    __rxor__ = __xor__

    def __invert__(self) -> Mask:
        return Mask(self.shape, None, ~self.values)

    def __bool__(self) -> bool:
        raise fault(
            "control_flow_condition_depending_on_arange",
            f"{_NOT_TRUE}; masks are joined by & and |, not by `and` and `or`",
        )


def as_mask(given: Any) -> Mask:
    """A mask; a truth value that is known as one without dimensions.

    Raises:
        NkiValidationError: it is neither.
    """
    if isinstance(given, Mask):
        return given
    if isinstance(given, (bool, np.bool_)):
        return Mask((), None, np.asarray(bool(given)))
    raise fault(
        "unsupported_expression_in_mask",
        f"a mask is {given!r}, and must be made of comparisons of indices, loop "
        "variables and numbers, joined by &, | and ~",
    )


_COMPARISONS = {
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "equal": np.equal,
    "not_equal": np.not_equal,
}


def _compared(name: str, difference: Grid) -> Mask:
    """Where a grid compares with 0: a rectangle, if one dimension alone decides."""
    _require_known(difference)
    compare = _COMPARISONS[name]
    shape, steps = difference.shape, difference.steps
    if steps is None:
        values = np.broadcast_to(compare(difference.values, 0), shape)
        return Mask(shape, None, values)
    comparison = difference, name
    axes = [a for a, step in enumerate(steps) if step and shape[a] > 1]
    if len(axes) > 1:
        values = np.broadcast_to(compare(difference.values, 0), shape)
        return Mask(shape, None, values, comparison)
    axis = axes[0] if axes else 0
    if not shape:
        return Mask((), None, np.asarray(compare(difference.offset, 0)), comparison)
    line = np.arange(shape[axis]) * steps[axis] + difference.offset
    places = np.flatnonzero(compare(line, 0))
    start, stop = (int(places[0]), int(places[-1]) + 1) if places.size else (0, 0)
    if stop - start != places.size:
        values = np.broadcast_to(compare(difference.values, 0), shape)
        return Mask(shape, None, values, comparison)
    whole: list[tuple[int, int]] = [(0, count) for count in shape]
    whole[axis] = start, stop
    return Mask(shape, tuple(whole), None, comparison)


def arange(*args: Any) -> Grid:
    """``arange(stop)``, ``arange(start, stop)`` or ``arange(start, stop, step)``."""
    numbers = range(*[whole_number(given, "nl.arange: a bound") for given in args])
    if not numbers:
        raise NkiValidationError(f"nl.arange{args} has no elements")
    return Grid((len(numbers),), numbers.start, (numbers.step,))


class MeshGrid(tuple[Grid, ...]):
    """The indices of several dimensions: ``p``, ``x``, ``y``, ``z`` and ``w``."""

    __slots__ = ()

    def _of(self, number: int, name: str) -> Grid:
        if number >= len(self):
            raise AttributeError(f"an mgrid of {len(self)} dimensions has no {name}")
        return self[number]

    @property
    def p(self) -> Grid:
        """Those of the first dimension, that of partitions."""
        return self._of(0, "p")

    @property
    def x(self) -> Grid:
        """Those of the first free dimension."""
        return self._of(1, "x")

    @property
    def y(self) -> Grid:
        """Those of the second free dimension."""
        return self._of(2, "y")

    @property
    def z(self) -> Grid:
        """Those of the third free dimension."""
        return self._of(3, "z")

    @property
    def w(self) -> Grid:
        """Those of the fourth free dimension."""
        return self._of(4, "w")


class _MGrid:
    """``nl.mgrid[0:128, 0:512]``: as NumPy's."""

    def __getitem__(self, key: Any) -> MeshGrid:
        parts = key if isinstance(key, tuple) else (key,)
        ranges = [_range_of(part) for part in parts]
        shape = tuple(map(len, ranges))
        grids = []
        for axis, numbers in enumerate(ranges):
            steps = [0] * len(ranges)
            steps[axis] = numbers.step
            grids.append(Grid(shape, numbers.start, tuple(steps)))
        return MeshGrid(grids)


def _range_of(part: Any) -> range:
    if not isinstance(part, slice) or part.stop is None:
        raise NkiValidationError(f"nl.mgrid takes slices with an end, not {part!r}")
    start = 0 if part.start is None else operator.index(part.start)
    step = 1 if part.step is None else operator.index(part.step)
    numbers = range(start, operator.index(part.stop), step)
    if not numbers:
        raise NkiValidationError(f"nl.mgrid: {part!r} has no elements")
    return numbers


mgrid = _MGrid()
