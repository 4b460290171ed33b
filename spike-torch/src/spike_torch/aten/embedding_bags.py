"""Rows of a table that are combined in bags, and their gradients."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING

import torch

from spike_torch.aten.record import Sample, lowering
from spike_torch.lowering import indexing, moves
from spike_torch.lowering.errors import Unsupported
from spike_torch.lowering.indexing import both
from spike_torch.lowering.sizes import MOST_ELEMENTS

if TYPE_CHECKING:
    from spike_torch.lowering.graph import Array, Graph
    from spike_torch.lowering.sizes import Size

_SUM, _MEAN, _MAX = range(3)
_int = torch.int32


# -- parts of lowerings ----------------------------------------------------------------
def _bags(g: Graph, indices: Array, offsets: Array) -> Array:
    """s32: the bag of each index, which is the last one that begins before it."""
    starts = moves.int32(g, g.insert_ones(offsets, (0,)))
    at = g.insert_ones(g.iota(indices.dims, 0, _int), (1,))
    _require_room((at, starts))
    begun = g.convert(g.compare(starts, at, "LE"), _int)
    return g.binary("subtract", g.sum(begun, (1,)), g.number(1, _int))


def _require_room(xs: tuple[Array, ...]) -> None:
    count = prod(prod(x.value.shape) for x in xs)
    if count > MOST_ELEMENTS:
        raise Unsupported(
            f"has {count} pairs of indices and bags, more than {MOST_ELEMENTS}"
        )


def _require_float32(x: Array) -> None:
    if x.dtype != torch.float32:
        raise Unsupported(f"puts rows of {x.dtype} in bags")


def _counted(g: Graph, at: Array, padding_idx: Size) -> Array | None:
    """Booleans: which indices are of a row that counts; None if all are."""
    if isinstance(padding_idx, int) and padding_idx < 0:
        return None
    return g.compare(at, g.number(padding_idx, _int), "NE")


def _only(g: Graph, bags: Array, counted: Array | None) -> Array:
    """Bags of what counts; of the rest they are none."""
    return bags if counted is None else g.select(counted, bags, g.number(-1, _int))


def _sums(g: Graph, rows: Array, bags: Array, like: Array) -> Array:
    return indexing.write(g, like, indexing.places(g, (0,), (bags,)), rows, 0, "add")


# -- forward ---------------------------------------------------------------------------
def _samples() -> Iterator[Sample]:
    weight = torch.linspace(-3, 4, 15).reshape(5, 3)
    at, starts = torch.tensor([0, 2, 2, 4, 1, 1]), torch.tensor([0, 2, 2])
    each = torch.tensor([1.0, 2.0, -1.0, 0.5, 3.0, 0.25])
    ends = torch.cat([starts, torch.tensor([6])])
    for mode in (_SUM, _MEAN, _MAX):
        yield (weight, at, starts, False, mode, False, None, False, -1), {}
        yield (weight, at.int(), ends.int(), False, mode, False, None, True, 2), {}
    yield (weight, at, starts, False, _SUM, False, each), {}


@lowering(
    "_embedding_bag _embedding_bag_forward_only",
    checks_values=True,
    samples=lambda: (s for s in _samples() if s[0][4] != _MEAN or not s[0][7]),
)
def embedding_bag(
    g: Graph,
    weight: Array,
    indices: Array,
    offsets: Array,
    scale_grad_by_freq: bool = False,
    mode: int = _SUM,
    sparse: bool = False,
    per_sample_weights: Array | None = None,
    include_last_offset: bool = False,
    padding_idx: Size = -1,
) -> tuple[Array, ...]:
    _require_float32(weight)
    zeros = tuple(g.full(r.sizes, 0, r.dtype) for r in g.results)
    if any(moves.is_nothing(g, x.sizes) for x in (weight, indices, zeros[0])):
        return zeros
    at = indexing.indices(g, indices, weight.dims[0].size, wraps=False)
    bags = _bags(g, indices, offsets)
    rows, counted = indexing.read_rows(g, weight, at), _counted(g, at, padding_idx)
    told = bags if zeros[1].ndim and zeros[1].sizes[0] != 0 else zeros[1]
    told = g.convert(told, zeros[1].dtype)
    own = _only(g, bags, counted)
    if mode == _SUM:
        if per_sample_weights is not None:
            by = g.insert_ones(per_sample_weights, (1,))
            rows = g.binary("multiply", rows, by)
        return _sums(g, rows, own, zeros[0]), told, *zeros[2:]
    sizes = _sizes(g, own, zeros[0])
    if mode == _MAX:
        if sizes.sizes != zeros[2].sizes:
            raise Unsupported(
                "returns a count that torch's shape rule has another size of"
            )
        count = g.convert(sizes, zeros[2].dtype)
        made, places = _greatest(g, rows, own, at, zeros[0])
        return made, told, count, g.convert(places, zeros[3].dtype)
    total = _sums(g, rows, own, zeros[0])
    one = g.number(1, _int)
    by = g.convert(g.binary("maximum", sizes, one), total.dtype)
    mean = g.binary("divide", total, g.insert_ones(by, (1,)))
    # Elsewhere than on the CPU, torch's shape rule counts the last offset for a bag,
    # which is empty, and has no places of means.
    count = g.convert(_sizes(g, own, zeros[2]), zeros[2].dtype)
    return mean, told, count, count if zeros[3].sizes == count.sizes else zeros[3]


def _sizes(g: Graph, bags: Array, like: Array) -> Array:
    """s32: how many indices each bag has."""
    own = g.iota(like.dims[:1], 0, _int)
    one = g.insert_ones(own, (0,))
    other = g.insert_ones(bags, (1,))
    _require_room((own, bags))
    return g.sum(g.convert(g.compare(one, other, "EQ"), _int), (0,))


def _greatest(
    g: Graph, rows: Array, bags: Array, at: Array, like: Array
) -> tuple[Array, Array]:
    """The greatest of each bag by column, and the row of the table that it is of.

    Of equal ones it is the first. What is no number stays if it is the first of a bag,
    and is left out otherwise.
    """
    number, width = bags.dims[0], rows.dims[1]
    dims = (like.dims[0], number, width)
    _require_room((like, bags))
    mine = g.compare(
        g.insert_ones(g.iota(dims[:1], 0, _int), (1, 2)),
        g.insert_ones(bags, (0, 2)),
        "EQ",
    )
    mine = g.expand(mine, dims)
    place = g.iota(dims, 1, _int)
    none = g.number(2**31 - 1, _int)
    first = g.reduce(g.select(mine, place, none), "minimum", 2**31 - 1, (1,), True)
    wide = g.expand(g.insert_ones(rows, (0,)), dims)
    lowest = g.number(float("-inf"), rows.dtype)
    is_number = g.compare(wide, wide, "EQ")
    best = g.maximum(g.select(both(g, mine, is_number), wide, lowest), (1,), True)
    found = both(g, mine, g.compare(wide, best, "EQ"))
    chosen = g.reduce(g.select(found, place, none), "minimum", 2**31 - 1, (1,), True)
    is_first = g.compare(place, first, "EQ")
    begins_with_none = both(g, is_first, g.unary("not", is_number))
    stays = g.reduce(g.convert(begins_with_none, _int), "maximum", 0, (1,), True)
    stays = g.compare(stays, g.number(0, _int), "GT")
    chosen = g.select(stays, first, chosen)
    is_chosen = g.compare(place, chosen, "EQ")
    zero, no_place = g.number(0, rows.dtype), g.number(0, _int)
    made = g.sum(g.select(is_chosen, wide, zero), (1,))
    source = g.insert_ones(at, (0, 2))
    return made, g.sum(g.select(is_chosen, source, no_place), (1,))


# -- backward --------------------------------------------------------------------------
def _gradients() -> Iterator[Sample]:
    for (*args,), _ in _samples():
        weight, at, starts, _, mode, *_ = args
        each = args[6]
        padding = args[8] if len(args) > 8 else -1
        made, bags, sizes, places = torch.ops.aten._embedding_bag(*args)
        given = (made.cos(), at, starts, bags, sizes, places, len(weight))
        yield (*given, False, mode, False, each, padding), {}


@lowering("_embedding_bag_backward", checks_values=True, samples=_gradients)
def embedding_bag_backward(
    g: Graph,
    grad: Array,
    indices: Array,
    offsets: Array,
    offset2bag: Array,
    bag_size: Array,
    maximum_indices: Array,
    num_weights: Size,
    scale_grad_by_freq: bool,
    mode: int,
    sparse: bool,
    per_sample_weights: Array | None,
    padding_idx: Size = -1,
) -> Array:
    if sparse:
        raise Unsupported("has a sparse gradient")
    if scale_grad_by_freq:  # the CPU divides by other rows' counts
        raise Unsupported("scales a gradient by how often rows are taken")
    _require_float32(grad)
    made = g.full((g.dim(g.result.sizes[0]), grad.dims[1]), 0, grad.dtype)
    if any(moves.is_nothing(g, x.sizes) for x in (grad, indices, made)):
        return made
    if mode == _MAX:
        return _to_greatest(g, grad, bag_size, maximum_indices, made)
    at = indexing.indices(g, indices, made.dims[0].size, wraps=False)
    bags = _bags(g, indices, offsets)
    rows = indexing.read_rows(g, grad, bags)
    if mode == _MEAN:
        sizes = moves.int32(g, indexing.read_rows(g, moves.int32(g, bag_size), bags))
        by = g.convert(g.binary("maximum", sizes, g.number(1, _int)), rows.dtype)
        rows = g.binary("divide", rows, g.insert_ones(by, (1,)))
    if per_sample_weights is not None:
        by = g.insert_ones(per_sample_weights, (1,))
        rows = g.binary("multiply", rows, by)
    counted = _counted(g, at, padding_idx)
    own = _only(g, at, counted)
    return _sums(g, rows, own, made)


def _to_greatest(
    g: Graph, grad: Array, sizes: Array, places: Array, made: Array
) -> Array:
    """What each bag's gradient gives to the row that is its greatest, by column."""
    filled = g.compare(sizes, g.number(0, sizes.dtype), "GT")
    at = g.select(
        g.insert_ones(filled, (1,)), moves.int32(g, places), g.number(-1, _int)
    )
    column = g.iota(at.dims, 1, _int)
    where = indexing.places(g, (0, 1), (at, column))
    return indexing.write(g, made, where, grad, 0, "add")


