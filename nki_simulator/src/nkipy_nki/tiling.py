"""Which rows and columns of the tensor engine a product uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nkipy_nki.geometry import PARTITIONS, QUADRANT
from nkipy_nki.program import Instruction

__all__ = ["TILE_SIZES", "tiling_problem"]

#: How many rows, or columns, a tile may have (page of nc_matmul): the first from trn2
#: on.
TILE_SIZES = (QUADRANT, 2 * QUADRANT, PARTITIONS)


def tiling_problem(
    made: Instruction, used: tuple[int, int], sizes: tuple[Sequence[int], Sequence[int]]
) -> str | None:
    """What is wrong with a product's ``tile_size`` and ``tile_position``.

    Args:
        made: the product.
        used: how many rows and columns its stationary operand takes.
        sizes: how many rows, and how many columns, a tile may have.
    """
    size, position = made.attributes["tile_size"], made.attributes["tile_position"]
    if not size and not position:
        return None
    if not _is_pair(size) or not _is_pair(position):
        return (
            f"tile_size is {size!r} and tile_position {position!r}: give both, each of "
            "rows and columns, or neither"
        )
    for what, length, start, needed, allowed in zip(
        ("row", "column"), size, position, used, sizes
    ):
        if length not in allowed:
            names = ", ".join(map(str, allowed))
            return f"tile_size has {length} {what}s, and may have {names}"
        if start % length or not 0 <= start < PARTITIONS:
            return (
                f"tile_position has the {what} {start}, which must be a multiple of "
                f"{length} below {PARTITIONS}"
            )
        if needed > length:
            return f"stationary has {needed} {what}s, and the tile has {length}"
    return None


def _is_pair(given: Any) -> bool:
    """Whether something is two ints, as of rows and columns."""
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        return False
    return all(isinstance(part, int) for part in given)
