"""Printing of tensors while a kernel runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np

from nkipy.chips import Chip
from nkipy_nki.calls import Call
from nkipy_nki.declaring import instruction
from nkipy_nki.engines import Engine
from nkipy_nki.program import Instruction
from nkipy_nki.records import Sample, reads
from nkipy_nki.regions import HBM, MemoryRegion

__all__ = ["device_print"]

_REACHED = frozenset({MemoryRegion.sbuf, *HBM})


def _device_print(call: Call) -> None:
    values = call.raw("tensor").copy()
    call.machine.write_debug_output(call.attributes["print_prefix"], values)


def _prefix_problem(made: Instruction, chip: Chip) -> str | None:
    prefix = made.attributes["print_prefix"]
    if not isinstance(prefix, str) or not prefix:
        return f"print_prefix is {prefix!r}, and must be a text"
    return None


def _samples() -> Iterator[Sample]:
    x = np.arange(6).reshape(2, 3)
    for dtype in (np.float32, ml_dtypes.bfloat16, np.int8):
        yield Sample({"tensor": x.astype(dtype)}, {"print_prefix": "x"})
    yield Sample(
        {"tensor": x.astype("int32")},
        {"print_prefix": "x"},
        regions={"tensor": MemoryRegion.shared_hbm},
        label="HBM",
    )


def _refused() -> Iterator[Sample]:
    x = {"tensor": np.ones((2, 3), np.float32)}
    yield Sample(x, {"print_prefix": 3}, message="must be a text")
    yield Sample(x, {"print_prefix": ""}, message="must be a text")
    yield Sample(
        {"tensor": ((2, 3), "float32")}, {"print_prefix": "x"}, message="never"
    )
    yield Sample(
        x,
        {"print_prefix": "x"},
        regions={"tensor": MemoryRegion.psum},
        message="is in psum",
    )


@instruction(
    Engine.dma,
    tensor=reads(_REACHED, partitions=1 << 31),
    rules=[_prefix_problem],
    meaning=_device_print,
    # A device copies the tensor to its debug stream, of which no time is documented.
    cost=lambda made, chip: 0.0,
    samples=_samples,
    refused=_refused,
)
def device_print(
    print_prefix: str, tensor: Any, name: str | None = None
) -> Instruction:
    """Print a tensor's values at this place of the kernel.

    ``nki.simulate`` prints them to stdout at once, in a loop once for each iteration,
    and keeps them as the run's ``debug_output``.

    Args:
        print_prefix: a text that stands before them.
        tensor: in SBUF or HBM.
    """
    raise NotImplementedError
