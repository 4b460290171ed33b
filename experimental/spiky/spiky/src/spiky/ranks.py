"""Which process of a job this is, and which core is its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import torch

import spike
from nkipy.launcher_variables import LAUNCHERS

LOCAL_RANK, RANK, WORLD_SIZE = "LOCAL_RANK", "RANK", "WORLD_SIZE"
VISIBLE_CORES = "NEURON_RT_VISIBLE_CORES"


@dataclass(frozen=True)
class Place:
    """Who this process is.

    Attributes:
        rank: among all processes of its job.
        world_size: how many there are.
        local_rank: among those of its machine.
    """

    rank: int
    world_size: int
    local_rank: int


def find_place(rank: int | None, world_size: int | None) -> Place:
    """What is given, else what torch.distributed says, else the environment.

    The rank on this machine is LOCAL_RANK, or what MPI's or Slurm's launcher says;
    where nobody says it, the rank: all processes are of one machine then.

    Raises:
        ValueError: a variable is no number.
    """
    group = _group()
    here = _local_rank(os.environ)
    if rank is None and group is not None:
        rank = group.rank
    if rank is None:
        rank = _first(here, _number(os.environ, RANK), 0)
    if world_size is None and group is not None:
        world_size = group.world_size
    if world_size is None:
        world_size = _first(_number(os.environ, WORLD_SIZE), 1)
    return Place(rank, world_size, rank if here is None else here)


def _group() -> Place | None:
    """What torch.distributed says, if it is initialized."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return None
    rank = distributed.get_rank()
    return Place(rank, distributed.get_world_size(), rank)


def _first(*numbers: int | None) -> int:
    return next(number for number in numbers if number is not None)


def _local_rank(environment: Mapping[str, str]) -> int | None:
    """LOCAL_RANK, or another launcher's, where that has started this process."""
    if environment.get(LOCAL_RANK):
        return _number(environment, LOCAL_RANK)
    for launcher in LAUNCHERS:
        names = (launcher.rank, launcher.world_size, launcher.local_rank)
        if all(environment.get(name) for name in names):
            return _number(environment, launcher.local_rank)
    return None


def _number(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name)
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{name}={text!r} is no number from 0 up")
    return int(text)


# -- cores -----------------------------------------------------------------------------
#: What take_core has written into the variable.
_chosen: set[str] = set()


def take_core(place: Place, offset: int) -> None:
    """Open the runtime on the process's core, and make it this thread's device.

    The core is number ``local_rank + offset`` of the machine, or of those that
    NEURON_RT_VISIBLE_CORES names; where that names one, it is this.

    Raises:
        RuntimeError: there is no such core, or it is taken, or the runtime is open on
            others.
        ValueError: NEURON_RT_VISIBLE_CORES is no list of cores.
    """
    from spike_torch import runtime

    wanted = place.local_rank + offset
    named = _named_cores()
    core = wanted if named is None else _choose(named, wanted)
    is_alone = place.world_size == 1 and named is not None
    if not runtime._C.is_open() and not is_alone:
        spike.configure(visible_cores=[core])
        _chosen.add(os.environ[VISIBLE_CORES])
    runtime._ensure_initialized()
    _make_current(core, place, offset)


def _named_cores() -> list[int] | None:
    """Those that the user has named; None: nobody has, or we, or spike-torch."""
    from spike_torch._registration import core_of_rank

    text = os.environ.get(VISIBLE_CORES)
    if not text or text == core_of_rank() or text in _chosen:
        return None
    return _cores(text)


def _cores(text: str) -> list[int]:
    from spike.cli import parse_visible_cores

    try:
        return parse_visible_cores(text)
    except ValueError as error:
        raise ValueError(f"{VISIBLE_CORES} is {error}") from None


def _choose(named: list[int], wanted: int) -> int:
    if len(named) == 1:
        return named[0]
    if wanted >= len(named):
        raise RuntimeError(
            f"{VISIBLE_CORES} names {len(named)} cores, and this process is for number "
            f"{wanted}, counted from 0: name more of them, or one for each process"
        )
    return named[wanted]


def _make_current(core: int, place: Place, offset: int) -> None:
    """Make a core that the runtime is open on this thread's device."""
    from spike_torch import device_count, set_device

    text = os.environ.get(VISIBLE_CORES)
    cores = _cores(text) if text else list(range(device_count()))
    if core not in cores[: device_count()]:
        raise RuntimeError(
            f"the runtime is open on cores {', '.join(map(str, cores))}, and this "
            f"process is for core {core} (LOCAL_RANK {place.local_rank} + core_offset "
            f"{offset}): call init_nkipy_backend() before the device is used, or close "
            "the runtime by spike_torch.reset()"
        )
    set_device(cores.index(core))
