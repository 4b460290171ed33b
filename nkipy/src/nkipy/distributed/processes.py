"""The ranks of this process's job: who it is, and waiting for the others.

Ranks are those of ``torch.distributed`` where that is initialised, else those that a
launcher tells (:mod:`nkipy.distributed.launchers`).
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from nkipy.core.backend import _active_ctx
from nkipy.core.errors import NKIPyValueError
from nkipy.core.ops.collectives import before_answering_alone
from nkipy.core.ops.collectives import rank as traced_rank
from nkipy.distributed.launchers import Job, find_job, root_address
from nkipy.launcher_variables import LAUNCHER, NO_LAUNCHER

logger = logging.getLogger("nkipy.distributed")

ROOT = "NEURON_RT_ROOT_COMM_ID"
VISIBLE_CORES, NUM_CORES = "NEURON_RT_VISIBLE_CORES", "NEURON_RT_NUM_CORES"

#: Of the kernel that is being traced, where it is not this process's.
_traced_for: ContextVar[int | None] = ContextVar("nkipy_world_size", default=None)


class World(NamedTuple):
    """Which rank this process is, and how many there are."""

    rank: int = 0
    size: int = 1


def torch_distributed() -> Any | None:
    """``torch.distributed`` if this process has initialised it; nothing is imported."""
    found: Any = sys.modules.get("torch.distributed")
    if found is None or not (found.is_available() and found.is_initialized()):
        return None
    return found


def world() -> World:
    """This process's place in its job; rank 0 of 1 if it is in none.

    Raises:
        NKIPyValueError: a launcher's variables contradict each other.
    """
    torch = torch_distributed()
    if torch is not None:
        return World(torch.get_rank(), torch.get_world_size())
    job = find_job(os.environ)
    return World() if job is None else World(job.rank, job.world_size)


def spans_machines() -> bool:
    """Whether a launcher says that ranks of the job are on other machines."""
    job = find_job(os.environ)
    return job is not None and (job.local_world_size or job.world_size) < job.world_size


def rank() -> Any:
    """The number of the rank that runs this: from 0 up, below :func:`world_size`.

    In a kernel it is a traced 0-d uint32 array, as all ranks run one program; outside
    an int, this process's.

    Raises:
        NKIPyValueError: a launcher's variables contradict each other.
    """
    if _active_ctx.get() is not None:
        return traced_rank()
    return world().rank


def world_size() -> int:
    """How many ranks there are: of the kernel that is being traced, else of the job.

    Raises:
        NKIPyValueError: a launcher's variables contradict each other.
    """
    return _traced_for.get() or world().size


def _refuse_alone(op: str) -> None:
    here = World() if _active_ctx.get() is not None else world()
    if here.size > 1:
        raise NKIPyValueError(
            f"{op} of NumPy arrays would answer as if all ranks held the same data, "
            f"and this process is rank {here.rank} of {here.size}: call it in a "
            "kernel, of simulate_jit or for a device"
        )


before_answering_alone.append(_refuse_alone)


@contextmanager
def traced_for(size: int | None) -> Iterator[None]:
    """A block in which kernels are traced for so many ranks; None: for the job's."""
    token = _traced_for.set(size)
    try:
        yield
    finally:
        _traced_for.reset(token)


def replica_groups(size: int | None = None, stride: int = 1) -> list[list[int]]:
    """All ranks in groups of one size, for the argument of that name of collectives.

    Args:
        size: ranks in a group; by default all.
        stride: from one rank of a group to the next: 1 puts neighbours together.

    Raises:
        NKIPyValueError: the ranks cannot be grouped so.
    """
    ranks = world_size()
    size = ranks if size is None else size
    if size < 1 or stride < 1 or ranks % (size * stride):
        raise NKIPyValueError(
            f"{ranks} ranks cannot be put into groups of {size} with a stride of "
            f"{stride}: their product has to divide the number of ranks"
        )
    return [
        list(range(first + offset, first + offset + size * stride, stride))
        for first in range(0, ranks, size * stride)
        for offset in range(stride)
    ]


