"""Elements of a tile by indices that another tile holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np

from nkipy.chips import Chip
from nkipy_nki.calls import Call
from nkipy_nki.checking import same_partitions
from nkipy_nki.costs import GPSIMD_START
from nkipy_nki.declaring import instruction
from nkipy_nki.engines import Engine
from nkipy_nki.geometry import GPSIMD_PARTITIONS
from nkipy_nki.program import Instruction, View
from nkipy_nki.records import Sample, reads, writes
from nkipy_nki.regions import MemoryRegion

__all__ = ["local_gather", "nc_n_gather"]

_SBUF = frozenset({MemoryRegion.sbuf})


def _by_partition(elements: np.ndarray) -> np.ndarray:
    """Elements, (partitions, elements of one)."""
    return elements.reshape(elements.shape[0], -1)


def _in_bounds(
    call: Call, name: str, indices: np.ndarray, limit: int, of: str
) -> np.ndarray:
    """Indices, those at or beyond `limit` reported and replaced by 0.

    Args:
        call: the instruction.
        name: the operand that holds them.
        indices: (partitions, indices of one).
        limit: the first that is out of bounds.
        of: the operand that is indexed.
    """
    beyond = indices >= limit
    if not beyond.any():
        return indices
    position = [int(i) for i in np.argwhere(beyond)[0]]
    value = int(indices[tuple(position)])
    call.report(
        "out-of-bounds",
        f"{name} has the index {value} at {position} of its partitions and elements, "
        f"and {of} may be indexed up to {limit - 1}",
        operand=name,
        value=value,
        position=position,
        extent=limit,
    )
    return np.where(beyond, 0, indices)


def _same_dtype(dst: str, src: str) -> Any:
    """A rule: two operands have one dtype, as elements are moved as they are."""

    def rule(made: Instruction, chip: Chip) -> str | None:
        to, of = made.operands[dst].dtype, made.operands[src].dtype
        if to is not of:
            return f"{dst} is {to.name}, and must be {of.name} as {src} is"
        return None

    return rule


#: Indices of a core of the GpSimd engine (page of local_gather).
_MOST_INDICES = 4096


# -- nc_n_gather -----------------------------------------------------------------------
def _n_gather(call: Call) -> None:
    data = _by_partition(call.raw("data"))
    indices = _by_partition(call.raw("indices"))
    indices = _in_bounds(call, "indices", indices, data.shape[1], "data")
    call.store("dst", np.take_along_axis(data, indices.astype(np.int64), axis=1))


def _n_gather_problem(made: Instruction, chip: Chip) -> str | None:
    dst, indices = made.operands["dst"], made.operands["indices"]
    if dst.free_size != indices.free_size:
        return (
            f"dst has {dst.free_size} elements in a partition, and indices has "
            f"{indices.free_size}"
        )
    return None


def _tile(partitions: int, count: int, dtype: Any) -> np.ndarray:
    return np.arange(partitions * count).reshape(partitions, count).astype(dtype)


def _n_gather_samples() -> Iterator[Sample]:
    indices = (np.arange(5 * 6).reshape(5, 6) * 7 % 8).astype(np.uint32)
    for dtype in (np.float32, np.int32, ml_dtypes.bfloat16, np.uint8):
        data = _tile(5, 8, dtype)
        yield Sample(
            {"dst": ((5, 6), data.dtype.name), "data": data, "indices": indices},
            label=data.dtype.name,
        )
    yield Sample(
        {
            "dst": ((5, 2, 3), "float16"),
            "data": _tile(5, 8, np.float16).reshape(5, 2, 2, 2),
            "indices": indices.reshape(5, 3, 2),
        },
        label="several dimensions",
    )


def _n_gather_refused() -> Iterator[Sample]:
    data, indices = _tile(4, 8, np.float32), np.zeros((4, 6), np.uint32)
    tile = {"dst": ((4, 6), "float32"), "data": data, "indices": indices}
    far = indices.copy()
    far[2, 5] = 8
    yield Sample({**tile, "indices": far}, message="the index 8 at [2, 5]")
    yield Sample({**tile, "indices": far.astype("int32")}, message="is int32")
    yield Sample({**tile, "dst": ((4, 6), "bfloat16")}, message="must be float32")
    yield Sample({**tile, "dst": ((4, 5), "float32")}, message="5 elements")
    yield Sample({**tile, "data": data[:3]}, message="partitions")
    for name in tile:
        yield Sample(tile, regions={name: MemoryRegion.psum}, message="is in psum")


@instruction(
    Engine.gpsimd,
    dst=writes(_SBUF),
    data=reads(_SBUF),
    indices=reads(_SBUF, "uint32"),
    rules=[same_partitions, _same_dtype("dst", "data"), _n_gather_problem],
    meaning=_n_gather,
    # Not documented: as that of a gather of single elements.
    cost=lambda made, chip: _gather_cycles(
        made.operands["dst"].free_size, 1, made.operands["dst"].dtype.device_itemsize
    ),
    samples=_n_gather_samples,
    refused=_n_gather_refused,
)
def nc_n_gather(
    dst: Any, data: Any, indices: Any, name: str | None = None
) -> Instruction:
    """Elements of each partition, by that partition's indices.

    Args:
        dst: as many elements as `indices`, of the dtype of `data`.
        data: its free dimensions are counted through as one.
        indices: uint32.
    """
    raise NotImplementedError


# -- local_gather ----------------------------------------------------------------------
def _gather_cycles(indices: int, per_index: int, itemsize: int) -> float:
    """Cycles of one core, as the first generation's page has them."""
    ratio = (28 + 4 * per_index) / (4 * per_index)
    return GPSIMD_START + indices * per_index * min(4 / itemsize, per_index) / ratio


