"""Reading and writing elements whose places are computed.

Indices are s32 and count what counts, not padding. XLA clamps an index of what is read
and drops one of what is written outside of the array; torch refuses both, which a
program cannot. What was read outside is NaN here, where there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import Value
from spike_torch.lowering.arrays import Array
from spike_torch.lowering.dims import Dim, Factor, dim_of
from spike_torch.lowering.errors import Unsupported
from spike_torch.lowering.moves import flattened, int32
from spike_torch.lowering.sizes import MOST_ELEMENTS, Size

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Graph

#: In how many places of one sum float32 counts bytes exactly.
_MOST_BYTES = 1 << 16


def indices(g: Graph, index: Array, size: Size, wraps: bool = True) -> Array:
    """Indices as s32; negative ones count from the end if they may be (`wraps`)."""
    if index.dtype.is_floating_point:
        raise Unsupported(f"has indices of {index.dtype}")
    if index.dtype == torch.int64:  # of whose bits the higher ones would be lost
        low, high = (g.number(n, torch.int64) for n in (-(2**31), 2**31 - 1))
        index = Array(g.b.clamp(low.value, index.value, high.value), index.dims)
    index = int32(g, index)
    if not wraps:
        return index
    negative = g.compare(index, g.number(0, torch.int32), "LT")
    back = g.binary("add", index, g.number(size, torch.int32))
    return g.select(negative, back, index)


def inside(g: Graph, index: Array, size: Size) -> Array:
    """Booleans: which indices are of an element."""
    low = g.compare(index, g.number(0, torch.int32), "GE")
    high = g.compare(index, g.number(size, torch.int32), "LT")
    return both(g, low, high)


def both(g: Graph, x: Array, y: Array) -> Array:
    return g.binary("and", x, y)


def padded_places(g: Graph, index: Array, dim: Dim) -> Array:
    """Where in the program's array the elements are that count so many."""
    if dim.is_prefix:
        return index
    found: Array | None = None
    stride = 1
    for factor in reversed(dim.factors[1:]):
        size = g.number(factor.size, torch.int32)
        found = _plus(g, found, g.binary("remainder", index, size), stride)
        index = g.binary("divide", index, size)
        stride *= factor.padded
    return _plus(g, found, index, stride)


def _plus(g: Graph, total: Array | None, index: Array, stride: int) -> Array:
    if stride != 1:
        index = g.binary("multiply", index, g.number(stride, torch.int32))
    return index if total is None else g.binary("add", total, index)


@dataclass(frozen=True)
class Places:
    """Elements of an array, or parts of it that go through some of its dimensions.

    Attributes:
        axes: the dimensions that are indexed, in their order.
        indices: for each, s32 of one shape; they count what counts.
        dims: of the indices, which they have been broadcast to.
    """

    axes: tuple[int, ...]
    indices: tuple[Array, ...]
    dims: tuple[Dim, ...]


def places(g: Graph, axes: Sequence[int], index: Sequence[Array]) -> Places:
    """Indices of these dimensions, broadcast to each other."""
    wide = g.broadcast(*index)
    return Places(tuple(axes), tuple(wide), wide[0].dims)


def read(g: Graph, x: Array, at: Places, first: int) -> Array:
    """The parts of an array at places. The dimensions of those come at `first`."""
    others = [a for a in range(x.ndim) if a not in at.axes]
    rank = len(at.dims) + len(others)
    batch = range(first, first + len(at.dims))
    dims = [x.dims[a] for a in others]
    dims[first:first] = at.dims
    sizes = [1 if a in at.axes else n for a, n in enumerate(x.value.shape)]
    value = g.b.gather(
        x.value,
        _vectors(g, x, at, None),
        offset_dims=tuple(a for a in range(rank) if a not in batch),
        collapsed_slice_dims=at.axes,
        start_index_map=at.axes,
        slice_sizes=tuple(sizes),
    )
    made = Array(value, tuple(dims))
    if not x.dtype.is_floating_point:
        return made
    valid = _all_inside(g, x, at)
    shape = tuple(d.padded for d in dims)
    where = Array(g.b.broadcast_in_dim(valid.value, shape, tuple(batch)), made.dims)
    return g.select(where, made, g.number(float("nan"), x.dtype))


