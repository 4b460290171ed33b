"""What functions of tiles share: their operands, and the types of what they make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nkipy_nki.checking import operand_of, told, way_out
from nkipy_nki.dtypes import DTYPES, DTypeRecord, find_dtype
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.isa.movement import tensor_copy
from nkipy_nki.program import View
from nkipy_nki.regions import MemoryRegion
from nkipy_nki.running import current, invalid, kernel_line
from nkipy_nki.tensors import NkiTensor, as_tensor, new_tensor

__all__ = [
    "FLOAT32",
    "INT32",
    "UINT8",
    "as_number",
    "as_tile",
    "cast",
    "new_tile",
    "not_a_tensor",
    "promote",
    "promoted",
    "refuse",
    "require_same_shape",
    "result_dtype",
]

FLOAT32 = DTYPES["float32"]
INT32 = DTYPES["int32"]
UINT8 = DTYPES["uint8"]


def refuse(function: str, problem: str) -> NkiValidationError:
    """The error that a function raises, with the kernel's line."""
    return invalid(f"nl.{function}: {problem}")


def report_known_issue(function: str, problem: str) -> None:
    """Report a call that fails when it is compiled for a chip.

    Such calls are known issues in the release notes of NKI 0.3.0; no later ones say
    that they are mended. The first generation's documents have no such limits.
    """
    run = current(f"nl.{function}")
    if run.executes is not None and not run.findings.is_first:
        text = f"nl.{function}: {problem}"
        run.findings.report("would-not-compile", text, kernel_line())


def not_a_tensor(
    function: str, name: str, given: Any, wanted: str
) -> NkiValidationError:
    """The error of an operand that must be a tensor; of an array, with the way out.

    Raises:
        NkiValidationError: no kernel is running, which is the error then.
    """
    current(f"nl.{function}")
    text = f"{name} is {told(given)}, and must be {wanted}{way_out(given)}"
    return refuse(function, text)


# -- operands --------------------------------------------------------------------------
def as_tile(given: Any, function: str, name: str = "x") -> NkiTensor:
    """An operand that must be a tile: on the chip.

    Raises:
        NkiValidationError: it is something else.
    """
    found = operand_of(given)
    if not isinstance(found, View):
        raise not_a_tensor(function, name, given, "a tile")
    if not found.region.is_on_chip:
        raise refuse(
            function,
            f"{name} is {found.allocation}, and must be on the chip: take a tile of it "
            "with nl.load, or nisa.dma_copy",
        )
    return found if isinstance(found, NkiTensor) else as_tensor(found)


def as_number(given: Any) -> float | int | None:
    """An operand that is a number; None if it is something else."""
    found = operand_of(given)
    if isinstance(found, (bool, int, float)):
        return int(found) if isinstance(found, bool) else found
    return None


def require_same_shape(function: str, **tiles: NkiTensor) -> None:
    """Tiles must have one shape.

    Raises:
        NkiValidationError: they do not.
    """
    (first, one), *others = tiles.items()
    for name, tile in others:
        if tuple(tile.shape) != tuple(one.shape):
            raise refuse(
                function,
                f"{first} has the shape {list(one.shape)}, and {name} "
                f"{list(tile.shape)}: shapes are not broadcast. nl.broadcast_to makes "
                "a tile of the other shape; nisa.tensor_scalar takes a tile [P, 1]",
            )


# -- results ---------------------------------------------------------------------------
def new_tile(shape: Any, dtype: DTypeRecord) -> NkiTensor:
    """A new tile in the SBUF."""
    return new_tensor(shape, dtype, MemoryRegion.sbuf)


def cast(tile: NkiTensor, dtype: DTypeRecord) -> NkiTensor:
    """A tile with another element type: itself, if it has it."""
    if tile.dtype == dtype:
        return tile
    made = new_tile(tile.shape, dtype)
    tensor_copy(made, tile)
    return made


def result_dtype(dtype: Any, *operands: Any) -> DTypeRecord:
    """The type of a result: the one that is asked for, else that of the operands."""
    return find_dtype(dtype) if dtype is not None else promoted(*operands)


def promoted(*operands: Any) -> DTypeRecord:
    """The type that tiles and numbers have together.

    It is that of the highest precision: a float before a whole number, then that of
    more bits. Two types with as many bits of which neither holds the other have the
    next that holds both; float32 and int32 are the last. A number takes the tiles'
    type, but for a float beside whole numbers, which makes float32.
    """
    dtypes = [o.dtype for o in operands if isinstance(o, View)]
    return promote(dtypes, any(isinstance(o, float) for o in operands))


def promote(dtypes: Sequence[DTypeRecord], fraction: bool = False) -> DTypeRecord:
    """The same, of element types, and of whether a float is beside them."""
    found = dtypes[0]
    for dtype in dtypes[1:]:
        found = _together(found, dtype)
    return FLOAT32 if fraction and not found.is_float else found


def _together(one: DTypeRecord, other: DTypeRecord) -> DTypeRecord:
    if one == other:
        return one
    if one.is_float != other.is_float:
        return one if one.is_float else other
    if one.device_itemsize != other.device_itemsize:
        return max(one, other, key=lambda dtype: dtype.device_itemsize)
    if one.is_float:
        return FLOAT32 if one.device_itemsize > 1 else DTYPES["bfloat16"]
    if "bool_" in (one.name, other.name):
        return other if one.name == "bool_" else one
    both = np.promote_types(one.element, other.element).name
    return DTYPES.get(both, INT32) if both != "int64" else INT32
