"""Tensors and tiles of the first generation: block dimensions, indices, operators."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from nkipy_nki import indexing, views
from nkipy_nki.dtypes import DTypeRecord
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.neuronxcc.nki.faults import fault, report
from nkipy_nki.neuronxcc.nki.indices import (
    Box,
    Grid,
    Mask,
    as_grid,
    broadcast_shapes,
)
from nkipy_nki.neuronxcc.nki.state import settle, state
from nkipy_nki.program import Dynamic, Line
from nkipy_nki.regions import MemoryRegion
from nkipy_nki.running import current, kernel_line
from nkipy_nki.tensors import NkiTensor, Shape, place_tensor

__all__ = ["Fresh", "Part", "Tile"]


class Tile:
    """A tensor, or a part of one that strides describe.

    Args:
        view: its elements; on the chip, the dimension of partitions is the first.
        blocks: how many block dimensions are before that of partitions for the kernel;
            in the view they are behind it.

    Attributes:
        valid: where its elements have values; None if the mask of what made it left
            none out.
    """

    #: NumPy's operators leave it to the tile's own.
    __array_ufunc__ = None

    def __init__(self, view: NkiTensor, blocks: int = 0) -> None:
        self._view = view
        self.blocks = blocks
        self.valid: Mask | None = None
        #: Of what a kernel got by an index: the tile and the index.
        self._of: tuple[Any, Any] = (None, None)

    # -- what it is --------------------------------------------------------------------
    @property
    def elements(self) -> NkiTensor:
        """Its elements."""
        return self._view

    @property
    def shape(self) -> Shape:
        """How many elements there are along each dimension."""
        return Shape(_outside(self.elements.shape, self.blocks))

    @property
    def dtype(self) -> DTypeRecord:
        """The element type."""
        return self.elements.dtype

    @property
    def buffer(self) -> MemoryRegion:
        """Where it lies."""
        return self.elements.buffer

    @property
    def ndim(self) -> int:
        """How many dimensions it has."""
        return len(self.shape)

    @property
    def itemsize(self) -> int:
        """How many bytes an element has."""
        return self.dtype.device_itemsize

    @property
    def tile_shape(self) -> tuple[int, ...]:
        """The shape with the dimension of partitions first."""
        return tuple(self.elements.shape)

    def __repr__(self) -> str:
        return f"<tile {list(self.shape)} {self.dtype} in {self.buffer.value}>"

    # -- parts -------------------------------------------------------------------------
    def __getitem__(self, key: Any) -> Tile:
        parts = _completed(self, key)
        if any(isinstance(p, (Grid, Tile)) for p in parts):
            made: Tile = Part(self, parts)
        else:
            made = self._basic(parts)
        made._of = self, key
        made.valid = self._valid_rows(parts, tuple(made.tile_shape))
        return made

    def _valid_rows(self, parts: Sequence[Any], shape: tuple[int, ...]) -> Mask | None:
        """Which rows of a part have values, if a mask left out the last ones."""
        found = self.valid
        if found is None or found.box is None or self.blocks:
            return None
        if any(b != (0, n) for b, n in zip(found.box[1:], found.shape[1:])):
            return None
        first, end, start = parts[0], found.box[0][1], 0
        if isinstance(first, Grid):
            steps = first.broadcast(shape).steps
            if steps is None or steps[0] != 1:
                return None
            start = first.offset
        elif isinstance(first, slice) and first.step in (None, 1):
            start = first.start or 0
        else:
            return None
        rows = max(0, min(end - start, shape[0]))
        if rows == shape[0] or start < 0 or found.box[0][0]:
            return None
        return Mask(shape, ((0, rows), *((0, n) for n in shape[1:])))

    def _basic(self, parts: tuple[Any, ...]) -> Tile:
        """What numbers and slices take."""
        for axis, part in enumerate(parts):
            _require_within(self, axis, part)
        at = self.blocks
        inside = (parts[at], *parts[:at], *parts[at + 1 :])
        left = sum(not hasattr(p, "__index__") for p in parts[:at])
        return Tile(indexing.index(self.elements, inside), left)

    def reshape(self, shape: Any) -> Tile:
        """Another shape of as many elements; on the chip, of as many partitions."""
        if self.blocks:
            self._refuse("a tile with block dimensions has no other shape")
        return Tile(views.reshape(self.elements, tuple(shape)))

    def broadcast_to(self, shape: Any, **others: Any) -> Tile:
        """The same elements as often as `shape` says."""
        return stretched(self, tuple(shape))

    def expand_dims(self, axis: Any) -> Tile:
        """The same elements with new dimensions of one: see :func:`nl.expand_dims`."""
        given = axis if isinstance(axis, (tuple, list)) else (axis,)
        if self.blocks:
            self._refuse("a tile with block dimensions gets no other dimension")
        dims = len(self.shape) + len(given)
        made = self.elements
        for at in sorted(a + dims if a < 0 else a for a in map(_number, given)):
            made = views.expand_dim(made, at)
        return Tile(made)

    def view(self, dtype: Any) -> Tile:
        """The same bytes as another element type."""
        return Tile(views.reinterpret(self.elements, dtype), self.blocks)

    def assert_shape(self, shape: Any) -> Tile:
        """The tile itself, if it has the shape."""
        if tuple(shape) != tuple(self.shape):
            raise fault(
                "annotation_shape_mismatch",
                f"the shape is {list(self.shape)}, and {list(shape)} is asserted",
            )
        return self

    # -- what it is not ----------------------------------------------------------------
    def __bool__(self) -> bool:
        one = math.prod(self.tile_shape) == 1
        raise fault(
            "dynamic_control_flow_not_supported"
            if one
            else "ambiguous_tensor_truth_value",
            f"{self!r} has no truth value: its elements are known at run time only",
        )

    def __len__(self) -> int:
        self._refuse("len() of a tile: use t.shape[0]")

    def __iter__(self) -> Any:
        self._refuse("a tile is not iterated over: use nl.affine_range(t.shape[0])")

    def _refuse(self, problem: str) -> NoReturn:
        raise NkiValidationError(f"{problem}; got {self!r}\n  at {kernel_line()}")


def _outside(shape: tuple[int, ...], blocks: int) -> tuple[int, ...]:
    """A view's shape, or strides, as the kernel has it."""
    shape = tuple(shape)
    return (*shape[1 : 1 + blocks], shape[0], *shape[1 + blocks :]) if blocks else shape


