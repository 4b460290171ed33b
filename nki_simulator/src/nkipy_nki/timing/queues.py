"""Which queue an instruction is in: its engine's, or one of the DMA's."""

from __future__ import annotations

from collections.abc import Sequence

from nkipy.chips import Chip
from nkipy_nki.engines import Engine
from nkipy_nki.program import Instruction

__all__ = ["FIRST_DMA_QUEUE", "engine_of", "queues"]

#: Numbers of the DMA queues begin here, behind those of engines.
FIRST_DMA_QUEUE = 16


def engine_of(instruction: Instruction) -> Engine:
    """The engine that carries an instruction out."""
    engine = instruction.engine
    return engine if engine.value else instruction.record.engines[0]


def queues(steps: Sequence[Instruction], chip: Chip) -> list[int]:
    """The queue of each instruction: its engine's number, or a DMA queue's.

    Transfers are assigned to the DMA queues round robin.
    """
    dma, transfers, found = Engine.dma, 0, []
    for step in steps:
        engine = engine_of(step)
        if engine is dma:
            found.append(FIRST_DMA_QUEUE + transfers % chip.dma_engines)
            transfers += 1
        else:
            found.append(engine.value)
    return found
