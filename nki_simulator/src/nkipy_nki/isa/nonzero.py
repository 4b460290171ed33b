"""Which elements are not zero."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Any

import numpy as np

from nkipy.chips import Chip
from nkipy_nki.calls import Call
from nkipy_nki.checking import not_dynamic, same_partitions
from nkipy_nki.computing import part_of
from nkipy_nki.costs import GPSIMD_START
from nkipy_nki.declaring import instruction
from nkipy_nki.dtypes import narrow
from nkipy_nki.engines import Engine
from nkipy_nki.geometry import GPSIMD_PARTITIONS
from nkipy_nki.program import Instruction, View
from nkipy_nki.records import Sample, reads, writes
from nkipy_nki.regions import MemoryRegion

__all__ = ["nonzero_with_count"]

_SBUF = frozenset({MemoryRegion.sbuf})
_PSUM = MemoryRegion.psum


def _reached(view: View) -> View:
    """Every 16th partition of a tile, in which the engine's cores work."""
    shape = (ceil(view.partitions / GPSIMD_PARTITIONS), *view.shape[1:])
    return part_of(
        view, 0, shape, (GPSIMD_PARTITIONS * view.strides[0], *view.strides[1:])
    )


def _nonzero(call: Call) -> None:
    src, dst = (_reached(call.operands[name]) for name in ("src", "dst"))
    told = call.attributes
    set_ = call.elements(src, "src").reshape(src.partitions, -1) != 0
    result = np.full((dst.partitions, dst.free_size), told["padding_val"], np.int64)
    for row, found in zip(result, set_):
        places = np.flatnonzero(found)
        row[: places.size] = places + told["index_offset"]
        row[-1] = places.size
    call.store_part(dst, narrow(result, dst.dtype).reshape(dst.shape))


def _nonzero_problem(made: Instruction, chip: Chip) -> str | None:
    dst, src = made.operands["dst"], made.operands["src"]
    if dst.free_size != src.free_size + 1:
        return (
            f"dst has {dst.free_size} elements in a partition, and must have one more "
            f"than src, {src.free_size + 1}"
        )
    for name in ("index_offset", "padding_val"):
        value = made.attributes[name]
        if isinstance(value, bool) or not isinstance(value, int):
            return f"{name} is {value!r}, and must be an int"
        if not -(1 << 31) <= value < 1 << 31:
            return f"{name} is {value!r}, and must have 32 bits"
    return None


def _nonzero_samples() -> Iterator[Sample]:
    one = np.array([[0, 1, 1, 0, 0, 1, 0, 0]])
    for dtype in ("float32", "int32"):
        yield Sample(
            {"dst": ((1, 9), "int32"), "src": one.astype(dtype)},
            {"index_offset": 16, "padding_val": -1},
            label=f"documented, {dtype}",
        )
    several = (np.arange(33 * 6).reshape(33, 2, 3) % 5 == 0).astype("float32")
    yield Sample(
        {"dst": (np.full((33, 7), -9, np.int32)), "src": several},
        label="other partitions are kept",
    )
    yield Sample(
        {"dst": ((1, 4), "float32"), "src": np.array([[np.nan, -0.0, 2]], np.float32)},
        {"padding_val": 7},
        label="NaN and -0, float32",
    )


def _nonzero_refused() -> Iterator[Sample]:
    x = np.ones((16, 4), np.float32)
    tile = {"dst": ((16, 5), "int32"), "src": x}
    yield Sample({**tile, "dst": ((16, 4), "int32")}, message="one more")
    yield Sample({**tile, "dst": ((8, 5), "int32")}, message="partitions")
    yield Sample(tile, chip="trn1", message="gen3")
    yield Sample(tile, {"padding_val": 0.5}, message="padding_val is 0.5")
    yield Sample(tile, {"index_offset": 1 << 31}, message="must have 32 bits")
    yield Sample(tile, regions={"src": _PSUM}, message="is in psum")


@instruction(
    Engine.gpsimd,
    dst=writes(_SBUF),
    src=reads(_SBUF),
    rules=[same_partitions, not_dynamic, _nonzero_problem],
    meaning=_nonzero,
    # Not documented: as that of the other instructions of this engine.
    cost=lambda made, chip: GPSIMD_START + made.operands["src"].free_size,
    samples=_nonzero_samples,
    refused=_nonzero_refused,
    since=3,
)
def nonzero_with_count(
    dst: Any,
    src: Any,
    index_offset: int = 0,
    padding_val: int = -1,
    name: str | None = None,
) -> Instruction:
    """Which elements are not zero, and how many.

    Only every 16th partition, the first among them, is read and written.

    Args:
        dst: one element more than `src`: places of elements that are not zero, then
            `padding_val`, and last their number.
        src: the elements.
        index_offset: added to the places.
        padding_val: fills what is left.
    """
    raise NotImplementedError