def _completed(tile: Tile, key: Any) -> tuple[Any, ...]:
    """An index for each dimension.

    Raises:
        NkiValidationError: there are more than dimensions, or kinds do not go together.
    """
    parts = key if type(key) is tuple else (key,)
    parts = tuple(getattr(p, "numbers", p) for p in parts)
    given, dims = len(parts) - sum(p is Ellipsis for p in parts), len(tile.shape)
    if given > dims or given < len(parts) - 1:
        raise NkiValidationError(
            f"{given} indices of {tile!r}, which has {dims} dimensions"
            f"\n  at {kernel_line()}"
        )
    at = next((i for i, p in enumerate(parts) if p is Ellipsis), len(parts))
    whole = (slice(None),) * (dims - given)
    found = parts[:at] + whole + parts[at + 1 :]
    advanced = any(isinstance(p, (Grid, Tile)) for p in parts)
    if advanced and any(isinstance(p, slice) for p in found):
        raise fault(
            "unsupported_mixing_basic_advanced_tensor_indexing",
            f"{tile!r} is indexed by nl.arange or nl.mgrid in one dimension and by a "
            "slice, or by nothing, in another: use one kind for all",
        )
    return found


def _require_within(tile: Tile, axis: int, part: Any) -> None:
    """Bounds of a basic index."""
    extent = tile.shape[axis]
    if isinstance(part, slice):
        start = 0 if part.start is None else part.start
        stop = extent if part.stop is None else part.stop
        value = stop if stop > extent else start
        within = -extent <= start <= extent and -extent <= stop <= extent
    elif hasattr(part, "__index__"):
        value = part.__index__()
        within = -extent <= value < extent
    else:
        return
    if not within:
        beyond(tile, axis, value)


