"""Transfers by DMA, between HBM and SBUF or within one of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np

from nkipy.chips import Chip
from nkipy_nki.calls import Call
from nkipy_nki.declaring import instruction
from nkipy_nki.dtypes import convert, narrow, widen
from nkipy_nki.engines import Engine
from nkipy_nki.geometry import GPSIMD_PARTITIONS, PARTITIONS
from nkipy_nki.modes import dge_mode, oob_mode
from nkipy_nki.positions import element_offsets
from nkipy_nki.program import Instruction, View
from nkipy_nki.records import OperationRule, Sample, reads, writes
from nkipy_nki.regions import HBM, MemoryRegion

__all__ = ["dma_compute", "dma_copy", "dma_transpose"]

_REACHED = frozenset({MemoryRegion.sbuf, *HBM})
_SHARED = MemoryRegion.shared_hbm
#: By how many dimensions there are, how dma_transpose orders them.
_ORDERS = {2: (1, 0), 3: (2, 1, 0), 4: (3, 1, 2, 0)}
#: How many tensors dma_compute adds.
_SOURCES = 16
#: Rows of a transpose whose descriptors hardware makes (page of dma_transpose); of a
#: source of 2 dimensions the last of them.
_HARDWARE_ROWS = (1, 2, 4, 8, 16)


# -- what transfers share --------------------------------------------------------------
def _skips(call: Call) -> bool:
    """Whether indices that are out of bounds are to be left out."""
    return call.attributes["oob_mode"] is oob_mode.skip


def _positions(call: Call, name: str, view: View) -> tuple[np.ndarray, np.ndarray]:
    """Where a view's elements lie in its tensor, and which of them are in bounds."""
    if view.dynamic is not None:
        offsets, valid = call.element_offsets(view, name)
        return np.broadcast_to(offsets, view.shape), np.broadcast_to(valid, view.shape)
    return element_offsets(view), np.ones(view.shape, bool)


def _described_ns(made: Instruction, chip: Chip, copy_ns: float) -> float:
    """A copy, and the time in which hardware makes the descriptors."""
    by_hardware = made.attributes["dge_mode"] is dge_mode.hwdge
    return copy_ns + (chip.hwdge_ns if by_hardware else 0.0)


def _is_dynamic(made: Instruction) -> bool:
    return any(view.dynamic is not None for _, view in made.views())


def _converted(elements: np.ndarray, src: View, dst: View) -> np.ndarray:
    return convert(elements, src.dtype, dst.dtype)


def _move(call: Call, order: tuple[int, ...] | None = None) -> None:
    """Copy `src` to `dst`, its dimensions in another order if one is given."""
    src, dst = call.operands["src"], call.operands["dst"]
    if _skips(call) and _is_dynamic(call.instruction):
        _move_in_bounds(call, src, dst, order)
        return
    elements = _converted(call.raw("src"), src, dst)
    call.store("dst", elements if order is None else elements.transpose(order))


def _move_in_bounds(
    call: Call, src: View, dst: View, order: tuple[int, ...] | None
) -> None:
    """The same for those elements whose places in both tensors are in bounds."""
    sources, readable = _positions(call, "src", src)
    targets, writable = _positions(call, "dst", dst)
    if order is not None:
        sources, readable = sources.transpose(order), readable.transpose(order)
    moved = readable.reshape(-1) & writable.reshape(-1)
    elements = call.elements_at(src, sources.reshape(-1)[moved], "src")
    places = targets.reshape(-1)[moved]
    call.require_apart(dst, places, "dst")
    call.store_at(dst, places, _converted(elements, src, dst))


def _same_size(made: Instruction, chip: Chip) -> str | None:
    dst, src = made.operands["dst"], made.operands["src"]
    if dst.size != src.size:
        return f"dst has {dst.size} elements, and src has {src.size}"
    return None


def _packed_as_they_are(made: Instruction, chip: Chip) -> str | None:
    """Packed elements are not converted."""
    dtypes = {view.dtype.name: view.dtype for _, view in made.views()}
    if len(dtypes) > 1 and any(dtype.is_packed for dtype in dtypes.values()):
        return f"operands are {', '.join(sorted(dtypes))}: packed ones must be equal"
    return None


