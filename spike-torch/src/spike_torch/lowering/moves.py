"""Parts of arrays, and arrays put together: what gives elements other places.

Starts may be known only when the program runs. XLA clamps a start so that what is read
or written lies inside; here there is always room for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import torch

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import Value
from spike_torch.lowering.arrays import Array
from spike_torch.lowering.dims import ONE, Dim, dim_of
from spike_torch.lowering.sizes import Size, is_static, plain, product

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Graph

#: A place along a dimension: a number, or an s32 scalar of the program.
Place: TypeAlias = "int | Value"


def place(g: Graph, at: Size) -> Place:
    """The place that an expression of sizes stands for."""
    at = g.sizes.of(at)
    return at if isinstance(at, int) else g.size(at)


def wrapped(g: Graph, at: Size, size: Size) -> Place:
    """The place, which counts from the end if it is negative."""
    at = g.sizes.of(at)
    if isinstance(at, int):
        return at if at >= 0 else place(g, plain(size + at))
    value, count = g.size(at), g.size(size)
    negative = g.b.compare(value, g.b.scalar(0, dt.int32), "LT")
    return g.b.select(negative, g.b.add(value, count), value)


def bounded(g: Graph, at: Size, size: Size) -> Place:
    """The bound of a slice: negative ones count from the end, none lies outside."""
    at = g.sizes.of(at)
    if isinstance(at, int):
        if is_static(size):
            return min(max(at + size if at < 0 else at, 0), size)
        if 0 <= at:
            # If that is beyond the end, nothing of the result counts.
            return min(at, g.sizes.padded(size))
    found = wrapped(g, at, size)
    if isinstance(found, int):
        return found
    return g.b.clamp(g.b.scalar(0, dt.int32), found, g.size(size))


def part(g: Graph, x: Array, axis: int, start: Place, dim: Dim, step: int = 1) -> Array:
    """Elements from `start` on, each `step` after the other, as this dimension.

    Raises:
        NeedsExactSize: what counts is no prefix.
    """
    g.require_prefix(x, "takes a part of a merged dimension", (axis,))
    dims = (*x.dims[:axis], dim, *x.dims[axis + 1 :])
    return Array(part_of(g, x.value, axis, start, dim.padded, step), dims)


def part_of(
    g: Graph, x: Value, axis: int, start: Place, count: int, step: int = 1
) -> Value:
    """`count` elements from `start` on; zeros beyond the end."""
    span = (count - 1) * step + 1 if count else 0
    if isinstance(start, int):
        x = _with_room(g, x, axis, start + span)
        return g.b.slice_dim(x, axis, start, start + span, step)
    x = _with_room(g, x, axis, x.shape[axis] + max(span - 1, 0))
    sizes = (*x.shape[:axis], span, *x.shape[axis + 1 :])
    x = g.b.dynamic_slice(x, _starts(g, x, axis, start), sizes)
    return g.b.slice_dim(x, axis, 0, span, step)


def put(g: Graph, x: Value, update: Value, axis: int, start: Place) -> Value:
    """`x` with `update` from `start` on; what would lie beyond its end is left out."""
    room = x.shape[axis] + update.shape[axis]
    if isinstance(start, int):
        room = max(x.shape[axis], start + update.shape[axis])
    wide = _with_room(g, x, axis, room)
    made = g.b.dynamic_update_slice(wide, update, _starts(g, x, axis, start))
    return g.b.slice_dim(made, axis, 0, x.shape[axis])


def _starts(g: Graph, x: Value, axis: int, start: Place) -> list[Value]:
    zero = g.b.scalar(0, dt.int32)
    starts = [zero] * x.ndim
    starts[axis] = g.b.scalar(start, dt.int32) if isinstance(start, int) else start
    return starts


def _with_room(g: Graph, x: Value, axis: int, size: int) -> Value:
    """The array with zeros at its end, if it has fewer elements than `size`."""
    if x.shape[axis] >= size:
        return x
    config = [(0, 0, 0)] * x.ndim
    config[axis] = (0, size - x.shape[axis], 0)
    return g.b.pad(x, g.b.scalar(0, x.dtype), config)


def fitted(g: Graph, x: Value, axis: int, size: int) -> Value:
    """The array with so many elements along a dimension, cut or with zeros after it."""
    return g.b.slice_dim(_with_room(g, x, axis, size), axis, 0, size)


def concatenated(g: Graph, xs: Sequence[Array], axis: int) -> Array:
    """Arrays end to end along a dimension.

    Raises:
        NeedsExactSize: the data would not be where a program can tell.
    """
    xs = _alike(g, xs, axis)
    if len(xs) == 1:
        return xs[0]
    size = plain(sum(x.dims[axis].size for x in xs))
    if not any(x.dims[axis].is_padded for x in xs[:-1]):
        g.require_prefix(xs[-1], "joins merged dimensions", (axis,))
        value = g.b.concatenate([x.value for x in xs], axis)
        dim = g.dim(size)
        value = fitted(g, value, axis, dim.padded)
        return Array(value, (*xs[0].dims[:axis], dim, *xs[0].dims[axis + 1 :]))
    return _at_actual_places(g, xs, axis, size)


def _alike(g: Graph, xs: Sequence[Array], axis: int) -> list[Array]:
    """The arrays, whose other dimensions have their data in the same places."""
    for x in xs[1:]:
        for a, (one, other) in enumerate(zip(xs[0].dims, x.dims)):
            if a != axis and one != other:
                g.require_exact(xs[0], "joins arrays that lie differently", (a,))
                g.require_exact(x, "joins arrays that lie differently", (a,))
    return list(xs)


def _at_actual_places(g: Graph, xs: Sequence[Array], axis: int, size: Size) -> Array:
    """Each array written over the padding of the one before."""
    for x in xs:
        g.require_prefix(x, "joins merged dimensions", (axis,))
    dim = g.dim(size)
    room = sum(x.dims[axis].padded for x in xs)
    dims = (*xs[0].dims[:axis], dim, *xs[0].dims[axis + 1 :])
    shape = [d.padded for d in dims]
    shape[axis] = room
    made = fitted(g, xs[0].value, axis, room)
    start: Size = xs[0].dims[axis].size
    for x in xs[1:]:
        at = _starts(g, made, axis, place(g, start))
        made = g.b.dynamic_update_slice(made, x.value, at)
        start = plain(start + x.dims[axis].size)
    return Array(fitted(g, made, axis, dim.padded), dims)


def apart(g: Graph, x: Array, axis: int) -> tuple[Array, int]:
    """The array with a dimension of its own for each factor of one, and their number.

    The data is a prefix in each of them.
    """
    factors = x.dims[axis].factors
    if len(factors) == 1:
        return x, 1
    split = [Dim((f,)) for f in factors] or [ONE]
    dims = (*x.dims[:axis], *split, *x.dims[axis + 1 :])
    return g.with_dims(x, dims), len(split)


def together(g: Graph, x: Array, axis: int, count: int) -> Array:
    """The array with so many dimensions, from `axis` on, as one."""
    factors = [f for d in x.dims[axis : axis + count] for f in d.factors]
    dims = (*x.dims[:axis], dim_of(factors), *x.dims[axis + count :])
    return g.with_dims(x, dims)


def reversed_along(g: Graph, x: Array, axis: int) -> Array:
    """The elements along a dimension in the opposite order, the data still first."""
    x, count = apart(g, x, axis)
    for a in range(axis, axis + count):
        value = g.b.reverse(x.value, (a,))
        dim = x.dims[a]
        if dim.is_padded:
            start = g.size(plain(dim.padded - dim.size))
            value = part_of(g, value, a, start, dim.padded)
        x = Array(value, x.dims)
    return together(g, x, axis, count)


def rotated(g: Graph, x: Array, axis: int, shift: Size) -> Array:
    """Elements moved along a dimension, those beyond its end to its start."""
    dim = x.dims[axis]
    if is_static(dim.size) and isinstance(shift, int):
        first = -shift % dim.size if dim.size else 0
        parts = [(first, dim.size), (0, first)]
        values = [g.b.slice_dim(x.value, axis, *p) for p in parts if p[0] < p[1]]
        return Array(g.b.concatenate(values, axis), x.dims) if values else x
    g.require_prefix(x, "rolls a merged dimension", (axis,))
    twice = fitted(g, x.value, axis, 2 * dim.padded)
    count = g.size(dim.size)
    twice = put(g, twice, x.value, axis, count)
    back = g.number(plain(-shift), torch.int64).value  # of 64 bits, as any number's
    least = g.b.binary("remainder", back, g.b.convert(count, dt.int64))
    least = g.b.convert(least, dt.int32)
    positive = g.b.binary("remainder", g.b.add(least, count), count)
    return Array(part_of(g, twice, axis, positive, dim.padded), x.dims)


def repeated(g: Graph, x: Array, repeats: Sequence[Size]) -> Array:
    """The array so many times along each of its dimensions."""
    shape: list[int] = []
    dims: list[Dim] = []
    for times, own in zip(repeats, x.dims, strict=True):
        first = g.dim(times)
        shape += [first.padded, own.padded]
        dims.append(dim_of((*first.factors, *own.factors)))
    places = range(1, 2 * x.ndim, 2)
    value = g.b.broadcast_in_dim(x.value, shape, tuple(places))
    return Array(g.b.reshape(value, tuple(d.padded for d in dims)), tuple(dims))


def flattened(g: Graph, x: Array) -> Array:
    """All elements in one dimension, wherever their data is."""
    return together(g, x, 0, x.ndim) if x.ndim else g.insert_ones(x, (0,))


def running_sum(g: Graph, x: Array) -> Array:
    """Of one dimension: each element with all before it, what is padding as well."""
    value, step = x.value, 1
    zero = g.b.scalar(0, x.hlo_dtype)
    while step < x.value.shape[0]:
        value = g.b.add(value, g.b.pad(value, zero, ((step, -step, 0),)))
        step *= 2
    return Array(value, x.dims)


def is_nothing(g: Graph, sizes: Sequence[Size]) -> bool:
    """Whether a tensor of these sizes has no elements."""
    return product(map(g.sizes.of, sizes)) == 0


def nothing(g: Graph) -> Array:
    """The result that has no elements."""
    return g.full(g.result.sizes, 0, g.result.dtype)


def int32(g: Graph, x: Array) -> Array:
    """Indices, in the dtype that programs count in."""
    return g.convert(x, torch.int32)