def beyond(tile: Tile, axis: int, value: int) -> NoReturn:
    """Report an index that is out of bounds."""
    extent = tile.shape[axis]
    problem = (
        f"index {value} of dimension {axis} of {tile!r}, which has {extent} elements, "
        f"of {tile.elements.allocation}"
    )
    name = "tensor_access_out_of_bound"
    report("out-of-bounds", name, problem, value=value, extent=extent, dimension=axis)
    raise fault(name, problem)


class Part(Tile):
    """What indices of :func:`nl.arange` take of a tensor. A mask may restrict it.

    What lies out of bounds is an error only when it is accessed.

    Args:
        whole: the tensor.
        parts: for each of its dimensions, a number, a :class:`Grid`, or a tile of
            indices.
    """

    def __init__(self, whole: Tile, parts: tuple[Any, ...]) -> None:
        self.whole = whole
        self.parts = tuple(
            _index(p, axis, whole) if isinstance(p, (Grid, Tile)) else _number(p)
            for axis, p in enumerate(parts)
        )
        shapes = [tuple(p.shape) for p in self.parts if not isinstance(p, int)]
        self._shape = broadcast_shapes(*shapes)
        self.blocks = 0
        self.valid = None
        self._of = (None, None)
        if len(self._shape) < 2:
            raise fault(
                "1d_arange_not_supported",
                f"{whole!r} is indexed by a nl.arange of one dimension: give it two, "
                "as in nl.arange(n)[:, None]",
            )
        if whole.buffer.is_on_chip:
            self._require_partitions()

    def _require_partitions(self) -> None:
        """The first dimension is that of partitions, and no other is."""
        for axis, part in enumerate(self.parts):
            if isinstance(part, Grid) and self._is_crossed(part, axis):
                raise fault(
                    "leading_dimension_of_tensor_must_be_partition",
                    f"the index of dimension {axis} of {self.whole!r}: the first "
                    "dimension of a tile is that of partitions, and no other is",
                )

    def _is_crossed(self, part: Grid, axis: int) -> bool:
        """Whether an index of partitions differs in a partition, or another by it."""
        found = part.broadcast(self._shape)
        is_partition = axis == self.whole.blocks
        if found.steps is not None:
            moves = [s != 0 and n > 1 for s, n in zip(found.steps, self._shape)]
            return any(moves[1:]) if is_partition else moves[0]
        values = np.broadcast_to(found.values, self._shape)
        first = values[(slice(None), *(slice(1),) * (values.ndim - 1))]
        return bool(((values != first) if is_partition else values != values[:1]).any())

    @property
    def is_shifted(self) -> bool:
        """Whether a number that only the run knows is part of an index."""
        return any(isinstance(p, Grid) and p.shift is not None for p in self.parts)

    @property
    def is_indirect(self) -> bool:
        """Whether a tile of indices, one for each row, is an index."""
        return any(isinstance(p, Tile) for p in self.parts)

    @property
    def elements(self) -> NkiTensor:
        found = self.view_in()
        if found is None:
            self._refuse("indices that no strides describe have no view")
        return found

    def view_in(self, box: Box | None = None) -> NkiTensor | None:
        """The elements in a rectangle; None if no strides describe them.

        Raises:
            NkiValidationError: one is out of bounds.
        """
        shape = tuple(self.tile_shape)
        strides: list[int] = [0] * len(shape)
        dynamic: Dynamic | None = None
        base = self.whole.elements
        offset = base.offset
        for axis, (index, step) in enumerate(zip(self.parts, strides_of(self.whole))):
            if isinstance(index, int):
                offset += self.within(axis, index) * step
            elif isinstance(index, Grid):
                steps = index.broadcast(shape).steps
                if steps is None:
                    return None
                self._require_limits(axis, index.broadcast(shape), box)
                offset += index.offset * step
                strides = [s + step * i for s, i in zip(strides, steps)]
                if index.shift is not None:
                    dynamic = self._shifted(axis, index, step, dynamic)
            elif dynamic is not None:
                return None
            else:
                dynamic = self._indirect(axis, index, step, box)
        if any(s < 0 for s in strides):
            return None
        if box is not None:
            # The indices at run time are those of the rectangle's rows already.
            offset += sum(s * b[0] for s, b in zip(strides, box))
            shape = tuple(stop - start for start, stop in box)
        if dynamic is not None and dynamic.axis == 0:
            if strides[0]:
                raise fault(
                    "indirect_indices_are_not_supported_with_nki_api",
                    "a tile of indices picks the rows, and another index differs by "
                    "partition too",
                )
            strides[0] = dynamic.step
        return NkiTensor(
            base.allocation, base.dtype, offset, shape, tuple(strides), dynamic
        )

    def is_within(self) -> bool:
        """Whether affine indices, of all elements, are in bounds."""
        for part, extent in zip(self.parts, self.whole.shape):
            if isinstance(part, Grid):
                low, high = part.limits()
                if (
                    part.steps is None
                    or part.shift is not None
                    or low < 0
                    or high >= extent
                ):
                    return False
            elif not isinstance(part, int) or not -extent <= part < extent:
                return False
        return True

    def within(self, axis: int, index: int) -> int:
        """A number that indexes a dimension of the tensor, from its beginning."""
        extent = self.whole.shape[axis]
        if not -extent <= index < extent:
            beyond(self.whole, axis, index)
        return index % extent

    def _require_limits(self, axis: int, index: Grid, box: Box | None) -> None:
        low, high = index.limits(box)
        extent = self.whole.shape[axis]
        if low < 0 or high >= extent:
            beyond(self.whole, axis, low if low < 0 else high)

    def _shifted(
        self, axis: int, index: Grid, step: int, more: Dynamic | None
    ) -> Dynamic:
        """The part of an index that only the run knows.

        Raises:
            NkiValidationError: it is no number in the SBUF, or of a dimension that
                cannot have it.
        """
        shift, last = index.shift, len(self.parts) - 1
        refused = axis == self.whole.blocks if self.buffer.is_on_chip else axis == last
        if refused and last:
            raise fault(
                "indirect_indices_free_dim",
                f"a number that only the run knows is given for dimension {axis} of "
                f"{self.whole!r}: on the chip, it is not for that of partitions; in "
                "HBM, not for the last",
            )
        if shift.buffer.value != "sbuf":
            raise fault(
                "indirect_indices_are_not_supported_with_nki_api",
                f"an index is {shift!r}, and must be a whole number in the SBUF",
            )
        limit = self.whole.shape[axis] - index.limits()[1]
        return Dynamic(shift.elements, step, limit, more=more)

    def _indirect(self, axis: int, index: Tile, step: int, box: Box | None) -> Dynamic:
        """Indices that are the elements of a tile ``[n, 1]``, one for each partition.

        Raises:
            NkiValidationError: they index another dimension than the first of a
                tensor in HBM, or do not have that shape.
        """
        if self.buffer.is_on_chip or axis != 0:
            raise fault(
                "indirect_indices_free_dim",
                f"a tile of indices is given for dimension {axis} of {self.whole!r}, "
                "and may be so for the first of a tensor in HBM",
            )
        shape = self.tile_shape
        if tuple(index.tile_shape) != (shape[0], *(1,) * (len(shape) - 1)):
            raise fault(
                "copy_dynamic_indirect_indices_not_natively_supported",
                f"the indices have the shape {list(index.shape)}, and must have one "
                f"for each of {shape[0]} partitions: [{shape[0]}, 1]",
            )
        rows = (
            None if box is None else (box[0], *((0, 1),) * (len(index.tile_shape) - 1))
        )
        view = _rows_of(index, rows)
        if view is None or index.buffer.value != "sbuf" or index.dtype.is_float:
            raise fault(
                "indirect_indices_are_not_supported_with_nki_api",
                f"the indices are {index!r}, and must be whole numbers in the SBUF",
            )
        return Dynamic(view, step, self.whole.shape[axis], axis=0)

    @property
    def shape(self) -> Shape:
        return Shape(self._shape)

    @property
    def tile_shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def dtype(self) -> DTypeRecord:
        return self.whole.dtype

    @property
    def buffer(self) -> MemoryRegion:
        return self.whole.buffer

    def __getitem__(self, key: Any) -> Tile:
        if key is Ellipsis or key == slice(None):
            return self
        return super().__getitem__(key)

    def reshape(self, shape: Any) -> Tile:
        return Tile(self.elements).reshape(shape)


