"""Makes the records of collectives, which are alike but for what they do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

from nkipy.chips import Chip
from nkipy.chips.links import Link
from nkipy_nki.calls import Call
from nkipy_nki.collectives.rules import in_order
from nkipy_nki.declaring import instruction
from nkipy_nki.engines import Engine
from nkipy_nki.program import Instruction
from nkipy_nki.records import (
    OperandRule,
    OperationRule,
    Rule,
    Samples,
    TransferTime,
    reads,
    writes,
)
from nkipy_nki.regions import HBM, MemoryRegion

__all__ = [
    "REDUCTION",
    "SINCE",
    "by_ring",
    "collective",
    "one_step",
    "sources",
    "targets",
]

P = ParamSpec("P")
R = TypeVar("R")

#: The first generation that has collectives in kernels.
SINCE = 3
#: What ranks can reduce by.
REDUCTION = {"op": OperationRule(names=frozenset({"add", "maximum", "minimum"}))}
_REACHED = frozenset({MemoryRegion.sbuf, *HBM})


def sources(**others: Any) -> OperandRule:
    """A list of tensors that are sent."""
    return reads(_REACHED, several=True, aligned=False, **others)


def targets(**others: Any) -> OperandRule:
    """A list of tensors that are received into."""
    return writes(_REACHED, several=True, aligned=False, **others)


def by_ring(rounds: int = 1) -> TransferTime:
    """The time of a collective by the ring algorithm, traversed so many times."""
    return _over_links(lambda link, nbytes, count: link.ring_ns(nbytes, count, rounds))


def one_step() -> TransferTime:
    """The time of a collective in which each rank sends to one other."""
    return _over_links(lambda link, nbytes, count: link.send_ns(nbytes))


def _over_links(wire_ns: Callable[[Link, int, int], float]) -> TransferTime:
    """At least the time of a copy within a core; of one rank alone no more."""

    def transfer_ns(made: Instruction, chip: Chip, copy_ns: float) -> float:
        groups = _groups(made)
        count = max(map(len, groups))
        if count < 2:
            return copy_ns
        return max(copy_ns, wire_ns(chip.link(groups), _nbytes(made), count))

    return transfer_ns


def _groups(made: Instruction) -> Any:
    """The ranks that exchange tensors with each other."""
    given = made.attributes
    return given.get("replica_group") or given["source_target_pairs"]


def _nbytes(made: Instruction) -> int:
    """Bytes of all sources, or of all destinations, whichever are more."""
    sums = {True: 0, False: 0}
    for name, view in made.views():
        if name != "metadata_tensor":
            written = made.record.operands[name].written
            sums[written] += view.size * view.dtype.device_itemsize
    return max(sums.values())


def collective(
    meaning: Callable[[Call], None],
    rules: Sequence[Rule],
    transfer_ns: TransferTime | None,
    *,
    samples: Samples,
    refused: Samples,
    **fields: Any,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A record of a function's signature, as :func:`instruction` makes it.

    Args:
        meaning: what it does.
        rules: in order, each of which relies on those before.
        transfer_ns: how long it takes.
        samples: to try it with, of all the ranks that take part.
        refused: to try that it refuses them.
        fields: operands (`srcs` and `dsts` unless told), and others of the record.
    """
    if not any(isinstance(field, OperandRule) for field in fields.values()):
        fields |= {"srcs": sources(), "dsts": targets()}
    return instruction(
        Engine.dma,
        rules=[in_order(*rules)],
        meaning=meaning,
        cost=lambda made, chip: 1.0,
        transfer_ns=transfer_ns,
        samples=samples,
        refused=refused,
        since=SINCE,
        **fields,
    )
