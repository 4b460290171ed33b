"""The largest elements, where given ones are, and which are not zero."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Any

import ml_dtypes
import numpy as np

from nkipy.chips import Chip
from nkipy_nki.checking import same_partitions
from nkipy_nki.costs import GPSIMD_START
from nkipy_nki.declaring import instruction
from nkipy_nki.dtypes import narrow, widen
from nkipy_nki.engines import Engine
from nkipy_nki.geometry import GPSIMD_PARTITIONS
from nkipy_nki.machine import Call
from nkipy_nki.program import Instruction, View
from nkipy_nki.records import Rule, Sample, reads, writes
from nkipy_nki.regions import MemoryRegion

__all__ = ["max8", "nc_find_index8", "nc_match_replace8", "nonzero_with_count", "topk"]

_SBUF = frozenset({MemoryRegion.sbuf})
_PSUM = MemoryRegion.psum


#: Elements of a partition that are searched (pages of max8, nc_find_index8 and
#: nc_match_replace8).
_MOST_SEARCHED = 16384


def _sized(name: str, least: int, most: int) -> Rule:
    """A rule: how many elements a partition of an operand may have."""

    def rule(made: Instruction, chip: Chip) -> str | None:
        view = made.operands[name]
        if view is None or least <= view.free_size <= most:
            return None
        wanted = str(least) if least == most else f"{least} to {most}"
        return (
            f"{name} has {view.free_size} elements in a partition, and must have "
            f"{wanted}"
        )

    return rule


def _cost_of(name: str) -> Any:
    """Cycles: one for each element of an operand's partition."""
    return lambda made, chip: float(made.operands[name].free_size)


# -- max8 ------------------------------------------------------------------------------
def _max8(call: Call) -> None:
    values = call.flat("src")
    largest = np.partition(values, values.shape[1] - 8, axis=1)[:, -8:]
    call.write("dst", np.sort(largest, axis=1)[:, ::-1])


