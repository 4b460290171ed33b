"""Random chains of views, and random patterns, by NumPy's and by strides."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nki_simulator.tests.made_tensors import (
    HBM,
    SBUF,
    array_of,
    bytes_of,
    shown,
    tensor,
)
from nkipy_nki import NkiValidationError
from nkipy_nki.language import ds
from nkipy_nki.program import whole
from nkipy_nki.tensors import NkiTensor, as_tensor

Pair = tuple[NkiTensor, np.ndarray]


def _sliced(draw: Any, view: NkiTensor, array: np.ndarray) -> Pair:
    parts: list[Any] = []
    for axis, count in enumerate(array.shape):
        start = draw(st.integers(0, count - 1))
        stop = draw(st.integers(start + 1, count))
        on_chip = view.buffer is SBUF and axis == 0
        step = 1 if on_chip else draw(st.integers(1, 3))
        parts.append(slice(start, stop, step))
    return view[tuple(parts)], array[tuple(parts)]


def _selected(draw: Any, view: NkiTensor, array: np.ndarray) -> Pair:
    axis = draw(st.integers(0, array.ndim - 1))
    count = array.shape[axis]
    number = draw(st.integers(-count, count - 1))
    on_chip = view.buffer is SBUF
    stays = (on_chip and axis == 0) or array.ndim <= (2 if on_chip else 1)
    kept = slice(number % count, number % count + 1)
    index = (slice(None),) * axis + (kept if stays else number,)
    return view.select(axis, number), array[index]


def _permuted(draw: Any, view: NkiTensor, array: np.ndarray) -> Pair:
    fixed = int(view.buffer is SBUF)
    dims = [*range(fixed), *draw(st.permutations(range(fixed, array.ndim)))]
    return view.permute(dims), array.transpose(dims)


def _expanded(draw: Any, view: NkiTensor, array: np.ndarray) -> Pair:
    axis = draw(st.integers(int(view.buffer is SBUF), array.ndim))
    size = draw(st.integers(1, 3))
    wide = np.expand_dims(array, axis)
    shape = (*array.shape[:axis], size, *array.shape[axis:])
    return view.expand_dim(axis).broadcast(axis, size), np.broadcast_to(wide, shape)


def _reshaped(draw: Any, view: NkiTensor, array: np.ndarray) -> Pair:
    """Any shape of as many elements: refused where NumPy needs a copy."""
    fixed = int(view.buffer is SBUF)
    shape = list(array.shape[:fixed])
    left = math.prod(array.shape[fixed:])
    while left > 1 and len(shape) < 5:
        divisors = [d for d in range(2, left + 1) if left % d == 0]
        shape.append(draw(st.sampled_from(divisors)))
        left //= shape[-1]
    shape.append(left)
    try:
        parts = array.reshape(shape, copy=False)
    except ValueError:
        with pytest.raises(NkiValidationError, match="without a copy"):
            view.reshape(shape)
        return view, array
    return view.reshape(shape), parts


def _flattened(draw: Any, view: NkiTensor, array: np.ndarray) -> Pair:
    first = draw(st.integers(int(view.buffer is SBUF), array.ndim - 1))
    last = draw(st.integers(first, array.ndim - 1))
    shape = (*array.shape[:first], -1, *array.shape[last + 1 :])
    try:
        merged = array.reshape(shape, copy=False)
    except ValueError:
        with pytest.raises(NkiValidationError, match="leave gaps"):
            view.flatten_dims(first, last)
        return view, array
    return view.flatten_dims(first, last), merged


def _reinterpreted(draw: Any, view: NkiTensor, array: np.ndarray) -> Pair:
    dtype = draw(st.sampled_from(["int8", "int16", "uint32"]))
    if view.strides[-1] != 1 or array.strides[-1] != array.itemsize:
        return view, array
    try:
        got = view.view(dtype)
    except NkiValidationError:
        assert np.dtype(dtype).itemsize > array.itemsize
        return view, array
    return got, array.view(dtype)


def _indexed(draw: Any, view: NkiTensor, array: np.ndarray) -> Pair:
    """By one index: numbers, ranges, slices from the end, and an ellipsis."""
    parts: list[Any] = []
    kept: list[Any] = []
    on_chip = view.buffer is SBUF
    for axis, count in enumerate(array.shape):
        first = draw(st.integers(0, count - 1))
        size = draw(st.integers(1, count - first))
        last = first + size
        ways: list[tuple[Any, Any]] = [
            (slice(first - count, last if last == count else last - count), None),
            (ds(first, size), slice(first, last)),
            (range(first, last), slice(first, last)),
        ]
        if axis or not on_chip:
            ways.append((first - count, first))
        else:
            ways.append((first, slice(first, first + 1)))
        given, same = draw(st.sampled_from(ways))
        parts.append(given)
        kept.append(given if same is None else same)
    least = 2 if on_chip else 1
    while sum(isinstance(part, slice) for part in kept) < least:
        # What would be too few dimensions keeps the last ones, of one element.
        axis = max(i for i, part in enumerate(kept) if not isinstance(part, slice))
        kept[axis] = slice(kept[axis], kept[axis] + 1)
    if draw(st.booleans()):
        place = draw(st.integers(0, len(parts)))
        parts.insert(place, Ellipsis)
    return view[tuple(parts)], array[tuple(kept)]


def _divisors(count: int) -> list[int]:
    return [d for d in range(1, count + 1) if count % d == 0]


def _split(draw: Any, view: NkiTensor, array: np.ndarray) -> Pair:
    axis = draw(st.integers(int(view.buffer is SBUF), array.ndim - 1))
    count = array.shape[axis]
    outer = draw(st.sampled_from(_divisors(count)))
    sizes = (outer, count // outer)
    shape = (*array.shape[:axis], *sizes, *array.shape[axis + 1 :])
    return view.reshape_dim(axis, sizes), array.reshape(shape, copy=False)


def _rearranged(draw: Any, view: NkiTensor, array: np.ndarray) -> Pair:
    """One dimension is split, and the parts, with the others, are put in an order."""
    fixed = int(view.buffer is SBUF)
    axis = draw(st.integers(fixed, array.ndim - 1))
    names: list[Any] = [f"d{i}" for i in range(array.ndim)]
    outer = draw(st.sampled_from(_divisors(array.shape[axis])))
    source = [*names[:axis], ("o", "i"), *names[axis + 1 :]]
    flat = [*names[:axis], "o", "i", *names[axis + 1 :]]
    order = [*flat[:fixed], *draw(st.permutations(flat[fixed:]))]
    sizes = (outer, array.shape[axis] // outer)
    shape = (*array.shape[:axis], *sizes, *array.shape[axis + 1 :])
    turned = array.reshape(shape, copy=False).transpose([flat.index(n) for n in order])
    return view.rearrange(source, order, {"o": outer}), turned


def _squeezed(draw: Any, view: NkiTensor, array: np.ndarray) -> Pair:
    on_chip = view.buffer is SBUF
    axes = [a for a in range(int(on_chip), array.ndim) if array.shape[a] == 1]
    if not axes or array.ndim <= (2 if on_chip else 1):
        return view, array
    axis = draw(st.sampled_from(axes))
    return view.squeeze_dim(axis), array.squeeze(axis)


def _widened(draw: Any, view: NkiTensor, array: np.ndarray) -> Pair:
    fixed = int(view.buffer is SBUF)
    shape = [
        draw(st.integers(1, 3)) if count == 1 and axis >= fixed else count
        for axis, count in enumerate(array.shape)
    ]
    return view.broadcast_to(shape), np.broadcast_to(array, shape)


_STEPS = [
    _sliced,
    _indexed,
    _split,
    _rearranged,
    _squeezed,
    _widened,
    _selected,
    _permuted,
    _expanded,
    _reshaped,
    _flattened,
    _reinterpreted,
]


@given(st.data())
def test_chains_of_views_show_what_numpy_shows(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 6), min_size=2, max_size=4)))
    view = tensor(shape, data.draw(st.sampled_from([SBUF, HBM])))
    array = array_of(view)
    for step in data.draw(st.lists(st.sampled_from(_STEPS), max_size=6)):
        view, array = step(data.draw, view, array)
        assert view.shape == array.shape
        assert view.size <= 100_000
        np.testing.assert_array_equal(shown(view), array)
    low, high = view.extent
    assert 0 <= low < high <= view.allocation.nbytes // view.dtype.itemsize
    assert view.is_contiguous() is bool(array.flags.c_contiguous)
    pattern = view.get_pattern()
    assert pattern == [list(pair) for pair in zip(view.strides, view.shape)]
    # The same pattern, from the tensor's beginning on, shows the same elements.
    again = as_tensor(whole(view.allocation)).ap(pattern, view.offset, dtype=view.dtype)
    np.testing.assert_array_equal(shown(again), array)


@given(st.data())
def test_patterns_show_what_strides_show_and_stay_inside(data: st.DataObject) -> None:
    region = data.draw(st.sampled_from([SBUF, HBM]))
    shape = tuple(data.draw(st.lists(st.integers(1, 8), min_size=2, max_size=3)))
    dtype = data.draw(st.sampled_from(["int32", "int16", "int8"]))
    t = tensor(shape, region)
    flat = bytes_of(t).view(dtype)
    per_partition = math.prod(shape[1:]) * 4 // flat.itemsize
    pairs = data.draw(
        st.lists(
            st.tuples(st.integers(0, 9), st.integers(1, 5)), min_size=1, max_size=3
        )
    )
    first = data.draw(st.integers(1, 9))
    pattern = [(per_partition, first), *pairs]
    offset = data.draw(st.integers(0, flat.size))
    span = sum(stride * (count - 1) for stride, count in pairs)
    fits = offset + per_partition * (first - 1) + span < flat.size
    if region is SBUF:
        fits = fits and offset % per_partition + span < per_partition
    if not fits:
        with pytest.raises(NkiValidationError, match="element .*"):
            t.ap(pattern, offset, dtype=dtype)
        return
    view = t.ap(pattern, offset, dtype=dtype)
    expected = np.lib.stride_tricks.as_strided(
        flat[offset:],
        [count for _, count in pattern],
        [stride * flat.itemsize for stride, _ in pattern],
    )
    np.testing.assert_array_equal(shown(view), expected)
