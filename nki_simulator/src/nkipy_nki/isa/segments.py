"""Where the segments of a sequence begin and end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nkipy.chips import Chip
from nkipy_nki.calls import Call
from nkipy_nki.costs import GPSIMD_START
from nkipy_nki.declaring import instruction
from nkipy_nki.engines import Engine
from nkipy_nki.program import Instruction
from nkipy_nki.records import Sample, reads, writes
from nkipy_nki.regions import MemoryRegion

__all__ = ["sequence_bounds"]

_SBUF = frozenset({MemoryRegion.sbuf})


def _sequence_bounds(call: Call) -> None:
    ids = call.flat("segment_ids")[0]
    count = ids.size
    begins = np.ones(count, bool)
    begins[1:] = ids[1:] != ids[:-1]
    starts = np.flatnonzero(begins)
    ends = np.append(starts[1:], count)
    run = np.cumsum(begins) - 1
    padding = ids == 0
    bounds = np.stack(
        (np.where(padding, count, starts[run]), np.where(padding, -1, ends[run]))
    )
    call.write("dst", bounds.astype(np.int32))


def _bounds_problem(made: Instruction, chip: Chip) -> str | None:
    dst, ids = made.operands["dst"], made.operands["segment_ids"]
    if len(ids.shape) != 2 or ids.shape[0] != 1:
        return f"segment_ids has the shape {list(ids.shape)}, and must be [1, N]"
    if dst.shape != (1, 2, ids.shape[1]):
        return (
            f"dst has the shape {list(dst.shape)}, and must be [1, 2, {ids.shape[1]}]"
        )
    return None


def _bounds_samples() -> Iterator[Sample]:
    ids = np.array([[0, 1, 1, 0, 2, 2, 2, 3, 0, 0]])
    for dtype in ("int32", "float32"):
        yield Sample(
            {"dst": ((1, 2, 10), dtype), "segment_ids": ids.astype(dtype)}, label=dtype
        )
    yield Sample(
        {"dst": ((1, 2, 5), "float32"), "segment_ids": np.array([[7] * 5], "int32")},
        label="one segment",
    )
    yield Sample(
        {"dst": ((1, 2, 3), "int32"), "segment_ids": np.zeros((1, 3), "int32")},
        label="padding",
    )


def _bounds_refused() -> Iterator[Sample]:
    ids = np.ones((1, 4), np.int32)
    dst = ((1, 2, 4), "int32")
    yield Sample({"dst": ((1, 4), "int32"), "segment_ids": ids}, message="[1, 2, 4]")
    yield Sample(
        {"dst": ((2, 2, 4), "int32"), "segment_ids": np.ones((2, 4), np.int32)},
        message="[1, N]",
    )
    yield Sample({"dst": dst, "segment_ids": ids.astype("int16")}, message="is int16")
    yield Sample(
        {"dst": ((1, 2, 4), "bfloat16"), "segment_ids": ids}, message="is bfloat16"
    )


@instruction(
    Engine.gpsimd,
    dst=writes(_SBUF, "float32", "int32"),
    segment_ids=reads(_SBUF, "float32", "int32"),
    rules=[_bounds_problem],
    meaning=_sequence_bounds,
    # Not documented: as that of the other instructions of this engine.
    cost=lambda made, chip: GPSIMD_START + made.operands["dst"].free_size,
    samples=_bounds_samples,
    refused=_bounds_refused,
)
def sequence_bounds(dst: Any, segment_ids: Any, name: str | None = None) -> Instruction:
    """Where the segment that each element is in begins, and where it has ended.

    A segment is a run of equal numbers. Its end is the place behind its last element.
    Those of id 0 are padding: they begin at N and end at -1.

    Args:
        dst: [1, 2, N], float32 or int32: begins, ends.
        segment_ids: [1, N], float32 or int32.
    """
    raise NotImplementedError
