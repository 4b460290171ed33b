"""How instructions are issued: masks, broadcasting, and where results are put."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from nkipy_nki import isa
from nkipy_nki.checking import told, way_out
from nkipy_nki.deprecation import warn_deprecated
from nkipy_nki.dtypes import DTypeRecord, find_dtype
from nkipy_nki.emitting import emit
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.language.tiles import as_number, promote
from nkipy_nki.neuronxcc.nki.faults import fault
from nkipy_nki.neuronxcc.nki.indices import Box, Mask, as_mask
from nkipy_nki.neuronxcc.nki.lanes import box_for, positions_of, view_of, where_for
from nkipy_nki.neuronxcc.nki.state import masking, settle, state
from nkipy_nki.neuronxcc.nki.tiles import (
    Fresh,
    Part,
    Tile,
    allocate,
    count_write,
    stretched,
)
from nkipy_nki.program import Line, whole
from nkipy_nki.records import INSTRUCTIONS
from nkipy_nki.regions import MemoryRegion
from nkipy_nki.running import current, kernel_line
from nkipy_nki.tensors import NkiTensor, as_tensor
from nkipy_nki.views import reinterpret

__all__ = ["assign", "copied", "in_sbuf", "issue", "made", "on_chip", "require_tile"]

SBUF, PSUM = MemoryRegion.sbuf, MemoryRegion.psum


# -- which lanes -----------------------------------------------------------------------
@dataclass(frozen=True)
class Lanes:
    """Where an instruction is carried out.

    Attributes:
        box: a rectangle; None if it is everywhere, or no rectangle.
        of: the shape that the rectangle is of.
        mask: what is no rectangle.
        nowhere: nowhere.
    """

    box: Box | None = None
    of: tuple[int, ...] = ()
    mask: Mask | None = None
    nowhere: bool = False

    def box_for(self, shape: tuple[int, ...]) -> Box | None:
        """The rectangle for an operand of a shape."""
        return None if self.box is None else box_for(self.box, shape, self.of)


def joined(mask: Any, shape: tuple[int, ...], valid: list[Mask]) -> Mask | None:
    """A mask and those of what is read, for a shape; None if it is true everywhere."""
    found: Mask | None = None
    if mask is not None and mask is not True:
        found = as_mask(mask).broadcast(shape)
    for other in valid:
        found = other.broadcast(shape) if found is None else found & other
    return None if found is None or found.is_full else found


#: Instructions whose results depend on where in the tile an element is.
_BY_PLACE = frozenset({"affine_select", "iota", "range_select"})


def _lanes(name: str, mask: Mask | None) -> Lanes:
    if mask is None:
        return Lanes()
    if mask.is_empty:
        return Lanes(nowhere=True)
    if mask.box is None or (name in _BY_PLACE and not mask.is_first_rows):
        return Lanes(mask=mask)
    if mask.box[0][0] and name != "dma_copy":
        return Lanes(mask=mask)  # engines do not begin at any partition
    return Lanes(box=mask.box, of=mask.shape)


# -- issuing ---------------------------------------------------------------------------
def issue(
    name: str,
    outs: Mapping[str, Tile],
    ins: Mapping[str, Any],
    mask: Mask | None = None,
    line: Line | None = None,
    fill: float | None = None,
    shifted: bool = False,
    **attributes: Any,
) -> None:
    """Issue an instruction where a mask is true.

    Args:
        name: of its record.
        outs: operands that are written.
        ins: the others: tiles, numbers, None.
        mask: of the shape that all tiles are of, but for dimensions of one element.
        line: of the kernel.
        fill: what is to be read where the mask is false; None if that is of no effect.
        shifted: whether it takes numbers that only the run knows in indices on the
            chip.
        attributes: what else it is told.
    """
    settle()
    _require_mutable(outs)
    if not shifted:
        _require_known((*outs.values(), *ins.values()))
    record = INSTRUCTIONS[name]
    lanes = _lanes(name, mask)
    if lanes.nowhere:
        return
    for tile in outs.values():
        count_write(tile)
    place = line or kernel_line()
    given = {n: _input(v, lanes, place, fill) for n, v in ins.items()}
    targets = {n: _output(v, lanes, place) for n, v in outs.items()}
    given.update({n: target.view for n, target in targets.items()})
    values = {**_defaults(name), **given, **attributes}
    operands = {n: values.pop(n) for n in record.operands}
    with masking(lanes.mask):
        emit(record, operands, values, None, place)
    for target in targets.values():
        target.finish(place)


@lru_cache(maxsize=256)
def _defaults(name: str) -> dict[str, Any]:
    """What an instruction's signature has for operands and attributes left out."""
    parameters = INSTRUCTIONS[name].signature.parameters.values()
    return {
        p.name: p.default
        for p in parameters
        if p.default is not p.empty and p.name != "name"
    }


