"""Which elements an instruction is to access: by strides, or by their positions."""

from __future__ import annotations

from typing import Any

import numpy as np

from nkipy_nki.neuronxcc.nki.faults import fault
from nkipy_nki.neuronxcc.nki.indices import Box, Grid, Mask
from nkipy_nki.neuronxcc.nki.tiles import Part, Tile, beyond, strides_of
from nkipy_nki.positions import element_offsets
from nkipy_nki.tensors import NkiTensor

__all__ = ["box_for", "positions_of", "view_of", "where_for"]


def box_for(box: Box, shape: tuple[int, ...], of: tuple[int, ...]) -> Box:
    """A rectangle for an operand, which has one element where it is broadcast.

    Args:
        box: the rectangle.
        shape: the operand's.
        of: the shape that the rectangle is of. If it is of whole rows, the operand may
            have any number of elements in a row.
    """
    if all(b == (0, n) for b, n in zip(box[1:], of[1:])):
        first = (0, 1) if shape[0] == 1 else box[0]
        return (first, *((0, n) for n in shape[1:]))
    return tuple((0, 1) if n == 1 else b for b, n in zip(box, shape))


def where_for(mask: Mask, shape: tuple[int, ...]) -> np.ndarray:
    """A mask's truth values for an operand: any of those that an element stands for."""
    values = np.broadcast_to(mask.values, mask.shape)
    axes = tuple(
        a for a, (n, m) in enumerate(zip(shape, mask.shape)) if n == 1 and m > 1
    )
    return np.asarray(values.any(axis=axes, keepdims=True) if axes else values)


# -- by strides ------------------------------------------------------------------------
def view_of(tile: Tile, box: Box | None = None) -> NkiTensor | None:
    """The elements in a rectangle of a tile; None if no strides describe them.

    Raises:
        NkiValidationError: one is out of bounds.
    """
    if isinstance(tile, Part):
        return tile.view_in(box)
    view = tile.elements
    if box is None:
        return view
    offset = view.offset + sum(s * b[0] for s, b in zip(view.strides, box))
    shape = tuple(stop - start for start, stop in box)
    return NkiTensor(
        view.allocation, view.dtype, offset, shape, view.strides, view.dynamic
    )


# -- by positions ----------------------------------------------------------------------
def positions_of(tile: Tile, where: np.ndarray | None) -> np.ndarray:
    """Where each element of a tile lies in its tensor; -1 where `where` is false.

    Raises:
        NkiValidationError: one is out of bounds.
    """
    shape = tuple(tile.tile_shape)
    if not isinstance(tile, Part):
        places = element_offsets(tile.elements)
    else:
        places = _positions_of_part(tile, where)
    made = np.broadcast_to(places, shape)
    return made if where is None else np.where(where, made, -1)


def _positions_of_part(part: Part, where: np.ndarray | None) -> np.ndarray:
    shape = tuple(part.tile_shape)
    places: Any = part.whole.elements.offset
    for axis, (index, step) in enumerate(zip(part.parts, strides_of(part.whole))):
        if isinstance(index, int):
            places = places + part.within(axis, index) * step
            continue
        if not isinstance(index, Grid) or index.shift is not None:
            raise fault(
                "indirect_indices_are_not_supported_with_nki_api",
                "a tile of indices goes with indices that are affine, and with masks "
                "that are rectangles",
            )
        values = np.broadcast_to(index.broadcast(shape).values, shape)
        meant = values if where is None else values[where]
        extent = part.whole.shape[axis]
        wrong = meant[(meant < 0) | (meant >= extent)]
        if wrong.size:
            beyond(part.whole, axis, int(wrong[0]))
        places = places + values * step
    return np.asarray(places)