# -- libnrt's variables ----------------------------------------------------------------
def set_cores() -> None:
    """Set ``NEURON_RT_VISIBLE_CORES`` to the core of this rank's number on its machine.

    Not where the user has chosen cores, and not outside of a launcher's job.

    Raises:
        NKIPyValueError: no variable tells the number, or they contradict each other.
    """
    job = find_job(os.environ)
    if job is None or job.world_size == 1:
        return
    if VISIBLE_CORES in os.environ or NUM_CORES in os.environ:
        return
    if job.local_rank is None:
        raise NKIPyValueError(
            f"{job} has no core: set {job.launcher.local_rank} to its number on its "
            f"machine, or {VISIBLE_CORES} to its core"
        )
    _check_core(job, job.local_rank)
    os.environ[VISIBLE_CORES] = str(job.local_rank)


def _check_core(job: Job, core: int) -> None:
    """Refuse a core that the machine has not, by the variable that has chosen it."""
    from spike import NrtError, SpikeError
    from spike._spike import Spike

    try:
        there = Spike.get_visible_neuron_core_count()
    except (NrtError, SpikeError):
        return  # opening the runtime says what is wrong
    if core >= there:
        raise NKIPyValueError(
            f"{job} has no core: it takes that of its number on its machine, "
            f"{job.launcher.local_rank}={core}, and there are {there} from 0 up. Start "
            f"no more processes on a machine than that, or set {VISIBLE_CORES} for "
            f"each; if no launcher has started this one, set {LAUNCHER}={NO_LAUNCHER}"
        )


def set_root(must_meet: bool = False) -> None:
    """Set ``NEURON_RT_ROOT_COMM_ID``, where ranks meet, unless it is set.

    Args:
        must_meet: whether not to know it is an error.

    Raises:
        NKIPyValueError: no variable tells; or they contradict each other.
    """
    if world().size == 1 or os.environ.get(ROOT):
        return
    try:
        os.environ[ROOT] = root_address(find_job(os.environ), os.environ)
    except NKIPyValueError as error:
        if must_meet:
            raise
        logger.info("%s; programs with collectives will be refused", error)


# -- meeting ---------------------------------------------------------------------------
def barrier() -> None:
    """Return when all ranks of the job have come here.

    Without ``torch.distributed`` they meet through libnrt, which this opens.

    Raises:
        NKIPyValueError: it is not known where ranks meet, or this is a kernel.
        NrtError: a rank has ended, or has not come in ``NEURON_RT_EXEC_TIMEOUT``
            seconds; the text names it.
    """
    if _active_ctx.get() is not None:
        raise NKIPyValueError(
            "barrier() is for processes: in a kernel, collectives are what ranks wait "
            "for each other in"
        )
    torch = torch_distributed()
    if torch is not None:
        torch.barrier()
        return
    here = world()
    if here.size > 1:
        _runtime().barrier(*here)


def gather_messages(message: Any) -> list[Any]:
    """What all ranks of the job send, in their order: of JSON's kinds.

    Raises:
        NKIPyValueError: it is not known where ranks meet.
        NrtError: as :func:`barrier`.
    """
    here = world()
    if here.size == 1:
        return [message]
    torch = torch_distributed()
    if torch is not None:
        found: list[Any] = [None] * here.size
        torch.all_gather_object(found, message)
        return found
    runtime, data = _runtime(), json.dumps(message).encode()
    sizes = _chunks(runtime.all_gather(len(data).to_bytes(8, "little"), *here), 8)
    lengths = [int.from_bytes(size, "little") for size in sizes]
    most = max(lengths)
    texts = _chunks(runtime.all_gather(data.ljust(most), *here), most)
    return [json.loads(text) for text in texts]


def _chunks(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


def _runtime() -> Any:
    set_cores()
    set_root(must_meet=True)
    import spike

    return spike.get_spike_singleton()
