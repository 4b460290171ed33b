"""Programs of several ranks: do these talk to each other, and which one is this?"""

from __future__ import annotations

import numpy as np

from nkipy.core.hlo.ir import HLOInstruction, HLOModule
from nkipy_emulator.device.options import LoadOptions
from nkipy_emulator.device.status import DeviceError, Status
from nkipy_emulator.rewrite import Place, rewrite

_COLLECTIVES = frozenset(
    "all-reduce all-gather reduce-scatter all-to-all collective-permute".split()
)


def for_ranks(module: HLOModule, options: LoadOptions) -> tuple[HLOModule, int]:
    """The module to compile, and how many ranks one execution of it runs.

    Where ranks exchange nothing, each runs alone, and knows its number as a constant.

    Raises:
        DeviceError: ranks exchange something, and this one cannot reach the others.
    """
    if options.world_size == 1:
        return module, 1
    if not _talks(module):
        return _as_rank(module, options.rank), 1
    if not options.peers_reachable:
        raise DeviceError(
            Status.LOAD_NOT_ENOUGH_NC,
            f"the program has collectives over {options.world_size} ranks. The "
            "emulator runs them as threads of one process, each on a core of its own, "
            "and this process has fewer cores (NEURON_RT_VISIBLE_CORES)",
        )
    return module, options.world_size


def _talks(module: HLOModule) -> bool:
    return any(
        inst.opcode in _COLLECTIVES
        for computation in module.computations()
        for inst in computation.instructions
    )


def _as_rank(module: HLOModule, rank: int) -> HLOModule:
    def rule(
        inst: HLOInstruction, operands: tuple[HLOInstruction, ...], place: Place
    ) -> HLOInstruction | None:
        if inst.opcode != "replica-id":
            return None
        return place.builder.constant(np.array(rank, np.uint32))

    return rewrite(module, rule)
