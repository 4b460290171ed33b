"""Programs of several ranks: do these talk to each other, and where do they meet?"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from neff.status import NrtStatus
from nkipy.hlo.ir import HLOInstruction, HLOModule
from nkipy.hlo.queries import collectives, ranks_of, spans_ranks
from nkipy.hlo.rewrites.ranks import as_rank
from nkipy_emulator.device.options import LoadOptions
from nkipy_emulator.device.status import DeviceError
from nkipy_emulator.worlds import Worlds

if TYPE_CHECKING:
    from nkipy_emulator._xla import Seat

#: Those of the runtime's ranks in this process, until it is closed.
WORLDS = Worlds("libnrt")


@dataclass(frozen=True)
class RankedProgram:
    """What one execution runs.

    Attributes:
        module: the module to compile.
        ranks: how many ranks, each with inputs and outputs of its own.
        seat: of the one rank, in the world where it meets the others.
    """

    module: HLOModule
    ranks: int = 1
    seat: Seat | None = None


def for_ranks(module: HLOModule, options: LoadOptions) -> RankedProgram:
    """How to run a module for the ranks that it is loaded for.

    Where ranks exchange nothing, each runs alone, and knows its number as a constant.

    Raises:
        DeviceError: ranks exchange something, and they are not those that the program
            names, or this one cannot reach the others.
        WorldError: this rank cannot join the others.
    """
    exchanges = list(collectives(module))
    for inst in exchanges:
        _check_ranks(inst, options.world_size)
    if options.world_size == 1:
        return RankedProgram(module)
    if not exchanges:
        return RankedProgram(as_rank(module, options.rank))
    if options.root_comm_id:
        seat = WORLDS.join(options.root_comm_id, options.rank, options.world_size)
        seat.limit(options.timeout_ms)
        return RankedProgram(module, seat=seat)
    if options.peers_reachable:
        return RankedProgram(module, options.world_size)
    raise DeviceError(
        NrtStatus.LOAD_NOT_ENOUGH_NC,
        f"the program has collectives over {options.world_size} ranks: set "
        "NEURON_RT_ROOT_COMM_ID to host:port, the same for all processes, where rank 0 "
        "listens, or give this process a core for each (NEURON_RT_VISIBLE_CORES)",
    )


def all_gather(meeting: str, data: bytes) -> bytes:
    """The data of all ranks that meet outside of programs, one after the other.

    Args:
        meeting: JSON text with ``function``, ``root_comm_id``, ``rank``,
            ``world_size``, and ``timeout_ms``, how long this one waits for others.
        data: of this rank; all have to give as many bytes. None at all is a barrier.

    Raises:
        WorldError: not all ranks have come, or not with the same function and size.
    """
    given = json.loads(meeting)
    seat = WORLDS.join(given["root_comm_id"], given["rank"], given["world_size"])
    what = f"{given['function']} of {len(data)} bytes"
    return seat.all_gather(data, what, given["timeout_ms"] / 1000)


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
