"""Where the cores of a logical core synchronize: barriers, and tiles exchanged."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np

from nkipy.chips import Chip
from nkipy_nki.calls import Call
from nkipy_nki.cores import Core
from nkipy_nki.costs import INTERVAL
from nkipy_nki.declaring import instruction
from nkipy_nki.engines import Engine
from nkipy_nki.modes import dma_engine
from nkipy_nki.program import Instruction, Line
from nkipy_nki.records import Sample, reads, writes
from nkipy_nki.regions import MemoryRegion
from nkipy_nki.sampling import numbers, sample, together

__all__ = ["core_barrier", "sendrecv"]

_SHARED = frozenset({MemoryRegion.shared_hbm})
_SBUF = frozenset({MemoryRegion.sbuf})
_GEN3 = 3
#: By bytes of an element, how many of a partition the GpSimd engine's DMA moves (page
#: of sendrecv).
_GPSIMD_LIMITS = {4: 1024, 2: 512, 1: 256}


# -- core_barrier ----------------------------------------------------------------------
def _two_cores(made: Instruction, chip: Chip) -> str | None:
    cores = made.attributes["cores"]
    if not isinstance(cores, (tuple, list)) or tuple(cores) != (0, 1):
        return f"cores is {cores!r}, and must be (0, 1)"
    return None


def _neighbours(call: Call) -> list[Core]:
    """The two cores that a barrier is of: those of a logical core, or of an HBM."""
    core = call.machine.core
    if core is not None and core.group.lnc > 1:
        return core.group.of_rank(core.rank)
    if core is not None:
        for group in core.group.hbm_groups:
            if core.rank in group and len(group) > 1:
                return [core.group.cores[rank] for rank in group]
    call.report(
        "wrong-operand",
        "the kernel runs on one core: core_barrier is for the two of kernel[2], or for "
        "two ranks that share an HBM",
    )
    return []


def _barrier(call: Call) -> None:
    members = _neighbours(call)
    core = call.machine.core
    if core is None or not members:
        return
    data = core.shared_tensor(call.operands["data"].allocation)
    if data is None:
        call.report(
            "wrong-operand",
            "data is this rank's own: tensors in shared_hbm are those of the ranks of "
            "one core that share an HBM if NKI_LNC1_SHARED_HBM=1",
        )
    contributions = core.rendezvous(call.instruction, "core_barrier", members, data)
    for other, theirs in contributions.items():
        if theirs is not data:
            name = theirs.allocation if theirs else "a tensor of its own"
            call.report(
                "wrong-operand", f"data is not that of {other.name}, which has {name}"
            )


def _barriers() -> Iterator[Sample]:
    data = {"data": np.ones((4, 8), np.float32)}
    shared = {"data": MemoryRegion.shared_hbm}
    for engine in (Engine.gpsimd, Engine.vector, Engine.scalar, Engine.tensor):
        one = sample(
            data, cores=(0, 1), engine=engine, regions=shared, lnc=2, label=engine.name
        )
        yield together([one, one])


def _wrong_barriers() -> Iterator[Sample]:
    data = {"data": np.ones((4, 8), np.float32)}
    shared = {"data": MemoryRegion.shared_hbm}
    yield sample(data, cores=(0, 1), regions=shared, message="runs on one core")
    yield sample(data, cores=(0,), regions=shared, message="must be (0, 1)")
    own = {"data": MemoryRegion.private_hbm}
    yield sample(data, cores=(0, 1), regions=own, message="is in private_hbm")
    yield sample(data, cores=(0, 1), regions=shared, chip="trn1", message="is of gen3")


@instruction(
    *(Engine.gpsimd, Engine.vector, Engine.scalar, Engine.tensor, Engine.sync),
    data=reads(_SHARED),
    rules=[_two_cores],
    meaning=_barrier,
    cost=lambda made, chip: INTERVAL,
    samples=_barriers,
    refused=_wrong_barriers,
    since=_GEN3,
)
def core_barrier(
    data: Any,
    cores: Any,
    engine: Engine = Engine.gpsimd,
    name: str | None = None,
) -> Instruction:
    """Wait until the other core has come here too.

    What a core did to shared tensors before it comes before what the other does after.

    Args:
        data: the tensor in ``shared_hbm`` that both cores work on.
        cores: (0, 1): the two of ``kernel[2]``; of one core, two ranks that share an
            HBM.
        engine: which waits.
    """
    raise NotImplementedError


# -- sendrecv --------------------------------------------------------------------------
def _ranks(made: Instruction, chip: Chip) -> str | None:
    for name in ("send_to_rank", "recv_from_rank"):
        rank = made.attributes[name]
        if isinstance(rank, bool) or rank not in (0, 1):
            return f"{name} is {rank!r}, and must be 0 or 1"
    pipe = made.attributes["pipe_id"]
    if isinstance(pipe, bool) or not isinstance(pipe, int):
        return f"pipe_id is {pipe!r}, and must be an int"
    return None


def _same_tiles(made: Instruction, chip: Chip) -> str | None:
    src, dst = made.operands["src"], made.operands["dst"]
    if tuple(src.shape) != tuple(dst.shape) or src.dtype.name != dst.dtype.name:
        return (
            f"src is {list(src.shape)} {src.dtype.name} and dst is {list(dst.shape)} "
            f"{dst.dtype.name}: they must be equal"
        )
    return None


def _small_for_gpsimd(made: Instruction, chip: Chip) -> str | None:
    """The GpSimd engine's DMA moves little."""
    given = made.attributes["dma_engine"]
    if not isinstance(given, dma_engine):
        return f"dma_engine is {given!r}, and may be {', '.join(map(repr, dma_engine))}"
    src = made.operands["src"]
    limit = _GPSIMD_LIMITS.get(src.dtype.device_itemsize)
    size = math.prod(src.shape[1:]) * src.dtype.device_itemsize
    if given is dma_engine.dma or limit is None or size <= limit:
        return None
    return (
        f"src has {size} bytes in a partition, and may have {limit} of "
        f"{src.dtype.name} if dma_engine is gpsimd_dma"
    )


