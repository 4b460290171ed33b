"""Copies on the chip, and transfers by DMA."""

from __future__ import annotations

from typing import Any

from nkipy_nki.dtypes import find_dtype
from nkipy_nki.engines import Engine
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.isa.names import dge_mode, oob_mode
from nkipy_nki.language.tiles import as_number
from nkipy_nki.neuronxcc.nki.faults import fault
from nkipy_nki.neuronxcc.nki.indices import as_mask
from nkipy_nki.neuronxcc.nki.isa.common import (
    dtype_of,
    known_mask,
    like,
    operand,
    predicate_of,
    shaped,
)
from nkipy_nki.neuronxcc.nki.issuing import SBUF, fill, issue, made, require_tile
from nkipy_nki.neuronxcc.nki.moving import accumulated
from nkipy_nki.neuronxcc.nki.state import settle
from nkipy_nki.neuronxcc.nki.tiles import Fresh, Part, Tile, allocate
from nkipy_nki.running import kernel_line, whole_number

__all__ = [
    "dma_copy",
    "dma_transpose",
    "memset",
    "nc_stream_shuffle",
    "tensor_copy",
    "tensor_copy_dynamic_dst",
    "tensor_copy_dynamic_src",
    "tensor_copy_predicated",
]

_UNKNOWN = Engine.unknown
#: The orders of dimensions that a transpose by DMA gives, by their number.
_ORDERS = {2: (1, 0), 3: (2, 1, 0), 4: (3, 1, 2, 0)}


# -- on the chip -----------------------------------------------------------------------
def tensor_copy(
    src: Any, *, mask: Any = None, dtype: Any = None, engine: Engine = _UNKNOWN
) -> Fresh:
    """A copy of a tile, in the SBUF."""
    tile = operand("tensor_copy", "src", src)
    return like("tensor_copy", tile, dtype, {"src": tile}, mask, engine=engine)


def tensor_copy_dynamic_src(
    src: Any, *, mask: Any = None, dtype: Any = None, engine: Engine = _UNKNOWN
) -> Fresh:
    """A copy of elements whose place in each partition only the run knows.

    Args:
        src: a tile that is indexed by a tile of one whole number, beside or instead of
            indices of ``nl.arange``: ``t[i_p, offset[0, k] + i_f]``.
        mask: where it is copied: a rectangle.
        dtype: of the copy; if None, that of `src`.
        engine: what copies.
    """
    tile = _dynamic("tensor_copy_dynamic_src", "src", src)
    told = {"engine": engine, "shifted": True}
    return like("tensor_copy", tile, dtype, {"src": tile}, mask, **told)


def tensor_copy_dynamic_dst(
    *,
    dst: Any,
    src: Any,
    mask: Any = None,
    dtype: Any = None,
    engine: Engine = _UNKNOWN,
) -> None:
    """Copy a tile to where only the run knows, within each partition.

    Args:
        dst: a tile that is indexed as :func:`tensor_copy_dynamic_src` has it.
        src: a tile of its shape, or of one that broadcasts to it.
        mask: where it is copied: a rectangle.
        dtype: what `src` is converted to before that of `dst`; none, if None.
        engine: what copies.
    """
    name = "tensor_copy_dynamic_dst"
    target = _dynamic(name, "dst", dst)
    source = shaped(name, "src", src, target)
    if dtype_of(dtype, source.dtype) != source.dtype:
        source = like("tensor_copy", source, dtype, {"src": source}, None)
        source.settle()
    wanted = None if mask is None else as_mask(mask).broadcast(target.tile_shape)
    outs, ins = {"dst": target}, {"src": source}
    issue("tensor_copy", outs, ins, wanted, engine=engine, shifted=True)


def _dynamic(name: str, which: str, given: Any) -> Part:
    tile = operand(name, which, given)
    if isinstance(tile, Part) and tile.is_shifted:
        return tile
    raise NkiValidationError(
        f"nisa.{name}: {which} is {tile!r}, and must be indexed by a tile of one whole "
        f"number; nisa.tensor_copy copies others\n  at {kernel_line()}"
    )


def tensor_copy_predicated(
    *,
    src: Any,
    dst: Any,
    predicate: Any,
    mask: Any = None,
    reverse_pred: bool = False,
) -> None:
    """Copy elements of `src` to `dst` where a predicate is not 0."""
    name = "tensor_copy_predicated"
    target = operand(name, "dst", dst)
    number = as_number(src)
    source = number if number is not None else shaped(name, "src", src, target)
    ins = {"src": source, "predicate": predicate_of(name, predicate, target)}
    wanted = None if mask is None else as_mask(mask).broadcast(target.tile_shape)
    issue(name, {"dst": target}, ins, wanted, reverse_pred=reverse_pred)