def _hardware_descriptors(made: Instruction, chip: Chip) -> str | None:
    """Hardware that makes descriptors is of gen3, and does not convert."""
    if made.attributes["dge_mode"] is not dge_mode.hwdge:
        return None
    if chip.generation < 3:
        return f"dge_mode is hwdge, which is of gen3 and later, and not {chip.nki_name}"
    dst, src = made.operands["dst"].dtype, made.operands["src"].dtype
    if dst.name != src.name:
        return (
            f"dst is {dst.name} and src is {src.name}, which must be equal if dge_mode "
            "is hwdge"
        )
    engine = made.attributes.get("engine", Engine.unknown)
    if engine not in (Engine.unknown, Engine.scalar, Engine.sync):
        return (
            f"engine is {engine.name}, and may be scalar or sync if dge_mode is hwdge"
        )
    return None


# -- dma_copy --------------------------------------------------------------------------
def _copy_samples() -> Iterator[Sample]:
    x = np.arange(24, dtype=np.float32).reshape(4, 6) / 4 - 3
    from_hbm = {"src": _SHARED}
    to_hbm = {"dst": _SHARED}
    yield Sample({"dst": ((4, 6), "float32"), "src": x}, {}, from_hbm, label="load")
    yield Sample({"dst": ((4, 6), "float32"), "src": x}, {}, to_hbm, label="store")
    yield Sample({"dst": ((4, 6), "float32"), "src": x}, label="in-sbuf")
    yield Sample(
        {"dst": ((3, 2, 4), "float32"), "src": x},
        {},
        {"dst": MemoryRegion.private_hbm, "src": _SHARED},
        label="other-shape",
    )
    for dtype in ("bfloat16", "float16", "float8_e4m3", "int32", "uint8"):
        yield Sample(
            {"dst": ((4, 6), dtype), "src": x * 3}, {}, from_hbm, label=f"to-{dtype}"
        )
    large = np.array([[16777217, -5], [1 << 30, 7]], np.int32)
    yield Sample({"dst": ((2, 2), "int32"), "src": large}, label="int32-is-exact")
    yield Sample({"dst": ((2, 2), "float32"), "src": large}, label="int32-to-float32")
    nan = np.array([[0x7FC12345, 0x80000000]], np.uint32).view(np.float32)
    yield Sample({"dst": ((1, 2), "float32"), "src": nan}, label="nan")
    narrow_ = x.astype(ml_dtypes.bfloat16)
    yield Sample(
        {"dst": ((4, 6), "float32"), "src": narrow_}, {}, from_hbm, label="bfloat16"
    )
    yield Sample(
        {"dst": ((4, 6), "float32"), "src": x},
        {"dge_mode": dge_mode.hwdge},
        from_hbm,
        label="hwdge",
    )
    packed = np.arange(6, dtype=np.uint32).reshape(2, 3)
    kinds = {"src": "float8_e5m2_x4"}
    yield Sample(
        {"dst": ((2, 3), "float8_e5m2_x4"), "src": packed},
        dtypes=kinds,
        chip="trn3",
        label="packed",
    )


def _copy_refused() -> Iterator[Sample]:
    x = np.ones((3, 4), np.float32)
    dst = ((3, 4), "float32")
    psum = MemoryRegion.psum
    hardware = {"dge_mode": dge_mode.hwdge}
    yield Sample({"dst": ((2, 4), "float32"), "src": x}, message="8 elements")
    yield Sample(
        {"dst": dst, "src": x}, regions={"dst": psum}, message="dst is in psum"
    )
    yield Sample(
        {"dst": dst, "src": x}, regions={"src": psum}, message="src is in psum"
    )
    yield Sample(
        {"dst": ((3, 4), "bfloat16"), "src": x}, hardware, message="must be equal"
    )
    yield Sample(
        {"dst": dst, "src": x}, hardware, chip="trn1", message="gen3 and later"
    )
    by_vector = {**hardware, "engine": Engine.vector}
    yield Sample({"dst": dst, "src": x}, by_vector, message="may be scalar or sync")
    yield Sample({"dst": dst, "src": 1.0}, message="must be a tensor")
    yield Sample({"dst": dst, "src": ((3, 4), "float32")}, message="never written")
    yield Sample({"dst": ((3, 4), "float8_e5m2_x4"), "src": x}, message="packed")
    yield Sample({"dst": dst, "src": x}, {"oob_mode": "skip"}, message="oob_mode")