def _require_known(operands: Iterable[Any]) -> None:
    """On the chip, only copies made for it take indices that only the run knows."""
    for tile in operands:
        if isinstance(tile, Part) and tile.is_shifted and tile.buffer.is_on_chip:
            raise fault(
                "copy_dynamic_indirect_indices_not_natively_supported",
                f"{tile!r} is indexed by a number that only the run knows: it is read "
                "by nisa.tensor_copy_dynamic_src, and written by "
                "nisa.tensor_copy_dynamic_dst",
            )


def _require_mutable(outs: Mapping[str, Tile]) -> None:
    """Arguments are written only if they are declared so, or nothing is returned."""
    found = state()
    immutable = found.immutable
    if not immutable:
        return
    for tile in outs.values():
        whole = tile.whole if isinstance(tile, Part) else tile
        name = immutable.get(whole.elements.allocation.id)
        if name is None or name in found.written:
            continue
        error = fault(
            "cannot_update_immutable_parameter",
            f"the argument {name} is written: declare it as "
            f"{name}: neuronxcc.nki.typing.mutable_tensor, and return it",
        )
        if not found.by_reference:
            raise error
        found.written[name] = error
        warn_deprecated(
            f"the argument {name} is written, as kernels of SDK 2.20 give results: "
            f"from 2.21 on, declare it as {name}: neuronxcc.nki.typing.mutable_tensor "
            "and return it, or return a tensor in nl.shared_hbm"
        )


def _input(given: Any, lanes: Lanes, line: Line, fill: float | None) -> Any:
    """An operand that is read, as the record takes it."""
    if isinstance(given, list):
        return [_input(part, lanes, line, fill) for part in given]
    if not isinstance(given, Tile):
        return given
    shape = tuple(given.tile_shape)
    if lanes.mask is not None:
        return _masked_input(given, lanes.mask, line, fill)
    box = lanes.box_for(shape)
    view = view_of(given, box)
    if view is not None:
        return view
    positions = _in_box(given, box)
    temporary = _temporary(given, positions.shape, line)
    _copy_by_positions(temporary, None, _whole(given), positions, line)
    return temporary


def _masked_input(tile: Tile, mask: Mask, line: Line, fill: float | None) -> NkiTensor:
    """What is read where a mask that is no rectangle is true.

    The instruction itself reads everywhere; so where something must not be read, or
    must not count, it reads a copy.
    """
    shape = tuple(tile.tile_shape)
    view = _view_everywhere(tile)
    if view is not None and fill is None and _is_written(view):
        return view
    where = where_for(mask, shape)
    temporary = _temporary(tile, shape, line)
    if view is not None:
        _copy_where(temporary, view, where, line, fill or 0.0)
    else:
        positions = positions_of(tile, where)
        _copy_by_positions(temporary, None, _whole(tile), positions, line, fill or 0.0)
    return temporary


def _view_everywhere(tile: Tile) -> NkiTensor | None:
    """All elements of a tile, if strides describe them and all are in bounds."""
    if isinstance(tile, Part):
        return tile.view_in() if tile.is_within() else None
    return tile.elements if tile.elements.dynamic is None else None


