"""Programs of several ranks: do these talk to each other, and which one is this?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nkipy.hlo.ir import HLOInstruction, HLOModule
from nkipy.hlo.rewrites.base import Place, rewrite
from nkipy_emulator.device.options import LoadOptions
from nkipy_emulator.device.status import DeviceError, Status

_COLLECTIVES = frozenset(
    "all-reduce all-gather reduce-scatter all-to-all collective-permute".split()
)


def for_ranks(module: HLOModule, options: LoadOptions) -> tuple[HLOModule, int]:
    """The module to compile, and how many ranks one execution of it runs.

    Where ranks exchange nothing, each runs alone, and knows its number as a constant.

    Raises:
        DeviceError: ranks exchange something, and they are not those that the program
            names, or this one cannot reach the others.
    """
    for inst in _collectives(module):
        _check_ranks(inst, options.world_size)
    if options.world_size == 1:
        return module, 1
    if not any(_collectives(module)):
        return _as_rank(module, options.rank), 1
    if not options.peers_reachable:
        raise DeviceError(
            Status.LOAD_NOT_ENOUGH_NC,
            f"the program has collectives over {options.world_size} ranks. The "
            "emulator runs them as threads of one process, each on a core of its own, "
            "and this process has fewer cores (NEURON_RT_VISIBLE_CORES)",
        )
    return module, options.world_size


def _collectives(module: HLOModule) -> Iterator[HLOInstruction]:
    for computation in module.computations():
        for inst in computation.instructions:
            if inst.opcode in _COLLECTIVES:
                yield inst


def _check_ranks(inst: HLOInstruction, world_size: int) -> None:
    """Refuse a collective over other ranks than those that the program is loaded for.

    XLA reduces over the ranks that there are: one that runs alone would get its own
    values back.
    """
    groups = inst.attributes.get("replica_groups", ())
    pairs = inst.attributes.get("source_target_pairs", ())
    ranks = sorted(rank for group in groups or pairs for rank in group)
    fits = not groups or ranks == list(range(world_size))
    if not fits or any(rank >= world_size for rank in ranks):
        raise DeviceError(
            Status.INVALID,
            f"{inst.opcode} is over the ranks {ranks}, but the program is loaded for "
            f"{world_size} rank(s): the groups must hold each rank once, and "
            "nrt_load_collectives (cc_enabled, rank_id, world_size) says how many "
            "there are",
        )


def _as_rank(module: HLOModule, rank: int) -> HLOModule:
    def rule(
        inst: HLOInstruction, operands: tuple[HLOInstruction, ...], place: Place
    ) -> HLOInstruction | None:
        if inst.opcode != "replica-id":
            return None
        return place.builder.constant(np.array(rank, np.uint32))

    return rewrite(module, rule)
