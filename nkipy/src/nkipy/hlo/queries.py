"""What clients ask of a module: who takes part in its collectives, what it holds.

Ranks are HLO's replicas: attributes and opcodes have HLO's word, all else says rank.
"""

from __future__ import annotations

from collections.abc import Iterator

from nkipy.hlo import custom_calls
from nkipy.hlo.ir import HLOInstruction, HLOModule

#: The attributes that name ranks: in groups, or in pairs of source and target.
_RANK_ATTRIBUTES = ("replica_groups", "source_target_pairs")
#: Ranks that these do not name get zeros, or what the call says.
_MAY_LEAVE_OUT = ("collective-broadcast", "collective-permute", "custom-call")


def constant_bytes(module: HLOModule) -> int:
    """The bytes of all constants of a module."""
    return sum(i.nbytes for i in module.instructions() if i.opcode == "constant")


def is_collective(inst: HLOInstruction) -> bool:
    """Whether ranks exchange values in this instruction."""
    if inst.opcode == "custom-call":
        return _groups_of_call(inst) is not None
    return any(name in inst.attributes for name in _RANK_ATTRIBUTES)


def _groups_of_call(inst: HLOInstruction) -> tuple[tuple[int, ...], ...] | None:
    record = custom_calls.find(inst.attributes["custom_call_target"])
    return None if record is None else record.groups_in(inst)


def collectives(module: HLOModule) -> Iterator[HLOInstruction]:
    """The instructions of a module in which ranks exchange values."""
    return filter(is_collective, module.instructions())


def rank_groups(inst: HLOInstruction) -> tuple[tuple[int, ...], ...]:
    """The ranks that exchange values with each other in a collective.

    Of a collective-permute they are its pairs of source and target. No groups are one
    group of all ranks that run the module, unless it is a collective-permute, which has
    no one then.
    """
    if inst.opcode == "custom-call":
        return _groups_of_call(inst) or ()
    for name in _RANK_ATTRIBUTES:
        if name in inst.attributes:
            return inst.attributes[name]
    return ()


def ranks_of(inst: HLOInstruction) -> list[int]:
    """The ranks that a collective names, each once, in ascending order."""
    return sorted({rank for group in rank_groups(inst) for rank in group})


def spans_ranks(inst: HLOInstruction, world_size: int) -> bool:
    """Whether a collective can be executed by `world_size` ranks.

    Groups have to name each of them, unless ranks that are not named get something all
    the same. XLA does not check that: it reduces over the ranks that there are.
    """
    ranks = ranks_of(inst)
    if not ranks or inst.opcode in _MAY_LEAVE_OUT:
        return all(rank < world_size for rank in ranks)
    return ranks == list(range(world_size))


def world_size(module: HLOModule) -> int:
    """How many ranks the collectives of a module name; 1 if they name none."""
    return 1 + max(
        (r for inst in collectives(module) for r in ranks_of(inst)), default=0
    )
