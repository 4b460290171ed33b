"""Kernels of a job: which rank runs them, and where it meets the others."""

from __future__ import annotations

import os

from nkipy.core.errors import NKIPyValueError
from nkipy.distributed.processes import ROOT, World, set_cores, set_root, world
from nkipy.hlo.ir import HLOModule
from nkipy.hlo.options import Meeting
from nkipy.hlo.queries import collectives, ranks_of, spans_ranks

TIMEOUT = "NEURON_RT_EXEC_TIMEOUT"
_SECONDS = 600
#: As libnrt takes no larger ones.
_MOST_SECONDS = 1_000_000


def ranks_here(module: HLOModule) -> World:
    """The rank that runs `module`; rank 0 of 1 where that makes no difference.

    Raises:
        NKIPyValueError: a launcher's variables contradict each other.
    """
    if next(collectives(module), None) is None and not any(
        inst.opcode == "replica-id" for inst in module.instructions()
    ):
        return World()
    return world()


def check_ranks(module: HLOModule, world_size: int) -> None:
    """Refuse collectives over other ranks than the `world_size` that run `module`.

    Raises:
        NKIPyValueError: one misses a rank, or names one that there is not. It has the
            line of the kernel.
    """
    for inst in collectives(module):
        if not spans_ranks(inst, world_size):
            raise NKIPyValueError(
                f"{inst.opcode} is over the ranks {ranks_of(inst)}, but the kernel "
                f"runs with world_size={world_size}: the groups must hold each rank "
                "once (nkipy.distributed.replica_groups() makes such)",
                location=inst.source_location,
            )


def meeting(here: World) -> Meeting:
    """Where a simulation of this rank meets those of the others.

    Raises:
        NKIPyValueError: it is not known where, or the timeout is no such number.
    """
    set_root(must_meet=True)
    text = os.environ.get(TIMEOUT) or str(_SECONDS)
    seconds = int(text) if text.isascii() and text.isdigit() and len(text) < 8 else 0
    if not 1 <= seconds <= _MOST_SECONDS:
        raise NKIPyValueError(
            f"{TIMEOUT} is {text!r}; it can be a whole number of seconds from 1 to "
            f"{_MOST_SECONDS}"
        )
    return Meeting(
        address=os.environ[ROOT],
        rank=here.rank,
        world_size=here.size,
        seconds=seconds,
    )


def set_up_runtime() -> None:
    """Have a launcher's job known before spike opens the runtime."""
    from spike.spike_singleton import before_opening

    before_opening(_set_up)


def _set_up() -> None:
    set_cores()
    set_root()
