"""Tells a module which rank runs it."""

from __future__ import annotations

import numpy as np

from nkipy.hlo.ir import HLOInstruction, HLOModule
from nkipy.hlo.rewrites.base import Place, rewrite


def as_rank(module: HLOModule, rank: int) -> HLOModule:
    """A copy of `module` in which replica-id is the constant `rank`."""

    def rule(
        inst: HLOInstruction, operands: tuple[HLOInstruction, ...], place: Place
    ) -> HLOInstruction | None:
        if inst.opcode != "replica-id":
            return None
        return place.builder.constant(np.array(rank, np.uint32))

    return rewrite(module, rule)