def read_rows(g: Graph, x: Array, at: Array) -> Array:
    """The parts of an array at places along its first dimension, in the place of it."""
    return read(g, x, places(g, (0,), (at,)), 0)


def _all_inside(g: Graph, x: Array, at: Places) -> Array:
    found: Array | None = None
    for axis, index in zip(at.axes, at.indices):
        own = inside(g, index, x.dims[axis].size)
        found = own if found is None else both(g, found, own)
    assert found is not None
    return found


def _vectors(g: Graph, x: Array, at: Places, valid: Array | None) -> Value:
    """s32[..., k]: the places in the program's array; -1 where not `valid`."""
    parts = []
    for axis, index in zip(at.axes, at.indices):
        found = padded_places(g, index, x.dims[axis])
        if valid is not None:
            found = g.select(valid, found, g.number(-1, torch.int32))
        parts.append(g.b.expand_dims(found.value, (found.ndim,)))
    return g.b.concatenate(parts, parts[0].ndim - 1)


def write(
    g: Graph, x: Array, at: Places, values: Array, first: int, opcode: str = "assign"
) -> Array:
    """The array with values written to places, or combined with what is there.

    `values` has the dimensions of the places at `first`, beside those of the array
    that are not indexed. Of several values for one element the last is written.
    """
    others = [a for a in range(x.ndim) if a not in at.axes]
    dims = [x.dims[a] for a in others]
    dims[first:first] = at.dims
    values = g.expand(values, tuple(dims))
    valid = _all_inside(g, x, at)
    counted = g.valid(at.dims, range(len(at.dims)))
    if counted is not None:
        valid = both(g, valid, counted)
    batch = range(first, first + len(at.dims))
    value = g.b.scatter(
        x.value,
        _vectors(g, x, at, valid),
        values.value,
        update_window_dims=tuple(a for a in range(len(dims)) if a not in batch),
        inserted_window_dims=at.axes,
        scatter_dims_to_operand_dims=at.axes,
        opcode=opcode,
    )
    return Array(value, x.dims)


def all_places(g: Graph, dims: tuple[Dim, ...], axis: int, index: Array) -> Array:
    """s32: places in a flat array of these dimensions, one for each index.

    Each index is of dimension `axis`; its own place says where it is along the others.
    What it is no place of an element that counts is -1.
    """
    total: Array | None = None
    stride = 1
    valid = inside(g, index, dims[axis].size)
    counted = g.valid(index.dims, range(index.ndim))
    if counted is not None:
        valid = both(g, valid, counted)
    for a in reversed(range(len(dims))):
        own = index if a == axis else g.iota(index.dims, a, torch.int32)
        total = _plus(g, total, padded_places(g, own, dims[a]), stride)
        stride *= dims[a].padded
    if stride > np.iinfo(np.int32).max:
        raise Unsupported(f"indexes {stride} elements, more than 32 bits count")
    assert total is not None
    return g.select(valid, total, g.number(-1, torch.int32))


def all_flat_places(g: Graph, dim: Dim, index: Array) -> Array:
    """s32: where elements are in the program's array of one dimension, or -1."""
    valid = inside(g, index, dim.size)
    counted = g.valid(index.dims, range(index.ndim))
    if counted is not None:
        valid = both(g, valid, counted)
    found = padded_places(g, index, dim)
    return g.select(valid, found, g.number(-1, torch.int32))


def flat(g: Graph, x: Array) -> Array:
    """All elements, those that do not count too, in one dimension of numbers."""
    value = flattened(g, x).value
    (count,) = value.shape
    return Array(value, (dim_of([Factor(count, count)]),))


def read_flat(g: Graph, x: Array, place: Array) -> Array:
    """Elements at places in the flat array; NaN, if there is one, where it is -1."""
    value = g.b.gather(
        flat(g, x).value,
        g.b.expand_dims(place.value, (place.ndim,)),
        offset_dims=(),
        collapsed_slice_dims=(0,),
        start_index_map=(0,),
        slice_sizes=(1,),
    )
    made = Array(value, place.dims)
    if not x.dtype.is_floating_point:
        return made
    found = g.compare(place, g.number(0, torch.int32), "GE")
    return g.select(found, made, g.number(float("nan"), x.dtype))


