"""The rendezvous of ranks in a collective: who takes part, what is sent, who writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nkipy_nki.calls import Call
from nkipy_nki.cores import Core
from nkipy_nki.flags import flag
from nkipy_nki.program import View
from nkipy_nki.regions import MemoryRegion

__all__ = [
    "SHARED_VARIABLE",
    "Contribution",
    "Rendezvous",
    "begin",
    "memories_fit",
    "rank_of",
    "ranks_of",
]

#: With this variable set to 1, ranks of one core that share an HBM share tensors too.
SHARED_VARIABLE = "NKI_LNC1_SHARED_HBM"


class Contribution(NamedTuple):
    """What a rank contributed.

    Attributes:
        values: what it sends.
        place: where it did.
        terms: what all must have said alike, by name.
    """

    values: Any
    place: str
    terms: Mapping[str, Any]


class Rendezvous:
    """A collective as one core carries it out.

    Args:
        call: the instruction.
        ranks: who takes part, this core's rank among them.

    Attributes:
        ranks: who takes part.
        index: of this core's rank among them.
    """

    def __init__(self, call: Call, ranks: Sequence[int]) -> None:
        self.call = call
        self.ranks = tuple(ranks)
        self.core = call.machine.core
        self.index = self.ranks.index(rank_of(call))
        self._members: list[Core] = []
        if self.core is not None:
            for rank in self.ranks:
                self._members += self.core.group.of_rank(rank)

    def sent(self, view: View, name: str) -> np.ndarray:
        """A copy of a tensor's elements, as it is sent."""
        self._note(view, name, False)
        return self.call.elements(view, name).copy()

    def _note(self, view: View, name: str, is_write: bool) -> None:
        if self.core is not None:
            machine, instruction = self.call.machine, self.call.instruction
            self.core.access(machine, instruction, name, view, is_write)

    def exchange(self, values: Any) -> list[Contribution]:
        """Wait for all, and take what each rank contributed, by its place."""
        place = str(self.call.instruction.line)
        mine = Contribution(values, place, self._terms())
        if self.core is None:
            return [mine]
        contributions = self._rendezvous("begin", mine)
        theirs = [
            contributions[self.core.group.of_rank(rank)[self.core.core]]
            for rank in self.ranks
        ]
        for rank, other in zip(self.ranks, theirs):
            self._require_terms(mine, rank, other)
        return theirs

    def _terms(self) -> dict[str, Any]:
        names = ("op", "collective_dim", "source_target_pairs")
        found = {n: a for n, a in self.call.attributes.items() if n in names}
        return {"the list of ranks": list(self.ranks), **found}

    def _require_terms(
        self, mine: Contribution, rank: int, other: Contribution
    ) -> None:
        for name, term in mine.terms.items():
            if term != other.terms.get(name):
                self.call.report(
                    "wrong-operand",
                    f"{name} is {term}, and that of rank {rank} is "
                    f"{other.terms.get(name)} at {other.place}",
                )

    def end(self) -> None:
        """Wait until all have what they receive."""
        if self.core is not None:
            self._rendezvous("end", None)

    def _rendezvous(self, part: str, offer: Any) -> dict[Core, Any]:
        assert self.core is not None
        key = self.call.instruction.record.name, part
        return self.core.rendezvous(self.call.instruction, key, self._members, offer)

    def receive(
        self, view: View, name: str, elements: np.ndarray, *, same: bool = False
    ) -> None:
        """Store what is received.

        Args:
            view: where it goes.
            name: the operand's.
            elements: what it is.
            same: whether it is the same on all ranks. Those that share the tensor then
                write it once, as the cores of a rank do in any case.
        """
        if self._writes(view, same):
            self._note(view, name, True)
            self.call.store_part(view, elements.reshape(view.shape))

    def _writes(self, view: View, same: bool) -> bool:
        core = self.core
        if core is None or core.shared_tensor(view.allocation) is None:
            return True
        sharing = [
            other
            for other in self._members
            if other.shared is core.shared and (same or other.rank == core.rank)
        ]
        return sharing[0] is core

    def require_alike(
        self, mine: np.ndarray, name: str, contributions: list[Any]
    ) -> bool:
        """Report a rank that sends elements of another type or shape."""
        for rank, (theirs, place) in zip(self.ranks, contributions):
            if theirs.shape != mine.shape or theirs.dtype != mine.dtype:
                self.call.report(
                    "wrong-operand",
                    f"{name} is {list(mine.shape)} of {mine.dtype}, and that of rank "
                    f"{rank} is {list(theirs.shape)} of {theirs.dtype} at {place}",
                )
                return False
        return True


def rank_of(call: Call) -> int:
    """The rank that carries out an instruction."""
    core = call.machine.core
    return 0 if core is None else core.rank


def ranks_of(call: Call, group: Sequence[Sequence[int]]) -> Sequence[int] | None:
    """The list of a replica group in which the rank is that carries it out."""
    core = call.machine.core
    count = 1 if core is None else core.group.ranks
    rank = rank_of(call)
    for ranks in group:
        beyond = [r for r in ranks if r >= count]
        if beyond:
            text = f"rank {beyond[0]} does not take part: nki.simulate_ranks was given "
            call.report("wrong-operand", text + f"the arguments of {count}")
            return None
        if rank in ranks:
            return ranks
    call.report("wrong-operand", f"rank {rank} is in no list of the replica group")
    return None


def memories_fit(call: Call) -> bool:
    """Report tensors in ``shared_hbm`` where a rank has one core."""
    core = call.machine.core
    if core is not None and core.group.lnc > 1:
        return True
    for name, view in call.instruction.views():
        if view.region is not MemoryRegion.shared_hbm or name == "metadata_tensor":
            continue
        if not call.instruction.record.operands[name].written:
            text = f"{name} is in shared_hbm, and must be in private_hbm if a rank has "
            call.report("wrong-operand", text + "one core")
            return False
        if not flag(SHARED_VARIABLE, False):
            text = f"{name} is in shared_hbm, and a rank has one core: it must be in "
            text += f"private_hbm, unless {SHARED_VARIABLE}=1"
            call.report("wrong-operand", text)
            return False
    return True


def begin(call: Call) -> Rendezvous | None:
    """The ranks of ``replica_group`` as a rendezvous; None if something is reported."""
    ranks = ranks_of(call, call.attributes["replica_group"])
    if ranks is None or not memories_fit(call):
        return None
    return Rendezvous(call, ranks)
