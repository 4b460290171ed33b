"""The largest elements of sequences, by GpSimd."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Any

import ml_dtypes
import numpy as np

from nkipy.chips import Chip
from nkipy_nki.calls import Call
from nkipy_nki.checking import not_dynamic, same_partitions
from nkipy_nki.computing import part_of
from nkipy_nki.declaring import instruction
from nkipy_nki.dtypes import narrow, widen
from nkipy_nki.engines import Engine
from nkipy_nki.geometry import GPSIMD_PARTITIONS
from nkipy_nki.program import Instruction, View
from nkipy_nki.records import Sample, reads, writes
from nkipy_nki.regions import MemoryRegion
from nkipy_nki.sampling import shuffled

__all__ = ["topk"]

_SBUF = frozenset({MemoryRegion.sbuf})
_PSUM = MemoryRegion.psum


def _snake(view: View, count: int) -> list[View]:
    """The first `count` elements of each snake: in whole columns, and in the last.

    Returns:
        Views of the shape (groups, 16, columns) and (groups, rest, 1), of those that
        are not empty.
    """
    groups = view.partitions // GPSIMD_PARTITIONS
    down, right = view.strides
    columns, rest = divmod(count, GPSIMD_PARTITIONS)
    strides = (GPSIMD_PARTITIONS * down, down, right)
    parts = [
        part_of(view, 0, (groups, GPSIMD_PARTITIONS, columns), strides),
        part_of(view, columns * right, (groups, rest, 1), strides),
    ]
    return [part for part in parts if part.size]


def _in_snakes(values: np.ndarray) -> np.ndarray:
    """(groups, partitions, columns) as (groups, elements in the snake's order)."""
    return values.transpose(0, 2, 1).reshape(values.shape[0], -1)


def _topk(call: Call) -> None:
    src, count = call.operands["src"], call.attributes["n"]
    parts = [widen(call.elements(p, "src"), p.dtype) for p in _snake(src, count)]
    values = np.concatenate([_in_snakes(part) for part in parts], axis=1)
    wanted = call.operands["val_dst"].free_size
    places = np.argsort(-values, axis=1, kind="stable")[:, :wanted]
    if not call.attributes["sorted"]:
        places = places[:, ::-1]
    chosen = np.take_along_axis(values, places, axis=1)
    val_dst = call.operands["val_dst"]
    _store_snakes(call, "val_dst", narrow(chosen, val_dst.dtype), np.nan)
    _store_snakes(call, "idx_dst", places.astype(np.uint32), 0xFFFFFFFF)


def _store_snakes(call: Call, name: str, results: np.ndarray, other: Any) -> None:
    """Store results in snakes. The slots behind them in the last column are lost."""
    view: View = call.operands[name]
    count = results.shape[1]
    done = 0
    for part in _snake(view, count):
        groups, rows, columns = part.shape
        taken = results[:, done : done + rows * columns]
        call.store_part(part, taken.reshape(groups, columns, rows).transpose(0, 2, 1))
        done += rows * columns
    rest = count % GPSIMD_PARTITIONS
    if rest:  # the engine writes columns of 16, of which documents tell no values
        down, right = view.strides
        lost = part_of(
            view,
            rest * down + count // GPSIMD_PARTITIONS * right,
            (view.partitions // GPSIMD_PARTITIONS, GPSIMD_PARTITIONS - rest),
            (GPSIMD_PARTITIONS * down, down),
        )
        call.machine.memory.storage(view.allocation).elements(lost)[...] = other


def _topk_problem(made: Instruction, chip: Chip) -> str | None:
    val, idx, src = (made.operands[n] for n in ("val_dst", "idx_dst", "src"))
    n = made.attributes["n"]
    if src.partitions % GPSIMD_PARTITIONS:
        return (
            f"src has {src.partitions} partitions, and must have a multiple of "
            f"{GPSIMD_PARTITIONS}"
        )
    if val.shape != idx.shape:
        return f"idx_dst has the shape {list(idx.shape)}, and val_dst {list(val.shape)}"
    if isinstance(n, bool) or not isinstance(n, int) or not 8 <= n < 65536:
        return f"n is {n!r}, and must be an int from 8 to 65535"
    if src.free_size < ceil(n / GPSIMD_PARTITIONS):
        return (
            f"src has {src.free_size} elements in a partition, and a snake of {n} "
            f"needs {ceil(n / GPSIMD_PARTITIONS)}"
        )
    if not 1 <= val.free_size < 32768 or val.free_size > n:
        return f"val_dst has {val.free_size} places, and must have 1 to {min(n, 32767)}"
    return None


def _two_dimensions(made: Instruction, chip: Chip) -> str | None:
    for name, view in made.views():
        if len(view.shape) != 2:
            return f"{name} has {len(view.shape)} dimensions, and must have 2"
    return None


def _topk_samples() -> Iterator[Sample]:
    values = shuffled(32, 9, ml_dtypes.bfloat16)
    for label, count, k in (("part of a column", 100, 5), ("columns", 144, 32)):
        for ordered in (False, True):
            yield Sample(
                {
                    "val_dst": ((32, k), "bfloat16"),
                    "idx_dst": ((32, k), "uint32"),
                    "src": values,
                },
                {"n": count, "sorted": ordered},
                label=f"{label}, {'sorted' if ordered else 'not sorted'}",
            )
    yield Sample(
        {
            "val_dst": ((16, 8), "bfloat16"),
            "idx_dst": ((16, 8), "uint32"),
            "src": shuffled(16, 1, ml_dtypes.bfloat16),
        },
        {"n": 8},
        label="all of 8, equal values",
    )


def _topk_refused() -> Iterator[Sample]:
    x = shuffled(16, 9, ml_dtypes.bfloat16)
    found = {"val_dst": ((16, 4), "bfloat16"), "idx_dst": ((16, 4), "uint32")}
    tile, told = {**found, "src": x}, {"n": 64}
    yield Sample(tile, {"n": 7}, message="8 to 65535")
    yield Sample(tile, {"n": 65536}, message="8 to 65535")
    yield Sample(tile, {"n": 145}, message="needs 10")
    yield Sample({**tile, "src": x.astype("float32")}, told, message="is float32")
    yield Sample({**tile, "idx_dst": ((16, 4), "int32")}, told, message="is int32")
    yield Sample({**tile, "idx_dst": ((16, 5), "uint32")}, told, message="[16, 5]")
    yield Sample(
        {"val_dst": ((16, 9), "bfloat16"), "idx_dst": ((16, 9), "uint32"), "src": x},
        {"n": 8},
        message="1 to 8",
    )
    yield Sample(
        {
            "val_dst": ((8, 4), "bfloat16"),
            "idx_dst": ((8, 4), "uint32"),
            "src": x[:8],
        },
        told,
        message="multiple of 16",
    )
    yield Sample({**tile, "src": x.reshape(16, 3, 3)}, told, message="must have 2")
    yield Sample(tile, told, regions={"src": _PSUM}, message="is in psum")


@instruction(
    Engine.gpsimd,
    val_dst=writes(_SBUF, "bfloat16"),
    idx_dst=writes(_SBUF, "uint32"),
    src=reads(_SBUF, "bfloat16"),
    rules=[same_partitions, _two_dimensions, not_dynamic, _topk_problem],
    meaning=_topk,
    cost=lambda made, chip: float(
        4 * made.attributes["n"] + made.operands["val_dst"].free_size
    ),
    samples=_topk_samples,
    refused=_topk_refused,
)
def topk(
    val_dst: Any,
    idx_dst: Any,
    src: Any,
    n: int,
    sorted: bool = False,
    name: str | None = None,
) -> Instruction:
    """The k largest elements of each group of 16 partitions, and where they are.

    Element i of a group is in its partition ``i % 16``, at ``i // 16``; so are the
    results, of which there are as many as `val_dst` has places in a partition. Of
    equal elements, those in front are taken. The slots behind the last result in its
    column have no value afterwards.

    Args:
        val_dst: [P, k], bfloat16.
        idx_dst: [P, k], uint32: places in the group, from 0.
        src: [P, F], bfloat16, P a multiple of 16.
        n: how many elements of a group there are, 8 to 65,535; others are ignored.
        sorted: the largest comes first; otherwise last.
    """
    raise NotImplementedError