def write_flat(g: Graph, x: Array, place: Array, values: Array, opcode: str) -> Array:
    """The array with values combined with what is at places in the flat array."""
    values = g.expand(values, place.dims)
    start, index, value = flat(g, x), flat(g, place), flat(g, values)
    made = combined(g, start, index, value, opcode)
    return Array(g.b.reshape(made.value, x.value.shape), x.dims)


def combined(g: Graph, x: Array, index: Array, values: Array, opcode: str) -> Array:
    """Along one dimension: values combined with the elements that indices say.

    None of the three is padded; indices that are no element's are left out.
    """
    if opcode == "assign" or x.dtype.is_floating_point:
        return Array(scattered(g, x.value, index.value, values.value, opcode), x.dims)
    if x.dtype == torch.bool:
        wide = [g.convert(a, torch.float32) for a in (x, values)]
        how = {"add": "maximum", "multiply": "minimum"}.get(opcode, opcode)
        return g.convert(combined(g, wide[0], index, wide[1], how), torch.bool)
    if opcode == "add":
        return _sum_of_integers(g, x, index, values)
    return _searched(g, x, index, values, opcode)


def scattered(g: Graph, x: Value, index: Value, values: Value, opcode: str) -> Value:
    """The scatter along one dimension, of rows if `x` has two."""
    return g.b.scatter(
        x,
        g.b.expand_dims(index, (index.ndim,)),
        values,
        update_window_dims=tuple(range(1, x.ndim)),
        inserted_window_dims=(0,),
        scatter_dims_to_operand_dims=(0,),
        opcode=opcode,
    )


def _sum_of_integers(g: Graph, x: Array, index: Array, values: Array) -> Array:
    """Sums by bytes, in float32, which is exact: cores add no integers by index."""
    (count,) = values.value.shape
    if count > _MOST_BYTES:
        raise Unsupported(f"adds {count} integers by index, more than {_MOST_BYTES}")
    b = g.b
    width = x.hlo_dtype.itemsize
    wide = dt.uint64 if width == 8 else dt.uint32
    bits = b.convert(values.value, dt.int64 if width == 8 else dt.int32)
    bits = b.bitcast_convert(bits, wide) if bits.dtype != wide else bits
    pieces = []
    for i in range(width):
        shifted = b.binary("shift-right-logical", bits, b.full_like(bits, 8 * i))
        low = b.and_(shifted, b.full_like(bits, 255))
        pieces.append(b.expand_dims(b.convert(low, dt.float32), (1,)))
    (size,) = x.value.shape
    zeros = b.full((size, width), 0, dt.float32)
    parts = b.concatenate(pieces, 1)
    sums = b.convert(scattered(g, zeros, index.value, parts, "add"), wide)
    total = None
    for i in range(width):
        part = b.reshape(b.slice_dim(sums, 1, i, i + 1), (size,))
        part = b.binary("shift-left", part, b.full_like(part, 8 * i))
        total = part if total is None else b.add(total, part)
    assert total is not None
    signed = b.bitcast_convert(total, dt.int64 if width == 8 else dt.int32)
    return g.binary("add", x, Array(b.convert(signed, x.hlo_dtype), x.dims))


def _searched(g: Graph, x: Array, index: Array, values: Array, opcode: str) -> Array:
    """Each element combined with the values among all whose index is its own."""
    (size,), (count,) = x.value.shape, values.value.shape
    if size * count > MOST_ELEMENTS:
        raise Unsupported(
            f"combines {count} integers with {size} by index: more than "
            f"{MOST_ELEMENTS} pairs"
        )
    b = g.b
    shape = (size, count)
    own = b.compare(
        b.iota(shape, 0), b.broadcast_in_dim(index.value, shape, (1,)), "EQ"
    )
    identity = identity_of(opcode, x.hlo_dtype)
    wide = b.broadcast_in_dim(values.value, shape, (1,))
    kept = b.select(own, wide, b.full_like(wide, identity))
    made = b.reduce(kept, opcode, identity, (1,))
    return Array(b.binary(opcode, x.value, made), x.dims)


def identity_of(opcode: str, dtype: np.dtype) -> Any:
    """What changes nothing that it is combined with."""
    if opcode == "maximum":
        return dt.lowest(dtype)
    if opcode == "minimum":
        return dt.highest(dtype)
    return {"add": 0, "multiply": 1}[opcode]
