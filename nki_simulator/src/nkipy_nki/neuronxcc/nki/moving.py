"""Loads, stores, copies, transposes and products."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from nkipy_nki.dtypes import DTYPES, find_dtype
from nkipy_nki.engines import Engine
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.isa.names import matmul_perf_mode
from nkipy_nki.language.names import tile_size
from nkipy_nki.language.tiles import as_number
from nkipy_nki.neuronxcc.nki.faults import fault
from nkipy_nki.neuronxcc.nki.indices import Box, Mask, as_mask
from nkipy_nki.neuronxcc.nki.issuing import (
    PSUM,
    SBUF,
    copied,
    fill,
    fitted,
    in_sbuf,
    issue,
    joined,
    made,
    on_chip,
    promoted,
    require_tile,
)
from nkipy_nki.neuronxcc.nki.lanes import view_of
from nkipy_nki.neuronxcc.nki.state import reducing, settle, state
from nkipy_nki.neuronxcc.nki.tiles import Fresh, Part, Tile, allocate, stretched
from nkipy_nki.operators import find_operation
from nkipy_nki.program import Line
from nkipy_nki.running import current, kernel_line
from nkipy_nki.tensors import NkiTensor

_NO_MODE = matmul_perf_mode.none

__all__ = [
    "atomic_rmw",
    "broadcast_to",
    "copy",
    "expand_dims",
    "load",
    "load_transpose2d",
    "matmul",
    "store",
    "transpose",
    "where",
]


def _source(src: Any, what: str) -> Tile:
    """A part of a tensor in HBM that is to be a tile."""
    tile = require_tile(src, f"{what}: src")
    if tile.buffer.is_on_chip:
        raise fault(
            "unsupported_memory", f"{what}: src is {tile!r}, and must be in HBM"
        )
    if tile.ndim < 2:
        raise fault(
            "failed_to_infer_tile_from_local_tensor",
            f"{what}: src is {tile!r}, and a tile has two dimensions or more",
        )
    return tile


def load(src: Any, *, mask: Any = None, dtype: Any = None) -> Fresh:
    """A tile in the SBUF of what is in HBM.

    Args:
        src: a part of a tensor in HBM, of at most as many rows as there are partitions.
        mask: where it is read; elsewhere the tile has no values.
        dtype: of the tile; if None, that of `src`.
    """
    tile = _source(src, "nl.load")
    _require_partitions(tile.tile_shape[0])
    element = tile.dtype if dtype is None else find_dtype(dtype)
    return made("dma_copy", tuple(tile.tile_shape), element, {"src": tile}, mask)


def _require_partitions(count: int) -> None:
    state("nl.load")
    most = current().chip.partitions
    if count > most:
        raise fault(
            "num_partition_exceed_arch_limit",
            f"a tile of {count} partitions, and there are {most}",
        )


def load_transpose2d(src: Any, *, mask: Any = None, dtype: Any = None) -> Fresh:
    """A tile in the SBUF of what is in HBM, rows and columns exchanged.

    Args:
        src: a part of a tensor in HBM, of two dimensions.
        mask: where it is read, by the dimensions of `src`.
        dtype: of the tile; if None, that of `src`.
    """
    tile = _source(src, "nl.load_transpose2d")
    _require_two_dimensions("nl.load_transpose2d: src", tile)
    if isinstance(tile, Part) and (tile.is_indirect or tile.is_shifted):
        raise fault(
            "indirect_indices_are_not_supported_with_nki_api",
            f"nl.load_transpose2d: src is {tile!r}, which a tile indexes: nl.load it, "
            "and nl.transpose it",
        )
    if mask is not None and not as_mask(mask).broadcast(tuple(tile.shape)).is_full:
        raise fault(
            "unsupported_expression_in_mask",
            "nl.load_transpose2d takes no mask that leaves elements out: load the part "
            "that is meant",
        )
    view = tile.elements
    _require_partitions(view.shape[1])
    turned = NkiTensor(
        view.allocation, view.dtype, view.offset, view.shape[::-1], view.strides[::-1]
    )
    element = tile.dtype if dtype is None else find_dtype(dtype)
    return made("dma_copy", tuple(turned.shape), element, {"src": Tile(turned)})


def store(dst: Any, value: Any, *, mask: Any = None) -> None:
    """Write a tile, or a number, to a part of a tensor in HBM.

    Args:
        dst: the part.
        value: a tile of its shape, or of one that broadcasts to it.
        mask: where it is written.
    """
    target = require_tile(dst, "nl.store: dst")
    if target.buffer.is_on_chip:
        raise fault(
            "unsupported_memory", f"nl.store: dst is {target!r}, and must be in HBM"
        )
    if as_number(value) is not None:
        fill(target, value, mask)
        return
    tile = on_chip(value, "nl.store: value")
    shape = tuple(target.tile_shape)
    if math.prod(tile.tile_shape) > math.prod(shape):
        raise fault(
            "store_dst_shape_smaller_than_other_shape",
            f"nl.store: a tile of shape {list(tile.shape)} is stored to "
            f"{list(target.shape)}",
        )
    source = fitted(in_sbuf(tile), shape)
    wanted = None if mask is None else as_mask(mask).broadcast(shape)
    if isinstance(source, Fresh):
        source.settle()
    settle()
    if wanted is not None and wanted.is_full:
        wanted = None
    issue("dma_copy", {"dst": target}, {"src": source}, wanted)


def atomic_rmw(dst: Any, value: Any, op: Any, *, mask: Any = None) -> None:
    """Add a tile, or a number, to rows of a tensor in HBM: ``dst = op(dst, value)``.

    Args:
        dst: rows that a tile of indices picks. What is added to one row by several
            indices is added in order.
        value: a tile of its shape, or of one that broadcasts to it.
        op: ``np.add``.
        mask: where it is done.
    """
    what = "nl.atomic_rmw"
    target = require_tile(dst, f"{what}: dst")
    if target.buffer.is_on_chip:
        raise fault("unsupported_memory", f"{what}: dst is {target!r}: it is in HBM")
    if not isinstance(target, Part) or not target.is_indirect:
        raise NkiValidationError(
            f"{what}: dst is {target!r}, and must be indexed by a tile of indices"
            f"\n  at {kernel_line()}"
        )
    shape = tuple(target.tile_shape)
    if as_number(value) is not None:
        settle()
        source = Tile(allocate(shape, target.dtype, SBUF))
        fill(source, value)
    else:
        source = fitted(in_sbuf(on_chip(value, f"{what}: value")), shape)
    wanted = None if mask is None else as_mask(mask).broadcast(shape)
    accumulated(what, target, source, op, wanted)


def accumulated(what: str, target: Tile, source: Tile, op: Any, mask: Any) -> None:
    """Add to what is in a tensor, by DMA.

    Raises:
        NkiValidationError: `op` is not add.
    """
    if find_operation(op, "arithmetic").name != "add":
        raise NkiValidationError(
            f"{what}: {op!r} is not supported, and np.add is\n  at {kernel_line()}"
        )
    if isinstance(source, Fresh):
        source.settle()
    with reducing("add"):
        issue(
            "dma_compute",
            {"dst": target},
            {"srcs": [target, source]},
            mask,
            reduce_op="add",
            unique_indices=False,
        )


def copy(src: Any, *, mask: Any = None, dtype: Any = None) -> Fresh:
    """A copy of a tile, in the SBUF."""
    tile = on_chip(src, "nl.copy: src")
    return copied(tile, tile.dtype if dtype is None else find_dtype(dtype), mask)


def broadcast_to(src: Any, *, shape: Any) -> Tile:
    """A tile whose dimensions of one element are repeated; nothing is copied."""
    return stretched(require_tile(src, "nl.broadcast_to: src"), tuple(shape))


def expand_dims(data: Any, axis: Any) -> Tile:
    """A tile with a new dimension of one element, or several; nothing is copied."""
    return require_tile(data, "nl.expand_dims: data").expand_dims(axis)


def where(
    condition: Any, x: Any, y: Any, *, dtype: Any = None, mask: Any = None
) -> Tile:
    """Elements of `x` where a condition is not 0, else those of `y`.

    Args:
        condition: a tile of whole numbers without a sign.
        x: a tile or a number.
        y: the same.
        dtype: of the result; if None, that of `x` and `y`.
        mask: where it is computed.
    """
    chosen = on_chip(condition, "nl.where: condition")
    tiles = [on_chip(v, "nl.where: an operand") for v in (x, y) if as_number(v) is None]
    if dtype is not None:
        element = find_dtype(dtype)
    else:
        element = promoted(*tiles) if tiles else DTYPES["float32"]
    shape = tuple(chosen.tile_shape)
    valid = [tile.valid for tile in (chosen, *tiles) if tile.valid is not None]
    wanted = joined(mask, shape, valid)
    settle()
    if chosen.dtype.name not in ("uint8", "uint16", "uint32"):
        truth = Tile(allocate(shape, DTYPES["uint8"], SBUF))
        ins = {"data": chosen, "operand0": 0.0}
        issue("tensor_scalar", {"dst": truth}, ins, wanted, op0="not_equal")
        chosen = truth
    result, other = (Tile(allocate(shape, element, SBUF)) for _ in range(2))
    for dst, value in ((result, y), (other, x)):
        if as_number(value) is not None:
            fill(dst, value)
        else:
            ins = {"src": stretched(value, shape)}
            issue("tensor_copy", {"dst": dst}, ins, wanted)
    ins = {"src": other, "predicate": chosen}
    issue("tensor_copy_predicated", {"dst": result}, ins, wanted)
    result.valid = wanted
    return result


# -- the tensor engine -----------------------------------------------------------------
def product(
    name: str,
    stationary: Tile,
    moving: Tile,
    mask: Any = None,
    *,
    of_operands: bool = True,
    **options: Any,
) -> Fresh:
    """``stationary.T @ moving``, in the PSUM; ``+=`` there accumulates it.

    Args:
        name: what the kernel calls, for errors.
        stationary: (K, M) in the SBUF.
        moving: (K, N) in the SBUF.
        mask: a truth value that is known, or the first rows and columns of the result;
            its rows may be those that are summed over.
        of_operands: whether that is so: whether the kernel gave both by these rows.
        options: as ``nisa.nc_matmul`` has them.

    Raises:
        NkiValidationError: the operands or the mask do not fit.
    """
    for tile in (stationary, moving):
        if isinstance(tile, Fresh):
            tile.settle()
    if stationary.tile_shape[0] != moving.tile_shape[0]:
        raise fault(
            "num_partition_mismatch",
            f"stationary is {stationary!r} and moving {moving!r}: they must have as "
            "many partitions",
        )
    # In double rows, the first free dimension is the second half of what is summed.
    first = 1 if options.get("perf_mode", _NO_MODE) is _NO_MODE else 2
    shape = math.prod(stationary.tile_shape[first:]), *moving.tile_shape[first:]
    _require_sizes(shape)
    operands = {"stationary": stationary, "moving": moving}
    if mask is not None:
        rows, mask = _split(name, as_mask(mask), operands, shape, of_operands)
        operands = {which: _first_rows(tile, rows) for which, tile in operands.items()}
    # Columns that masks left out have no value, and neither has what is made of them.
    valid = _made_of(shape, *operands.values())
    box = _first(joined(mask, shape, valid), f"{name}: a product")
    if box is not None and len(shape) == 2 and first == 1:
        for (name, tile), columns in zip(operands.items(), box):
            operands[name] = _part(tile, ((0, tile.tile_shape[0]), columns))
    elif box is not None and all(end for _, end in box):
        stationary._refuse("a mask on a product of more than two dimensions")

    def put(dst: Tile, line: Line, accumulate: bool = False) -> None:
        if box is None or all(end for _, end in box):
            outs, told = {"dst": _part(dst, box)}, {"accumulate": accumulate, **options}
            issue("nc_matmul", outs, operands, None, line, **told)

    def add(dst: Tile, line: Line) -> None:
        put(dst, line, True)

    result = Fresh(shape, DTYPES["float32"], PSUM, put, accumulate=add)
    result.valid = None if box is None else Mask(shape, box)
    return result


def _split(
    name: str,
    mask: Mask,
    operands: Mapping[str, Tile],
    shape: tuple[int, ...],
    of_operands: bool,
) -> tuple[int, Mask]:
    """What a mask says of a product: how many rows are summed over, and of its result.

    Args:
        name: what the kernel calls.
        mask: its mask.
        operands: of the product; each has as many rows.
        shape: of the result.
        of_operands: whether rows of the mask may be those of the operands.

    Raises:
        NkiValidationError: the mask fits neither, or cannot be told to be of which.
    """
    count, box = operands["stationary"].tile_shape[0], mask.box
    if mask.is_empty:
        return count, Mask(shape, ((0, 0),) * len(shape))
    if of_operands and box is not None and mask.shape[:1] == (count,) != (1,):
        begin, end = box[0]
        is_of_rows = count != shape[0] or any(
            _has_no_more(tile, end) for tile in operands.values()
        )
        if is_of_rows and len(mask.shape) == len(shape) and not begin:
            count, mask = end, Mask((1, *mask.shape[1:]), ((0, 1), *box[1:]))
        elif (begin, end) != (0, count):
            raise fault("unsupported_expression_in_mask", _WHOSE.format(name, count))
    try:
        return count, mask.broadcast(shape)
    except NkiValidationError:
        sizes = f"({count}, {shape[0]}) and ({count}, {', '.join(map(str, shape[1:]))})"
        raise fault(
            "unsupported_expression_in_mask",
            f"{name}: a mask of shape {list(mask.shape)} fits neither the result "
            f"{list(shape)} nor the rows that operands {sizes} are summed over: give "
            "it parts of the operands instead",
        ) from None


_WHOSE = (
    "{0}: the {1} rows of the mask may be those of the result, or those of the "
    "operands that are summed over, and do not begin at 0 or cannot be told apart: "
    "give parts of the operands, x[0:n] to sum over the first n rows and "
    "stationary[:, 0:n] for the first n rows of the result; or load the operands with "
    "the same mask"
)


def _has_no_more(tile: Tile, rows: int) -> bool:
    """Whether masks left out all rows of a tile but the first ones."""
    valid = tile.valid
    return valid is not None and valid.box is not None and valid.box[0] == (0, rows)


def _first_rows(tile: Tile, rows: int) -> Tile:
    if rows == tile.tile_shape[0]:
        return tile
    others = tuple((0, count) for count in tile.tile_shape[1:])
    part, valid = _part(tile, ((0, rows), *others)), tile.valid
    if valid is not None and valid.box is not None:
        box = ((0, min(rows, valid.box[0][1])), *valid.box[1:])
        part.valid = Mask((rows, *valid.shape[1:]), box)
    return part


def _valid(tile: Tile) -> list[Mask]:
    return [] if tile.valid is None else [tile.valid]


def _made_of(shape: tuple[int, ...], *tiles: Tile) -> list[Mask]:
    """Where a product has values: of columns that masks did not leave out."""
    found = []
    for axis, tile in enumerate(tiles):
        valid = tile.valid
        if valid is None or valid.box is None or len(valid.shape) != 2:
            continue
        if valid.box[0] == (0, valid.shape[0]) and len(shape) == 2:
            whole = [(0, n) for n in shape]
            whole[axis] = valid.box[1]
            found.append(Mask(shape, tuple(whole)))
    return found


def _first(mask: Mask | None, what: str) -> Box | None:
    """The rectangle of a mask, which begins at 0; None without one.

    Raises:
        NkiValidationError: it is no such rectangle.
    """
    if mask is None:
        return None
    if mask.is_empty:
        return ((0, 0),) * len(mask.shape)
    if mask.box is None or any(start for start, _ in mask.box):
        raise fault(
            "unsupported_expression_in_mask",
            f"{what} takes a mask of a rectangle that begins at 0",
        )
    return mask.box


def _part(tile: Tile, box: Box | None) -> Tile:
    """A rectangle of a tile; all of it, if None."""
    found = None if box is None else view_of(tile, box)
    if box is not None and found is None:
        tile._refuse("a mask leaves out elements of indices that no strides describe")
    return tile if found is None else Tile(found)


def _require_sizes(shape: tuple[int, ...]) -> None:
    """The sizes of a product that all targets have."""
    for name, size, most in (
        ("stationary", shape[0], tile_size.gemm_stationary_fmax),
        ("moving", math.prod(shape[1:]), tile_size.gemm_moving_fmax),
    ):
        if size > most:
            raise fault(
                "size_of_dimension_exceed_arch_limit",
                f"{name} has {size} elements in a partition, and may have {most}",
            )


def _require_two_dimensions(what: str, tile: Tile) -> None:
    if len(tile.tile_shape) != 2:
        raise fault(
            "exceed_max_supported_dimension",
            f"{what} is {tile!r}, and must have two dimensions",
        )


def transposed(data: Tile, engine: Engine, dtype: Any, mask: Any) -> Fresh:
    """Rows and columns exchanged: in the PSUM by TensorE, else in the SBUF.

    Args:
        data: a tile; its free dimensions count as one.
        engine: which one does it; the one that it suits, if unknown.
        dtype: of the result: one that is not that of `data` takes a further copy.
        mask: of a rectangle that begins at 0.
    """
    if len(data.tile_shape) > 2:
        data = data.reshape((data.tile_shape[0], math.prod(data.tile_shape[1:])))
    shape = tuple(data.tile_shape)[::-1]
    if engine is Engine.unknown:
        small = max(shape) <= _SQUARES[Engine.vector] and data.buffer is PSUM
        engine = Engine.vector if small else Engine.tensor
    if max(shape) > _SQUARES.get(engine, max(shape)):
        raise fault(
            "size_of_dimension_exceed_arch_limit",
            f"a transpose of {data!r}: {engine.name} has {_SQUARES[engine]} rows and "
            "columns",
        )
    by_tensor = engine is Engine.tensor
    box = _first(joined(mask, shape[::-1], _valid(data)), "a transpose")
    source = in_sbuf(data) if by_tensor else data
    if isinstance(source, Fresh):
        source.settle()
    turned = None if box is None else box[::-1]

    def put(dst: Tile, line: Line) -> None:
        if turned is None or all(end for _, end in turned):
            outs, ins = {"dst": _part(dst, turned)}, {"data": _part(source, box)}
            issue("nc_transpose", outs, ins, None, line, engine=engine)

    result = Fresh(shape, data.dtype, PSUM if by_tensor else SBUF, put)
    result.valid = None if turned is None else Mask(shape, turned)
    element = data.dtype if dtype is None else find_dtype(dtype)
    return result if element == data.dtype else copied(result, element)


#: The most rows and columns that an engine exchanges.
_SQUARES = {Engine.tensor: tile_size.pmax, Engine.vector: 32}


def transpose(x: Any, *, dtype: Any = None, mask: Any = None) -> Fresh:
    """A tile with rows and columns exchanged."""
    tile = on_chip(x, "nl.transpose: x")
    _require_two_dimensions("nl.transpose: x", tile)
    return transposed(tile, Engine.unknown, dtype, mask)


def matmul(x: Any, y: Any, *, transpose_x: bool = False, mask: Any = None) -> Fresh:
    """``x @ y``, in the PSUM.

    Args:
        x: (M, K); with `transpose_x`, (K, M).
        y: (K, N).
        transpose_x: whether `x` is given with the dimension that is summed first.
        mask: a truth value that is known, or the first rows and columns of the result;
            with `transpose_x`, its rows are those of `x` and `y`, which are summed
            over, if only that fits.
    """
    left, right = on_chip(x, "nl.matmul: x"), on_chip(y, "nl.matmul: y")
    if not transpose_x:
        left = in_sbuf(transposed(left, Engine.tensor, None, None))
    operands = in_sbuf(left), in_sbuf(right)
    return product("nl.matmul", *operands, mask, of_operands=transpose_x)
