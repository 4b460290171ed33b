"""What instructions of the first generation have in common: operands and results."""

from __future__ import annotations

import math
from typing import Any

from nkipy_nki.dtypes import DTypeRecord, find_dtype
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.language.tiles import as_number
from nkipy_nki.neuronxcc.nki.faults import fault
from nkipy_nki.neuronxcc.nki.indices import Mask, as_mask
from nkipy_nki.neuronxcc.nki.issuing import made, on_chip
from nkipy_nki.neuronxcc.nki.tiles import Fresh, Tile, stretched
from nkipy_nki.running import kernel_line

__all__ = [
    "dtype_of",
    "known_mask",
    "like",
    "of_rows",
    "operand",
    "predicate_of",
    "row_mask",
    "shaped",
    "target",
    "vector",
]


def operand(name: str, which: str, given: Any) -> Tile:
    """An operand that must be a tile on the chip.

    Args:
        name: of the instruction.
        which: of its operands.
        given: what it was given.

    Raises:
        NkiValidationError: it is none, or in HBM.
    """
    return on_chip(given, f"nisa.{name}: {which}")


def dtype_of(dtype: Any, default: DTypeRecord) -> DTypeRecord:
    """The element type of a result, of which a kernel may say nothing."""
    return default if dtype is None else find_dtype(dtype)


def like(
    name: str, tile: Tile, dtype: Any, ins: dict[str, Any], mask: Any, **others: Any
) -> Fresh:
    """The result of an instruction that has the shape of an operand.

    Args:
        name: of the instruction.
        tile: that operand.
        dtype: of the result; that of `tile`, if None.
        ins: what is read.
        mask: where it is carried out.
        others: what else the instruction is told, and :func:`issuing.made`.
    """
    shape, element = tuple(tile.tile_shape), dtype_of(dtype, tile.dtype)
    return made(name, shape, element, ins, mask, **others)


def vector(name: str, which: str, given: Any, tile: Tile) -> Any:
    """A number, or a tile ``[P, 1]`` with as many dimensions as another.

    Raises:
        NkiValidationError: it is neither.
    """
    number = as_number(given)
    if number is not None or given is None:
        return number
    column = operand(name, which, given)
    if math.prod(column.tile_shape[1:]) != 1:
        raise NkiValidationError(
            f"nisa.{name}: {which} is {column!r}, and must be a number or a tile [P, 1]"
            f"\n  at {kernel_line()}"
        )
    if len(column.tile_shape) == len(tile.tile_shape):
        return column
    return column.reshape((column.tile_shape[0], *(1,) * (len(tile.tile_shape) - 1)))


def shaped(name: str, which: str, given: Any, tile: Tile) -> Tile:
    """An operand that is a tile of the shape of another, or broadcasts to that."""
    found = operand(name, which, given)
    shape = tuple(tile.tile_shape)
    return found if tuple(found.tile_shape) == shape else stretched(found, shape)


def predicate_of(name: str, given: Any, tile: Tile) -> Tile:
    """A predicate, of the shape of a tile; truth values are read as bytes."""
    found = operand(name, "predicate", given)
    if found.dtype.kind == "bool":
        found = found.view("uint8")
    return shaped(name, "predicate", found, tile)


def target(name: str, given: Any, tile: Tile) -> dict[str, Tile]:
    """The tile ``[P, 1]`` that a reduction is written to, if there is one."""
    if given is None:
        return {}
    found = operand(name, "reduce_res", given)
    if isinstance(found, Fresh):
        found.settle()
    return {"reduce_res": vector(name, "reduce_res", found, tile)}


def of_rows(
    name: str, tile: Tile, columns: int, dtype: Any, mask: Any, which: str = "data"
) -> Fresh:
    """The result of an instruction that gives some numbers for each partition."""
    shape, over = (tile.tile_shape[0], columns), tuple(tile.tile_shape)
    element, rows = dtype_of(dtype, tile.dtype), row_mask(name, mask, tile)
    ins = {which: tile}
    return made(name, shape, element, ins, rows, over=over, inherits=False)


def row_mask(name: str, mask: Any, tile: Tile) -> Mask | None:
    """A mask that is true for the first rows of a tile; None if it is for all.

    Raises:
        NkiValidationError: it is another.
    """
    found = None if mask is None else as_mask(mask).broadcast(tuple(tile.tile_shape))
    if found is None or found.is_full:
        return None
    if found.is_empty or found.is_first_rows:
        return found
    raise fault(
        "unsupported_expression_in_mask",
        f"nisa.{name} takes a mask of the first rows only: give it a part of the tile",
    )


def known_mask(name: str, mask: Any) -> bool:
    """Whether a mask that is true or false as a whole is true.

    Raises:
        NkiValidationError: it is another.
    """
    found = as_mask(True if mask is None else mask)
    if found.is_full or found.is_empty:
        return found.is_full
    raise fault(
        "unsupported_expression_in_mask",
        f"nisa.{name} takes a mask that is true or false as a whole: give it a part of "
        "the tile",
    )