def _is_written(view: NkiTensor) -> bool:
    """Whether all elements of a view are known to have been written."""
    machine = current().executes
    if machine is None:
        return False
    return not machine.memory.storage(view.allocation).unwritten(view)


def _in_box(tile: Tile, box: Box | None) -> np.ndarray:
    """Positions of the elements in a rectangle of a tile."""
    if box is None:
        return positions_of(tile, None)
    positions = positions_of(tile, Mask(tuple(tile.tile_shape), box).values)
    return positions[tuple(slice(*b) for b in box)]


def _temporary(tile: Tile, shape: tuple[int, ...], line: Line) -> NkiTensor:
    """A tensor for a copy of elements of a tile, in its memory, or in the SBUF."""
    region = tile.buffer if tile.buffer is PSUM else SBUF
    return allocate(shape, tile.dtype, region, line=line)


@dataclass(frozen=True)
class _Target:
    """What an instruction writes, and how that gets to where it belongs.

    Attributes:
        view: what is written: a part of a tensor, or a temporary tensor.
        tile: of a temporary one, the tile that it is for.
        positions: where its elements go.
        where: instead, the mask, for the view `final`.
        final: the tile's elements.
    """

    view: NkiTensor
    tile: Tile | None = None
    positions: np.ndarray | None = None
    where: np.ndarray | None = None
    final: NkiTensor | None = None

    def finish(self, line: Line) -> None:
        """Copy what was written to where it belongs."""
        if self.tile is None:
            return
        if self.final is not None and self.where is not None:
            _copy_where(self.final, self.view, self.where, line, None)
        else:
            _copy_by_positions(_whole(self.tile), self.positions, self.view, None, line)


def _output(tile: Tile, lanes: Lanes, line: Line) -> _Target:
    """An operand that is written."""
    shape = tuple(tile.tile_shape)
    if lanes.mask is not None:
        where, final = where_for(lanes.mask, shape), _view_everywhere(tile)
        made = _temporary(tile, shape, line)
        if final is not None:
            return _Target(made, tile, None, where, final)
        return _Target(made, tile, positions_of(tile, where))
    box = lanes.box_for(shape)
    view = view_of(tile, box)
    if view is not None:
        return _Target(view)
    positions = _in_box(tile, box)
    return _Target(_temporary(tile, positions.shape, line), tile, positions)


def _copy_where(
    dst: NkiTensor, src: NkiTensor, where: np.ndarray, line: Line, fill: float | None
) -> None:
    values = np.ascontiguousarray(np.broadcast_to(where, dst.shape)).view(np.uint8)
    listed = {"where": constant(values, line), "dst_at": None, "src_at": None}
    operands = {"dst": dst, "src": src, **listed}
    emit(INSTRUCTIONS["indexed_copy"], operands, {"fill": fill}, None, line)


def _whole(tile: Tile) -> NkiTensor:
    """All of the tensor that a tile is of, in which positions are counted."""
    view = tile.whole.elements if isinstance(tile, Part) else tile.elements
    made = as_tensor(whole(view.allocation))
    return made if view.dtype == made.dtype else reinterpret(made, view.dtype)


def _copy_by_positions(
    dst: NkiTensor,
    dst_at: np.ndarray | None,
    src: NkiTensor,
    src_at: np.ndarray | None,
    line: Line,
    fill: float = 0.0,
) -> None:
    operands = {
        "dst": dst,
        "src": src,
        "dst_at": None if dst_at is None else constant(dst_at.astype(np.int32), line),
        "src_at": None if src_at is None else constant(src_at.astype(np.int32), line),
        "where": None,
    }
    emit(INSTRUCTIONS["indexed_copy"], operands, {"fill": fill}, None, line)


