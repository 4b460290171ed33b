"""Tensors seen as grids of tiles, and of blocks of tiles.

A grid is a view: making and indexing one copies nothing. What an instruction takes is
its ``data``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from operator import index as as_int
from typing import Any, ClassVar, TypeVar

from nkipy_nki.dtypes import DTypeRecord
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.program import View
from nkipy_nki.regions import MemoryRegion
from nkipy_nki.running import invalid, kernel_line
from nkipy_nki.tensors import NkiTensor, Shape, as_tensor, new_tensor

__all__ = [
    "NkiBlockGrid",
    "NkiGrid",
    "NkiTileGrid",
    "alloc_blocks",
    "alloc_tiles",
    "blocks",
    "tiles",
]

G = TypeVar("G", bound="NkiGrid")


@dataclass(frozen=True)
class _Axis:
    """A dimension of what a grid is of.

    Attributes:
        start, stop: the elements that are selected.
        cell: how many elements one coordinate is.
        step: how many coordinates one is from the next selected one.
        consumed: whether an int selected the coordinate, which is gone then.
        tiled: whether it is one of the last dimensions, which tiles are of.
    """

    start: int
    stop: int
    cell: int
    step: int = 1
    consumed: bool = False
    tiled: bool = True

    @property
    def coordinates(self) -> int:
        """How many coordinates are selected."""
        return -(-(self.stop - self.start) // (self.cell * self.step))

    @property
    def elements(self) -> int:
        """How many elements are selected."""
        if self.step == 1:
            return self.stop - self.start
        last = self.start + (self.coordinates - 1) * self.cell * self.step
        return (self.coordinates - 1) * self.cell + min(self.cell, self.stop - last)

    def at(self, coordinate: Any) -> _Axis:
        """One coordinate."""
        given, count = as_int(coordinate), self.coordinates
        if not -count <= given < count:
            raise _refused(f"coordinate {given} of {count}")
        start = self.start + given % count * self.cell * self.step
        stop = min(start + self.cell, self.stop)
        return replace(self, start=start, stop=stop, step=1, consumed=True)

    def cut(self, given: slice) -> _Axis:
        """Several coordinates."""
        first, last, step = given.indices(self.coordinates)
        if step < 1 or last <= first:
            raise _refused(f"coordinates {given} of {self.coordinates} are none")
        stride = self.cell * self.step
        stop = min(self.start + ((last - 1) * stride) + self.cell, self.stop)
        start = self.start + first * stride
        return replace(self, start=start, stop=stop, step=step * self.step)


def _refused(problem: str) -> NkiValidationError:
    return invalid(f"a grid: {problem}")


@dataclass(frozen=True, eq=False)
class NkiGrid:
    """A tensor, or a part of one, whose indices count tiles or blocks.

    ``nl.tiles`` and ``nl.blocks`` make them. An int selects a coordinate, which is gone
    then; a slice keeps it. What is selected is a grid again. The last tile along a
    dimension has only the elements that there are.

    Attributes:
        tile_shape: the elements of a whole tile.
    """

    _tensor: NkiTensor
    _axes: tuple[_Axis, ...]
    tile_shape: tuple[int, ...]
    #: Of storage that is dense tiles: how many of them there are along each dimension.
    _dense: tuple[int, ...] = ()

    #: Indices make grids; a loop over one would not end.
    __iter__: ClassVar[None] = None

    @property
    def shape(self) -> tuple[int, ...]:
        """How many coordinates there are along each dimension that has them."""
        return Shape(axis.coordinates for axis in self._axes if not axis.consumed)

    @property
    def element_shape(self) -> tuple[int, ...]:
        """How many elements are selected along each dimension of the tensor.

        Dimensions that no tile has are left out where an int selected one element.
        """
        return Shape(a.elements for a in self._axes if a.tiled or not a.consumed)

    @property
    def dtype(self) -> DTypeRecord:
        """The element type."""
        return self._tensor.dtype

    @property
    def buffer(self) -> MemoryRegion:
        """Where the tensor lies."""
        return self._tensor.region

    @property
    def index_step_elements(self) -> tuple[int, ...]:
        """How many elements one coordinate is from the next, where there are any."""
        return tuple(a.cell * a.step for a in self._axes if not a.consumed)

    @property
    def is_remainder(self) -> bool:
        """Whether the last coordinate along a dimension is less than a whole one."""
        return any(axis.elements % axis.cell for axis in self._axes)

    @property
    def is_data_representable(self) -> bool:
        """Whether one tensor can show what is selected."""
        if any(axis.step > 1 and axis.coordinates > 1 for axis in self._axes):
            return False
        return not self._dense or self._row() is not None

    @property
    def data(self) -> NkiTensor:
        """What is selected, as a tensor.

        Raises:
            ValueError: no tensor can show it.
        """
        if not self.is_data_representable:
            raise _wrong(
                ValueError,
                f"what is selected of {self._tensor.allocation} is not one view of it: "
                f"select a tile with an index\n  at {kernel_line()}",
            )
        if self._dense:
            return self._dense_data()
        parts = (
            axis.start if axis.consumed and not axis.tiled else _span(axis)
            for axis in self._axes
        )
        return self._tensor[tuple(parts)]

    # -- dense tiles -------------------------------------------------------------------
    def _tile_range(self, axis: _Axis, size: int) -> tuple[int, int]:
        """The first tile along a dimension, and how many are selected."""
        first = axis.start // size
        return first, -(-axis.stop // size) - first

    def _row(self) -> tuple[int, int] | None:
        """The first tile and how many follow it in the storage, if they do."""
        ranges = [self._tile_range(*pair) for pair in zip(self._axes, self.tile_shape)]
        first = 0
        for (start, _), count in zip(ranges, self._dense):
            first = first * count + start
        several = [count > 1 for _, count in ranges]
        if any(several[:-1]) or (several[-1] and len(ranges) > 2):
            return None
        return first, ranges[-1][1]

    def _dense_data(self) -> NkiTensor:
        found = self._row()
        assert found is not None
        first, count = found
        width = prod(self.tile_shape[1:])
        stored = self._tensor[:, first * width : (first + count) * width]
        shape = (
            self.tile_shape[0],
            *self.tile_shape[1:-1],
            self.tile_shape[-1] * count,
        )
        made = stored.reshape(shape)
        return made[tuple(slice(0, axis.elements) for axis in self._axes)]

    # -- indices -----------------------------------------------------------------------
    def __getitem__(self: G, given: Any) -> G:
        parts = list(given) if isinstance(given, tuple) else [given]
        free = [i for i, axis in enumerate(self._axes) if not axis.consumed]
        if Ellipsis in parts:
            at = parts.index(Ellipsis)
            parts[at : at + 1] = [slice(None)] * (len(free) - len(parts) + 1)
        if len(parts) > len(free):
            raise _refused(f"{len(parts)} indices for {len(free)} coordinates")
        axes = list(self._axes)
        for number, part in zip(free, parts):
            axes[number] = _selected(axes[number], part)
        return replace(self, _axes=tuple(axes))

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {list(self.shape)} of {list(self.element_shape)} "
            f"{self.dtype} in {self.buffer.value}>"
        )


def _span(axis: _Axis) -> slice:
    return slice(axis.start, axis.stop)


def _selected(axis: _Axis, part: Any) -> _Axis:
    if isinstance(part, slice):
        return axis.cut(part)
    if hasattr(part, "__index__"):
        try:
            return axis.at(part)
        except TypeError as error:  # a register
            raise _refused(
                f"{part!r} is known at run time only: select by nl.ds on the tensor, "
                "in steps of index_step_elements"
            ) from error
    raise _refused(f"{part!r} is neither an int nor a slice")


class NkiTileGrid(NkiGrid):
    """A tensor whose indices count tiles."""


@dataclass(frozen=True, eq=False)
class NkiBlockGrid(NkiGrid):
    """A tensor whose indices count blocks of tiles.

    Attributes:
        block_shape: the tiles of a whole block.
    """

    block_shape: tuple[int, ...] = ()


# -- views -----------------------------------------------------------------------------
def tiles(source: Any, *, tile_shape: tuple[int, ...] | None = None) -> NkiTileGrid:
    """A tensor, or what a grid selects, as a grid of tiles.

    Args:
        source: a tensor or a grid.
        tile_shape: the elements of a tile along the last dimensions, two of them or
            more; if None, the grid's.

    Raises:
        TypeError: `source` or `tile_shape` is of another type.
        ValueError: `tile_shape` does not fit.
    """
    tensor, axes, dense, shape = _of_source(source, tile_shape)
    return NkiTileGrid(tensor, _cells(axes, shape), shape, dense)


def blocks(
    source: Any,
    *,
    tile_shape: tuple[int, ...] | None = None,
    block_shape: tuple[int, ...],
) -> NkiBlockGrid:
    """A tensor, or what a grid selects, as a grid of blocks of tiles.

    Args:
        source: a tensor or a grid.
        tile_shape: the elements of a tile along the last dimensions, two of them or
            more; if None, the grid's.
        block_shape: how many tiles a block has along each of them.

    Raises:
        TypeError: `source` or a shape is of another type.
        ValueError: a shape does not fit.
    """
    tensor, axes, dense, shape = _of_source(source, tile_shape)
    grouped = _block_shape(block_shape, shape)
    cells = [tile * count for tile, count in zip(shape, grouped)]
    return NkiBlockGrid(tensor, _cells(axes, cells), shape, dense, grouped)


def _of_source(
    source: Any, tile_shape: Any
) -> tuple[NkiTensor, tuple[_Axis, ...], tuple[int, ...], tuple[int, ...]]:
    """What a grid is made of: the tensor, its dimensions, how it is stored, tiles."""
    if isinstance(source, NkiGrid):
        shape = source.tile_shape if tile_shape is None else tile_shape
        if any(axis.step > 1 for axis in source._axes):
            raise _wrong(
                ValueError, "tiles that do not follow each other are not grouped again"
            )
        if source._dense and tuple(shape) != source.tile_shape:
            raise _wrong(
                ValueError, f"the tiles are stored as {source.tile_shape}, not {shape}"
            )
        gone = [a for a in source._axes if a.consumed and not a.tiled]
        if gone:
            return _of_source(source.data, _positive(shape, "tile_shape"))
        axes = source._axes
        return source._tensor, axes, source._dense, _tile_shape(shape, len(axes))
    if not isinstance(source, View):
        raise _wrong(TypeError, f"source is {source!r}, and must be a tensor or a grid")
    if tile_shape is None:
        raise _wrong(
            TypeError, "tile_shape is missing: a tensor has no tiles of its own"
        )
    tensor = source if isinstance(source, NkiTensor) else as_tensor(source)
    whole = tuple(_Axis(0, size, 1) for size in tensor.shape)
    return tensor, whole, (), _tile_shape(tile_shape, len(whole))


def _cells(axes: Sequence[_Axis], cells: Sequence[int]) -> tuple[_Axis, ...]:
    """The dimensions, the last of which count cells; the others count elements."""
    front = len(axes) - len(cells)
    sizes = (*(1,) * front, *cells)
    return tuple(
        replace(axis, cell=size, consumed=False, tiled=i >= front)
        for i, (axis, size) in enumerate(zip(axes, sizes))
    )


# -- storage ---------------------------------------------------------------------------
def alloc_tiles(
    *,
    tile_shape: tuple[int, ...],
    element_shape: tuple[int, ...],
    buffer: MemoryRegion,
    dtype: Any,
    address: tuple[int, int] | None = None,
    name: str = "",
) -> NkiTileGrid:
    """A new tensor as a grid of tiles, which holds nothing yet.

    On the chip, tiles lie one after another in the partitions of one tile, the last
    index runs fastest, and each takes the room of a whole one.

    Args:
        tile_shape: the elements of a tile along the last dimensions, two of them or
            more; on the chip, all dimensions.
        element_shape: how many elements there are.
        buffer: where it lies.
        dtype: the element type.
        address: on the chip, the partition and the byte in it where it begins.
        name: for messages and reports.

    Raises:
        TypeError: a shape is no tuple of ints, or `buffer` no memory.
        ValueError: a shape does not fit.
        NkiValidationError: there can be no such tensor.
    """
    tensor, axes, dense = _stored(
        tile_shape, element_shape, buffer, dtype, address, name
    )
    return NkiTileGrid(tensor, _cells(axes, tile_shape), tile_shape, dense)


def alloc_blocks(
    *,
    tile_shape: tuple[int, ...],
    block_shape: tuple[int, ...],
    element_shape: tuple[int, ...],
    buffer: MemoryRegion,
    dtype: Any,
    address: tuple[int, int] | None = None,
    name: str = "",
) -> NkiBlockGrid:
    """A new tensor as a grid of blocks of tiles: stored as :func:`alloc_tiles` does.

    Args:
        tile_shape: the elements of a tile.
        block_shape: how many tiles a block has along each dimension of a tile.
        element_shape: how many elements there are.
        buffer: where it lies.
        dtype: the element type.
        address: on the chip, the partition and the byte in it where it begins.
        name: for messages and reports.

    Raises:
        TypeError: a shape is no tuple of ints, or `buffer` no memory.
        ValueError: a shape does not fit.
        NkiValidationError: there can be no such tensor.
    """
    made = alloc_tiles(
        tile_shape=tile_shape,
        element_shape=element_shape,
        buffer=buffer,
        dtype=dtype,
        address=address,
        name=name,
    )
    return blocks(made, block_shape=block_shape)


def _stored(
    tile_shape: Any,
    element_shape: Any,
    buffer: Any,
    dtype: Any,
    address: Any,
    name: str,
) -> tuple[NkiTensor, tuple[_Axis, ...], tuple[int, ...]]:
    if not isinstance(buffer, MemoryRegion):
        raise _wrong(
            TypeError, f"buffer is {buffer!r}, and must be a memory, such as nl.sbuf"
        )
    elements = _positive(element_shape, "element_shape")
    tile = _tile_shape(tile_shape, len(elements))
    axes = tuple(_Axis(0, size, 1) for size in elements)
    if not buffer.is_on_chip:
        return new_tensor(elements, dtype, buffer, name, address), axes, ()
    if len(tile) != len(elements):
        raise _wrong(
            ValueError,
            f"on the chip tiles have all dimensions of {elements}, not {len(tile)}",
        )
    counts = tuple(-(-size // part) for size, part in zip(elements, tile))
    shape = (tile[0], prod(counts) * prod(tile[1:]))
    return new_tensor(shape, dtype, buffer, name, address), axes, counts


# -- shapes ----------------------------------------------------------------------------
def _wrong(kind: type[Exception], text: str) -> Exception:
    """An error of a documented class, with the kernel's line."""
    return kind(f"{text}\n  at {kernel_line()}")


def _positive(shape: Any, name: str) -> tuple[int, ...]:
    if not isinstance(shape, tuple) or any(type(size) is not int for size in shape):
        raise _wrong(TypeError, f"{name} is {shape!r}, and must be a tuple of ints")
    if any(size < 1 for size in shape):
        raise _wrong(ValueError, f"{name} is {shape}, and must be positive")
    return shape


def _tile_shape(shape: Any, dims: int) -> tuple[int, ...]:
    found = _positive(shape, "tile_shape")
    if not 2 <= len(found) <= dims:
        raise _wrong(
            ValueError, f"tile_shape is {found}, and must have 2 to {dims} dimensions"
        )
    return found


def _block_shape(shape: Any, tile: tuple[int, ...]) -> tuple[int, ...]:
    found = _positive(shape, "block_shape")
    if len(found) != len(tile):
        raise _wrong(
            ValueError, f"block_shape is {found}, and tiles have {len(tile)} dimensions"
        )
    return found
