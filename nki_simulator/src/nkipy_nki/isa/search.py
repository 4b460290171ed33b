"""The eight largest elements, and where given ones are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np

from nkipy.chips import Chip
from nkipy_nki.calls import Call
from nkipy_nki.checking import same_partitions
from nkipy_nki.declaring import instruction
from nkipy_nki.engines import Engine
from nkipy_nki.program import Instruction
from nkipy_nki.records import Rule, Sample, reads, writes
from nkipy_nki.regions import MemoryRegion
from nkipy_nki.sampling import shuffled

__all__ = ["max8", "nc_find_index8", "nc_match_replace8"]

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


def _max8_samples() -> Iterator[Sample]:
    yield Sample({"dst": ((4, 8), "float32"), "src": shuffled(4, 21)})
    yield Sample(
        {"dst": ((128, 8), "bfloat16"), "src": shuffled(128, 64, "int16")},
        label="int16 to bfloat16",
    )
    yield Sample(
        {
            "dst": ((2, 2, 4), "float32"),
            "src": shuffled(2, 24, ml_dtypes.bfloat16).reshape(2, 2, 3, 2, 2),
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
    yield Sample({"dst": ((3, 8), "float32"), "src": shuffled(3, 8)}, label="8")


def _max8_refused() -> Iterator[Sample]:
    dst, x = ((4, 8), "float32"), shuffled(4, 21)
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
    data = shuffled(3, 11)
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
            "data": shuffled(128, 12, ml_dtypes.bfloat16).reshape(128, 3, 4),
            "vals": shuffled(128, 12)[:, 4:].reshape(128, 4, 2),
        },
        regions={"data": _PSUM},
        label="PSUM, bfloat16, several dimensions",
    )


def _find_refused() -> Iterator[Sample]:
    data = shuffled(3, 11)
    dst, vals = ((3, 8), "uint32"), data[:, :8]
    found = {"dst": dst, "data": data, "vals": vals}
    yield Sample({**found, "dst": ((3, 8), "int32")}, message="is int32")
    yield Sample({**found, "dst": ((3, 7), "uint32")}, message="must have 8")
    yield Sample({**found, "vals": data[:, :9]}, message="must have 8")
    yield Sample({**found, "data": data[:, :7]}, message="8 to 16384")
    yield Sample({**found, "data": shuffled(2, 11)}, message="partitions")
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
    other = shuffled(4, 24)
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
    data, told = shuffled(3, 11), {"imm": 0.0}
    tile = {"dst": ((3, 11), "float32"), "data": data, "vals": data[:, :8]}
    yield Sample({**tile, "dst": ((3, 12), "float32")}, told, message="12 elements")
    yield Sample({**tile, "vals": data[:, :9]}, told, message="must have 8")
    yield Sample({**tile, "dst_idx": ((3, 8), "float32")}, told, message="is float32")
    yield Sample({**tile, "dst_idx": ((3, 9), "uint16")}, told, message="must have 8")
    yield Sample(tile, {"imm": "0"}, message="must be a number")
    yield Sample({**tile, "data": shuffled(2, 11)}, told, message="partitions")


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
