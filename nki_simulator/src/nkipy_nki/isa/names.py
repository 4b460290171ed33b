"""Names that instructions take: engines, modes; and which core a kernel is for."""

from __future__ import annotations

from nkipy_nki.engines import Engine
from nkipy_nki.modes import (
    Named,
    dge_mode,
    dma_engine,
    matmul_perf_mode,
    oob_mode,
    reduce_cmd,
)
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


class nc_version(Named):
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