def _modes(made: Instruction, chip: Chip) -> str | None:
    """Modes are members of their enumerations."""
    for name, kind in (("oob_mode", oob_mode), ("dge_mode", dge_mode)):
        given = made.attributes.get(name, next(iter(kind)))
        if not isinstance(given, kind):
            allowed = ", ".join(map(repr, kind))
            return f"{name} is {given!r}, and may be {allowed}"
    priority = made.attributes.get("priority")
    if priority is not None and not isinstance(priority, int):
        return f"priority is {priority!r}, and must be a whole number"
    return None


@instruction(
    *(Engine.dma, Engine.gpsimd, Engine.scalar, Engine.vector, Engine.sync),
    dst=writes(_REACHED, aligned=False),
    src=reads(_REACHED, aligned=False),
    choose_engine=lambda made, chip: Engine.dma,
    rules=[_modes, _same_size, _packed_as_they_are, _hardware_descriptors],
    meaning=_move,
    cost=lambda made, chip: 1.0,
    transfer_ns=_described_ns,
    samples=_copy_samples,
    refused=_copy_refused,
)
def dma_copy(
    dst: Any,
    src: Any,
    priority: int | None = None,
    oob_mode: oob_mode = oob_mode.error,
    dge_mode: dge_mode = dge_mode.unknown,
    engine: Engine = Engine.unknown,
    name: str | None = None,
) -> Instruction:
    """Copy elements between HBM and SBUF, or within one of them, in C's order.

    Equal dtypes keep every bit; others pass through float32.

    Args:
        dst: in SBUF or HBM, of any shape. It may be indexed by a register or by a
            tensor, which scatters.
        src: in SBUF or HBM, of as many elements. Indexed by a tensor, it is gathered.
        priority: of the transfer in its queue; the simulator does not look at it.
        oob_mode: whether a dynamic index that is out of bounds is an error, or its
            element is neither read nor written.
        dge_mode: who makes the descriptors. ``hwdge`` (gen3 and later) takes equal
            dtypes only.
        engine: whose queue issues the transfer.
    """
    raise NotImplementedError


# -- dma_transpose ---------------------------------------------------------------------
def _transpose(call: Call) -> None:
    _move(call, _ORDERS[len(call.operands["src"].shape)])


def _transposed_shape(made: Instruction, chip: Chip) -> str | None:
    dst, src = made.operands["dst"], made.operands["src"]
    order = _ORDERS.get(len(src.shape))
    if order is None:
        return f"src has {len(src.shape)} dimensions, and may have 2, 3 or 4"
    axes = made.attributes["axes"]
    if axes is not None and (not isinstance(axes, (tuple, list)) or (*axes,) != order):
        return f"axes is {axes!r}, and must be {order} for {len(order)} dimensions"
    wanted = tuple(src.shape[axis] for axis in order)
    if tuple(dst.shape) != wanted:
        return f"dst has the shape {list(dst.shape)}, and must have {list(wanted)}"
    return None


def _transposing_hardware(made: Instruction, chip: Chip) -> str | None:
    """What hardware that makes descriptors asks of a transpose."""
    src, mode = made.operands["src"], made.attributes["dge_mode"]
    if src.dynamic is not None:
        return _gathering(made, chip)
    if mode is dge_mode.swdge:
        return "dge_mode is swdge, which is for a src with an index only"
    if mode is not dge_mode.hwdge:
        return None
    rows = _HARDWARE_ROWS[-1:] if len(src.shape) == 2 else _HARDWARE_ROWS
    if src.shape[0] not in rows:
        allowed = ", ".join(map(str, rows))
        return (
            f"src has {src.shape[0]} rows, and may have {allowed} if dge_mode is hwdge"
        )
    if src.shape[-1] % PARTITIONS:
        return (
            f"src has {src.shape[-1]} columns, which must be a multiple of 128 if "
            "dge_mode is hwdge"
        )
    if src.dtype.device_itemsize != 2:
        return f"src is {src.dtype.name}, and must have 2 bytes if dge_mode is hwdge"
    return None


