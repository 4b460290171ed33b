"""Integer arrays and traced masks as indices: one gather, scatter or select each."""

from __future__ import annotations

from math import prod

import numpy as np

from nkipy.core.ops._static_take import take_static
from nkipy.core.ops.indexing._basic import (
    BasicIndex,
    is_uniform,
    reshape_value,
    wrap_negative,
)
from nkipy.core.ops.indexing._last_stores import last_stores
from nkipy.core.ops.indexing._parse import NEW_AXIS, SEPARATOR, Advanced, ParsedIndex
from nkipy.hlo.builder import HLOBuilder, Value

#: Up to this many elements, index vectors are one constant rather than broadcasts.
_SMALL_INDEX = 4096


class AdvancedIndex:
    """An index with integer arrays, or one with a traced mask.

    The basic part is taken first. What remains is the *source*: the kept axes, among
    them those with an advanced index, of which the result has the broadcast shape of
    the arrays (the *batch*) instead.

    Args:
        parsed: the index.

    Raises:
        IndexError: the arrays' shapes do not broadcast.
    """

    def __init__(self, parsed: ParsedIndex) -> None:
        self.parsed = parsed
        self.basic = BasicIndex(parsed)
        position = -1
        self.source_axis: dict[int, int] = {}
        for axis, window in enumerate(parsed.windows):
            position += window.keep
            self.source_axis[axis] = position
        self.batch = self._batch_shape()
        self.selected = self._selected_axes()
        self._order_dimensions()

    def _batch_shape(self) -> tuple[int, ...]:
        shapes = [a.array.shape for a in self.parsed.advanced]
        if len(shapes) == 1:
            return shapes[0]
        try:
            return np.broadcast_shapes(*shapes) if shapes else (1,)
        except ValueError:
            text = " ".join(map(str, shapes))
            raise IndexError(
                "shape mismatch: indexing arrays could not be broadcast together with "
                f"shapes {text}"
            ) from None

    def _selected_axes(self) -> set[int]:
        """Axes of the base that an array or a mask selects from."""
        axes = {a.axis for a in self.parsed.advanced}
        for axis, mask in self.parsed.masks:
            axes.update(range(axis, axis + mask.ndim))
        return axes

    def _order_dimensions(self) -> None:
        """NumPy's rule: adjacent advanced indices stay in place, others go first.

        Integers count as advanced indices here.
        """
        parsed = self.parsed
        before: list[int] = []
        after: list[int] = []
        groups = 0
        previous = False
        for axis in parsed.order:
            marker = axis >= 0 and (
                axis in self.selected or not parsed.windows[axis].keep
            )
            groups += marker and not previous
            previous = marker
            if axis != SEPARATOR and not marker:
                (after if groups else before).append(axis)
        if groups > 1:
            before, after = [], before + after
        sizes = [
            1 if a == NEW_AXIS else parsed.windows[a].taken for a in before + after
        ]
        lead = len(before)
        self.shape = (*sizes[:lead], *self.batch, *sizes[lead:])
        kept = [a != NEW_AXIS for a in before]
        kept_after = [a != NEW_AXIS for a in after]
        self._lead = sum(kept)
        rank = len(self.batch)
        total = self._lead + sum(kept_after)
        self._offset_dims = tuple(
            i if i < self._lead else i + rank for i in range(total)
        )
        window_sizes = [
            parsed.windows[a].taken for a in before + after if a != NEW_AXIS
        ]
        self._gathered = (
            *window_sizes[: self._lead],
            *self.batch,
            *window_sizes[self._lead :],
        )

    # -- integer arrays --------------------------------------------------------------
    def read(self, b: HLOBuilder, x: Value) -> Value:
        """What indexing gives."""
        if 0 in self.shape:
            return b.full(self.shape, 0, x.dtype)
        self._refuse_empty_axes()
        source = self._source(b, x)
        axes = [self.source_axis[a.axis] for a in self.parsed.advanced]
        sizes = [1 if i in axes else d for i, d in enumerate(source.shape)]
        gathered = b.gather(
            source,
            self._vectors(b, [a.array for a in self.parsed.advanced]),
            offset_dims=self._offset_dims,
            collapsed_slice_dims=sorted(axes),
            start_index_map=axes,
            slice_sizes=sizes,
        )
        return b.reshape(gathered, self.shape)

    def write(
        self, b: HLOBuilder, x: Value, value: Value, opcode: str = "assign"
    ) -> Value:
        """`x` after storing `value`, which has the result's shape.

        With another `opcode`, elements are combined with what is there, an element that
        is named twice with both values.
        """
        if 0 in self.shape:
            return x
        self._refuse_empty_axes()
        source = self._source(b, x)
        axes = [self.source_axis[a.axis] for a in self.parsed.advanced]
        value, unique = reshape_value(b, value, self._gathered), False
        if opcode == "assign":
            value, unique = self._without_conflicts(b, value)
        updated = b.scatter(
            source,
            self._vectors(b, [a.array for a in self.parsed.advanced]),
            value,
            update_window_dims=self._offset_dims,
            inserted_window_dims=sorted(axes),
            scatter_dims_to_operand_dims=axes,
            unique_indices=unique,
            opcode=opcode,
        )
        slots = b.reshape(updated, self.basic.slots)
        return self.basic.write_slots(b, x, slots)

    def _source(self, b: HLOBuilder, x: Value) -> Value:
        return b.reshape(self.basic.read_slots(b, x), self.basic.kept)

    def _refuse_empty_axes(self) -> None:
        for axis, _ in self.parsed.advanced:
            if not self.parsed.shape[axis]:
                raise IndexError(f"index is out of bounds for axis {axis} with size 0")

    def _vectors(self, b: HLOBuilder, arrays: list[np.ndarray | Value]) -> Value:
        """The index vectors: the batch's shape and a last dimension over the arrays."""
        static = [a for a in arrays if isinstance(a, np.ndarray)]
        small = prod(self.batch) * len(arrays) <= _SMALL_INDEX
        if len(static) == len(arrays) and (small or len(arrays) == 1):
            if len(arrays) == 1:
                stacked = static[0][..., None]
            else:
                stacked = np.stack(np.broadcast_arrays(*static), axis=-1)
            return b.constant(stacked.astype(np.int32))
        columns = [
            self._column(b, array, entry)
            for array, entry in zip(arrays, self.parsed.advanced)
        ]
        return b.concatenate(columns, len(self.batch))

    def _column(
        self, b: HLOBuilder, array: np.ndarray | Value, entry: Advanced
    ) -> Value:
        if isinstance(array, np.ndarray):
            value = b.constant(array.astype(np.int32))
        else:
            value = wrap_negative(b, array, self.parsed.shape[entry.axis])
        return b.reshape(b.broadcast_to(value, self.batch), (*self.batch, 1))

    def _without_conflicts(self, b: HLOBuilder, value: Value) -> tuple[Value, bool]:
        """`value` in a form for which static indices may be stored in any order.

        Also whether it is known that no element is stored twice.
        """
        arrays = [a.array for a in self.parsed.advanced]
        static = [a for a in arrays if isinstance(a, np.ndarray)]
        if len(static) < len(arrays):
            return value, False
        sizes = [self.parsed.shape[a.axis] for a in self.parsed.advanced]
        full = [a.ravel() for a in np.broadcast_arrays(*static)]
        last = last_stores(np.ravel_multi_index(full, sizes))
        if last is None or is_uniform(value):
            return value, last is None
        lead, rank = self._lead, len(self.batch)
        rows = (*value.shape[:lead], last.size, *value.shape[lead + rank :])
        chosen = take_static(b, b.reshape(value, rows), last, lead)
        return b.reshape(chosen, value.shape), False

    # -- masks -----------------------------------------------------------------------
    def write_masked(self, b: HLOBuilder, x: Value, value: Value) -> Value:
        """`x` with `value` where the traced mask holds.

        Args:
            value: the result's shape, with size one where NumPy has the number of
                elements that the mask selects.
        """
        ((axis, mask),) = self.parsed.masks
        if 0 in self.basic.slots:
            return x
        source = self._source(b, x)
        first = self.source_axis[axis]
        selected = range(first, first + mask.ndim)
        shape = [1 if i in selected else d for i, d in enumerate(source.shape)]
        value = b.broadcast_to(reshape_value(b, value, tuple(shape)), source.shape)
        if mask.shape != source.shape:
            mask = b.broadcast_in_dim(mask, source.shape, selected)
        merged = b.reshape(b.select(mask, value, source), self.basic.slots)
        return self.basic.write_slots(b, x, merged)
