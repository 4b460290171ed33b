"""Reads and writes what a basic index selects: slices, updates, no gather."""

from __future__ import annotations

from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.ops.indexing._parse import NEW_AXIS, ParsedIndex, Window
from nkipy.core.tensor import View
from nkipy.hlo.builder import HLOBuilder, Value

_LARGEST = 2**31 - 1  # int32


class BasicIndex:
    """The basic part of an index, as instructions.

    *Slots* are the selected elements with one dimension for each axis of the base, in
    the order of the index (so a dropped axis has size one).

    Args:
        parsed: the index; its advanced indices, whose axes are whole here, are ignored.
    """

    def __init__(self, parsed: ParsedIndex) -> None:
        self.parsed = parsed
        self.windows = parsed.windows
        self.base = parsed.shape
        self.slots = tuple([w.taken for w in parsed.windows])
        self.kept = tuple([w.taken for w in parsed.windows if w.keep])
        self._strides = tuple([w.stride for w in parsed.windows])
        self.strided = max(self._strides, default=1) > 1
        self._reversed = tuple([i for i, w in enumerate(self.windows) if w.reverse])
        self.is_dynamic = any(w.start is not None for w in parsed.windows)
        self._starts: dict[int, Value] = {}
        self.shape = self._result_shape()
        self.view = View(
            self.read, self.write, self.layout, parsed.key, not self._reversed
        )

    def _result_shape(self) -> tuple[int, ...]:
        """The shape of the result, if there are no advanced indices."""
        windows, order = self.windows, self.parsed.order
        return tuple(
            [
                1 if axis == NEW_AXIS else windows[axis].taken
                for axis in order
                if axis == NEW_AXIS or (axis >= 0 and windows[axis].keep)
            ]
        )

    # -- slots -----------------------------------------------------------------------
    def read_slots(self, b: HLOBuilder, x: Value) -> Value:
        """The selected elements."""
        windows = self.windows
        if 0 in self.slots:
            return b.full(self.slots, 0, x.dtype)
        if self.is_dynamic:
            x = b.dynamic_slice(x, self._start_values(b), [w.size for w in windows])
            x = b.slice(x, [0] * x.ndim, x.shape, self._strides)
        elif self.slots != self.base:
            x = b.emit("slice", (x,), self.slots, x.dtype, self._bounds)
        return b.reverse(x, self._reversed)

    def write_slots(self, b: HLOBuilder, x: Value, value: Value) -> Value:
        """`x` with `value` in place of the selected elements."""
        if 0 in self.slots:
            return x
        uniform = is_uniform(value)
        if not uniform:
            value = b.reverse(value, self._reversed)
        if not self.strided:
            if self.slots == self.base:
                return value
            return b.dynamic_update_slice(x, value, self._start_values(b))
        return self._write_strided(b, x, value, uniform)

    def _write_strided(
        self, b: HLOBuilder, x: Value, value: Value, uniform: bool
    ) -> Value:
        """Spread `value` out to its stride, and choose between it and the old value."""
        outer = [_outer_window(w, n) for w, n in zip(self.windows, self.base)]
        sizes = tuple(w.size for w in outer)
        partial = sizes != self.base
        starts = self._start_values(b, outer) if partial else []
        old = b.dynamic_slice(x, starts, sizes) if partial else x
        padding = [
            (w.low - o.low, o.low + o.size - w.low - w.size, w.stride - 1)
            for w, o in zip(self.windows, outer)
        ]
        taken = b.pad(b.full(self.slots, True, dt.bool_), _false(b), padding)
        if uniform:
            new = b.broadcast_to(value.operands[0], sizes)
        else:
            new = b.pad(value, b.scalar(0, x.dtype), padding)
        merged = b.select(taken, new, old)
        return b.dynamic_update_slice(x, merged, starts) if partial else merged

    @cached_property
    def _bounds(self) -> dict[str, tuple[int, ...]]:
        return {
            "starts": tuple([w.low for w in self.windows]),
            "limits": tuple([w.low + w.size for w in self.windows]),
            "strides": self._strides,
        }

    def _start_values(
        self, b: HLOBuilder, windows: list[Window] | None = None
    ) -> list[Value]:
        return [
            b.scalar(w.low, dt.int32) if w.start is None else self._wrapped(b, axis)
            for axis, w in enumerate(windows or self.windows)
        ]

    def _wrapped(self, b: HLOBuilder, axis: int) -> Value:
        """The traced start of a window, with a negative one counted from the end."""
        found = self._starts.get(axis)
        if found is None:
            start = self.windows[axis].start
            assert start is not None
            found = self._starts[axis] = wrap_negative(b, start, self.base[axis])
        return found

    # -- results ---------------------------------------------------------------------
    def read(self, b: HLOBuilder, x: Value) -> Value:
        """What indexing gives."""
        return b.reshape(self.read_slots(b, x), self.shape)

    def write(self, b: HLOBuilder, x: Value, value: Value) -> Value:
        """`x` after storing `value`, which has the result's shape."""
        return self.write_slots(b, x, reshape_value(b, value, self.slots))

    def layout(self, array: np.ndarray) -> np.ndarray:
        """The same view of a NumPy array (a traced start counts as 0)."""
        entries: list[Any] = []
        for axis in self.parsed.order:
            if axis == NEW_AXIS:
                entries.append(None)
            elif axis >= 0:
                entries.append(_as_numpy(self.windows[axis]))
        return array[(*entries, ...)]


def _outer_window(window: Window, size: int) -> Window:
    """The contiguous part of an axis that a store through `window` rewrites."""
    if window.stride == 1:
        return window
    if window.start is not None:
        return window._replace(stride=1, taken=window.size)
    return Window(0, size, 1, size)


def _as_numpy(window: Window) -> int | slice:
    if not window.keep:
        return window.low
    if not window.taken:
        return slice(0, 0)
    last = window.low + window.size - 1
    if window.reverse:
        return slice(last, window.low - 1 if window.low else None, -window.stride)
    return slice(window.low, last + 1, window.stride)


def wrap_negative(b: HLOBuilder, index: Value, size: int) -> Value:
    """`index` as int32, with negative ones counted from the end of an axis."""
    signed = index.dtype.kind == "i"
    index = as_int32(b, index)
    if not signed:
        return index
    below = b.compare(index, b.full_like(index, 0), "LT")
    return b.select(below, b.add(index, b.full_like(index, size)), index)


def as_int32(b: HLOBuilder, index: Value) -> Value:
    """`index` as int32. A uint32 beyond that, out of range of any axis, stays so."""
    if index.dtype == dt.uint32:
        index = b.binary("minimum", index, b.full_like(index, _LARGEST))
    return b.convert(index, dt.int32)


def is_uniform(value: Value) -> bool:
    """Whether `value` is one scalar everywhere."""
    return value.opcode == "broadcast" and not value.operands[0].shape


def reshape_value(b: HLOBuilder, value: Value, shape: tuple[int, ...]) -> Value:
    """`value` in another shape of the same size; a repeated scalar is repeated anew."""
    if value.shape == shape:
        return value
    if is_uniform(value):
        return b.broadcast_to(value.operands[0], shape)
    assert prod(value.shape) == prod(shape)
    return b.reshape(value, shape)


def _false(b: HLOBuilder) -> Value:
    return b.scalar(False, dt.bool_)
