"""Copies by lists of positions: what masks and indices of the first generation need.

``nki.isa`` does not have it. ``neuronxcc.nki`` issues it where no access pattern shows
the elements that a kernel means: those of a mask that is no rectangle, or of indices
that are not affine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nkipy.chips import Chip
from nkipy_nki.calls import Call
from nkipy_nki.costs import cycles
from nkipy_nki.declaring import instruction
from nkipy_nki.dtypes import convert, narrow
from nkipy_nki.engines import Engine
from nkipy_nki.positions import element_offsets
from nkipy_nki.program import Instruction, View
from nkipy_nki.records import Sample, reads, writes
from nkipy_nki.regions import HBM, MemoryRegion

__all__: list[str] = []

_ANYWHERE = frozenset(MemoryRegion)


def _positions(call: Call, name: str, view: View) -> np.ndarray:
    """Where the elements meant lie in a view's tensor; below 0, none is."""
    offsets = element_offsets(view).reshape(-1)
    if call.operands[f"{name}_at"] is None:
        return offsets
    found = call.raw(f"{name}_at").astype(np.int64).reshape(-1)
    if not (found < offsets.size).all():
        text = f"{name}_at has {found.max()}, and {name} {offsets.size} elements"
        value = int(found.max())
        call.report("out-of-bounds", text, value=value, extent=offsets.size)
    positions = np.full(found.shape, -1)
    meant = (found >= 0) & (found < offsets.size)
    positions[meant] = offsets[found[meant]]
    return positions


def _copy(call: Call) -> None:
    dst, src = call.operands["dst"], call.operands["src"]
    if call.operands["where"] is not None:
        _copy_where(call)
        return
    offsets = _positions(call, "src", src)
    meant = offsets >= 0
    number = call.attributes["fill"] or 0.0
    fill = narrow(np.full(offsets.shape, number, np.float32), dst.dtype)
    taken = call.elements_at(src, offsets[meant], "src")
    fill[meant] = convert(taken, src.dtype, dst.dtype)
    where = _positions(call, "dst", dst)
    written = where[where >= 0]
    call.require_apart(dst, written, "dst")
    call.store_at(dst, written, fill[where >= 0])


def _copy_where(call: Call) -> None:
    """Copy the elements of a view where a mask is true."""
    dst, src = call.operands["dst"], call.operands["src"]
    where = (call.raw("where") != 0).reshape(dst.shape)
    storage, shift = call.storage("src")
    if storage.unwritten(src, shift):
        # Only those that the mask means must have been written.
        meant = where.reshape(-1)
        taken = np.zeros(src.size, src.dtype.element)
        offsets = _positions(call, "src", src)[meant] + shift
        taken[meant] = call.elements_at(src, offsets, "src")
    else:
        taken = storage.elements(src, shift)
    values = convert(taken, src.dtype, dst.dtype).reshape(dst.shape)
    fill = call.attributes["fill"]
    if fill is None:
        call.store_where("dst", values, where)
        return
    other = narrow(np.full((), fill, np.float32), dst.dtype)
    call.store("dst", np.where(where, values, other))


def _within(made: Instruction, chip: Chip) -> str | None:
    """As many elements are written as read."""
    counts = {}
    for name in ("dst", "src"):
        given = made.operands[f"{name}_at"]
        counts[name] = (made.operands[name] if given is None else given).size
    where = made.operands["where"]
    if where is not None:
        counts["where"] = where.size
    if len(set(counts.values())) == 1:
        return None
    return f"src has {counts['src']} elements, and dst {counts['dst']}"


def _at_known_places(made: Instruction, chip: Chip) -> str | None:
    """What is copied by positions has no index beside: positions count from a view."""
    moved = ("src", "dst") if made.operands["where"] is None else ()
    for name in moved:
        if made.operands[name].dynamic is not None:
            return f"{name} has an index, which it must not have"
    return None


def _fills_with_a_number(made: Instruction, chip: Chip) -> str | None:
    fill = made.attributes["fill"]
    if fill is None or isinstance(fill, (int, float)):
        return None
    return f"fill is {fill!r}, and must be a number or None"