def _valid_indices(made: Instruction) -> int:
    """How many indices each core takes."""
    given = made.attributes["num_valid_indices"]
    if given is not None:
        return int(given)
    return made.operands["index"].free_size * GPSIMD_PARTITIONS


def _local_gather(call: Call) -> None:
    count = _valid_indices(call.instruction)
    per_index = call.attributes["num_elem_per_idx"]
    src, index = _by_partition(call.raw("src_buffer")), call.operands["index"]
    groups = src.shape[0] // GPSIMD_PARTITIONS
    # Counted through partitions first; what is behind the last need not be written.
    columns = -(-count // GPSIMD_PARTITIONS)
    raw = _first_columns(call, index, columns)
    flat = raw.reshape(groups, GPSIMD_PARTITIONS, columns).transpose(0, 2, 1)
    flat = flat.reshape(groups, -1)[:, :count].astype(np.int64)
    limit = src.shape[1] - per_index + 1
    flat = _in_bounds(call, "index", flat, limit, "src_buffer")
    offsets = (flat[:, :, None] + np.arange(per_index)).reshape(groups, 1, -1)
    of_cores = src.reshape(groups, GPSIMD_PARTITIONS, -1)
    taken = np.take_along_axis(of_cores, offsets, axis=2)
    call.store("dst", taken)


def _first_columns(call: Call, view: View, columns: int) -> np.ndarray:
    """(partitions, columns) of an operand; only those are read, if it has one axis."""
    if len(view.shape) == 2 and view.dynamic is None:
        shape = (view.shape[0], columns)
        part = View(view.allocation, view.dtype, view.offset, shape, view.strides)
        return call.elements(part, "index")
    return _by_partition(call.elements(view, "index"))[:, :columns]


def _local_problem(made: Instruction, chip: Chip) -> str | None:
    dst, src, index = (made.operands[n] for n in ("dst", "src_buffer", "index"))
    per_index = made.attributes["num_elem_per_idx"]
    given = made.attributes["num_valid_indices"]
    if index.partitions % GPSIMD_PARTITIONS:
        return (
            f"index has {index.partitions} partitions, and must have a "
            f"multiple of {GPSIMD_PARTITIONS}"
        )
    if type(per_index) is not int or per_index not in (1, 2, 4, 8, 16, 32):
        return f"num_elem_per_idx is {per_index!r}, and must be a power of 2 up to 32"
    most = min(_MOST_INDICES, index.free_size * GPSIMD_PARTITIONS)
    if given is not None and (
        isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= most
    ):
        return f"num_valid_indices is {given!r}, and must be 1 to {most}"
    count = _valid_indices(made)
    if count > _MOST_INDICES:
        return f"index has {count} indices for a core, and may have {_MOST_INDICES}"
    if dst.free_size != count * per_index:
        return (
            f"dst has {dst.free_size} elements in a partition, and {count} indices of "
            f"{per_index} give {count * per_index}"
        )
    if src.free_size < per_index:
        return (
            f"src_buffer has {src.free_size} elements, and an index takes {per_index}"
        )
    return None


def _local_samples() -> Iterator[Sample]:
    index = (np.arange(32 * 4).reshape(32, 4) * 11 % 32).astype(np.uint16)
    for dtype in (np.float32, ml_dtypes.bfloat16, np.int32):
        src = _tile(32, 32, dtype)
        yield Sample(
            {"dst": ((32, 64), src.dtype.name), "src_buffer": src, "index": index},
            label=src.dtype.name,
        )
    src = _tile(32, 64, np.float32)
    yield Sample(
        {
            "dst": ((32, 4, 16, 4), "float32"),
            "src_buffer": src.reshape(32, 16, 4),
            "index": index,
        },
        {"num_elem_per_idx": 4, "num_valid_indices": 64},
        label="4 elements for an index",
    )
    yield Sample(
        {"dst": ((32, 37 * 2), "float32"), "src_buffer": src, "index": index},
        {"num_elem_per_idx": 2, "num_valid_indices": 37},
        label="part of the indices",
    )


def _local_refused() -> Iterator[Sample]:
    src, index = _tile(16, 32, np.float32), np.zeros((16, 2), np.uint16)
    tile = {"dst": ((16, 32), "float32"), "src_buffer": src, "index": index}
    far = index.copy()
    far[3, 1] = 31
    yield Sample(
        {**tile, "index": far, "dst": ((16, 64), "float32")},
        {"num_elem_per_idx": 2},
        message="the index 31 at [0, 19]",
    )
    yield Sample({**tile, "index": index.astype("uint32")}, message="is uint32")
    yield Sample({**tile, "dst": ((16, 32), "int32")}, message="must be float32")
    yield Sample({**tile, "dst": ((16, 31), "float32")}, message="31 elements")
    yield Sample(tile, {"num_elem_per_idx": 3}, message="power of 2")
    yield Sample(tile, {"num_valid_indices": 33}, message="1 to 32")
    yield Sample(
        {
            "dst": ((8, 32), "float32"),
            "src_buffer": src[:8],
            "index": index[:8],
        },
        message="multiple of 16",
    )
    yield Sample(
        {**tile, "index": np.zeros((16, 257), np.uint16)}, message="may have 4096"
    )
    for name in tile:
        yield Sample(tile, regions={name: MemoryRegion.psum}, message="is in psum")


@instruction(
    Engine.gpsimd,
    dst=writes(_SBUF),
    src_buffer=reads(_SBUF),
    index=reads(_SBUF, "uint16"),
    rules=[same_partitions, _same_dtype("dst", "src_buffer"), _local_problem],
    meaning=_local_gather,
    cost=lambda made, chip: _gather_cycles(
        _valid_indices(made),
        made.attributes["num_elem_per_idx"],
        made.operands["dst"].dtype.device_itemsize,
    ),
    samples=_local_samples,
    refused=_local_refused,
)
def local_gather(
    dst: Any,
    src_buffer: Any,
    index: Any,
    num_elem_per_idx: int = 1,
    num_valid_indices: int | None = None,
    name: str | None = None,
) -> Instruction:
    """Elements of each partition, by indices of its group of 16 partitions.

    Index i of a group is in its partition ``i % 16``, at ``i // 16``. All partitions of
    the group take the elements from that index on.

    Args:
        dst: for each index, `num_elem_per_idx` elements, of the dtype of `src_buffer`.
        src_buffer: its free dimensions are counted through as one.
        index: uint16, of elements of a partition; at most 4,096 for a group.
        num_elem_per_idx: a power of 2 up to 32.
        num_valid_indices: how many indices of a group count; if None, all.
    """
    raise NotImplementedError
