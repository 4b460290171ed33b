"""Copies within a core: whole, by a predicate, over partitions; and constants."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np

from nkipy.chips import Chip
from nkipy_nki.calls import Call
from nkipy_nki.checking import (
    at_most_one_in_psum,
    no_psum_by_gpsimd,
    same_elements,
    same_partitions,
)
from nkipy_nki.costs import (
    DYNAMIC_INTERVAL,
    cycles,
    cycles_of_free,
    elements_per_cycle,
    vector_elements_per_cycle,
)
from nkipy_nki.declaring import instruction
from nkipy_nki.dtypes import DTypeRecord, convert, narrow
from nkipy_nki.engines import Engine
from nkipy_nki.geometry import QUADRANT
from nkipy_nki.program import Instruction, View
from nkipy_nki.records import Sample, reads, writes
from nkipy_nki.regions import MemoryRegion

__all__ = ["memset", "nc_stream_shuffle", "tensor_copy", "tensor_copy_predicated"]

_PSUM = MemoryRegion.psum
#: In a shuffle's mask: the partition stays as it is.
_KEPT = 255


# -- tensor_copy -----------------------------------------------------------------------
def _copy(call: Call) -> None:
    src, dst = call.operands["src"], call.operands["dst"]
    call.store("dst", convert(call.raw("src"), src.dtype, dst.dtype))


def _scalar_is_newer(made: Instruction, chip: Chip) -> str | None:
    if made.engine is Engine.scalar and chip.generation < 3:
        return (
            f"the scalar engine copies from gen3 on, and this is {chip.nki_name}: "
            "nisa.activation with op=nl.copy does it there"
        )
    return None


def _equal_if_packed(made: Instruction, chip: Chip) -> str | None:
    src, dst = made.operands["src"].dtype, made.operands["dst"].dtype
    if src.name != dst.name and (src.is_packed or dst.is_packed):
        return f"dst is {dst.name} and src is {src.name}: packed ones must be equal"
    return None


def _copy_cost(made: Instruction, chip: Chip) -> float:
    """N cycles, fewer where the engine takes several in one.

    With an address that only the run knows, instructions start less often.
    """
    views = [view for _, view in made.views()]
    rate = 1.0
    if made.engine is Engine.vector:
        rate = vector_elements_per_cycle(views, chip)
    elif made.engine is Engine.scalar:
        rate = elements_per_cycle("scalar", views, chip)
    found = cycles(made.operands["dst"].free_size / rate)
    is_dynamic = any(view.dynamic is not None for view in views)
    return max(DYNAMIC_INTERVAL, found) if is_dynamic else found


def _copy_samples() -> Iterator[Sample]:
    x = np.arange(24, dtype=np.float32).reshape(4, 6) / 4 - 3
    dst = ((4, 6), "float32")
    yield Sample({"dst": dst, "src": x}, label="float32")
    yield Sample({"dst": dst, "src": x}, regions={"dst": _PSUM}, label="to-psum")
    yield Sample({"dst": dst, "src": x}, regions={"src": _PSUM}, label="from-psum")
    yield Sample({"dst": ((4, 2, 3), "bfloat16"), "src": x}, label="several-dims")
    for dtype in ("bfloat16", "float16", "float8_e5m2", "float8_e4m3fn", "int8"):
        yield Sample({"dst": ((4, 6), dtype), "src": x * 70}, label=f"to-{dtype}")
    large = np.array([[16777217, -5], [1 << 30, 7]], np.int32)
    exact = {"dst": ((2, 2), "int32"), "src": large}
    for engine in (Engine.vector, Engine.gpsimd, Engine.scalar):
        yield Sample(exact, {"engine": engine}, label=f"int32-{engine.name}")
    yield Sample({"dst": ((2, 2), "uint32"), "src": large}, label="int32-to-uint32")
    nan = np.array([[0x7FC12345, 0x80000000]], np.uint32).view(np.float32)
    for engine in (Engine.vector, Engine.scalar):
        told, label = {"engine": engine}, f"nan-{engine.name}"
        yield Sample({"dst": ((1, 2), "float32"), "src": nan}, told, label=label)
    half = x.astype(ml_dtypes.bfloat16)
    yield Sample({"dst": dst, "src": half}, {"engine": Engine.scalar}, label="scalar")


def _copy_refused() -> Iterator[Sample]:
    x = np.ones((3, 4), np.float32)
    dst = ((3, 4), "float32")
    gpsimd, scalar = {"engine": Engine.gpsimd}, {"engine": Engine.scalar}
    hbm = {"src": MemoryRegion.shared_hbm}
    yield Sample({"dst": ((2, 4), "float32"), "src": x}, message="partitions")
    yield Sample({"dst": ((3, 5), "float32"), "src": x}, message="elements")
    yield Sample({"dst": dst, "src": x}, gpsimd, {"src": _PSUM}, message="src is in")
    yield Sample({"dst": dst, "src": x}, gpsimd, {"dst": _PSUM}, message="dst is in")
    yield Sample({"dst": dst, "src": x}, scalar, chip="trn1", message="nl.copy")
    yield Sample({"dst": dst, "src": x}, {"engine": Engine.tensor}, message="engine is")
    yield Sample({"dst": dst, "src": x}, {}, hbm, message="src is in shared_hbm")
    yield Sample({"dst": dst, "src": ((3, 4), "float32")}, message="never written")
    yield Sample({"dst": ((3, 4), "float8_e5m2_x4"), "src": x}, message="packed")


@instruction(
    *(Engine.vector, Engine.scalar, Engine.gpsimd),
    dst=writes(dims=5),
    src=reads(dims=5),
    rules=[
        same_partitions,
        same_elements,
        no_psum_by_gpsimd,
        _scalar_is_newer,
        _equal_if_packed,
    ],
    meaning=_copy,
    cost=_copy_cost,
    samples=_copy_samples,
    refused=_copy_refused,
)
def tensor_copy(
    dst: Any, src: Any, engine: Engine = Engine.unknown, name: str | None = None
) -> Instruction:
    """Copy a tile within SBUF and PSUM.

    Different dtypes pass through float32. Equal ones keep every bit, on each engine.

    Args:
        dst: (P, ...) in SBUF or PSUM.
        src: (P, ...), of as many elements in a partition.
        engine: vector, scalar (gen3 and later) or gpsimd (which has no access to PSUM).
    """
    raise NotImplementedError


# -- tensor_copy_predicated ------------------------------------------------------------
def _copy_where(call: Call) -> None:
    dst, src = call.operands["dst"], call.operands["src"]
    where = call.raw("predicate") != 0
    if call.attributes["reverse_pred"]:
        where = ~where
    if isinstance(src, View):
        elements = call.raw("src").reshape(dst.shape)
    else:
        elements = constant(src, dst.dtype)
    call.store_where("dst", elements, where.reshape(dst.shape))


def constant(value: Any, dtype: DTypeRecord) -> np.ndarray:
    """A number as an element, of shape ()."""
    return narrow(np.asarray(value), dtype).reshape(())


def _kind_problem(value: Any, dtype: DTypeRecord, name: str) -> str | None:
    """What is wrong with a number that is to be an element."""
    if dtype.is_packed:
        return f"{name} is {value!r}, and {dtype.name} takes 0 only" if value else None
    if dtype.is_float:
        return None
    if isinstance(value, float) and not value.is_integer():
        return f"{name} is {value!r}, and dst is {dtype.name}, which is of integers"
    if isinstance(value, float):
        return f"{name} is {value!r}, and must be an int as dst is {dtype.name}"
    if dtype.is_integer and not dtype.lowest <= value <= dtype.highest:
        limits = f"{int(dtype.lowest)} to {int(dtype.highest)}"
        return f"{name} is {value}, and {dtype.name} is of {limits}"
    return None


def _predicated(made: Instruction, chip: Chip) -> str | None:
    src, dst = made.operands["src"], made.operands["dst"]
    if not isinstance(src, View):
        return _kind_problem(src, dst.dtype, "src")
    if made.attributes["reverse_pred"]:
        return "reverse_pred is True, which is for a src that is a number only"
    if src.dtype.name != dst.dtype.name:
        return (
            f"src is {src.dtype.name} and dst is {dst.dtype.name}: they must be equal"
        )
    return None


def _predicated_cost(made: Instruction, chip: Chip) -> float:
    src, predicate = made.operands["src"], made.operands["predicate"]
    in_psum = predicate.region is _PSUM or (
        isinstance(src, View) and src.region is _PSUM
    )
    return cycles(predicate.free_size * (1.0 if in_psum else 2.0))


def _predicated_samples() -> Iterator[Sample]:
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    before = -np.ones((3, 4), np.float32)
    some = (np.arange(12).reshape(3, 4) % 3 * 77).astype(np.uint8)
    for dtype in ("uint8", "uint16", "uint32"):
        operands = {"dst": before, "src": x, "predicate": some.astype(dtype)}
        yield Sample(operands, label=dtype)
    operands = {"dst": before, "src": x, "predicate": some}
    yield Sample(operands, regions={"src": _PSUM}, label="src-in-psum")
    yield Sample(operands, regions={"predicate": _PSUM}, label="predicate-in-psum")
    reverse = {"reverse_pred": True}
    yield Sample({**operands, "src": 2.5}, label="number")
    yield Sample({**operands, "src": 2.5}, reverse, label="reverse")
    whole = np.arange(12, dtype=np.int8).reshape(3, 4)
    yield Sample({**operands, "dst": whole, "src": -7}, label="int8")
    half = x.astype(ml_dtypes.bfloat16)
    yield Sample({**operands, "dst": half * 0, "src": half}, label="bfloat16")
    yield Sample({**operands, "dst": ((3, 4), "float32")}, label="unwritten-dst")
    wide = {"dst": before.reshape(3, 2, 2), "src": x, "predicate": some}
    yield Sample(wide, label="several-dims")


def _predicated_refused() -> Iterator[Sample]:
    x = np.ones((3, 4), np.float32)
    some = np.ones((3, 4), np.uint8)
    good = {"dst": x, "src": x, "predicate": some}
    yield Sample({**good, "predicate": some.view(np.int8)}, message="predicate is int8")
    yield Sample(
        {**good, "dst": ((3, 4), "bfloat16")}, message="src is float32 and dst is"
    )
    yield Sample({**good, "dst": ((3, 5), "float32")}, message="elements")
    yield Sample({**good, "src": x[:2]}, message="partitions")
    yield Sample(good, {"reverse_pred": True}, message="a number only")
    both = {"src": _PSUM, "predicate": _PSUM}
    yield Sample(good, {}, both, message="one of them may be")
    yield Sample({**good, "dst": ((3, 4), "int32"), "src": 1.0}, message="an int")
    dims = (3, 1, 1, 2, 2)
    many = x.reshape(dims)
    yield Sample({**good, "dst": many, "src": many}, message="5 dimensions")


@instruction(
    Engine.vector,
    dst=writes(dims=4),
    src=reads(scalar=True, dims=4),
    predicate=reads(
        frozenset({MemoryRegion.sbuf, _PSUM}), *("uint8", "uint16", "uint32"), dims=4
    ),
    rules=[
        same_partitions,
        same_elements,
        at_most_one_in_psum("src", "predicate"),
        _predicated,
    ],
    meaning=_copy_where,
    cost=_predicated_cost,
    samples=_predicated_samples,
    refused=_predicated_refused,
)
def tensor_copy_predicated(
    dst: Any,
    src: Any,
    predicate: Any,
    reverse_pred: bool = False,
    name: str | None = None,
) -> Instruction:
    """Copy the elements for which a predicate is not 0; the others of `dst` stay.

    Args:
        dst: (P, ...), in SBUF or PSUM, of at most three free dimensions.
        src: a tile of the same dtype, or a number: a float for floats, an int for
            integers.
        predicate: (P, ...) of uint8, uint16 or uint32. Not both it and `src` may be in
            PSUM.
        reverse_pred: copy where it is 0 instead, if `src` is a number.
    """
    raise NotImplementedError


# -- memset ----------------------------------------------------------------------------
def _memset(call: Call) -> None:
    dst, value = call.operands["dst"], call.operands["value"]
    if dst.dtype.is_packed:
        element = np.zeros((), dst.dtype.element)
    else:
        element = constant(value, dst.dtype)
    call.store("dst", np.broadcast_to(element, dst.shape))


def _value_of_its_kind(made: Instruction, chip: Chip) -> str | None:
    return _kind_problem(made.operands["value"], made.operands["dst"].dtype, "value")


def _memset_cost(made: Instruction, chip: Chip) -> float:
    """Zeros of 2 bytes take half the time."""
    dst = made.operands["dst"]
    quick = made.operands["value"] == 0 and dst.dtype.name in ("bfloat16", "float16")
    return cycles(dst.free_size / (2 if quick else 1))


def _memset_samples() -> Iterator[Sample]:
    for dtype in ("float32", "bfloat16", "float16", "float8_e4m3", "tfloat32"):
        yield Sample({"dst": ((3, 4), dtype), "value": 0.3}, label=dtype)
    for dtype in ("int32", "uint8", "int16"):
        yield Sample({"dst": ((3, 2, 2), dtype), "value": 77}, label=dtype)
    yield Sample({"dst": ((1, 2), "int32"), "value": 16777217}, label="exact")
    dst = ((2, 3), "float32")
    yield Sample({"dst": dst, "value": 3}, label="int-in-float32")
    yield Sample({"dst": dst, "value": float("-inf")}, label="infinity")
    yield Sample({"dst": dst, "value": np.float32(-1e38)}, label="numpy")
    yield Sample({"dst": dst, "value": 1.5}, {}, {"dst": _PSUM}, label="psum")
    yield Sample({"dst": dst, "value": 1.5}, {"engine": Engine.gpsimd}, label="gpsimd")
    packed = {"dst": ((2, 3), "float4_e2m1fn_x4"), "value": 0}
    yield Sample(packed, chip="trn3", label="packed")


def _memset_refused() -> Iterator[Sample]:
    dst, whole = ((2, 3), "float32"), ((2, 3), "int32")
    gpsimd, scalar = {"engine": Engine.gpsimd}, {"engine": Engine.scalar}
    hbm = {"dst": MemoryRegion.private_hbm}
    zero = {"dst": dst, "value": 0}
    yield Sample({"dst": whole, "value": 1.5}, message="of integers")
    yield Sample({"dst": whole, "value": 1.0}, message="must be an int")
    yield Sample({"dst": ((2, 3), "uint8"), "value": 256}, message="0 to 255")
    yield Sample({"dst": ((2, 3), "uint8"), "value": -1}, message="0 to 255")
    yield Sample({"dst": ((2, 3), "float8_e5m2_x4"), "value": 1}, message="0 only")
    yield Sample({"dst": dst, "value": "0"}, message="must be a number")
    yield Sample(zero, gpsimd, {"dst": _PSUM}, message="does not reach")
    yield Sample(zero, scalar, message="engine is scalar")
    yield Sample(zero, {}, hbm, message="dst is in private_hbm")
    yield Sample({"dst": ((2, 1, 1, 1, 1, 3), "int8"), "value": 0}, message="6 dim")
    yield Sample({"dst": ((129, 3), "int8"), "value": 0}, message="129 partitions")


@instruction(
    *(Engine.vector, Engine.gpsimd),
    dst=writes(dims=5),
    value=reads(frozenset(), scalar=True),
    rules=[no_psum_by_gpsimd, _value_of_its_kind],
    meaning=_memset,
    cost=_memset_cost,
    samples=_memset_samples,
    refused=_memset_refused,
)
def memset(
    dst: Any, value: Any, engine: Engine = Engine.unknown, name: str | None = None
) -> Instruction:
    """Set all elements of a tile to a number.

    Args:
        dst: in SBUF or PSUM, of at most four free dimensions.
        value: an int for integers, a number for floats; 0 for packed dtypes.
        engine: vector, or gpsimd (which has no access to PSUM).
    """
    raise NotImplementedError


# -- nc_stream_shuffle -----------------------------------------------------------------
def _shuffle(call: Call) -> None:
    dst = call.operands["dst"]
    src = call.raw("src").reshape(dst.shape)
    mask = np.array(call.attributes["shuffle_mask"])
    starts = np.arange(0, dst.shape[0], QUADRANT)
    rows = (starts[:, None] + np.where(mask == _KEPT, 0, mask)).reshape(-1)
    moved = np.tile(mask != _KEPT, len(starts))
    call.store_where("dst", src[rows], moved.reshape(-1, *[1] * (src.ndim - 1)))


def _mask_of_a_quadrant(made: Instruction, chip: Chip) -> str | None:
    src, dst = made.operands["src"], made.operands["dst"]
    mask = made.attributes["shuffle_mask"]
    if not isinstance(mask, (list, tuple)) or len(mask) != QUADRANT:
        return f"shuffle_mask must be a list of {QUADRANT} ints, and is {mask!r}"
    for i, row in enumerate(mask):
        if not isinstance(row, int) or not (0 <= row < QUADRANT or row == _KEPT):
            return f"shuffle_mask[{i}] is {row!r}, and may be 0 to 31, or {_KEPT}"
    if src.dtype.name != dst.dtype.name:
        return (
            f"src is {src.dtype.name} and dst is {dst.dtype.name}: they must be equal"
        )
    if src.shape[0] % QUADRANT:
        return f"src has {src.shape[0]} partitions, and may have 32, 64, 96 or 128"
    return None


def _shuffle_samples() -> Iterator[Sample]:
    rows = np.arange(64 * 4, dtype=np.float32).reshape(64, 4)
    turned = [(i + 5) % 32 for i in range(32)]
    same = [7] * 32
    some = [255 if i % 3 == 0 else 31 - i for i in range(32)]
    before = -np.ones((64, 4), np.float32)
    dst = ((64, 4), "float32")
    yield Sample({"dst": dst, "src": rows}, {"shuffle_mask": turned}, label="turned")
    yield Sample({"dst": dst, "src": rows}, {"shuffle_mask": same}, label="one-row")
    yield Sample({"dst": before, "src": rows}, {"shuffle_mask": some}, label="kept")
    one = rows[:32].astype(ml_dtypes.bfloat16)
    yield Sample(
        {"dst": ((32, 4), "bfloat16"), "src": one},
        {"shuffle_mask": turned},
        {"src": _PSUM},
        label="bfloat16",
    )
    yield Sample(
        {
            "dst": ((128, 2, 2), "int32"),
            "src": np.arange(512, dtype=np.int32).reshape(128, 4),
        },
        {"shuffle_mask": some},
        label="four-quadrants",
    )


def _shuffle_refused() -> Iterator[Sample]:
    rows = np.ones((32, 4), np.float32)
    good = {"dst": ((32, 4), "float32"), "src": rows}
    mask = list(range(32))
    yield Sample(good, {"shuffle_mask": mask[:31]}, message="list of 32")
    yield Sample(good, {"shuffle_mask": [*mask[:31], 32]}, message="shuffle_mask[31]")
    yield Sample(
        {**good, "dst": ((32, 4), "bfloat16")}, {"shuffle_mask": mask}, message="equal"
    )
    few = {"dst": ((16, 4), "float32"), "src": rows[:16]}
    yield Sample(few, {"shuffle_mask": mask}, message="16 partitions")
    other = {**good, "dst": ((32, 5), "float32")}
    yield Sample(other, {"shuffle_mask": mask}, message="elements")


@instruction(
    Engine.vector,
    dst=writes(),
    src=reads(),
    rules=[same_partitions, same_elements, _mask_of_a_quadrant],
    meaning=_shuffle,
    cost=cycles_of_free("dst"),
    samples=_shuffle_samples,
    refused=_shuffle_refused,
)
def nc_stream_shuffle(
    dst: Any, src: Any, shuffle_mask: Any, name: str | None = None
) -> Instruction:
    """Move rows between the partitions of each quadrant of 32.

    Args:
        dst: (P, ...), in SBUF or PSUM; it may be `src`.
        src: of 32, 64, 96 or 128 partitions, of the same dtype.
        shuffle_mask: 32 ints: partition i of a quadrant of `dst` gets partition
            ``shuffle_mask[i]`` of that of `src`; if it is 255, it stays as it is.
    """
    raise NotImplementedError
