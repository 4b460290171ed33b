"""Broadcasts among ranks, for what has reductions among them only."""

from __future__ import annotations

import numpy as np

from nkipy.hlo import dtypes as dt
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.ir import HLOInstruction, HLOModule
from nkipy.hlo.queries import rank_groups
from nkipy.hlo.rewrites.base import Place, rewrite

Groups = tuple[tuple[int, ...], ...]


def expand_broadcasts(module: HLOModule, ranks: int) -> HLOModule:
    """A copy of `module` with an all-reduce for each collective-broadcast.

    The first rank of a group gives the bits of its operand, and all others zeros: their
    sum has the same bits on every rank, whatever they mean. It is `module` itself if
    there is no broadcast.

    Args:
        module: what to copy.
        ranks: how many run it.
    """
    if all(inst.opcode != "collective-broadcast" for inst in module.instructions()):
        return module

    def rule(
        inst: HLOInstruction, operands: tuple[HLOInstruction, ...], place: Place
    ) -> HLOInstruction | None:
        if inst.opcode != "collective-broadcast":
            return None
        groups = rank_groups(inst) or (tuple(range(ranks)),)
        return _reduced(operands[0], groups, ranks, place.builder)

    return rewrite(module, rule)


def _reduced(
    x: HLOInstruction, groups: Groups, ranks: int, b: HLOBuilder
) -> HLOInstruction:
    named = {rank for group in groups for rank in group}
    count = max(ranks, 1 + max(named))  # XLA wants all of them in groups
    sources = np.isin(np.arange(count), [group[0] for group in groups])
    alone = ((rank,) for rank in range(count) if rank not in named)
    bits, combined = x, "or"
    if x.dtype != dt.bool_:
        bits, combined = b.bitcast_convert(x, np.dtype(f"u{x.dtype.itemsize}")), "add"
    rank = b.emit("replica-id", (), (), dt.uint32)
    own = b.dynamic_slice(b.constant(sources), (rank,), (1,))
    is_source = b.broadcast_to(b.reshape(own, ()), x.shape)
    given = b.select(is_source, bits, b.full_like(bits, 0))
    attributes = {
        "replica_groups": (*groups, *alone),
        "to_apply": b.reducer(combined, bits.dtype),
    }
    made = b.emit("all-reduce", (given,), x.shape, bits.dtype, attributes)
    return made if made.dtype == x.dtype else b.bitcast_convert(made, x.dtype)
