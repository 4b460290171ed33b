"""Programs of several ranks: do these talk to each other, and which one is this?"""

from __future__ import annotations

from neff.status import NrtStatus
from nkipy.hlo.ir import HLOInstruction, HLOModule
from nkipy.hlo.queries import collectives, ranks_of, spans_ranks
from nkipy.hlo.rewrites.ranks import as_rank
from nkipy_emulator.device.options import LoadOptions
from nkipy_emulator.device.status import DeviceError


def for_ranks(module: HLOModule, options: LoadOptions) -> tuple[HLOModule, int]:
    """The module to compile, and how many ranks one execution of it runs.

    Where ranks exchange nothing, each runs alone, and knows its number as a constant.

    Raises:
        DeviceError: ranks exchange something, and they are not those that the program
            names, or this one cannot reach the others.
    """
    for inst in collectives(module):
        _check_ranks(inst, options.world_size)
    if options.world_size == 1:
        return module, 1
    if not any(collectives(module)):
        return as_rank(module, options.rank), 1
    if not options.peers_reachable:
        raise DeviceError(
            NrtStatus.LOAD_NOT_ENOUGH_NC,
            f"the program has collectives over {options.world_size} ranks. The "
            "emulator runs them as threads of one process, each on a core of its own, "
            "and this process has fewer cores (NEURON_RT_VISIBLE_CORES)",
        )
    return module, options.world_size


def _check_ranks(inst: HLOInstruction, world_size: int) -> None:
    """Refuse a collective over other ranks than those that the program is loaded for.

    One that runs alone would get its own values back.
    """
    if not spans_ranks(inst, world_size):
        raise DeviceError(
            NrtStatus.INVALID,
            f"{inst.opcode} is over the ranks {ranks_of(inst)}, but the program is "
            f"loaded for {world_size} rank(s): the groups must hold each rank once. "
            "nrt_load_collectives (cc_enabled, rank_id, world_size) says how many "
            "there are",
        )