def _sizes(shape: Any) -> tuple[int, ...]:
    given = shape if isinstance(shape, (tuple, list)) else (shape,)
    return tuple(whole_number(n, f"a size of the shape {shape!r}") for n in given)


def memset(
    shape: Any, value: Any, dtype: Any, *, mask: Any = None, engine: Engine = _UNKNOWN
) -> Tile:
    """A new tile in the SBUF of one number."""
    settle()
    element = find_dtype(dtype)
    tile = Tile(allocate(_sizes(shape), element, SBUF))
    fill(tile, value, mask)
    if mask is not None:
        tile.valid = as_mask(mask).broadcast(tuple(tile.tile_shape))
    return tile


def nc_stream_shuffle(
    src: Any, dst: Any, shuffle_mask: Any, *, mask: Any = None
) -> None:
    """Copy partitions of `src` to `dst` in another order within each 32."""
    name = "nc_stream_shuffle"
    outs, ins = {"dst": operand(name, "dst", dst)}, {"src": operand(name, "src", src)}
    if known_mask(name, mask):
        issue(name, outs, ins, shuffle_mask=list(shuffle_mask))


# -- by DMA ----------------------------------------------------------------------------
def dma_copy(
    *,
    dst: Any,
    src: Any,
    mask: Any = None,
    dst_rmw_op: Any = None,
    oob_mode: oob_mode = oob_mode.error,
    dge_mode: dge_mode = dge_mode.unknown,
) -> None:
    """Copy elements by DMA, or add them to what is there.

    Args:
        dst: in HBM or the SBUF.
        src: the same, of its shape.
        mask: where it is copied.
        dst_rmw_op: ``np.add``: what is copied is added, in order where an index names
            an element several times.
        oob_mode: what is done about an index that is out of bounds.
        dge_mode: who makes the descriptors.
    """
    target = require_tile(dst, "nisa.dma_copy: dst")
    source = require_tile(src, "nisa.dma_copy: src")
    shape = tuple(target.tile_shape)
    if tuple(source.tile_shape) != shape:
        raise NkiValidationError(
            f"nisa.dma_copy: src is {source!r} and dst {target!r}\n  at {kernel_line()}"
        )
    wanted = None if mask is None else as_mask(mask).broadcast(shape)
    if dst_rmw_op is not None:
        if oob_mode.name != "error":
            raise NkiValidationError(
                "nisa.dma_copy: dst_rmw_op goes with oob_mode.error only"
                f"\n  at {kernel_line()}"
            )
        accumulated("nisa.dma_copy: dst_rmw_op", target, source, dst_rmw_op, wanted)
        return
    told: dict[str, Any] = {"oob_mode": oob_mode, "dge_mode": dge_mode}
    issue("dma_copy", {"dst": target}, {"src": source}, wanted, **told)


def dma_transpose(
    src: Any,
    *,
    axes: Any = None,
    mask: Any = None,
    dtype: Any = None,
    dge_mode: dge_mode = dge_mode.unknown,
) -> Fresh:
    """A tile in the SBUF with dimensions in another order: the first one is the last.

    Args:
        src: in HBM or the SBUF, of 2, 3 or 4 dimensions.
        axes: (1, 0), (2, 1, 0) or (3, 1, 2, 0), as there are dimensions.
        mask: a truth value that is known.
        dtype: of the tile; if None, that of `src`.
        dge_mode: who makes the descriptors.
    """
    name = "dma_transpose"
    runs = known_mask(name, mask)
    tile = require_tile(src, "nisa.dma_transpose: src")
    if isinstance(tile, Part) and (tile.is_shifted or tile.is_indirect):
        raise fault(
            "indirect_indices_are_not_supported_with_nki_api",
            f"nisa.dma_transpose: src is {tile!r}, which a tile indexes: nl.load it "
            "first",
        )
    order = _ORDERS.get(len(tile.tile_shape))
    if order is None or (axes is not None and tuple(axes) != order):
        raise NkiValidationError(
            f"nisa.dma_transpose: src is {tile!r} and axes {axes}: there are "
            f"{', '.join(map(str, _ORDERS.values()))}\n  at {kernel_line()}"
        )
    shape = tuple(tile.tile_shape[axis] for axis in order)
    element = dtype_of(dtype, tile.dtype)
    told: dict[str, Any] = {"axes": order, "dge_mode": dge_mode}
    return made(name, shape, element, {"src": tile}, runs, inherits=False, **told)