def _rows_of(index: Tile, box: Box | None) -> NkiTensor | None:
    """The elements of a tile of indices, of a rectangle of it."""
    if isinstance(index, Part):
        return index.view_in(box)
    view = index.elements
    if box is None:
        return view
    start, stop = box[0]
    offset, shape = (
        view.offset + start * view.strides[0],
        (stop - start, *view.shape[1:]),
    )
    return NkiTensor(view.allocation, view.dtype, offset, shape, view.strides)


def strides_of(whole: Tile) -> tuple[int, ...]:
    """A tensor's strides, dimension by dimension as the kernel has them."""
    strides, blocks = tuple(whole.elements.strides), whole.blocks
    return (*strides[1 : 1 + blocks], strides[0], *strides[1 + blocks :])


def _index(part: Grid | Tile, axis: int, whole: Tile) -> Grid | Tile:
    """Indices; a tile of one number is added to all, unless it is of rows."""
    if isinstance(part, Grid) or math.prod(part.tile_shape) != 1 or part.dtype.is_float:
        return part
    return part if axis == 0 and not whole.blocks and whole.ndim == 2 else as_grid(part)


def _number(part: Any) -> int:
    if hasattr(part, "__index__"):
        return int(part.__index__())
    raise NkiValidationError(
        f"an index is {part!r}, and must be a number beside nl.arange or nl.mgrid"
        f"\n  at {kernel_line()}"
    )