def _shuffled(partitions: int, count: int, dtype: Any = np.float32) -> np.ndarray:
    """Whole numbers, the same ones in each partition, in an order of its own."""
    places = np.arange(partitions)[:, None] * 7 + np.arange(count) * 5
    return (places % count - count // 2).astype(dtype)


def _max8_samples() -> Iterator[Sample]:
    yield Sample({"dst": ((4, 8), "float32"), "src": _shuffled(4, 21)})
    yield Sample(
        {"dst": ((128, 8), "bfloat16"), "src": _shuffled(128, 64, "int16")},
        label="int16 to bfloat16",
    )
    yield Sample(
        {
            "dst": ((2, 2, 4), "float32"),
            "src": _shuffled(2, 24, ml_dtypes.bfloat16).reshape(2, 2, 3, 2, 2),
        },
        label="several dimensions",
    )
    yield Sample(
        {
            "dst": ((2, 8), "float32"),
            "src": np.array([[-np.inf] * 6 + [np.inf, 3, 3, 3], [1] * 10], np.float32),
        },
        regions={"src": _PSUM, "dst": _PSUM},
        label="PSUM, equal and infinite values",
    )
    yield Sample({"dst": ((3, 8), "float32"), "src": _shuffled(3, 8)}, label="8")


def _max8_refused() -> Iterator[Sample]:
    dst, x = ((4, 8), "float32"), _shuffled(4, 21)
    yield Sample({"dst": dst, "src": x[:, :7]}, message="8 to 16384")
    yield Sample({"dst": dst, "src": np.zeros((4, 16385), "int8")}, message="16385")
    yield Sample({"dst": ((4, 9), "float32"), "src": x}, message="must have 8")
    yield Sample({"dst": ((3, 8), "float32"), "src": x}, message="partitions")
    yield Sample({"dst": ((4, 2, 2, 2), "float32"), "src": x}, message="4 dimensions")
    yield Sample(
        {"dst": dst, "src": np.zeros((4, 2, 2, 2, 2, 2), "float32")},
        message="6 dimensions",
    )


@instruction(
    Engine.vector,
    dst=writes(dims=3),
    src=reads(dims=5),
    rules=[same_partitions, _sized("src", 8, _MOST_SEARCHED), _sized("dst", 8, 8)],
    meaning=_max8,
    cost=_cost_of("src"),
    samples=_max8_samples,
    refused=_max8_refused,
)
def max8(dst: Any, src: Any, name: str | None = None) -> Instruction:
    """The 8 largest elements of each partition, the largest first.

    Args:
        dst: [P, 8].
        src: 8 to 16,384 elements in a partition, which are compared in float32.
    """
    raise NotImplementedError


# -- nc_find_index8 and nc_match_replace8 ----------------------------------------------
def _matches(data: np.ndarray, values: np.ndarray, order: range) -> np.ndarray:
    """Where each of 8 values is in its partition.

    Equal values take equal elements from the front, in the order that is given.

    Returns:
        (partitions, 8); -1 where there is none.
    """
    rows = np.arange(data.shape[0])
    free = np.ones(data.shape, bool)
    found = np.empty((data.shape[0], 8), np.int64)
    for i in order:
        equal = (data == values[:, i : i + 1]) & free
        place = equal.argmax(1)
        there = equal[rows, place]
        free[rows[there], place[there]] = False
        found[:, i] = np.where(there, place, -1)
    return found


def _store_indices(call: Call, name: str, found: np.ndarray) -> None:
    """Store indices; -1 is stored as all ones."""
    call.store(name, found.astype(call.operands[name].dtype.element))


def _find_index8(call: Call) -> None:
    found = _matches(call.flat("data"), call.flat("vals"), range(8))
    _store_indices(call, "dst", found)


def _found_in(data: np.ndarray, *columns: int) -> np.ndarray:
    return data.reshape(data.shape[0], -1)[:, list(columns)]


def _find_samples() -> Iterator[Sample]:
    data = _shuffled(3, 11)
    vals = _found_in(data, 3, 1, 0, 10, 7, 8, 2, 5)
    for dtype in ("uint32", "uint16"):
        yield Sample({"dst": ((3, 8), dtype), "data": data, "vals": vals}, label=dtype)
    twice = np.array([[1, 2, 3, 4, 8, 8, 8, 8, 8, 8, 8]], np.float32)
    yield Sample(
        {
            "dst": ((1, 8), "uint32"),
            "data": twice,
            "vals": np.array([[3] + [8] * 7], np.float32),
        },
        label="equal values",
    )
    missing = np.array([[8, 8, 5, 8, 8, 8, 8, 8]], np.float32)
    for dtype in ("uint32", "uint16"):
        yield Sample(
            {"dst": ((1, 8), dtype), "data": twice[:, :9], "vals": missing},
            label=f"none, {dtype}",
        )
    yield Sample(
        {
            "dst": ((128, 2, 4), "uint16"),
            "data": _shuffled(128, 12, ml_dtypes.bfloat16).reshape(128, 3, 4),
            "vals": _shuffled(128, 12)[:, 4:].reshape(128, 4, 2),
        },
        regions={"data": _PSUM},
        label="PSUM, bfloat16, several dimensions",
    )


def _find_refused() -> Iterator[Sample]:
    data = _shuffled(3, 11)
    dst, vals = ((3, 8), "uint32"), data[:, :8]
    found = {"dst": dst, "data": data, "vals": vals}
    yield Sample({**found, "dst": ((3, 8), "int32")}, message="is int32")
    yield Sample({**found, "dst": ((3, 7), "uint32")}, message="must have 8")
    yield Sample({**found, "vals": data[:, :9]}, message="must have 8")
    yield Sample({**found, "data": data[:, :7]}, message="8 to 16384")
    yield Sample({**found, "data": _shuffled(2, 11)}, message="partitions")
    yield Sample({**found, "vals": vals.reshape(3, 2, 2, 2)}, message="4 dimensions")


@instruction(
    Engine.vector,
    dst=writes(_SBUF | {_PSUM}, "uint32", "uint16", dims=3),
    data=reads(dims=5),
    vals=reads(dims=3),
    rules=[
        same_partitions,
        _sized("data", 8, _MOST_SEARCHED),
        _sized("vals", 8, 8),
        _sized("dst", 8, 8),
    ],
    meaning=_find_index8,
    cost=_cost_of("data"),
    samples=_find_samples,
    refused=_find_refused,
)
def nc_find_index8(
    dst: Any, data: Any, vals: Any, name: str | None = None
) -> Instruction:
    """Where 8 values are in each partition.

    Where a value is given several times, the first takes the first element that
    equals it, the next the next. A value that is not there has the index of all ones.

    Args:
        dst: [P, 8], uint32 or uint16: places among a partition's elements.
        data: 8 to 16,384 elements in a partition, which are compared in float32.
        vals: [P, 8].
    """
    raise NotImplementedError


def _match_replace8(call: Call) -> None:
    data = call.flat("data")
    found = _matches(data, call.flat("vals"), range(7, -1, -1))
    replaced = data.copy()
    rows, columns = np.nonzero(found >= 0)
    replaced[rows, found[rows, columns]] = np.float32(call.attributes["imm"])
    call.write("dst", replaced)
    if call.operands["dst_idx"] is not None:
        _store_indices(call, "dst_idx", found)


def _imm_problem(made: Instruction, chip: Chip) -> str | None:
    imm = made.attributes["imm"]
    if isinstance(imm, bool) or not isinstance(imm, (int, float, np.floating)):
        return f"imm is {imm!r}, and must be a number"
    return None


def _as_data(made: Instruction, chip: Chip) -> str | None:
    """`dst` has as many elements as `data`."""
    dst, data = made.operands["dst"], made.operands["data"]
    if dst.free_size != data.free_size:
        return (
            f"dst has {dst.free_size} elements in a partition, and data has "
            f"{data.free_size}"
        )
    return None


def _replace_samples() -> Iterator[Sample]:
    data = np.array([[1, 2, 3, 4, 8, 8, 8, 8, 8, 8, 8]], np.float32)
    vals = np.array([[3] + [8] * 7], np.float32)
    tile = {"dst": ((1, 11), "float32"), "data": data, "vals": vals}
    least = {"imm": float("-inf")}
    for dtype in ("uint32", "uint16"):
        indices = {"dst_idx": ((1, 8), dtype)}
        yield Sample({**tile, **indices}, least, label=f"indices, {dtype}")
    yield Sample({**tile, "dst_idx": None}, least, label="equal values")
    yield Sample(
        {**tile, "vals": np.array([[8, 2, 9, 2, 1, 1, 4, 5]], np.float32)}
        | {"dst_idx": ((1, 8), "uint32")},
        {"imm": 9.0},
        label="some are not there",
    )
    other = _shuffled(4, 24)
    yield Sample(
        {
            "dst": ((4, 24), "bfloat16"),
            "data": other.reshape(4, 2, 3, 4),
            "vals": other[:, 5:13].reshape(4, 2, 4),
            "dst_idx": None,
        },
        {"imm": -1e9},
        regions={"data": _PSUM, "vals": _PSUM},
        label="PSUM, bfloat16, several dimensions",
    )


def _replace_refused() -> Iterator[Sample]:
    data, told = _shuffled(3, 11), {"imm": 0.0}
    tile = {"dst": ((3, 11), "float32"), "data": data, "vals": data[:, :8]}
    yield Sample({**tile, "dst": ((3, 12), "float32")}, told, message="12 elements")
    yield Sample({**tile, "vals": data[:, :9]}, told, message="must have 8")
    yield Sample({**tile, "dst_idx": ((3, 8), "float32")}, told, message="is float32")
    yield Sample({**tile, "dst_idx": ((3, 9), "uint16")}, told, message="must have 8")
    yield Sample(tile, {"imm": "0"}, message="must be a number")
    yield Sample({**tile, "data": _shuffled(2, 11)}, told, message="partitions")


@instruction(
    Engine.vector,
    dst=writes(dims=5),
    data=reads(dims=5),
    vals=reads(dims=3),
    dst_idx=writes(_SBUF | {_PSUM}, "uint32", "uint16", dims=3, optional=True),
    rules=[
        same_partitions,
        _as_data,
        _sized("data", 8, _MOST_SEARCHED),
        _sized("vals", 8, 8),
        _sized("dst_idx", 8, 8),
        _imm_problem,
    ],
    meaning=_match_replace8,
    # The first generation's page has it in prose; its formula says less than that.
    cost=_cost_of("data"),
    samples=_replace_samples,
    refused=_replace_refused,
)
def nc_match_replace8(
    dst: Any,
    data: Any,
    vals: Any,
    imm: float,
    dst_idx: Any = None,
    name: str | None = None,
) -> Instruction:
    """A tile with one element for each of 8 values replaced.

    Where a value is given several times, the last takes the first element that equals
    it, the one before that the next. What was put in is not compared again. A value
    that is not there replaces nothing, and has the index of all ones.

    Args:
        dst: as many elements as `data`.
        data: 8 to 16,384 elements in a partition, which are compared in float32.
        vals: [P, 8].
        imm: a float32, put in.
        dst_idx: [P, 8], uint32 or uint16: where each value was; if None, not told.
    """
    raise NotImplementedError


# -- parts of tiles --------------------------------------------------------------------
def _part(
    view: View, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> View:
    """Other elements of a view's tensor, `offset` from the view's first."""
    return View(view.allocation, view.dtype, view.offset + offset, shape, strides)


def _not_dynamic(made: Instruction, chip: Chip) -> str | None:
    for name, view in made.views():
        if view.dynamic is not None:
            return f"{name} is indexed by a register or a tensor, and must not be"
    return None


# -- topk ------------------------------------------------------------------------------
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
        _part(view, 0, (groups, GPSIMD_PARTITIONS, columns), strides),
        _part(view, columns * right, (groups, rest, 1), strides),
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
        lost = _part(
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
    values = _shuffled(32, 9, ml_dtypes.bfloat16)
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
            "src": _shuffled(16, 1, ml_dtypes.bfloat16),
        },
        {"n": 8},
        label="all of 8, equal values",
    )


def _topk_refused() -> Iterator[Sample]:
    x = _shuffled(16, 9, ml_dtypes.bfloat16)
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
    rules=[same_partitions, _two_dimensions, _not_dynamic, _topk_problem],
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


# -- nonzero_with_count ----------------------------------------------------------------
def _reached(view: View) -> View:
    """Every 16th partition of a tile, in which the engine's cores work."""
    shape = (ceil(view.partitions / GPSIMD_PARTITIONS), *view.shape[1:])
    return _part(
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
    rules=[same_partitions, _not_dynamic, _nonzero_problem],
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
