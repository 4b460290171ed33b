"""Passes over a finished module."""

from __future__ import annotations

from itertools import chain

from nkipy.hlo.ir import HLOInstruction, HLOModule


def eliminate_dead_code(module: HLOModule) -> None:
    """Drop instructions that no result needs. Parameters and side effects stay."""
    instructions = module.entry.instructions
    # Whether there are any is a matter of set operations, without a loop in Python.
    used = set(module.results)
    used.update(chain.from_iterable([i.operands for i in instructions]))
    if all(map(_stays, set(instructions) - used)):
        return
    live = set(module.results)
    kept: list[HLOInstruction] = []
    for inst in reversed(instructions):
        if inst in live or _stays(inst):
            live.update(inst.operands)
            kept.append(inst)
    if len(kept) != len(instructions):
        kept.reverse()
        instructions[:] = kept


def _stays(inst: HLOInstruction) -> bool:
    if inst.opcode == "custom-call":
        return bool(inst.attributes.get("has_side_effect"))
    return inst.opcode == "parameter"
