"""Which queue an instruction is in: its engine's, or one of the DMA's."""

from __future__ import annotations

from collections.abc import Sequence

from nkipy.chips import Chip
from nkipy_nki.engines import Engine
from nkipy_nki.program import Instruction

__all__ = ["FIRST_DMA_QUEUE", "engine_of", "queues"]

#: Numbers of the DMA queues begin here, behind those of engines.
FIRST_DMA_QUEUE = 16
_UNKNOWN = Engine.unknown


def engine_of(instruction: Instruction) -> Engine:
    """The engine that carries an instruction out."""
    engine = instruction.engine
    return instruction.record.engines[0] if engine is _UNKNOWN else engine


def queues(steps: Sequence[Instruction], chip: Chip) -> list[int]:
    """The queue of each instruction: its engine's number, or a DMA queue's.

    Transfers are assigned to the DMA queues round robin.
    """
    dma, transfers, found = Engine.dma, 0, []
    numbers = {engine: engine.value for engine in Engine}
    for step in steps:
        engine = engine_of(step)
        if engine is dma:
            found.append(FIRST_DMA_QUEUE + transfers % chip.dma_engines)
            transfers += 1
        else:
            found.append(numbers[engine])
    return found