def constant(values: np.ndarray, line: Line | None = None) -> NkiTensor:
    """A tensor in HBM of values that are known."""
    run = current()
    dtype = find_dtype(values.dtype)
    made = allocate(
        values.shape, dtype, MemoryRegion.shared_hbm, line=line, role="constant"
    )
    kept = np.ascontiguousarray(values)
    run.program.constants[made.allocation.id] = kept
    if run.machine is not None:
        run.machine.memory.share(made.allocation, kept.copy())
    return made


# -- operands --------------------------------------------------------------------------
def require_tile(given: Any, what: str) -> Tile:
    """An operand that must be a tile.

    Raises:
        NkiValidationError: it is none.
    """
    if isinstance(given, Tile):
        return given
    raise NkiValidationError(
        f"{what} is {told(given)}, and must be a tile{way_out(given)}"
        f"\n  at {kernel_line()}"
    )


def on_chip(given: Any, what: str) -> Tile:
    """An operand that must be a tile on the chip.

    Raises:
        NkiValidationError: it is none, or in HBM.
    """
    tile = require_tile(given, what)
    if not tile.buffer.is_on_chip:
        raise fault(
            "unsupported_memory",
            f"{what} is {tile!r}, and must be on the chip: nl.load it first",
        )
    if tile.blocks:
        raise fault(
            "failed_to_infer_tile_from_local_tensor",
            f"{what} is {tile!r}, whose first dimension is not that of partitions: "
            "index its block dimensions",
        )
    return tile


def in_sbuf(tile: Tile) -> Tile:
    """A tile, or a copy in the SBUF of one that is in the PSUM."""
    return copied(tile, tile.dtype) if tile.buffer is PSUM else tile


# -- results ---------------------------------------------------------------------------
def made(
    name: str,
    shape: tuple[int, ...],
    dtype: DTypeRecord,
    ins: Mapping[str, Any],
    mask: Any = None,
    *,
    over: tuple[int, ...] | None = None,
    out: str = "dst",
    region: MemoryRegion = SBUF,
    outs: Mapping[str, Tile] | None = None,
    inherits: bool = True,
    fill: float | None = None,
    **attributes: Any,
) -> Fresh:
    """The result of an instruction, which is issued when its place is known.

    Args:
        name: of the instruction's record.
        shape: of the result.
        dtype: of the result.
        ins: what is read.
        mask: where it is carried out.
        over: the shape that the mask is for; that of the result, unless it is given.
        out: the operand that the result is.
        region: where the result may lie.
        outs: what else is written.
        inherits: whether what was masked out of an operand is so of the result.
        fill: what is to be read where the mask is false; None if that is of no effect.
        attributes: what else the instruction is told.
    """
    over = over or shape
    # Operands that wait for a place get it first.
    for value in (*ins.values(), *(outs or {}).values()):
        if isinstance(value, Fresh):
            value.settle()
    tiles = [v for v in ins.values() if isinstance(v, Tile)] if inherits else []
    found = [tile.valid for tile in tiles if tile.valid is not None]
    if over != shape:  # what is left out along a reduced dimension is read, and found
        found = [_reduced(v.broadcast(over), shape).broadcast(over) for v in found]
    wanted = joined(mask, over, found)

    def put(dst: Tile, line: Line) -> None:
        issue(name, {out: dst, **(outs or {})}, ins, wanted, line, fill, **attributes)

    result = Fresh(shape, dtype, region, put)
    if wanted is not None and over == shape:
        result.valid = wanted
    elif wanted is not None:
        result.valid = _reduced(wanted, shape)
    return result


def _reduced(mask: Mask, shape: tuple[int, ...]) -> Mask:
    """Where a result has a value, of which an element stands for several of a mask."""
    if mask.box is not None and not mask.is_empty:
        return Mask(shape, box_for(mask.box, shape, mask.shape))
    where = where_for(mask, shape)
    return Mask(shape, None, np.broadcast_to(where, shape))


def copied(tile: Tile, dtype: DTypeRecord, mask: Any = None) -> Fresh:
    """A copy in the SBUF."""
    source = on_chip(tile, "what is copied")
    shape = tuple(source.tile_shape)
    return made("tensor_copy", shape, dtype, {"src": source}, mask)