def _choose(made: Instruction, chip: Chip) -> Engine:
    outside = any(made.operands[name].region in HBM for name in ("dst", "src"))
    return Engine.dma if outside else Engine.vector


def _cost(made: Instruction, chip: Chip) -> float:
    """Of a transfer, its share of a plain one; else an element a cycle."""
    if made.engine is Engine.dma:
        return 1.0
    given = made.operands["dst_at"]
    count = made.operands["dst"].size if given is None else given.size
    return cycles(count / max(made.operands["dst"].shape[0], 1))


def _samples() -> Iterator[Sample]:
    x = np.arange(12, dtype=np.float32).reshape(3, 4) + 0.5
    dst = ((3, 4), "float32")
    before = np.full((3, 4), -7, np.float32)
    at = np.array([[0, 5, 10], [11, -1, 2]], np.int32)
    hbm = MemoryRegion.shared_hbm
    gathered = {"dst": ((2, 3), "float32"), "src": x, "src_at": at}
    yield Sample(gathered, {"fill": 3.0}, {"src_at": hbm}, label="gathered")
    yield Sample(gathered, {}, {"src_at": hbm, "src": hbm}, label="from-hbm")
    yield Sample(
        {"dst": before, "src": x[:2, :3].copy(), "dst_at": at},
        {},
        {"dst_at": hbm},
        label="scattered",
    )
    where = {"where": np.array([[1, 0, 1, 1], [0] * 4, [1] * 4], np.uint8)}
    yield Sample({"dst": before, "src": x, **where}, {}, {"where": hbm}, label="where")
    yield Sample(
        {"dst": ((3, 4), "bfloat16"), "src": x, **where},
        {"fill": -2.5},
        {"where": hbm},
        label="where-else-fill",
    )
    both = {"dst": before, "src": x, "dst_at": at, "src_at": at[::-1].copy()}
    yield Sample(both, {}, {"dst_at": hbm, "src_at": hbm}, label="both")
    yield Sample({"dst": ((3, 4), "int16"), "src": x}, label="whole-to-int16")
    yield Sample({"dst": dst, "src": x}, {}, {"src": hbm, "dst": hbm}, label="hbm")


def _refused() -> Iterator[Sample]:
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    at = np.array([[0, 5]], np.int32)
    hbm = {"src_at": MemoryRegion.shared_hbm}
    wrong = {"dst": ((3, 4), "float32"), "src": x, "src_at": at}
    yield Sample(wrong, {}, hbm, message="src has 2 elements, and dst 12")
    unwritten = {"dst": ((1, 2), "float32"), "src": ((3, 4), "float32"), "src_at": at}
    yield Sample(unwritten, {}, hbm, message="never written")
    yield Sample({"dst": ((3, 4), "float32"), "src": 1.0}, message="must be a tensor")
    beyond = {"dst": ((1, 2), "float32"), "src": x, "src_at": at + 7}
    yield Sample(beyond, {}, hbm, message="src_at has 12, and src 12 elements")


@instruction(
    *(Engine.dma, Engine.vector),
    dst=writes(_ANYWHERE, aligned=False),
    src=reads(_ANYWHERE, aligned=False),
    dst_at=reads(HBM, "int32", optional=True),
    src_at=reads(HBM, "int32", optional=True),
    where=reads(HBM, "uint8", optional=True),
    choose_engine=_choose,
    rules=[_within, _at_known_places, _fills_with_a_number],
    meaning=_copy,
    cost=_cost,
    samples=_samples,
    refused=_refused,
)
def indexed_copy(
    dst: Any,
    src: Any,
    dst_at: Any = None,
    src_at: Any = None,
    where: Any = None,
    fill: float | None = None,
    name: str | None = None,
) -> Instruction:
    """Copy elements from positions in one tensor to positions in another.

    Args:
        dst: of the tensor that is written.
        src: of the tensor that is read.
        dst_at: int32 in HBM: which of `dst`'s elements, counted in C's order, each is
            copied to in turn; below 0, it is left out. If None, all in their order.
        src_at: the same of `src`; below 0, none is read, and `fill` takes its place.
        where: instead of both, uint8 in HBM: elements of the views are copied where it
            is not 0. If `fill` is None, the others of `dst` stay as they are.
        fill: a number.
    """
    raise NotImplementedError
