"""Collectives in which each rank sends and receives as much as the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np

from nkipy.chips import Chip
from nkipy_nki.calls import Call
from nkipy_nki.collectives.declaring import REDUCTION, by_ring, collective, one_step
from nkipy_nki.collectives.groups import ReplicaGroup, equal_lists, valid_group
from nkipy_nki.collectives.rendezvous import Rendezvous, begin, memories_fit, rank_of
from nkipy_nki.collectives.rules import (
    fits,
    on_hbm,
    one_tensor,
    priority_of_gen4,
    tensors,
)
from nkipy_nki.collectives.sampling import (
    DTYPES,
    GROUPS,
    PAIR,
    given,
    of_ranks,
    wrong_lists,
)
from nkipy_nki.dtypes import DTypeRecord, narrow, widen
from nkipy_nki.operators import OPERATIONS
from nkipy_nki.program import Instruction, View
from nkipy_nki.records import Sample
from nkipy_nki.regions import MemoryRegion
from nkipy_nki.sampling import numbers, together

__all__ = [
    "all_gather",
    "all_reduce",
    "all_to_all",
    "collective_permute",
    "reduce_scatter",
]


def reduced(op: str, parts: Sequence[np.ndarray], dtype: DTypeRecord) -> np.ndarray:
    """Elements of ranks together, in the ranks' order: in float32; integers exactly."""
    compute = OPERATIONS[op].compute
    whole = np.issubdtype(parts[0].dtype, np.integer)
    total: Any = None
    for part in parts:
        values = part.astype(np.int64) if whole else widen(part, dtype)
        total = values if total is None else compute(total, values)
    return narrow(total, dtype)


def _split(elements: np.ndarray, count: int, index: int) -> np.ndarray:
    """One of so many parts, along the first dimension."""
    rows = elements.shape[0] // count
    return elements[index * rows : (index + 1) * rows]


def _for_each(call: Call, give: Any, *, same: bool = False) -> None:
    """Exchange each source; `give` makes what is received of what all sent."""
    rendezvous = begin(call)
    if rendezvous is None:
        return
    pairs = list(zip(call.operands["srcs"], call.operands["dsts"]))
    mine = [rendezvous.sent(src, "srcs") for src, _ in pairs]
    contributions = rendezvous.exchange(mine)
    for number, (_, dst) in enumerate(pairs):
        theirs = _nth(contributions, number)
        if rendezvous.require_alike(mine[number], "srcs", theirs):
            parts = [values for values, _ in theirs]
            received = give(rendezvous, parts, dst)
            rendezvous.receive(dst, "dsts", received, same=same)
    rendezvous.end()


def _nth(contributions: Sequence[Any], number: int) -> list[tuple[np.ndarray, str]]:
    """What each rank contributed of one tensor; nothing, if it has fewer."""
    return [
        (values[number] if number < len(values) else np.empty(0, bool), place)
        for values, place, _ in contributions
    ]


def _same_shape(shape: tuple[int, ...], count: int, dim: int) -> Any:
    return shape


def _longer(shape: tuple[int, ...], count: int, dim: int) -> Any:
    return (*shape[:dim], shape[dim] * count, *shape[dim + 1 :])