class Fresh(Tile):
    """A result that no place is chosen for yet.

    If it is assigned to a part of a tensor at once, it is computed there; else it gets
    a tensor of its own before anything else is issued.

    Args:
        shape: with the dimension of partitions first.
        dtype: its element type.
        region: where it may lie.
        issue: issues the instructions, for the tile that they write to.
        accumulate: the same as `issue`, but adds to what the tile has; None if the
            instruction cannot.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: DTypeRecord,
        region: MemoryRegion,
        issue: Callable[[Tile, Line], None],
        accumulate: Callable[[Tile, Line], None] | None = None,
    ) -> None:
        settle()
        self._shape = Shape(shape)
        self._dtype = dtype
        self._region = region
        self._issue = issue
        self._accumulate = accumulate
        self._line = kernel_line()
        self._made: NkiTensor | None = None
        self._elsewhere: Tile | None = None
        self._writes = 0
        self.blocks = 0
        self.valid = None
        self._of = (None, None)
        state().unsettled = self

    @property
    def is_open(self) -> bool:
        """Whether its place can still be chosen."""
        return state().unsettled is self

    def settle(self) -> None:
        """Give it a tensor of its own."""
        if not self.is_open:
            return
        state().unsettled = None
        made = allocate(self._shape, self._dtype, self._region, line=self._line)
        self._made = made
        self._issue(Tile(made), self._line)

    def put(self, dst: Tile) -> None:
        """Compute it at `dst`, of the same shape and dtype."""
        state().unsettled = None
        self._issue(dst, self._line)
        self._elsewhere = dst
        self._writes = writes_to(dst)

    def add_to(self, dst: Tile) -> None:
        """Add it to what `dst` has."""
        assert self._accumulate is not None
        state().unsettled = None
        self._accumulate(dst, self._line)

    @property
    def accumulates(self) -> bool:
        """Whether it can be added to what a tile has by one instruction."""
        return self._accumulate is not None and self.is_open

    @property
    def elements(self) -> NkiTensor:
        self.settle()
        if self._made is not None:
            return self._made
        if self._elsewhere is None:
            self._refuse("a result that was added to a tile has no place of its own")
        if writes_to(self._elsewhere) != self._writes:
            self._refuse(
                "a result lies where it was assigned to, and that was written since: "
                "use the tile that it was assigned to, or assign nl.copy of it"
            )
        return self._elsewhere.elements

    @property
    def shape(self) -> Shape:
        return self._shape

    @property
    def tile_shape(self) -> tuple[int, ...]:
        return tuple(self._shape)

    @property
    def dtype(self) -> DTypeRecord:
        return self._dtype

    @property
    def buffer(self) -> MemoryRegion:
        return self._region


def allocate(
    shape: tuple[int, ...],
    dtype: DTypeRecord,
    region: MemoryRegion,
    name: str = "",
    line: Line | None = None,
    role: str = "local",
) -> NkiTensor:
    """A new tensor of the current run, of partitions first.

    Raises:
        NkiValidationError: it has too many partitions.
    """
    run = current()
    if region.is_on_chip and shape[0] > run.chip.partitions:
        raise fault(
            "num_partition_exceed_arch_limit",
            f"{shape[0]} partitions, and there are {run.chip.partitions}",
        )
    return place_tensor(
        shape, dtype, region, name=name, line=line or kernel_line(), role=role
    )


def _allocation_of(tile: Tile) -> int:
    return (tile.whole if isinstance(tile, Part) else tile).elements.allocation.id


def count_write(tile: Tile) -> None:
    """Remember that an instruction writes to a tile's tensor."""
    writes, number = state().writes, _allocation_of(tile)
    writes[number] = writes.get(number, 0) + 1