def _gathering(made: Instruction, chip: Chip) -> str | None:
    """What a transpose asks whose source is indexed by a tensor."""
    src = made.operands["src"]
    index = src.dynamic.index
    if not isinstance(index, View) or src.dynamic.axis is None:
        return None
    rows, columns = index.shape[0], math.prod(index.shape[1:])
    conditions = {
        f"the target is {chip.nki_name}, and an index is of gen3 and later": (
            chip.generation < 3
        ),
        "dge_mode may be unknown or swdge if src has an index": (
            made.attributes["dge_mode"] not in (dge_mode.unknown, dge_mode.swdge)
        ),
        "src has an index, and must be in HBM": src.region not in HBM,
        f"src is {src.dtype.name}, and must have 2 bytes if it has an index": (
            src.dtype.device_itemsize != 2
        ),
        f"src has {src.shape[-1]} columns, and may have 128 if it has an index": (
            src.shape[-1] > PARTITIONS
        ),
        f"src has {src.shape[0]} rows, which must be a multiple of 16 if it has an "
        "index": src.shape[0] % GPSIMD_PARTITIONS != 0,
        f"one of the middle dimensions of src {list(src.shape)} must be 1": (
            len(src.shape) == 4 and 1 not in src.shape[1:3]
        ),
        f"the index is {index.dtype.name}, and must be uint32": (
            index.dtype.name != "uint32"
        ),
        "the index must be in SBUF": index.region is not MemoryRegion.sbuf,
        f"the index has {rows} partitions, and may have a multiple of 16 up to 128": (
            rows % GPSIMD_PARTITIONS != 0 or not GPSIMD_PARTITIONS <= rows <= PARTITIONS
        ),
        f"the index has {rows} partitions, and must have 128 as it has {columns} "
        "columns": columns > 1 and rows != PARTITIONS,
    }
    return next((text for text, wrong in conditions.items() if wrong), None)


#: Of a copy's rate, what a transpose reaches at most: from HBM, and within the SBUF
#: (page of dma_transpose).
_TRANSPOSE_RATE_OF_HBM, _TRANSPOSE_RATE_OF_SBUF = 0.9, 0.5


def _transposing_factor(made: Instruction, chip: Chip) -> float:
    if made.operands["src"].region in HBM:
        return 1 / _TRANSPOSE_RATE_OF_HBM
    return 1 / _TRANSPOSE_RATE_OF_SBUF


def _transpose_samples() -> Iterator[Sample]:
    x = np.arange(24, dtype=np.float32).reshape(4, 6) / 4
    half = x.astype(ml_dtypes.bfloat16)
    hbm = {"src": _SHARED}
    yield Sample({"dst": ((6, 4), "float32"), "src": x}, {}, hbm, label="float32")
    yield Sample({"dst": ((6, 4), "bfloat16"), "src": half}, {}, hbm, label="bfloat16")
    yield Sample({"dst": ((6, 4), "float32"), "src": x}, label="in-sbuf")
    yield Sample(
        {"dst": ((6, 4), "float32"), "src": x}, {"axes": (1, 0)}, hbm, label="axes"
    )
    cube = np.arange(30, dtype=np.int16).reshape(2, 3, 5)
    yield Sample({"dst": ((5, 3, 2), "int16"), "src": cube}, {}, hbm, label="3d")
    four = np.arange(120, dtype=np.float32).reshape(2, 3, 4, 5)
    yield Sample({"dst": ((5, 3, 4, 2), "float32"), "src": four}, {}, hbm, label="4d")
    wide = (np.arange(16 * 128) % 251).reshape(16, 128).astype(ml_dtypes.bfloat16)
    yield Sample(
        {"dst": ((128, 16), "bfloat16"), "src": wide},
        {"dge_mode": dge_mode.hwdge},
        hbm,
        label="hwdge",
    )


def _transpose_refused() -> Iterator[Sample]:
    x = np.ones((4, 6), np.float32)
    dst = ((6, 4), "float32")
    hardware = {"dge_mode": dge_mode.hwdge}
    yield Sample({"dst": ((4, 6), "float32"), "src": x}, message="must have [6, 4]")
    yield Sample({"dst": ((6, 4, 1), "float32"), "src": x}, message="must have [6, 4]")
    yield Sample({"dst": dst, "src": x}, {"axes": (0, 1)}, message="must be (1, 0)")
    yield Sample({"dst": dst, "src": x}, hardware, message="may have 16")
    yield Sample({"dst": dst, "src": x}, hardware, chip="trn1", message="gen3")
    row = np.ones((16, 64), np.float32)
    yield Sample(
        {"dst": ((64, 16), "float32"), "src": row}, hardware, message="multiple of 128"
    )
    row = np.ones((16, 128), np.float32)
    yield Sample(
        {"dst": ((128, 16), "float32"), "src": row}, hardware, message="2 bytes"
    )
    yield Sample(
        {"dst": dst, "src": x}, {"dge_mode": dge_mode.swdge}, message="with an index"
    )
    five = np.ones((1, 1, 1, 1, 2), np.float32)
    yield Sample(
        {"dst": ((2, 1, 1, 1, 1), "float32"), "src": five}, message="2, 3 or 4"
    )
    yield Sample({"dst": dst, "src": x}, regions={"dst": _SHARED}, message="dst is in")


