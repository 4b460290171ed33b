"""Elements written, or combined with others, at places that indices say.

Of several values that are written to one element the last stays, as on the CPU with one
thread: torch says that it may be any.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from spike_torch.aten.gathering import indexed_dimensions
from spike_torch.aten.record import Sample, lowering
from spike_torch.lowering import indexing, moves
from spike_torch.lowering.errors import Unsupported

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Array, Graph, Number

_OPCODES = {
    "add": "add",
    "sum": "add",
    "mean": "add",
    "multiply": "multiply",
    "prod": "multiply",
    "amax": "maximum",
    "amin": "minimum",
}


def _places(g: Graph, self: Array, dim: int, index: Array) -> Array:
    """Of each index, the place in the flat array."""
    axis = g.axis(self, dim)
    index = g.with_dims(index, index.dims or (moves.ONE,))
    dims = self.dims or (moves.ONE,)
    at = indexing.indices(g, index, dims[axis].size, wraps=False)
    return indexing.all_places(g, dims, axis, at)


def _sources(g: Graph, src: Array, place: Array) -> Array:
    """The first elements along each dimension, as many as there are indices."""
    src = g.with_dims(src, src.dims or (moves.ONE,))
    for axis, dim in enumerate(place.dims):
        if src.dims[axis] != dim:
            src = moves.part(g, src, axis, 0, dim)
    return src


def _combined(
    g: Graph, self: Array, dim: int, index: Array, src: Array | Number, opcode: str
) -> Array:
    if moves.is_nothing(g, index.sizes) or moves.is_nothing(g, self.sizes):
        return self
    place = _places(g, self, dim, index)
    if isinstance(src, moves.Array):
        values = _sources(g, src, place)
    else:
        values = g.full(place.dims, src, self.dtype)
    return indexing.write_flat(g, self, place, values, opcode)


@lowering("scatter.src", checks_values=True, samples="scatter")
def scatter(g: Graph, self: Array, dim: int, index: Array, src: Array) -> Array:
    return _combined(g, self, dim, index, src, "assign")


@lowering("scatter.value", checks_values=True, samples="scatter")
def scatter_value(
    g: Graph, self: Array, dim: int, index: Array, value: Number
) -> Array:
    return _combined(g, self, dim, index, value, "assign")


def _combinations(*, of_number: bool) -> Iterator[Sample]:
    x = torch.tensor([[1.0, 2.0, 3.0], [-4.0, 5.0, 6.0]])
    at = torch.tensor([[0, 0, 2], [1, 1, 1]])
    for reduce in ("add", "multiply"):
        for given in (x, x.to(torch.int64)):
            src = 3 if of_number else given + 1
            yield (given, 1, at, src), {"reduce": reduce}


@lowering(
    "scatter.reduce", checks_values=True, samples=lambda: _combinations(of_number=False)
)
def scatter_combined(
    g: Graph, self: Array, dim: int, index: Array, src: Array, *, reduce: str
) -> Array:
    return _combined(g, self, dim, index, src, _OPCODES[reduce])


@lowering(
    "scatter.value_reduce",
    checks_values=True,
    samples=lambda: _combinations(of_number=True),
)
def scatter_value_combined(
    g: Graph, self: Array, dim: int, index: Array, value: Number, *, reduce: str
) -> Array:
    return _combined(g, self, dim, index, value, _OPCODES[reduce])


@lowering("scatter_add", checks_values=True)
def scatter_add(g: Graph, self: Array, dim: int, index: Array, src: Array) -> Array:
    return _combined(g, self, dim, index, src, "add")


def _reductions() -> Iterator[Sample]:
    x = torch.tensor([[1.0, 2.0, 3.0], [-4.0, 5.0, 6.0]])
    at = torch.tensor([[0, 0, 2], [1, 1, 1]])
    src = torch.tensor([[7.0, -1.5, 2.0], [0.5, 3.0, -9.0]])
    for reduce in ("sum", "prod", "mean", "amax", "amin"):
        yield (x, 1, at, src, reduce), {}
        yield (x, 1, at[:, :2], src, reduce), {"include_self": False}


@lowering("scatter_reduce.two", checks_values=True, samples=_reductions)
def scatter_reduce(
    g: Graph,
    self: Array,
    dim: int,
    index: Array,
    src: Array,
    reduce: str,
    *,
    include_self: bool = True,
) -> Array:
    if moves.is_nothing(g, index.sizes) or moves.is_nothing(g, self.sizes):
        return self
    place = _places(g, self, dim, index)
    values = _sources(g, src, place)
    return _reduced(g, self, place, values, reduce, include_self)


def _reduced(
    g: Graph, self: Array, place: Array, values: Array, reduce: str, with_self: bool
) -> Array:
    opcode = _OPCODES[reduce]
    start, counts = self, None
    if reduce == "mean" or not with_self:
        counts = _counts(g, self, place)
    if not with_self:
        assert counts is not None
        identity = indexing.identity_of(opcode, self.hlo_dtype)
        kept = g.compare(counts, g.number(0, torch.float32), "EQ")
        start = g.select(kept, self, g.number(identity, self.dtype))
    made = indexing.write_flat(g, start, place, values, opcode)
    if reduce != "mean":
        return made
    assert counts is not None
    one = g.number(1, torch.float32)
    if with_self:
        counts = g.binary("add", counts, one)
    return _divided(g, made, g.binary("maximum", counts, one))


def _counts(g: Graph, self: Array, place: Array) -> Array:
    """f32: how many indices there are of each element."""
    zeros = g.full(self.dims, 0, torch.float32)
    ones = g.full(place.dims, 1, torch.float32)
    return indexing.write_flat(g, zeros, place, ones, "add")


def _divided(g: Graph, x: Array, counts: Array) -> Array:
    """Of integers, rounded down."""
    counts = g.convert(counts, x.dtype)
    quotient = g.binary("divide", x, counts)
    if x.dtype.is_floating_point:
        return quotient
    zero = g.number(0, x.dtype)
    rest = g.binary("subtract", x, g.binary("multiply", quotient, counts))
    below = g.compare(rest, zero, "LT")  # as what divides is positive
    return g.binary("subtract", quotient, g.convert(below, x.dtype))


def _puts() -> Iterator[Sample]:
    x = torch.arange(24.0).reshape(2, 3, 4)
    one, two = torch.tensor([1, -2, 0, 2]), torch.tensor([[0], [-1]])
    yield (x, [None, one[:3]], -torch.ones(2, 3, 4)), {}
    yield (x, [one[1:3].clamp(-1, 1)], torch.tensor(-1.0)), {}
    yield (x, [None, two, one], -torch.ones(2, 2, 4), True), {}
    yield (x, [two, None, one], torch.tensor([5.0]), True), {}
    yield (x, [torch.tensor(1), torch.tensor(-1)], torch.arange(4.0)), {}
    yield (x, [two, one[:2], one[:2]], -torch.ones(2)), {}
    yield (x, [x > 5.0], torch.tensor(-1.0)), {}


@lowering("_unsafe_index_put", checks_values=True, samples=_puts)
@lowering("index_put", checks_values=True, samples=_puts)
def index_put(
    g: Graph,
    self: Array,
    indices: Sequence[Array | None],
    values: Array,
    accumulate: bool = False,
) -> Array:
    (*_, mask) = indices
    if mask is not None and mask.dtype == torch.bool and len(indices) == 1:
        return _masked_put(g, self, mask, values, accumulate)
    at, first = indexed_dimensions(g, self, indices)
    if moves.is_nothing(g, self.sizes) or any(d.size == 0 for d in at.dims):
        return self
    if not accumulate:
        return indexing.write(g, self, at, values, first)
    if self.dtype.is_floating_point:
        return indexing.write(g, self, at, values, first, "add")
    if len(at.axes) < self.ndim:
        raise Unsupported(f"adds parts of {self.dtype} by index")
    place = _flat_places(g, self, at)
    return indexing.write_flat(g, self, place, values, "add")


def _masked_put(
    g: Graph, self: Array, mask: Array, values: Array, accumulate: bool
) -> Array:
    """One value wherever the mask is true."""
    if any(size != 1 for size in values.sizes):
        raise Unsupported("writes as many values as a mask has true elements")
    value = g.with_dims(values, ())
    opcode = "or" if self.dtype == torch.bool else "add"
    added = g.binary(opcode, self, value) if accumulate else value
    rest = self.ndim - mask.ndim
    where = g.insert_ones(mask, range(mask.ndim, mask.ndim + rest))
    return g.select(where, added, self)


def _flat_places(g: Graph, self: Array, at: indexing.Places) -> Array:
    """The places of elements all of whose dimensions are indexed, in the flat array."""
    total, valid = None, None
    stride = 1
    for index, dim in reversed(list(zip(at.indices, self.dims, strict=True))):
        place = indexing.all_flat_places(g, dim, index)
        inside = g.compare(place, g.number(0, torch.int32), "GE")
        valid = inside if valid is None else indexing.both(g, valid, inside)
        place = g.binary("multiply", place, g.number(stride, torch.int32))
        total = place if total is None else g.binary("add", total, place)
        stride *= dim.padded
    assert total is not None and valid is not None
    return g.select(valid, total, g.number(-1, torch.int32))


def _rows(g: Graph, self: Array, dim: int, index: Array) -> tuple[Array, Array, int]:
    """The array, with a dimension at least; indices of its parts; their dimension."""
    x = g.with_dims(self, self.dims or (moves.ONE,))
    axis = g.axis(x, dim)
    index = g.with_dims(index, index.dims or (moves.ONE,))
    return x, indexing.indices(g, index, x.dims[axis].size, wraps=False), axis


def _as_indices(g: Graph, x: Array, at: Array, axis: int) -> Array:
    """The indices of parts, as those of all their elements."""
    wide = g.insert_ones(at, [a for a in range(x.ndim) if a != axis])
    dims = [d if a != axis else at.dims[0] for a, d in enumerate(x.dims)]
    return g.expand(wide, tuple(dims))


def _parts_combined(
    g: Graph, self: Array, dim: int, index: Array, source: Array, opcode: str
) -> Array:
    if moves.is_nothing(g, index.sizes) or moves.is_nothing(g, self.sizes):
        return self
    x, at, axis = _rows(g, self, dim, index)
    source = g.with_dims(source, source.dims or (moves.ONE,))
    if opcode == "assign" or self.dtype.is_floating_point:
        where = indexing.places(g, (axis,), (at,))
        made = indexing.write(g, x, where, source, axis, opcode)
    else:
        wide = _as_indices(g, x, at, axis)
        place = indexing.all_places(g, x.dims, axis, wide)
        made = indexing.write_flat(g, x, place, source, opcode)
    return g.with_dims(made, self.dims)


@lowering("index_add", checks_values=True)
def index_add(
    g: Graph,
    self: Array,
    dim: int,
    index: Array,
    source: Array,
    *,
    alpha: Number = 1,
) -> Array:
    if not (isinstance(alpha, int) and alpha == 1):
        source = g.binary("multiply", source, g.number(alpha, source.dtype))
    return _parts_combined(g, self, dim, index, source, "add")


@lowering("index_copy", checks_values=True)
def index_copy(g: Graph, self: Array, dim: int, index: Array, source: Array) -> Array:
    return _parts_combined(g, self, dim, index, source, "assign")


@lowering("index_fill.int_Scalar", checks_values=True, samples="index_fill")
@lowering("index_fill.int_Tensor", checks_values=True, samples="index_fill")
def index_fill(
    g: Graph, self: Array, dim: int, index: Array, value: Array | Number
) -> Array:
    if moves.is_nothing(g, index.sizes) or moves.is_nothing(g, self.sizes):
        return self
    x, at, axis = _rows(g, self, dim, index)
    at = indexing.indices(g, at, x.dims[axis].size)
    where = indexing.places(g, (axis,), (at,))
    filled = indexing.write(g, x, where, g.operand(value, self.dtype), axis)
    return g.with_dims(filled, self.dims)


def _part_reductions() -> Iterator[Sample]:
    x = torch.tensor([[1.0, 2.0, 3.0], [-4.0, 5.0, 6.0]])
    src = torch.tensor([[7.0, -1.5], [0.5, 3.0]])
    for reduce in ("prod", "mean", "amax", "amin"):
        yield (x, 1, torch.tensor([2, 2]), src, reduce), {}
        yield (x, 1, torch.tensor([2, 0]), src, reduce), {"include_self": False}


@lowering("index_reduce", checks_values=True, samples=_part_reductions)
def index_reduce(
    g: Graph,
    self: Array,
    dim: int,
    index: Array,
    source: Array,
    reduce: str,
    *,
    include_self: bool = True,
) -> Array:
    if moves.is_nothing(g, index.sizes) or moves.is_nothing(g, self.sizes):
        return self
    x, at, axis = _rows(g, self, dim, index)
    source = g.with_dims(source, source.dims or (moves.ONE,))
    wide = _as_indices(g, x, at, axis)
    place = indexing.all_places(g, x.dims, axis, wide)
    made = _reduced(g, x, place, source, reduce, include_self)
    return g.with_dims(made, self.dims)


@lowering("put", checks_values=True)
def put(
    g: Graph, self: Array, index: Array, source: Array, accumulate: bool = False
) -> Array:
    if moves.is_nothing(g, index.sizes):
        return self
    x = moves.flattened(g, self)
    at = indexing.indices(g, index, x.dims[0].size)
    place = indexing.all_flat_places(g, x.dims[0], at)
    if source.dims != index.dims:
        for given in (source, index):
            g.require_exact(given, "has indices and values of different shapes")
        source = g.reshape(source, index.sizes)
    opcode = "add" if accumulate else "assign"
    made = indexing.write_flat(g, x, place, source, opcode)
    return g.with_dims(made, self.dims)


@lowering("masked_scatter", checks_values=True)
def masked_scatter(g: Graph, self: Array, mask: Array, source: Array) -> Array:
    if moves.is_nothing(g, self.sizes) or moves.is_nothing(g, source.sizes):
        return self
    self, mask = g.broadcast(self, mask)
    flat = moves.flattened(g, mask)
    taken = g.convert(g.masked(flat, (0,), False), torch.int32)
    count = moves.running_sum(g, taken)
    own = g.binary("subtract", count, g.number(1, torch.int32))
    values = moves.flattened(g, source)
    place = indexing.all_flat_places(g, values.dims[0], own)
    found = g.with_dims(indexing.read_flat(g, values, place), self.dims)
    return g.select(mask, found, self)
