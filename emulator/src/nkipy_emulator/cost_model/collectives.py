"""Collectives, by the ring model: n - 1 steps, each a hop and an n-th of the bytes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from nkipy.chips.links import Link
from nkipy.hlo.ir import HLOInstruction
from nkipy.hlo.queries import rank_groups
from nkipy_emulator.cost_model.constants import HOP_NS, NETWORK_HOP_NS, Target
from nkipy_emulator.cost_model.types import COLLECTIVES
from nkipy_emulator.cost_model.values import Value, nbytes_of

if TYPE_CHECKING:
    from nkipy_emulator.cost_model.schedule import Schedule

#: A round that scatters, reducing or not, and one that gathers.
_TWO_ROUNDS = ("all-reduce", "collective-broadcast")


def collective(schedule: Schedule, inst: HLOInstruction) -> None:
    """Place a collective, which goes from the HBM to the HBM."""
    at = schedule.start
    for operand in inst.operands:
        at = max(at, schedule.store(operand, schedule.value(operand)))
    size = group_size(inst, schedule.costs.ranks)
    duration = ring_ns(inst, size, schedule.costs.target)
    lanes = schedule.lanes
    start = max(lanes.free[COLLECTIVES], at)
    end = start + duration
    lanes.free[COLLECTIVES] = end
    nbytes = max(nbytes_of(inst), nbytes_of(inst.operands[0]))
    name = inst.name or inst.opcode
    groups = groups_text(inst, schedule.costs.ranks)
    lanes.occupy(COLLECTIVES, name, inst.opcode, (start, end), nbytes, groups=groups)
    schedule.values[inst] = Value(
        nbytes_of(inst), (end, end), in_sbuf=False, in_hbm_at=end
    )


def groups_text(inst: HLOInstruction, ranks: int) -> str:
    """The ranks that meet in a collective, as JSON text; "" for none.

    In a permutation, those that pairs connect meet.
    """
    groups = [set(group) for group in rank_groups(inst)]
    if inst.opcode == "collective-permute":
        groups = _connected(groups)
    elif not groups:
        groups = [set(range(ranks))]
    return json.dumps([sorted(g) for g in groups], separators=(",", ":"))


def _connected(pairs: list[set[int]]) -> list[set[int]]:
    groups: list[set[int]] = []
    for pair in pairs:
        joined = set(pair).union(*(group for group in groups if group & pair))
        groups = [group for group in groups if not group & pair] + [joined]
    return groups


def group_size(inst: HLOInstruction, ranks: int) -> int:
    """How many cores take part with each other; no groups are one group of all."""
    if inst.opcode == "collective-permute":
        return 2
    groups = rank_groups(inst)
    return max(map(len, groups)) if groups else ranks


def ring_ns(inst: HLOInstruction, size: int, target: Target) -> float:
    """The time of a collective among `size` cores."""
    if size <= 1:
        return 0.0
    across = size > target.cores_per_instance
    if across:
        link = Link(NETWORK_HOP_NS, target.network_gb_s)
    else:
        link = Link(HOP_NS, target.link_gb_s)
    nbytes = max(nbytes_of(inst), nbytes_of(inst.operands[0]))
    if inst.opcode == "collective-permute":
        return link.send_ns(nbytes)
    return link.ring_ns(nbytes, size, 2 if inst.opcode in _TWO_ROUNDS else 1)