@instruction(
    Engine.dma,
    dst=writes(frozenset({MemoryRegion.sbuf}), aligned=False),
    src=reads(_REACHED, aligned=False),
    rules=[
        _modes,
        _transposed_shape,
        _packed_as_they_are,
        _hardware_descriptors,
        _transposing_hardware,
    ],
    meaning=_transpose,
    cost=_transposing_factor,
    transfer_ns=_described_ns,
    samples=_transpose_samples,
    refused=_transpose_refused,
)
def dma_transpose(
    dst: Any,
    src: Any,
    axes: tuple[int, ...] | None = None,
    priority: int | None = None,
    dge_mode: dge_mode = dge_mode.unknown,
    oob_mode: oob_mode = oob_mode.error,
    name: str | None = None,
) -> Instruction:
    """Transpose by DMA: dimensions change places, the first one with the last.

    Args:
        dst: in SBUF, of the shape that `src` has in the new order.
        src: in HBM or SBUF, of 2, 3 or 4 dimensions. Indexed by a tensor, its rows are
            gathered first (gen3 and later).
        axes: (1, 0), (2, 1, 0) or (3, 1, 2, 0), as there are dimensions.
        priority: of the transfer in its queue; the simulator does not look at it.
        dge_mode: who makes the descriptors.
        oob_mode: what is done about an index that is out of bounds.
    """
    raise NotImplementedError


# -- dma_compute -----------------------------------------------------------------------
def _compute(call: Call) -> None:
    dst, sources = call.operands["dst"], call.operands["srcs"]
    if _skips(call) and _is_dynamic(call.instruction):
        _accumulate_in_bounds(call, dst, sources)
    elif dst.dynamic is not None:
        _accumulate_in_bounds(call, dst, sources, strict=True)
    else:
        call.write("dst", _sum([_flat(call, view) for view in sources]))


def _flat(call: Call, view: View) -> np.ndarray:
    return widen(call.elements(view, "srcs"), view.dtype).reshape(-1)


def _sum(parts: list[np.ndarray]) -> np.ndarray:
    """Their sum in float32, from the first to the last."""
    total = parts[0].astype(np.float32)
    for part in parts[1:]:
        total += part
    return total


def _accumulate_in_bounds(
    call: Call, dst: View, sources: tuple[View, ...], strict: bool = False
) -> None:
    """Read, add and write: elements that several indices name, one after the other."""
    targets, kept = _positions(call, "dst", dst)
    read = [_positions(call, "srcs", view) for view in sources]
    if strict and not kept.all():
        call.report_out_of_bounds(dst, targets, kept, "dst")
    kept = kept.reshape(-1).copy()
    for _, valid in read:
        kept &= valid.reshape(-1)
    targets = targets.reshape(-1)[kept]
    offsets = [place.reshape(-1)[kept] for place, _ in read]
    for chosen in _rounds(call, targets):
        parts = [
            widen(call.elements_at(view, place[chosen], "srcs"), view.dtype)
            for view, place in zip(sources, offsets)
        ]
        call.store_at(dst, targets[chosen], narrow(_sum(parts), dst.dtype))


def _rounds(call: Call, targets: np.ndarray) -> Iterator[np.ndarray]:
    """Which elements can be written at once: none of a round share an offset."""
    left = np.arange(targets.size)
    while left.size:
        first = np.sort(np.unique(targets[left], return_index=True)[1])
        if first.size < left.size and call.attributes["unique_indices"]:
            call.report(
                "wrong-operand",
                f"the index names {left.size - first.size} elements of dst more than "
                "once, and unique_indices is True: give unique_indices=False",
            )
        yield left[first]
        left = np.delete(left, first)


