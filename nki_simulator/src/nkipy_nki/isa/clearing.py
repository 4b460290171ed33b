"""The begin of an accumulation, as the first generation has it.

``nki.isa`` does not have it: there, the first product overwrites. ``neuronxcc.nki``
issues it for zeros in the PSUM, which is how its documentation has sums of products
begin, on every generation of chips.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nkipy_nki.calls import Call
from nkipy_nki.declaring import instruction
from nkipy_nki.engines import Engine
from nkipy_nki.products import overwrite
from nkipy_nki.program import Instruction
from nkipy_nki.records import Sample, writes
from nkipy_nki.regions import MemoryRegion

__all__: list[str] = []

_PSUM = MemoryRegion.psum


def _clear(call: Call) -> None:
    view = call.operands["dst"]
    overwrite(call, np.zeros(view.shape, view.dtype.element))


def _samples() -> Iterator[Sample]:
    for dtype in ("float32", "bfloat16", "int32"):
        yield Sample({"dst": ((3, 4), dtype)}, {}, {"dst": _PSUM}, label=dtype)
    before = np.ones((5, 2), np.float32)
    yield Sample({"dst": before}, {}, {"dst": _PSUM}, label="what-was-there")


def _refused() -> Iterator[Sample]:
    yield Sample({"dst": ((3, 4), "float32")}, message="dst is in sbuf")
    yield Sample({"dst": 1.0}, message="must be a tensor")


@instruction(
    Engine.vector,
    dst=writes(frozenset({_PSUM})),
    meaning=_clear,
    # The compiler lets the first product overwrite instead.
    cost=lambda made, chip: 0.0,
    samples=_samples,
    refused=_refused,
)
def clear_psum(dst: Any, name: str | None = None) -> Instruction:
    """Set a tile in the PSUM to zeros that products of matrices are added to.

    Args:
        dst: (P, ...) in PSUM.
    """
    raise NotImplementedError
