"""Which ranks a collective is of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any

from nkipy.chips import Chip
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.program import Instruction, Program

__all__ = [
    "ReplicaGroup",
    "equal_lists",
    "named_ranks",
    "rg_partition_op",
    "valid_group",
]

_MOST_RANKS = 1 << 16
#: Where the instructions are recorded of which each is of several ranks.
_PACKAGE = __name__.rpartition(".")[0]
#: The attributes that name ranks.
_NAMING = ("replica_group", "source_target_pairs")


class rg_partition_op(Enum):
    """What of a rank says in which list it is: the ranks for which it is equal."""

    bitwise_and = "bitwise_and"
    div = "div"
    mod = "mod"

    def of(self, rank: int, operand: int) -> int:
        """What it gives for a rank."""
        if self is rg_partition_op.bitwise_and:
            return rank & operand
        return rank // operand if self is rg_partition_op.div else rank % operand


class ReplicaGroup(tuple[tuple[int, ...], ...]):
    """Lists of ranks: a collective is carried out within each of them.

    Args:
        lists: as in ``[[0, 1], [2, 3]]``; a rank is in one of them at most.

    Raises:
        NkiValidationError: they are no such lists.
    """

    __slots__ = ()

    def __new__(cls, lists: Iterable[Iterable[int]]) -> ReplicaGroup:
        try:
            made = super().__new__(cls, tuple(tuple(ranks) for ranks in lists))
        except TypeError:
            raise NkiValidationError(
                f"ReplicaGroup takes lists of ranks, as in [[0, 1]], not {lists!r}"
            ) from None
        if problem := _problem(made):
            raise NkiValidationError(f"ReplicaGroup: {problem}")
        return made

    def __repr__(self) -> str:
        return f"ReplicaGroup({[list(ranks) for ranks in self]})"

    @staticmethod
    def from_partition_op(
        world_size: int, op: rg_partition_op, operand: int
    ) -> ReplicaGroup:
        """Lists of the ranks below `world_size` for which `op` gives the same.

        Raises:
            NkiValidationError: a rank would be divided by 0.
        """
        if operand < 1 and op is not rg_partition_op.bitwise_and:
            raise NkiValidationError(
                f"from_partition_op: operand is {operand}, and must be positive"
            )
        lists: dict[int, list[int]] = {}
        for rank in range(world_size):
            lists.setdefault(op.of(rank, operand), []).append(rank)
        return ReplicaGroup(lists.values())


def _problem(group: Any) -> str | None:
    """What is wrong with lists of ranks."""
    if not isinstance(group, tuple) or not group:
        return f"{group!r} is no list of lists of ranks"
    seen: set[int] = set()
    for ranks in group:
        if not isinstance(ranks, tuple) or not ranks:
            return f"{ranks!r} is no list of ranks"
        for rank in ranks:
            if type(rank) is not int or not 0 <= rank < _MOST_RANKS:
                return f"{rank!r} is no rank"
            if rank in seen:
                return f"rank {rank} is there twice"
            seen.add(rank)
    return None


def valid_group(made: Instruction, chip: Chip) -> str | None:
    """A rule: `replica_group` is lists of ranks, a rank in one at most."""
    problem = _problem(made.attributes["replica_group"])
    return f"replica_group: {problem}" if problem else None


def equal_lists(made: Instruction, chip: Chip) -> str | None:
    """A rule: the lists are of one length, which the shapes depend on."""
    lengths = {len(ranks) for ranks in made.attributes["replica_group"]}
    if len(lengths) > 1:
        return f"replica_group has lists of {sorted(lengths)} ranks: they must be equal"
    return None


def named_ranks(programs: Sequence[Program]) -> tuple[tuple[int, ...], ...] | None:
    """The lists of ranks that a kernel's programs name, each once, in order.

    Returns:
        None if no rank has anything to do with another, nor asks which one it is.
    """
    found: dict[tuple[int, ...], None] = {}
    is_of_ranks = False
    for program in programs:
        for made in program.instructions():
            if made.record.module.startswith(_PACKAGE):
                is_of_ranks = True
                for name in _NAMING:
                    found |= dict.fromkeys(made.attributes.get(name, ()))
    return tuple(found) if is_of_ranks else None