def _computes(made: Instruction, chip: Chip) -> str | None:
    dst, sources = made.operands["dst"], made.operands["srcs"]
    if not 1 <= len(sources) <= _SOURCES:
        return f"srcs are {len(sources)} tensors, and may be 1 to {_SOURCES}"
    scales = made.attributes["scales"]
    if scales not in (None, [1.0] * len(sources), (1.0,) * len(sources)):
        return f"scales are {scales!r}, and must be None or 1.0 for each of srcs"
    for i, view in enumerate(sources):
        if view.size != dst.size:
            return f"srcs[{i}] has {view.size} elements, and dst has {dst.size}"
    if _is_dynamic(made) and len(sources) != 2:
        return f"srcs are {len(sources)} tensors, and must be 2 if one has an index"
    return None


def _computes_with_numbers(made: Instruction, chip: Chip) -> str | None:
    for name, view in made.views():
        if view.dtype.is_packed:
            return f"{name} is {view.dtype.name}, which is not computed with"
    return None


def _compute_samples() -> Iterator[Sample]:
    x = np.arange(12, dtype=np.float32).reshape(3, 4) / 8
    dst = ((3, 4), "float32")
    add = {"reduce_op": "add"}
    yield Sample({"dst": dst, "srcs": [x, x + 1]}, add, label="two")
    yield Sample({"dst": dst, "srcs": [x]}, {**add, "scales": [1.0]}, label="one")
    yield Sample(
        {"dst": dst, "srcs": [x / (i + 1) for i in range(16)]}, add, label="sixteen"
    )
    mixed = [x, (x * 5).astype(ml_dtypes.bfloat16), (x * 8).astype(np.int8)]
    hbm = {"srcs": _SHARED, "dst": _SHARED}
    yield Sample({"dst": ((4, 3), "bfloat16"), "srcs": mixed}, add, hbm, label="mixed")
    yield Sample(
        {"dst": ((3, 4), "uint8"), "srcs": [x * 90, x * 99]}, add, label="uint8"
    )


def _compute_refused() -> Iterator[Sample]:
    x = np.ones((3, 4), np.float32)
    dst = ((3, 4), "float32")
    add = {"reduce_op": "add"}
    psum = {"dst": MemoryRegion.psum}
    yield Sample({"dst": dst, "srcs": [x] * 17}, add, message="17 tensors")
    most = {"reduce_op": "max"}
    yield Sample({"dst": dst, "srcs": [x]}, most, message="reduce_op is")
    yield Sample(
        {"dst": dst, "srcs": [x, x]}, {**add, "scales": [1.0, 2.0]}, message="scales"
    )
    yield Sample({"dst": dst, "srcs": [x, x[:2]]}, add, message="srcs[1] has 8")
    yield Sample({"dst": dst, "srcs": [x, x]}, add, psum, message="dst is in psum")
    yield Sample({"dst": dst, "srcs": x}, add, message="list")


def _is_list(made: Instruction, chip: Chip) -> str | None:
    sources = made.operands["srcs"]
    if isinstance(sources, tuple):
        return None
    return f"srcs is {type(sources).__name__}, and must be a list of tensors"


@instruction(
    Engine.dma,
    dst=writes(_REACHED, aligned=False),
    srcs=reads(_REACHED, several=True, aligned=False),
    operations={"reduce_op": OperationRule(names=frozenset({"add"}))},
    rules=[_modes, _is_list, _computes, _computes_with_numbers],
    meaning=_compute,
    cost=lambda made, chip: 1.0,
    samples=_compute_samples,
    refused=_compute_refused,
)
def dma_compute(
    dst: Any,
    srcs: Any,
    reduce_op: Any,
    scales: Any = None,
    unique_indices: bool = True,
    oob_mode: oob_mode = oob_mode.error,
    name: str | None = None,
) -> Instruction:
    """Add tensors element by element as they are transferred, in float32.

    With an index there are two sources. If `dst` has it, one source is that same view
    and the other is what is added to it.

    Args:
        dst: in SBUF or HBM, of any shape.
        srcs: 1 to 16 tensors in SBUF or HBM, each of as many elements as `dst`.
        reduce_op: ``nl.add``.
        scales: None, or 1.0 for each source.
        unique_indices: whether no two indices name one element of `dst`. If not, what
            is added to one is added in order.
        oob_mode: what is done about an index that is out of bounds.
    """
    raise NotImplementedError