def writes_to(tile: Tile) -> int:
    """How often instructions have written to a tile's tensor."""
    return state().writes.get(_allocation_of(tile), 0)


def stretched(tile: Tile, shape: tuple[int, ...]) -> Tile:
    """A tile whose dimensions of one element are repeated: strides of 0.

    Args:
        tile: without block dimensions.
        shape: of as many dimensions, or of more before its own.
    """
    if tuple(tile.tile_shape) == shape and not tile.blocks:
        return tile
    if tile.blocks:
        tile._refuse("a tile with block dimensions is not broadcast")
    if broadcast_shapes(tuple(tile.tile_shape), shape) != shape:
        raise NkiValidationError(
            f"{tile!r} cannot be broadcast to {list(shape)}\n  at {kernel_line()}"
        )
    if isinstance(tile, Part):
        parts = tuple(
            p.broadcast(shape) if isinstance(p, Grid) else p for p in tile.parts
        )
        if any(isinstance(p, Grid) for p in parts):
            return Part(tile.whole, parts)
    view = tile.elements
    more = len(shape) - len(view.shape)
    kept = zip(view.shape, view.strides, shape[more:])
    strides = (0,) * more + tuple(s if n == m else 0 for n, s, m in kept)
    made = NkiTensor(
        view.allocation, view.dtype, view.offset, shape, strides, view.dynamic
    )
    found = Tile(made)
    found.valid = None if tile.valid is None else tile.valid.broadcast(shape)
    return found
