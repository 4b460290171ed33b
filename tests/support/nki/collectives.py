"""What ranks have after collectives, element by element and rank by rank."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from nkipy_nki.records import Sample
from tests.support.nki.samples import expects

Ranks = Sequence[Mapping[str, np.ndarray]]
OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "maximum": max,
    "minimum": min,
}


def all_of(sample: Sample) -> list[Sample]:
    return [sample, *sample.others]


def members(sample: Sample, rank: int) -> list[int]:
    """The list of ranks that a rank is in."""
    (found,) = (g for g in sample.attributes["replica_group"] if rank in g)
    return list(found)


def named(name: str, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{name}[{i}]": array for i, array in enumerate(arrays)}


def reduced(op: str, parts: Sequence[np.ndarray]) -> np.ndarray:
    """Parts together, in order, as Python's numbers; too large is the largest."""
    compute, dtype = OPERATIONS[op], parts[0].dtype
    made = np.empty(parts[0].shape, dtype)
    for place in np.ndindex(made.shape):
        total = None
        for part in parts:
            value = part[place].astype(object if dtype.kind in "iu" else np.float32)
            total = value if total is None else compute(total, value)
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            total = min(max(int(total), limits.min), limits.max)
        made[place] = total
    return made


def for_each_rank(
    sample: Sample, give: Callable[[int, list[int], list[np.ndarray]], np.ndarray]
) -> Ranks:
    """By rank, what it receives of each tensor, of what its list's members send."""
    ranks = all_of(sample)
    found = []
    for rank, own in enumerate(ranks):
        listed = members(sample, rank)
        arrays = [
            give(rank, listed, [ranks[r].operands["srcs"][number] for r in listed])
            for number in range(len(own.operands["srcs"]))
        ]
        found.append(named("dsts", arrays))
    return found


@expects("all_reduce")
def all_reduce(sample: Sample) -> Ranks:
    op = sample.attributes["op"]
    return for_each_rank(sample, lambda rank, listed, parts: reduced(op, parts))


@expects("all_gather")
def all_gather(sample: Sample) -> Ranks:
    def give(rank: int, listed: list[int], parts: list[np.ndarray]) -> np.ndarray:
        rows = [row for part in parts for row in part]
        if sample.attributes["collective_dim"] == 1:
            rows = [
                np.array([element for part in parts for element in part[i]])
                for i in range(len(parts[0]))
            ]
        return np.array(rows, parts[0].dtype)

    return for_each_rank(sample, give)


def part_of(rows: np.ndarray, count: int, place: int) -> np.ndarray:
    size = len(rows) // count
    return np.array([rows[place * size + i] for i in range(size)], rows.dtype)


@expects("reduce_scatter")
def reduce_scatter(sample: Sample) -> Ranks:
    op = sample.attributes["op"]

    def give(rank: int, listed: list[int], parts: list[np.ndarray]) -> np.ndarray:
        return part_of(reduced(op, parts), len(listed), listed.index(rank))

    return for_each_rank(sample, give)


@expects("all_to_all")
def all_to_all(sample: Sample) -> Ranks:
    def give(rank: int, listed: list[int], parts: list[np.ndarray]) -> np.ndarray:
        place = listed.index(rank)
        own = [part_of(part, len(listed), place) for part in parts]
        return np.array([row for part in own for row in part], parts[0].dtype)

    return for_each_rank(sample, give)


@expects("collective_permute")
def collective_permute(sample: Sample) -> Ranks:
    ranks = all_of(sample)
    held = [one.operands["dsts"][0] for one in ranks]
    for source, target in sample.attributes["source_target_pairs"]:
        held[target] = ranks[source].operands["srcs"][0]
    return [named("dsts", [array]) for array in held]


def from_before(sample: Sample, sent: Callable[[Sample, int], np.ndarray]) -> Ranks:
    """By rank, what the one before it in the ring sends over each channel."""
    ranks, found = all_of(sample), []
    for rank in range(len(ranks)):
        listed = members(sample, rank)
        before = ranks[listed[listed.index(rank) - 1]]
        channels = range(len(sample.attributes["channel_ids"]))
        arrays = [sent(before, channel) for channel in channels]
        found.append(named("dsts_by_channel", arrays))
    return found


@expects("collective_permute_implicit")
def collective_permute_implicit(sample: Sample) -> Ranks:
    return from_before(sample, lambda rank, i: rank.operands["srcs_by_channel"][i])


@expects("collective_permute_implicit_reduce")
def collective_permute_implicit_reduce(sample: Sample) -> Ranks:
    def sent(rank: Sample, channel: int) -> np.ndarray:
        names = ("srcs0_by_channel", "srcs1_by_channel")
        parts = [rank.operands[name][channel] for name in names]
        return reduced(sample.attributes["op"], parts)

    return from_before(sample, sent)


@expects("rank_id")
def rank_id(sample: Sample) -> Ranks:
    return [{"dst": np.asarray(i // sample.lnc)} for i in range(len(all_of(sample)))]


@expects("collective_permute_implicit_current_processing_rank_id")
def current_processing_rank_id(sample: Sample) -> Ranks:
    found = []
    for rank in range(len(all_of(sample))):
        listed = members(sample, rank)
        held = rank
        for _ in range(sample.attributes["iteration_id"]):
            held = listed[listed.index(held) - 1]  # data come from the one before
        found.append({"dst": np.asarray(held)})
    return found


# -- of sizes that tensors say ---------------------------------------------------------
def _moved(sample: Sample, gathers: bool) -> Iterator[dict[str, np.ndarray]]:
    ranks = all_of(sample)
    rows = [one.operands["metadata_tensor"].reshape(-1, len(ranks)) for one in ranks]
    for rank, own in enumerate(ranks):
        received = own.operands["dsts"][0].copy()
        metadata = own.operands["metadata_tensor"].copy()
        counts = metadata.reshape(-1, len(ranks))[2]
        for source, other in enumerate(ranks):
            column = 0 if gathers else rank
            count, start = (int(rows[source][row, column]) for row in (0, 1))
            at = source * (len(received) // len(ranks))
            if sample.attributes["has_rdispls"]:
                at = int(rows[rank][3, source])
            for i in range(count):
                received[at + i] = other.operands["srcs"][0][start + i]
            if not sample.attributes["recv_counts_known"]:
                counts[source] = count
        yield {"dsts[0]": received, "metadata_tensor": metadata}


@expects("all_to_all_v")
def all_to_all_v(sample: Sample) -> Ranks:
    return list(_moved(sample, gathers=False))


@expects("all_to_all_v_trigger")
def all_to_all_v_trigger(sample: Sample) -> Ranks:
    return all_to_all_v(sample)


@expects("all_gather_v")
def all_gather_v(sample: Sample) -> Ranks:
    return list(_moved(sample, gathers=True))


@expects("all_gather_v_trigger")
def all_gather_v_trigger(sample: Sample) -> Ranks:
    return all_gather_v(sample)


@expects("all_to_all_v_prepare")
def all_to_all_v_prepare(sample: Sample) -> Ranks:
    """It reads, and writes nothing yet."""
    return [{} for _ in all_of(sample)]


@expects("all_gather_v_prepare")
def all_gather_v_prepare(sample: Sample) -> Ranks:
    return all_to_all_v_prepare(sample)