def _sent(call: Call) -> None:
    core = call.machine.core
    if core is None or core.group.lnc < 2:
        text = "the kernel runs on one core: sendrecv is for the two of kernel[2]"
        call.report("wrong-operand", text)
        return
    members = core.group.of_rank(core.rank)
    target = call.attributes["send_to_rank"]
    offer = target, call.raw("src").copy(), call.instruction.line
    key = "sendrecv", call.attributes["pipe_id"]
    contributions = core.rendezvous(call.instruction, key, members, offer)
    source = members[call.attributes["recv_from_rank"]]
    _take(call, core, source.name, contributions[source])


def _take(
    call: Call, core: Core, source: str, contribution: tuple[int, Any, Line]
) -> None:
    """Store what another core sent."""
    target, elements, line = contribution
    dst = call.operands["dst"]
    if target != core.core:
        text = f"receives from {source}, which sends to core {target} at {line}"
        call.report("wrong-operand", text)
    elif elements.shape != dst.shape or elements.dtype != dst.dtype.element:
        call.report(
            "wrong-operand",
            f"dst is {list(dst.shape)} {dst.dtype.name}, and {source} sends "
            f"{list(elements.shape)} of {elements.dtype} at {line}",
        )
    else:
        call.store("dst", elements)


def _exchange_ns(made: Instruction, chip: Chip, copy_ns: float) -> float:
    """Not documented in figures: a copy, and a signal to the other core and back."""
    return copy_ns + 2 * chip.semaphore_latency_ns


_DTYPES = (np.float32, ml_dtypes.bfloat16, np.int8, np.uint32)


def _exchanges() -> Iterator[Sample]:
    for dtype in _DTYPES:
        yield _exchange((4, 8), dtype, label=np.dtype(dtype).name)
    yield _exchange((32, 2, 3), np.float32, label="3 dims")
    yield _exchange((4, 256), np.float32, dma_engine=dma_engine.gpsimd_dma)


def _exchange(shape: tuple[int, ...], dtype: Any, **others: Any) -> Sample:
    """Each core sends to the other one."""
    return together(
        [
            sample(
                {"src": numbers(dtype, shape, core), "dst": (shape, dtype)},
                send_to_rank=1 - core,
                recv_from_rank=1 - core,
                pipe_id=0,
                lnc=2,
                **others,
            )
            for core in range(2)
        ]
    )


def _wrong_exchanges() -> Iterator[Sample]:
    x = {"src": np.ones((4, 8), np.float32), "dst": ((4, 8), "float32")}
    to = {"send_to_rank": 1, "recv_from_rank": 1, "pipe_id": 0}
    yield sample(x, **to, message="runs on one core")
    yield sample(x, **{**to, "send_to_rank": 2}, message="must be 0 or 1")
    yield sample(x, **{**to, "pipe_id": "a"}, message="must be an int")
    other = {**x, "dst": ((4, 4), "float32")}
    yield sample(other, **to, message="they must be equal")
    large = {"src": np.ones((4, 257), np.float32), "dst": ((4, 257), "float32")}
    yield sample(
        large, **to, dma_engine=dma_engine.gpsimd_dma, message="may have 1024 of"
    )
    yield sample(x, **to, dma_engine="dma", message="dma_engine is 'dma'")
    alone = [sample(x, **to, lnc=2, message="sends to core"), sample(x, **to, lnc=2)]
    yield together(alone)


@instruction(
    Engine.dma,
    src=reads(_SBUF, aligned=False),
    dst=writes(_SBUF, aligned=False),
    rules=[_ranks, _same_tiles, _small_for_gpsimd],
    meaning=_sent,
    cost=lambda made, chip: 1.0,
    transfer_ns=_exchange_ns,
    samples=_exchanges,
    refused=_wrong_exchanges,
    since=_GEN3,
)
def sendrecv(
    src: Any,
    dst: Any,
    send_to_rank: int,
    recv_from_rank: int,
    pipe_id: int,
    dma_engine: dma_engine = dma_engine.dma,
    name: str | None = None,
) -> Instruction:
    """Exchange tiles with the other core of ``kernel[2]``.

    Args:
        src: the tile that is sent, in SBUF.
        dst: where what the other core sends is stored, in SBUF: of the same shape and
            dtype.
        send_to_rank: 0 or 1: the core that gets `src`.
        recv_from_rank: 0 or 1: the core whose `src` comes.
        pipe_id: both cores wait for each other where it is equal.
        dma_engine: what moves the tiles. ``gpsimd_dma`` moves at most 1,024 bytes of a
            partition of 32 bits, 512 of 16 and 256 of 8.
    """
    raise NotImplementedError