def _shorter(shape: tuple[int, ...], count: int, dim: int) -> Any:
    if shape[0] % count:
        return f"srcs has {shape[0]} rows, which {count} ranks do not divide"
    return (shape[0] // count, *shape[1:])


def _divided(shape: tuple[int, ...], count: int, dim: int) -> Any:
    wanted = _shorter(shape, count, dim)
    return wanted if isinstance(wanted, str) else shape


_LISTS = (valid_group, tensors("srcs", "dsts"), priority_of_gen4)


# -- all_reduce ------------------------------------------------------------------------
def _all_reduce(call: Call) -> None:
    op = call.attributes["op"]

    def give(rendezvous: Rendezvous, parts: list[np.ndarray], dst: View) -> np.ndarray:
        return reduced(op, parts, dst.dtype)

    _for_each(call, give, same=True)


def _reductions() -> Iterator[Sample]:
    for group in GROUPS:
        ranks = sum(map(len, group))
        for op in ("add", "maximum", "minimum"):
            yield _alike(ranks, (4, 6), (4, 6), replica_group=group, op=op, label=op)
    for dtype in DTYPES:
        x = _alike(2, (4, 6), (4, 6), dtype, replica_group=PAIR, op="add")
        yield replace(x, label=np.dtype(dtype).name)
    on_chip = {"region": MemoryRegion.sbuf, "label": "SBUF"}
    yield _alike(2, (4, 6), (4, 6), **on_chip, replica_group=PAIR, op="add")
    yield _alike(2, (4, 6), (4, 6), tensors=3, replica_group=PAIR, op="add")


def _alike(count: int, *shapes: Any, **named: Any) -> Sample:
    """All ranks give the same, but for the elements."""
    return of_ranks(count, lambda rank: given(rank, *shapes, **named))


def _wrong_reductions() -> Iterator[Sample]:
    right = {"replica_group": PAIR, "op": "add"}
    yield from wrong_lists(**right)
    yield given(0, (4, 6), (4, 5), **right, message="must have [4, 6]")
    wrong = {**right, "op": "multiply"}
    yield given(0, (4, 6), (4, 6), **wrong, message="op is multiply")
    several = {"tensors": 2, "region": MemoryRegion.sbuf}
    yield given(0, (4, 6), (4, 6), **several, **right, message="may have one in SBUF")
    shared = {**right, "region": MemoryRegion.shared_hbm}
    yield _alike(2, (4, 6), (4, 6), **shared, message="must be in private_hbm")
    other = given(1, (4, 5), (4, 5), **right)
    first = given(0, (4, 6), (4, 6), **right, message="that of rank")
    yield together([first, other])


@collective(
    _all_reduce,
    [*_LISTS, fits(_same_shape)],
    by_ring(2),
    samples=_reductions,
    refused=_wrong_reductions,
    operations=REDUCTION,
)
def all_reduce(
    srcs: Any,
    dsts: Any,
    replica_group: ReplicaGroup,
    op: Any,
    priority: int | None = None,
    name: str | None = None,
) -> Instruction:
    """Reduce the tensors of all ranks, element by element; each gets the result.

    Floats are reduced in float32 in the order of the ranks in their list, integers
    exactly.

    Args:
        srcs: tensors that the kernel has made, in HBM, or one of two dimensions in
            SBUF. Ranks of one core send from ``private_hbm``.
        dsts: as many, of the same shapes and dtypes.
        replica_group: which ranks reduce together.
        op: ``nl.add``, ``nl.minimum`` or ``nl.maximum``.
        priority: 0 to 3, on gen4; the simulator does not look at it.
    """
    raise NotImplementedError


# -- all_gather ------------------------------------------------------------------------
def _all_gather(call: Call) -> None:
    dim = call.attributes["collective_dim"]

    def give(rendezvous: Rendezvous, parts: list[np.ndarray], dst: View) -> np.ndarray:
        return np.concatenate(parts, dim)

    _for_each(call, give, same=True)


def _gatherings() -> Iterator[Sample]:
    for group in GROUPS:
        ranks, of_list = sum(map(len, group)), len(group[0])
        named = {"replica_group": group, "collective_dim": 0}
        yield _alike(ranks, (2, 6), (2 * of_list, 6), **named)
    for dtype in DTYPES:
        yield _alike(2, (2, 6), (4, 6), dtype, replica_group=PAIR, collective_dim=0)
    on_chip = {"region": MemoryRegion.sbuf, "replica_group": PAIR}
    yield _alike(2, (4, 6), (4, 12), **on_chip, collective_dim=1, label="columns")


def _wrong_gatherings() -> Iterator[Sample]:
    right = {"replica_group": PAIR, "collective_dim": 0}
    yield given(0, (4, 6), (4, 6), **right, message="must have [8, 6]")
    wrong = {**right, "collective_dim": 1}
    yield given(0, (4, 6), (4, 12), **wrong, message="may be 0 here")
    unequal = {**right, "replica_group": ((0, 1), (2,))}
    yield given(0, (4, 6), (8, 6), **unequal, message="lists of [1, 2] ranks")


@collective(
    _all_gather,
    [*_LISTS, equal_lists, fits(_longer)],
    by_ring(),
    samples=_gatherings,
    refused=_wrong_gatherings,
)
def all_gather(
    srcs: Any,
    dsts: Any,
    replica_group: ReplicaGroup,
    collective_dim: int,
    priority: int | None = None,
    name: str | None = None,
) -> Instruction:
    """Give each rank the tensors of all, one after the other.

    Args:
        srcs: as for ``all_reduce``.
        dsts: as many; along `collective_dim` as many times as long as there are ranks.
        replica_group: which ranks gather together, lists of one length.
        collective_dim: 0; in SBUF also 1.
        priority: 0 to 3, on gen4; the simulator does not look at it.
    """
    raise NotImplementedError


# -- reduce_scatter --------------------------------------------------------------------
def _reduce_scatter(call: Call) -> None:
    op = call.attributes["op"]

    def give(rendezvous: Rendezvous, parts: list[np.ndarray], dst: View) -> np.ndarray:
        count, index = len(rendezvous.ranks), rendezvous.index
        return reduced(op, [_split(p, count, index) for p in parts], dst.dtype)

    _for_each(call, give)


def _scatterings() -> Iterator[Sample]:
    for group in GROUPS:
        ranks, of_list = sum(map(len, group)), len(group[0])
        for op in ("add", "maximum"):
            named = {"replica_group": group, "collective_dim": 0, "op": op}
            yield _alike(ranks, (4, 6), (4 // of_list, 6), **named)
    for dtype in DTYPES:
        named = {"replica_group": PAIR, "collective_dim": 0, "op": "minimum"}
        yield _alike(2, (4, 6), (2, 6), dtype, **named)


def _wrong_scatterings() -> Iterator[Sample]:
    right = {"replica_group": PAIR, "collective_dim": 0, "op": "add"}
    yield given(0, (3, 6), (1, 6), **right, message="which 2 ranks do not divide")
    yield given(0, (4, 6), (4, 6), **right, message="must have [2, 6]")
    wrong = {**right, "collective_dim": 1}
    yield given(0, (4, 6), (2, 6), **wrong, message="may be 0 here")
    wrong = {**right, "op": "multiply"}
    yield given(0, (4, 6), (2, 6), **wrong, message="op is multiply")


@collective(
    _reduce_scatter,
    [*_LISTS, equal_lists, fits(_shorter)],
    by_ring(),
    samples=_scatterings,
    refused=_wrong_scatterings,
    operations=REDUCTION,
)
def reduce_scatter(
    srcs: Any,
    dsts: Any,
    replica_group: ReplicaGroup,
    collective_dim: int,
    op: Any,
    priority: int | None = None,
    name: str | None = None,
) -> Instruction:
    """Reduce the tensors of all ranks; each gets its part of the result.

    Args:
        srcs: as for ``all_reduce``; the ranks divide the first dimension.
        dsts: as many; the first dimension is a rank's part.
        replica_group: which ranks reduce together, lists of one length.
        collective_dim: 0.
        op: ``nl.add``, ``nl.minimum`` or ``nl.maximum``.
        priority: 0 to 3, on gen4; the simulator does not look at it.
    """
    raise NotImplementedError


# -- all_to_all ------------------------------------------------------------------------
def _all_to_all(call: Call) -> None:
    def give(rendezvous: Rendezvous, parts: list[np.ndarray], dst: View) -> np.ndarray:
        count, index = len(rendezvous.ranks), rendezvous.index
        return np.concatenate([_split(part, count, index) for part in parts])

    _for_each(call, give)


def _parts_for_all() -> Iterator[Sample]:
    for group in GROUPS:
        ranks = sum(map(len, group))
        named = {"replica_group": group, "collective_dim": 0}
        yield _alike(ranks, (4, 6), (4, 6), **named)
        yield _alike(ranks, (4, 2), (4, 2), np.int32, tensors=2, **named)


def _wrong_parts_for_all() -> Iterator[Sample]:
    right = {"replica_group": PAIR, "collective_dim": 0}
    yield given(0, (3, 6), (3, 6), **right, message="which 2 ranks do not divide")
    on_chip = {"region": MemoryRegion.sbuf}
    yield given(0, (4, 6), (4, 6), **on_chip, **right, message="must be in HBM")


@collective(
    _all_to_all,
    [*_LISTS, on_hbm, equal_lists, fits(_divided)],
    by_ring(),
    samples=_parts_for_all,
    refused=_wrong_parts_for_all,
)
def all_to_all(
    srcs: Any,
    dsts: Any,
    replica_group: ReplicaGroup,
    collective_dim: int,
    priority: int | None = None,
    name: str | None = None,
) -> Instruction:
    """Send each rank its part of a tensor, and receive as many parts.

    Args:
        srcs: tensors in HBM that the kernel has made; the ranks divide the first
            dimension.
        dsts: as many, of the same shapes.
        replica_group: which ranks exchange parts, lists of one length.
        collective_dim: 0.
        priority: 0 to 3, on gen4; the simulator does not look at it.
    """
    raise NotImplementedError


# -- collective_permute ----------------------------------------------------------------
def _pairs_of_ranks(made: Instruction, chip: Chip) -> str | None:
    pairs = made.attributes["source_target_pairs"]
    if not isinstance(pairs, tuple) or not pairs:
        return f"source_target_pairs is {pairs!r}, and must be a list of pairs"
    for pair in pairs:
        if not isinstance(pair, tuple) or [type(r) for r in pair] != [int, int]:
            return f"source_target_pairs has {pair!r}, which is no pair of ranks"
    for ranks, what in zip(zip(*pairs), ("source", "target")):
        for rank in ranks:
            if rank < 0 or ranks.count(rank) > 1:
                return f"source_target_pairs has rank {rank} as a {what} " + (
                    "twice" if rank >= 0 else "too"
                )
    return None


def _equal_shapes(made: Instruction, chip: Chip) -> str | None:
    (src,), (dst,) = made.operands["srcs"], made.operands["dsts"]
    if tuple(src.shape) != tuple(dst.shape):
        return (
            f"srcs has the shape {list(src.shape)} and dsts {list(dst.shape)}: they "
            "must be equal"
        )
    return None


def _permute(call: Call) -> None:
    pairs = call.attributes["source_target_pairs"]
    ranks = sorted({rank for pair in pairs for rank in pair})
    core = call.machine.core
    count = 1 if core is None else core.group.ranks
    if ranks[-1] >= count:
        text = f"rank {ranks[-1]} does not take part: there are {count} ranks"
        call.report("wrong-operand", text)
        return
    if core is not None:
        core.enter(call.instruction)
    rank = rank_of(call)
    if rank not in ranks or not memories_fit(call):
        return
    rendezvous = Rendezvous(call, ranks)
    (src,), (dst,) = call.operands["srcs"], call.operands["dsts"]
    sends = any(rank == source for source, _ in pairs)
    contributions = rendezvous.exchange(rendezvous.sent(src, "srcs") if sends else None)
    for source, target in pairs:
        if target == rank:
            values, place, _ = contributions[ranks.index(source)]
            pass_on(rendezvous, values, place, dst, source)
    rendezvous.end()


def pass_on(
    rendezvous: Rendezvous,
    values: np.ndarray,
    place: str,
    dst: View,
    source: int,
    name: str = "dsts",
) -> None:
    """Receive what one rank sends, at a place in its kernel."""
    if values.shape != tuple(dst.shape) or values.dtype != dst.dtype.element:
        rendezvous.call.report(
            "wrong-operand",
            f"{name} is {list(dst.shape)} {dst.dtype.name}, and rank {source} sends "
            f"{list(values.shape)} of {values.dtype} at {place}",
        )
        return
    rendezvous.receive(dst, name, values)


#: By how many ranks: which sends to which.
_PERMUTATIONS = (
    *((2, ((0, 1), (1, 0))), (4, ((0, 1), (1, 2), (2, 3), (3, 0)))),
    *((3, ((0, 2), (2, 0))), (3, ((0, 1), (1, 2)))),
)


def _permutations() -> Iterator[Sample]:
    for count, pairs in _PERMUTATIONS:
        for dtype in (np.float32, ml_dtypes.bfloat16):
            yield of_ranks(count, partial(_permuted, pairs, dtype))


def _permuted(pairs: Any, dtype: Any, rank: int) -> Sample:
    """A rank that no pair has for a target keeps what it has."""
    made = given(rank, (4, 6), (4, 6), dtype, source_target_pairs=pairs)
    kept = [numbers(dtype, (4, 6), 77 + rank)]
    return replace(made, operands={**made.operands, "dsts": kept})


def _wrong_permutations() -> Iterator[Sample]:
    yield from wrong_lists(source_target_pairs=((0, 0),))
    for pairs, message in (
        ((), "must be a list of pairs"),
        (((0, 1), (0, 2)), "rank 0 as a source twice"),
        (((0, 1), (2, 1)), "rank 1 as a target twice"),
        (((0,),), "no pair of ranks"),
        (((0, 7),), "rank 7 does not take part"),
    ):
        x = given(0, (4, 6), (4, 6), source_target_pairs=pairs, message=message)
        yield x
    right = {"source_target_pairs": ((0, 0),)}
    yield given(0, (4, 6), (6, 4), **right, message="they must be equal")
    yield given(0, (4, 6), (4, 6), tensors=2, **right, message="must have one")


@collective(
    _permute,
    [
        *(tensors("srcs", "dsts"), priority_of_gen4, on_hbm, one_tensor),
        *(_pairs_of_ranks, _equal_shapes),
    ],
    one_step(),
    samples=_permutations,
    refused=_wrong_permutations,
)
def collective_permute(
    srcs: Any,
    dsts: Any,
    source_target_pairs: Any,
    priority: int | None = None,
    name: str | None = None,
) -> Instruction:
    """Send tensors from rank to rank, as pairs say.

    A rank that no pair has for a target keeps what it has in `dsts`; one that is in no
    pair goes on at once.

    Args:
        srcs: one tensor in HBM that the kernel has made.
        dsts: one of the same shape and dtype.
        source_target_pairs: (source, target): a rank is the source of one pair at most,
            and the target of one.
        priority: 0 to 3, on gen4; the simulator does not look at it.
    """
    raise NotImplementedError
