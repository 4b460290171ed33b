"""Element-wise instructions of two tiles, and of a tile and numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nkipy.chips import Chip
from nkipy_nki.checking import same_elements, same_partitions
from nkipy_nki.declaring import instruction
from nkipy_nki.engines import Engine
from nkipy_nki.machine import Call
from nkipy_nki.operators import find_operation
from nkipy_nki.program import Instruction
from nkipy_nki.records import Sample, reads, writes

__all__ = ["tensor_tensor"]


def _meaning(call: Call) -> None:
    op = find_operation(call.attributes["op"], "arithmetic")
    call.write("dst", op(call.flat("data1"), call.flat("data2")))


def _cost(made: Instruction, chip: Chip) -> float:
    free = made.operands["dst"].free_size
    return max(64.0, 2.0 * free)


def _samples() -> Iterator[Sample]:
    a = np.arange(12, dtype=np.float32).reshape(3, 4)
    yield Sample(
        {"dst": ((3, 4), "float32"), "data1": a, "data2": a + 1}, {"op": "add"}
    )


def _refused() -> Iterator[Sample]:
    a = np.ones((3, 4), np.float32)
    yield Sample(
        {"dst": ((2, 4), "float32"), "data1": a, "data2": a},
        {"op": "add"},
        message="partitions",
    )


@instruction(
    *(Engine.vector, Engine.gpsimd),
    dst=writes(),
    data1=reads(),
    data2=reads(),
    rules=[same_partitions, same_elements],
    meaning=_meaning,
    cost=_cost,
    samples=_samples,
    refused=_refused,
)
def tensor_tensor(
    dst: Any,
    data1: Any,
    data2: Any,
    op: Any,
    engine: Engine = Engine.unknown,
    name: str | None = None,
) -> Instruction:
    """Each element of `data1` with that of `data2`: ``dst = data1 op data2``."""
    raise NotImplementedError
