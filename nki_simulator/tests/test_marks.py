"""What marks tell of views is what a truth value for each byte tells."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nkipy_nki.dtypes import find_dtype
from nkipy_nki.marks import Marks
from nkipy_nki.program import Allocation, View
from nkipy_nki.regions import MemoryRegion

ROWS, COLUMNS = 6, 16
TILE = Allocation(0, MemoryRegion.sbuf, (ROWS, COLUMNS), find_dtype("float16"))


def part(top: int, rows: int, left: int, columns: int, dtype: str = "float16") -> View:
    """A rectangle of rows and of elements."""
    made = find_dtype(dtype)
    width = 2 * COLUMNS // made.itemsize
    return View(TILE, made, top * width + left, (rows, columns), (width, 1))


@st.composite
def rectangles(draw: st.DrawFn) -> View:
    """A part of the rows of a tile, read as any element type."""
    name = draw(st.sampled_from(["int8", "float16", "float32"]))
    width = 2 * COLUMNS // find_dtype(name).itemsize
    top, left = draw(st.integers(0, ROWS - 1)), draw(st.integers(0, width - 1))
    rows = draw(st.integers(1, ROWS - top))
    return part(top, rows, left, draw(st.integers(1, width - left)), name)


@st.composite
def others(draw: st.DrawFn) -> View:
    """A view of any strides."""
    shape = tuple(draw(st.lists(st.integers(0, 4), min_size=1, max_size=3)))
    strides = tuple(draw(st.integers(-9, 9)) for _ in shape)
    made = View(TILE, TILE.dtype, 0, shape, strides)
    low, high = made.extent
    made.offset = draw(st.integers(-low, max(-low, TILE.size - high)))
    return made


VIEWS = st.one_of(rectangles(), rectangles(), others())
STEPS = st.lists(st.tuples(VIEWS, st.booleans()), max_size=24)


def bytes_of(view: View) -> np.ndarray:
    """The places of a view's bytes, those of an element in a last axis."""
    places = np.full(view.shape, view.offset)
    for axis, (count, stride) in enumerate(zip(view.shape, view.strides)):
        steps = np.arange(count) * stride
        places = places + np.expand_dims(
            steps, tuple(i for i in range(len(view.shape)) if i != axis)
        )
    size = view.dtype.itemsize
    return places[..., None] * size + np.arange(size)


@given(STEPS)
def test_any_views(steps: list[tuple[View, bool]]) -> None:
    marks, expected = Marks(TILE.nbytes, 2, 2 * COLUMNS), np.zeros(TILE.nbytes, bool)
    for view, is_written in steps:
        places = bytes_of(view)
        if is_written:
            expected[places] = True
            assert marks.add(view, 0, None) == expected.all()
            if expected.all():
                return
        else:
            wanted = expected[places].all(-1)
            found = np.broadcast_to(marks.written(view), view.shape)
            np.testing.assert_array_equal(found, wanted)
    copied = marks.copy()
    units = np.repeat(marks.units, marks.unit)
    np.testing.assert_array_equal(units, expected)
    np.testing.assert_array_equal(copied.units, marks.units)


def test_rectangles_side_by_side_make_up_a_tile() -> None:
    marks = Marks(TILE.nbytes, 2, 2 * COLUMNS)
    for left in range(0, COLUMNS, 4):
        assert marks.written(part(0, ROWS, left, 4)) is False
        is_last = left == COLUMNS - 4
        assert marks.add(part(0, ROWS, left, 4), 0, None) == is_last
        assert marks.written(part(2, 3, left + 1, 2)) is True


def test_many_rectangles_apart_are_known_too() -> None:
    marks = Marks(TILE.nbytes, 2, 2 * COLUMNS)
    places = [(row, left) for row in range(ROWS) for left in range(0, COLUMNS, 2)]
    for row, left in places:
        assert not marks.add(part(row, 1, left, 1), 0, None)
    for row, left in places:
        assert marks.written(part(row, 1, left, 1)) is True
        assert marks.written(part(row, 1, left + 1, 1)) is False
