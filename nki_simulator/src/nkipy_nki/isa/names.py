"""Names that instructions take: engines, modes; and which core a kernel is for."""

from __future__ import annotations

from enum import Enum

from nkipy_nki.engines import Engine
from nkipy_nki.running import current, is_running
from nkipy_nki.targets import target_chip

__all__ = [
    "dge_mode",
    "dma_engine",
    "engine",
    "get_nc_sub_version",
    "get_nc_version",
    "gpsimd_engine",
    "matmul_perf_mode",
    "nc_version",
    "oob_mode",
    "reduce_cmd",
    "scalar_engine",
    "tensor_engine",
    "unknown_engine",
    "vector_engine",
]

engine = Engine
tensor_engine = Engine.tensor
vector_engine = Engine.vector
scalar_engine = Engine.scalar
gpsimd_engine = Engine.gpsimd
unknown_engine = Engine.unknown


class _Named(Enum):
    """An enumeration that is printed as a kernel writes it."""

    def __repr__(self) -> str:
        return f"nisa.{type(self).__name__}.{self.name}"


class reduce_cmd(_Named):
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


class dge_mode(_Named):
    """Who makes the descriptors of a transfer."""

    #: The compiler chooses.
    unknown = 0
    #: The GpSimd engine, by software.
    swdge = 1
    #: Hardware.
    hwdge = 2
    #: Nobody when it runs: they lie in HBM beforehand.
    none = 3


class oob_mode(_Named):
    """What is done about a dynamic index that is out of bounds."""

    error = 0
    #: The element is neither read nor written.
    skip = 1


class matmul_perf_mode(_Named):
    """How a matrix product uses the tensor engine."""

    none = 0
    #: Two fp8 elements of a row at a time.
    double_row = 1


class dma_engine(_Named):
    """What moves the tiles of ``sendrecv``."""

    #: The DMA engines that all cores share.
    dma = 0
    #: The GpSimd engine's own.
    gpsimd_dma = 1


class nc_version(_Named):
    """A generation of the cores."""

    #: trn1 and inf2.
    gen2 = 2
    #: trn2.
    gen3 = 3
    #: trn3.
    gen4 = 4


def get_nc_version() -> nc_version:
    """The generation that the kernel runs for; outside of one, the target's.

    Raises:
        NkiValidationError: the target has no generation that the language knows.
    """
    chip = current().chip if is_running() else target_chip()
    return nc_version(chip.generation)


def get_nc_sub_version() -> int:
    """The variant of the generation. The simulator has one of each: number 0."""
    return 0
