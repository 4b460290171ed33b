"""Modes that instructions take, as a program has them."""

from __future__ import annotations

from enum import Enum

__all__ = [
    "Named",
    "dependency",
    "dge_mode",
    "dma_engine",
    "matmul_perf_mode",
    "oob_mode",
    "reduce_cmd",
]


class Named(Enum):
    """An enumeration that is printed as a kernel writes it."""

    def __repr__(self) -> str:
        return f"nisa.{type(self).__name__}.{self.name}"


class reduce_cmd(Named):
    """What an instruction does with the reduce registers of its engine."""

    #: It leaves them alone.
    idle = 0
    #: They are set to the identity of the reduction.
    reset = 1
    #: What is computed is added to what they hold.
    reduce = 2
    #: They are set to the identity first, and what is computed is added.
    reset_reduce = 3
    #: They are set to values that are given first, and what is computed is added.
    load_reduce = 4


class dge_mode(Named):
    """Who makes the descriptors of a transfer."""

    #: The compiler chooses.
    unknown = 0
    #: The GpSimd engine, by software.
    swdge = 1
    #: Hardware.
    hwdge = 2
    #: Nobody when it runs: they lie in HBM beforehand.
    none = 3


class oob_mode(Named):
    """What is done about a dynamic index that is out of bounds."""

    error = 0
    #: The element is neither read nor written.
    skip = 1


class matmul_perf_mode(Named):
    """How a matrix product uses the tensor engine."""

    none = 0
    #: Two fp8 elements of a row at a time.
    double_row = 1


class dma_engine(Named):
    """What moves the tiles of ``sendrecv``."""

    #: The DMA engines that all cores share.
    dma = 0
    #: The GpSimd engine's own.
    gpsimd_dma = 1


class dependency(Named):
    """How an instruction comes after another."""

    #: It begins when the other one is done, on any engine: a semaphore is waited for.
    runtime = "runtime"
    #: It is issued after the other one. On another engine it may run beside it.
    schedule = "schedule"