# -- assignment ------------------------------------------------------------------------
def assign(dst: Tile, value: Any, mask: Any = None) -> None:
    """Write a tile, or a number, to a part of a tensor on the chip.

    A result that has no place yet is computed there.

    Raises:
        NkiValidationError: the shapes do not fit.
    """
    shape = tuple(dst.tile_shape)
    number = as_number(value)
    if number is not None:
        fill(dst, number, mask)
        return
    tile = require_tile(value, "what is assigned")
    if not dst.buffer.is_on_chip:
        raise fault("unsupported_memory", f"{dst!r} is in HBM: use nl.store")
    if _can_be_put(tile, dst, mask):
        tile.put(dst)  # type: ignore[attr-defined]
        return
    found = on_chip(tile, "what is assigned")
    if math.prod(found.tile_shape) > math.prod(shape):
        raise fault(
            "store_dst_shape_smaller_than_other_shape",
            f"a tile of shape {list(found.shape)} is assigned to {list(dst.shape)}",
        )
    source = fitted(found, shape)
    wanted = joined(mask, shape, [source.valid] if source.valid is not None else [])
    issue("tensor_copy", {"dst": dst}, {"src": source}, wanted)


def _can_be_put(tile: Tile, dst: Tile, mask: Any) -> bool:
    """Whether a result can be computed where it is assigned to."""
    return (
        isinstance(tile, Fresh)
        and tile.is_open
        and mask is None
        and tuple(tile.tile_shape) == tuple(dst.tile_shape)
        and tile.dtype == dst.dtype
        and tile.buffer is dst.buffer
    )


def fitted(tile: Tile, shape: tuple[int, ...]) -> Tile:
    """A tile as one of another shape: broadcast, or with dimensions of 1 left out."""
    if tuple(tile.tile_shape) == shape:
        return tile
    mine = [n for n in tile.tile_shape if n != 1]
    if mine == [n for n in shape if n != 1] and not isinstance(tile, Part):
        view = tile.elements
        steps = iter([s for n, s in zip(view.shape, view.strides) if n != 1])
        strides = tuple(next(steps) if n != 1 else 1 for n in shape)
        if view.shape[0] == shape[0]:
            strides = (view.strides[0], *strides[1:])
            return Tile(
                NkiTensor(view.allocation, view.dtype, view.offset, shape, strides)
            )
    return stretched(tile, shape)


def fill(dst: Tile, number: Any, mask: Any = None) -> None:
    """Set a tile to a number."""
    shape = tuple(dst.tile_shape)
    wanted = joined(mask, shape, [])
    value = float(number) if dst.dtype.is_float else number
    if dst.buffer.is_on_chip:
        issue("memset", {"dst": dst}, {}, wanted, value=value)
        return
    line = kernel_line()
    column = allocate((1, 1), dst.dtype, SBUF, line=line)
    isa.memset(column, value)
    source = NkiTensor(column.allocation, dst.dtype, 0, shape, (0,) * len(shape))
    issue("dma_copy", {"dst": dst}, {"src": Tile(source)}, wanted)


def promoted(*operands: Any) -> DTypeRecord:
    """The type that tiles and numbers have together, as today's language has it."""
    dtypes = [o.dtype for o in operands if isinstance(o, Tile)]
    return promote(dtypes, any(isinstance(as_number(o), float) for o in operands))


# -- methods of tiles that issue instructions ------------------------------------------
def _set_item(self: Tile, key: Any, value: Any) -> None:
    if isinstance(value, Tile) and value._of[0] is self and value._of[1] is key:
        return  # what += has written already
    assign(self[key], value)


def _as_type(self: Tile, dtype: Any) -> Fresh:
    """A copy of another element type."""
    return copied(self, find_dtype(dtype))


for _name, _method in (("__setitem__", _set_item), ("astype", _as_type)):
    setattr(Tile, _name, _method)
