"""Copies: by DMA, and by engines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nkipy.chips import Chip
from nkipy_nki.declaring import instruction
from nkipy_nki.engines import Engine
from nkipy_nki.machine import Call
from nkipy_nki.program import Instruction
from nkipy_nki.records import Sample, reads, writes
from nkipy_nki.regions import HBM, MemoryRegion

__all__ = ["dma_copy"]

_REACHED = frozenset({MemoryRegion.sbuf, *HBM})


def _copy(call: Call) -> None:
    dst, src = call.operands["dst"], call.operands["src"]
    if dst.dtype is src.dtype:
        call.store("dst", call.raw("src"))
    else:
        call.write("dst", call.read("src"))


def _same_size(made: Instruction, chip: Chip) -> str | None:
    dst, src = made.operands["dst"], made.operands["src"]
    if dst.size != src.size:
        return f"dst has {dst.size} elements, and src has {src.size}"
    return None


def _samples() -> Iterator[Sample]:
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    yield Sample({"dst": ((3, 4), "float32"), "src": x})


def _refused() -> Iterator[Sample]:
    x = np.ones((3, 4), np.float32)
    yield Sample({"dst": ((2, 4), "float32"), "src": x}, message="8 elements")


@instruction(
    Engine.dma,
    dst=writes(_REACHED, partitions=1 << 31),
    src=reads(_REACHED, partitions=1 << 31),
    rules=[_same_size],
    meaning=_copy,
    cost=lambda made, chip: 0.0,
    samples=_samples,
    refused=_refused,
)
def dma_copy(dst: Any, src: Any, name: str | None = None) -> Instruction:
    """Copy elements between HBM and SBUF, or within one of them."""
    raise NotImplementedError