def _weight_gradients() -> Iterator[Sample]:
    for (*args,), _ in _samples():
        weight, at, starts, _, mode, *_ = args
        padding = args[8] if len(args) > 8 else -1
        made, bags, *_ = torch.ops.aten._embedding_bag(*args)
        if mode == _SUM:
            yield (made.cos(), weight, at, starts, bags, mode, padding), {}


@lowering(
    "_embedding_bag_per_sample_weights_backward",
    checks_values=True,
    samples=_weight_gradients,
    rounding=8,
)
def per_sample_weights_backward(
    g: Graph,
    grad: Array,
    weight: Array,
    indices: Array,
    offsets: Array,
    offset2bag: Array,
    mode: int,
    padding_idx: Size = -1,
) -> Array:
    _require_float32(weight)
    if any(moves.is_nothing(g, x.sizes) for x in (grad, weight, indices)):
        return g.full(indices.dims, 0, grad.dtype)
    at = indexing.indices(g, indices, weight.dims[0].size, wraps=False)
    rows = indexing.read_rows(g, weight, at)
    grads = indexing.read_rows(g, grad, _bags(g, indices, offsets))
    made = g.sum(g.binary("multiply", rows, grads), (1,))
    counted = _counted(g, at, padding_idx)
    if counted is None:
        return made
    return g.select(counted, made, g.number(0, made.dtype))
