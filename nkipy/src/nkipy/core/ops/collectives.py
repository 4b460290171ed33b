"""Collectives: operations on the data of several ranks.

A kernel is one program that every rank runs on its own data. Outside of a trace there
is only one rank, and these functions answer as if every rank held the same data; where
a launcher has started several, of which nothing would come, they are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np

from nkipy.core import dtypes as dt
from nkipy.core.backend.hlo import HLOTraceContext, get_hlo_context
from nkipy.core.ops._reduction import one_axis
from nkipy.core.ops._registry import Op
from nkipy.core.tensor import NKIPyTensorRef, as_tensor
from nkipy.hlo.builder import Value

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Groups = tuple[tuple[int, ...], ...]

#: What combines the data of ranks: the opcode for numbers, and that for bool.
_REDUCERS: dict[Any, tuple[str, str]] = {
    np.add: ("add", "or"),
    np.multiply: ("multiply", "and"),
    np.maximum: ("maximum", "or"),
    np.minimum: ("minimum", "and"),
}


#: Called before one answers for all ranks; :mod:`nkipy.distributed` has it raise in a
#: process that is one of several ranks.
before_answering_alone: list[Callable[[str], None]] = []


# -- arguments -------------------------------------------------------------------------
def _groups(replica_groups: Any) -> Groups:
    """Groups of ranks as tuples.

    Raises:
        TypeError: not a sequence of sequences of ints.
        ValueError: there is none, one is empty, sizes differ, or a rank is in two.
    """
    groups = tuple(tuple(index(r) for r in group) for group in replica_groups)
    ranks = [rank for group in groups for rank in group]
    if not ranks or len({len(group) for group in groups}) != 1:
        raise ValueError(
            "replica_groups must be groups of one size, each with a rank or more; "
            f"received {replica_groups}"
        )
    if len(set(ranks)) != len(ranks) or min(ranks) < 0:
        raise ValueError(
            f"replica_groups name a rank twice, or a negative one: {replica_groups}"
        )
    return groups


def _reducer(reduce_op: Any) -> tuple[str, str]:
    found = _REDUCERS.get(reduce_op) if isinstance(reduce_op, np.ufunc) else None
    if found is None:
        names = ", ".join(f"np.{ufunc.__name__}" for ufunc in _REDUCERS)
        raise ValueError(f"reduce_op must be one of {names}; received {reduce_op!r}")
    return found


def _check_divides(shape: Sequence[int], axis: int, parts: int) -> None:
    if shape[axis] % parts:
        raise ValueError(
            f"dimension {axis} of shape {tuple(shape)} does not divide by the "
            f"{parts} ranks of a group"
        )


def _pairs(source_target_pairs: Any) -> Groups:
    pairs = tuple(tuple(index(r) for r in pair) for pair in source_target_pairs)
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError(
            "source_target_pairs must be pairs of ranks; received "
            f"{source_target_pairs}"
        )
    for ends, what in zip(zip(*pairs), ("source", "target")):
        if len(set(ends)) != len(ends) or min(ends) < 0:
            raise ValueError(f"a {what} is negative or occurs twice: {pairs}")
    return pairs


def _resized(shape: Sequence[int], axis: int, size: int) -> tuple[int, ...]:
    return (*shape[:axis], size, *shape[axis + 1 :])


def _answers_alone(op: Op) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers a function of NumPy arrays, which answers for all ranks."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        @op.impl("cpu")
        @wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Any:
            for check in before_answering_alone:
                check(op.name)
            return function(*args, **kwargs)

        return function

    return register


def _wrap(ctx: HLOTraceContext, value: Value) -> NKIPyTensorRef:
    return NKIPyTensorRef._wrap(ctx, value)


# -- all_gather ------------------------------------------------------------------------
all_gather = Op("all_gather")


@all_gather.impl("hlo")
def _all_gather(
    data: ArrayLike, all_gather_dim: int, replica_groups: Sequence[Sequence[int]]
) -> NKIPyTensorRef:
    """The data of all ranks of a group, one after the other along a dimension.

    Args:
        data: an array of the same shape and dtype on every rank.
        all_gather_dim: the dimension; its size is multiplied by that of a group.
        replica_groups: lists of ranks, all of one length. Each exchanges among itself.

    Raises:
        AxisError: there is no such dimension.
        TypeError, ValueError: `replica_groups` are not disjoint groups of one size.
    """
    ctx, x = get_hlo_context(), as_tensor(data).backend_tensor
    groups, axis = _groups(replica_groups), one_axis(all_gather_dim, x.ndim)
    shape = _resized(x.shape, axis, x.shape[axis] * len(groups[0]))
    attributes = {"replica_groups": groups, "dimensions": (axis,)}
    return _wrap(ctx, ctx.emit("all-gather", (x,), shape, x.dtype, attributes))


@_answers_alone(all_gather)
def _all_gather_alone(
    data: Any, all_gather_dim: int, replica_groups: Any
) -> np.ndarray:
    x, groups = np.asarray(data), _groups(replica_groups)
    return np.concatenate([x] * len(groups[0]), one_axis(all_gather_dim, x.ndim))


# -- all_reduce ------------------------------------------------------------------------
all_reduce = Op(
    "all_reduce",
    note="small floats are summed as XLA and the hardware do, rounding to their dtype",
)


@all_reduce.impl("hlo")
def _all_reduce(
    data: ArrayLike,
    replica_groups: Sequence[Sequence[int]],
    reduce_op: np.ufunc = np.add,
) -> NKIPyTensorRef:
    """The data of all ranks of a group, combined element by element.

    Args:
        data: an array of the same shape and dtype on every rank.
        replica_groups: lists of ranks, all of one length.
        reduce_op: ``np.add``, ``np.multiply``, ``np.maximum`` or ``np.minimum``. On
            bool, adding is "or" and multiplying is "and", as in NumPy.

    Raises:
        TypeError, ValueError: `replica_groups` are not disjoint groups of one size.
        ValueError: `reduce_op` is something else.
    """
    ctx, x = get_hlo_context(), as_tensor(data).backend_tensor
    attributes = _reducing(ctx, x, replica_groups, reduce_op)
    return _wrap(ctx, ctx.emit("all-reduce", (x,), x.shape, x.dtype, attributes))


def _reducing(
    ctx: HLOTraceContext, x: Value, replica_groups: Any, reduce_op: Any
) -> dict[str, Any]:
    opcode = _reducer(reduce_op)[x.dtype == dt.bool_]
    to_apply = ctx.reducer(opcode, x.dtype)
    return {"replica_groups": _groups(replica_groups), "to_apply": to_apply}


@_answers_alone(all_reduce)
def _all_reduce_alone(
    data: Any, replica_groups: Any, reduce_op: Any = np.add
) -> np.ndarray:
    _reducer(reduce_op)
    x, ranks = np.asarray(data), len(_groups(replica_groups)[0])
    result = x.copy()
    for _ in range(ranks - 1):
        result = reduce_op(result, x)
    return result


# -- reduce_scatter --------------------------------------------------------------------
reduce_scatter = Op("reduce_scatter", note=all_reduce.note)


@reduce_scatter.impl("hlo")
def _reduce_scatter(
    data: ArrayLike,
    reduce_scatter_dim: int,
    replica_groups: Sequence[Sequence[int]],
    reduce_op: np.ufunc = np.add,
) -> NKIPyTensorRef:
    """The data of a group's ranks combined, of which each rank keeps its own part.

    Args:
        data: an array of the same shape and dtype on every rank.
        reduce_scatter_dim: the dimension that is divided among the ranks of a group, in
            their order in it.
        replica_groups, reduce_op: as for ``all_reduce``.

    Raises:
        AxisError: there is no such dimension.
        ValueError: it does not divide by the size of a group, or as ``all_reduce``.
    """
    ctx, x = get_hlo_context(), as_tensor(data).backend_tensor
    attributes = _reducing(ctx, x, replica_groups, reduce_op)
    axis = one_axis(reduce_scatter_dim, x.ndim)
    ranks = len(attributes["replica_groups"][0])
    _check_divides(x.shape, axis, ranks)
    shape = _resized(x.shape, axis, x.shape[axis] // ranks)
    attributes["dimensions"] = (axis,)
    return _wrap(ctx, ctx.emit("reduce-scatter", (x,), shape, x.dtype, attributes))


@_answers_alone(reduce_scatter)
def _reduce_scatter_alone(
    data: Any,
    reduce_scatter_dim: int,
    replica_groups: Any,
    reduce_op: Any = np.add,
) -> np.ndarray:
    whole = _all_reduce_alone(data, replica_groups, reduce_op)
    ranks = len(_groups(replica_groups)[0])
    axis = one_axis(reduce_scatter_dim, whole.ndim)
    _check_divides(whole.shape, axis, ranks)
    return np.split(whole, ranks, axis)[0]


# -- all_to_all ------------------------------------------------------------------------
all_to_all = Op("all_to_all")


@all_to_all.impl("hlo")
def _all_to_all(
    data: ArrayLike,
    split_dimension: int,
    concat_dimension: int,
    replica_groups: Sequence[Sequence[int]],
) -> NKIPyTensorRef:
    """Send a part of the data to each rank of the group; join the parts received.

    Args:
        data: an array of the same shape and dtype on every rank.
        split_dimension: the dimension that is divided; part `i` goes to rank `i` of the
            group.
        concat_dimension: the dimension along which the parts received are joined, in
            the order of the ranks in the group.
        replica_groups: lists of ranks, all of one length.

    Returns:
        `split_dimension` is divided by the size of a group, `concat_dimension`
        multiplied by it.

    Raises:
        AxisError: there is no such dimension.
        ValueError: it does not divide by the size of a group.
        TypeError, ValueError: `replica_groups` are not disjoint groups of one size.
    """
    ctx, x = get_hlo_context(), as_tensor(data).backend_tensor
    groups = _groups(replica_groups)
    split, concat = _exchange_axes(x.shape, split_dimension, concat_dimension, groups)
    # HLO's form divides and joins one dimension and keeps the shape, so the parts get a
    # dimension of their own, in front: part i there goes to rank i, and comes from it.
    ranks = len(groups[0])
    parts = (*x.shape[:split], ranks, x.shape[split] // ranks, *x.shape[split + 1 :])
    value = _moved_axis(ctx, ctx.reshape(x, parts), split, 0)
    attributes = {"replica_groups": groups, "dimensions": (0,)}
    value = ctx.emit("all-to-all", (value,), value.shape, value.dtype, attributes)
    one = value.shape[1:]
    value = _moved_axis(ctx, value, 0, concat)
    return _wrap(ctx, ctx.reshape(value, _resized(one, concat, ranks * one[concat])))


def _exchange_axes(
    shape: tuple[int, ...], split_dimension: Any, concat_dimension: Any, groups: Groups
) -> tuple[int, int]:
    split = one_axis(split_dimension, len(shape))
    concat = one_axis(concat_dimension, len(shape))
    _check_divides(shape, split, len(groups[0]))
    return split, concat


def _moved_axis(ctx: HLOTraceContext, x: Value, source: int, target: int) -> Value:
    order = [i for i in range(x.ndim) if i != source]
    order.insert(target, source)
    return ctx.transpose(x, order)


@_answers_alone(all_to_all)
def _all_to_all_alone(
    data: Any,
    split_dimension: int,
    concat_dimension: int,
    replica_groups: Any,
) -> np.ndarray:
    """As on the first rank of a group whose ranks all hold `data`."""
    x, groups = np.asarray(data), _groups(replica_groups)
    split, concat = _exchange_axes(x.shape, split_dimension, concat_dimension, groups)
    first = np.split(x, len(groups[0]), split)[0]
    return np.concatenate([first] * len(groups[0]), concat)


# -- collective_permute ----------------------------------------------------------------
collective_permute = Op("collective_permute")


@collective_permute.impl("hlo")
def _collective_permute(
    data: ArrayLike, source_target_pairs: Sequence[Sequence[int]]
) -> NKIPyTensorRef:
    """Send data from rank to rank. A rank that is no target receives zeros.

    Args:
        data: an array of the same shape and dtype on every rank.
        source_target_pairs: (source, target) ranks. No rank is a source twice, nor a
            target twice.

    Raises:
        TypeError, ValueError: `source_target_pairs` are not such pairs.
    """
    ctx, x = get_hlo_context(), as_tensor(data).backend_tensor
    attributes = {"source_target_pairs": _pairs(source_target_pairs)}
    return _wrap(
        ctx, ctx.emit("collective-permute", (x,), x.shape, x.dtype, attributes)
    )


@_answers_alone(collective_permute)
def _collective_permute_alone(data: Any, source_target_pairs: Any) -> np.ndarray:
    """As on rank 0: its source has the same data, if it has a source."""
    received = any(target == 0 for _, target in _pairs(source_target_pairs))
    x = np.asarray(data)
    return x.copy() if received else np.zeros_like(x)


# -- broadcast -------------------------------------------------------------------------
broadcast = Op("broadcast")


@broadcast.impl("hlo")
def _broadcast(
    data: ArrayLike, replica_groups: Sequence[Sequence[int]], root: int = 0
) -> NKIPyTensorRef:
    """The data of one rank of each group, on all ranks of the group.

    Args:
        data: an array of the same shape and dtype on every rank.
        replica_groups: lists of ranks, all of one length.
        root: the place in each group of the rank whose data it is.

    Raises:
        TypeError, ValueError: `replica_groups` are not disjoint groups of one size, or
            `root` is no place in one.
    """
    ctx, x = get_hlo_context(), as_tensor(data).backend_tensor
    groups = _groups(replica_groups)
    place = _place(root, groups)
    # Nothing is computed, so that NaN and the signs of zeros stay as they are; and
    # HLO's collective-broadcast is none of the opcodes that neuronx-cc lists.
    row = ctx.reshape(x, (1, *x.shape))
    attributes = {"replica_groups": groups, "dimensions": (0,)}
    shape = (len(groups[0]), *x.shape)
    rows = ctx.emit("all-gather", (row,), shape, x.dtype, attributes)
    value = ctx.slice_dim(rows, 0, place, place + 1)
    return _wrap(ctx, ctx.reshape(value, x.shape))


def _place(root: Any, groups: Groups) -> int:
    place = index(root)
    if not 0 <= place < len(groups[0]):
        raise ValueError(
            f"root must be a place in a group of {len(groups[0])} ranks, from 0 up; "
            f"received {root}"
        )
    return place


@_answers_alone(broadcast)
def _broadcast_alone(data: Any, replica_groups: Any, root: Any = 0) -> np.ndarray:
    _place(root, _groups(replica_groups))
    return np.array(data)


# -- rank ------------------------------------------------------------------------------
rank = Op("rank")


@rank.impl("hlo")
def _rank() -> NKIPyTensorRef:
    """The number of the rank that runs the kernel, as a 0-d uint32 array."""
    ctx = get_hlo_context()
    return _wrap(ctx, ctx.emit("replica-id", (), (), dt.uint32))


@rank.impl("cpu")
def _rank_alone() -> np.ndarray:
    return np.zeros((), np.uint32)
