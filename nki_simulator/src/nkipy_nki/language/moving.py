"""Tiles moved: between memories, into other shapes, and products of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nkipy_nki.checking import operand_of
from nkipy_nki.dtypes import find_dtype
from nkipy_nki.geometry import PARTITIONS
from nkipy_nki.isa.broadcasts import tensor_scalar
from nkipy_nki.isa.dma import dma_copy, dma_transpose
from nkipy_nki.isa.gather import nc_n_gather
from nkipy_nki.isa.matmul import nc_matmul, nc_transpose
from nkipy_nki.isa.movement import memset, tensor_copy, tensor_copy_predicated
from nkipy_nki.language.elementwise import token
from nkipy_nki.language.tiles import (
    UINT8,
    as_number,
    as_tile,
    cast,
    new_tile,
    not_a_tensor,
    promoted,
    refuse,
    report_known_issue,
    result_dtype,
)
from nkipy_nki.operators import OPERATIONS
from nkipy_nki.program import View
from nkipy_nki.regions import MemoryRegion
from nkipy_nki.tensors import NkiTensor, as_tensor, new_tensor

__all__ = [
    "broadcast_to",
    "copy",
    "expand_dims",
    "gather_flattened",
    "load",
    "load_transpose2d",
    "matmul",
    "store",
    "transpose",
    "where",
]


# -- between memories ------------------------------------------------------------------
def load(src: Any, dtype: Any = None) -> NkiTensor:
    """A new tile in the SBUF, with the elements of a tensor in HBM.

    Args:
        src: (P, ...), P at most 128.
        dtype: of the tile; if None, that of `src`.

    Raises:
        NkiValidationError: `src` is not in HBM, or has not the shape of a tile.
    """
    source = _in_hbm(src, "load", "src")
    _require_tile_shape(source, "load")
    made = new_tile(source.shape, result_dtype(dtype, source))
    dma_copy(made, source)
    return made


def load_transpose2d(src: Any, dtype: Any = None) -> NkiTensor:
    """A new tile in the SBUF, with the elements of a tensor in HBM, transposed.

    Args:
        src: (F, P), P at most 128.
        dtype: of the tile; if None, that of `src`.

    Returns:
        (P, F).

    Raises:
        NkiValidationError: `src` is not in HBM, or has not two dimensions.
    """
    source = _in_hbm(src, "load_transpose2d", "src")
    if len(source.shape) != 2:
        raise refuse(
            "load_transpose2d",
            f"src has the shape {list(source.shape)}, and must have two dimensions",
        )
    rows, columns = source.shape
    made = new_tile((columns, rows), source.dtype)
    _require_tile_shape(made, "load_transpose2d")
    dma_transpose(made, source)
    return cast(made, result_dtype(dtype, source))


def store(dst: Any, value: Any) -> None:
    """Copy a tile to a tensor in HBM.

    Args:
        dst: a tensor in HBM, of the shape of `value`.
        value: a tile in the SBUF.

    Raises:
        NkiValidationError: `dst` is not in HBM, `value` not in the SBUF, or their
            shapes differ by more than dimensions of one element.
    """
    into, tile = _in_hbm(dst, "store", "dst"), as_tile(value, "store", "value")
    shapes = [[n for n in v.shape if n != 1] for v in (into, tile)]
    if shapes[0] != shapes[1]:
        raise refuse(
            "store",
            f"dst has the shape {list(into.shape)}, and value {list(tile.shape)}",
        )
    if tile.region is MemoryRegion.psum:
        raise refuse(
            "store", "value is in psum, which DMA does not reach: copy it with nl.copy"
        )
    dma_copy(into, tile)


@token("copy")
def copy(x: Any, dtype: Any = None) -> NkiTensor:
    """A new tile in the SBUF, with the elements of another.

    Args:
        x: a tile.
        dtype: of the new one; if None, that of `x`.

    Raises:
        NkiValidationError: `x` is no tile.
    """
    tile = as_tile(x, "copy")
    made = new_tile(tile.shape, result_dtype(dtype, tile))
    tensor_copy(made, tile)
    return made


def _in_hbm(given: Any, function: str, name: str) -> NkiTensor:
    found = operand_of(given)
    if not isinstance(found, View):
        raise not_a_tensor(function, name, given, "a tensor in HBM")
    if found.region.is_on_chip:
        raise refuse(function, f"{name} is {found.allocation}, and must be in HBM")
    return found if isinstance(found, NkiTensor) else as_tensor(found)


def _require_tile_shape(tensor: NkiTensor, function: str) -> None:
    shape = list(tensor.shape)
    if len(shape) < 2:
        raise refuse(function, f"a tile has two dimensions at least, not {shape}")
    if shape[0] > PARTITIONS:
        text = f"a tile of {shape} has more than {PARTITIONS} partitions"
        raise refuse(function, text)


# -- shapes ----------------------------------------------------------------------------
def expand_dims(x: Any, axis: int) -> NkiTensor:
    """A view of a tile with a new dimension of one element.

    Args:
        x: a tile.
        axis: where the new dimension is.

    Raises:
        NkiValidationError: `x` is no tile, or `axis` would be that of partitions.
    """
    return as_tile(x, "expand_dims").expand_dim(axis)


def broadcast_to(x: Any, shape: Sequence[int], dtype: Any = None) -> NkiTensor:
    """A tile of a shape, with the elements of another as often as it takes.

    The one partition of a tile reaches others by DMA, through HBM.

    Args:
        x: a tile, in each dimension of one element or of as many as `shape`.
        shape: of as many dimensions.
        dtype: of the result; if None, that of `x`.

    Returns:
        A new tile in the SBUF; `x` itself, if it has the shape and the type.

    Raises:
        NkiValidationError: `x` is no tile, or has another rank or shape.
    """
    tile = as_tile(x, "broadcast_to")
    wanted, element = tuple(shape), result_dtype(dtype, tile)
    if len(wanted) != len(tile.shape) or any(
        have not in (1, want) for have, want in zip(tile.shape, wanted)
    ):
        raise refuse(
            "broadcast_to",
            f"x has the shape {list(tile.shape)}, and {list(wanted)} is asked for: "
            "each dimension must be equal, or of one element",
        )
    if tuple(tile.shape) == wanted:
        return cast(tile, element)
    if tile.shape[0] == wanted[0]:
        made = new_tile(wanted, element)
        tensor_copy(made, tile.broadcast_to(wanted))
        return made
    return _to_partitions(cast(tile, element), wanted)


def _to_partitions(tile: NkiTensor, shape: tuple[int, ...]) -> NkiTensor:
    """One partition's elements in each of several."""
    if tile.region is MemoryRegion.psum:
        tile = copy(tile)
    row = new_tensor(tile.shape, tile.dtype, MemoryRegion.private_hbm)
    dma_copy(row, tile)
    made = new_tile(shape, tile.dtype)
    dma_copy(made, row.broadcast_to(shape))
    return made


# -- choices ---------------------------------------------------------------------------
def where(condition: Any, x: Any, y: Any, dtype: Any = None) -> NkiTensor:
    """Elements of `x` where a condition is not 0, and of `y` elsewhere.

    Args:
        condition: a tile.
        x: a tile of its shape, or a number.
        y: a tile of its shape, or a number.
        dtype: of the result; if None, that of `x` and `y`, and that of `condition` if
            both are numbers.

    Returns:
        A new tile in the SBUF.

    Raises:
        NkiValidationError: `condition` is no tile, or the shapes differ.
    """
    tile = as_tile(condition, "where", "condition")
    chosen = _of_shape(x, "x", tile), _of_shape(y, "y", tile)
    tiles = [v for v in chosen if isinstance(v, NkiTensor)]
    element = result_dtype(dtype, *(chosen if tiles else (tile, *chosen)))
    made = new_tile(tile.shape, element)
    first, second = (
        _number_of(v, element) if not isinstance(v, NkiTensor) else v for v in chosen
    )
    (tensor_copy if isinstance(second, NkiTensor) else memset)(made, second)
    if isinstance(first, NkiTensor):
        first = cast(first, element)
    predicate = new_tile(tile.shape, UINT8)
    tensor_scalar(predicate, tile, OPERATIONS["not_equal"], 0.0)
    tensor_copy_predicated(made, first, predicate)
    return made


def _of_shape(given: Any, name: str, like: NkiTensor) -> Any:
    """A number, or a tile of another's shape."""
    number = as_number(given)
    if number is not None:
        return number
    tile = as_tile(given, "where", name)
    if tuple(tile.shape) != tuple(like.shape):
        raise refuse(
            "where",
            f"{name} has the shape {list(tile.shape)}, and condition "
            f"{list(like.shape)}: shapes are not broadcast",
        )
    return tile


def _number_of(number: Any, dtype: Any) -> Any:
    return float(number) if dtype.is_float else number


def gather_flattened(
    data: Any, indices: Any, axis: int = 0, dtype: Any = None
) -> NkiTensor:
    """Elements of each partition, by that partition's indices.

    Args:
        data: a tile, whose free dimensions are counted through as one.
        indices: a tile of uint32, of as many partitions.
        axis: 0: partitions are not left.
        dtype: of the result; if None, that of `data`.

    Returns:
        A new tile in the SBUF, of the shape of `indices`.

    Raises:
        NkiValidationError: one is no tile, `indices` are not uint32, or one is out of
            bounds.
    """
    tile = as_tile(data, "gather_flattened", "data")
    places = as_tile(indices, "gather_flattened", "indices")
    if axis != 0:
        raise refuse("gather_flattened", f"axis is {axis!r}, and must be 0")
    made = new_tile(places.shape, tile.dtype)
    nc_n_gather(made, tile, places)
    return cast(made, result_dtype(dtype, tile))


# -- products --------------------------------------------------------------------------
def transpose(x: Any, dtype: Any = None) -> NkiTensor:
    """A tile with partitions and free elements exchanged, by the tensor engine.

    Args:
        x: (P, F) in the SBUF, at most 128 by 128.
        dtype: of the result; if None, that of `x`.

    Returns:
        A new tile (F, P) in the PSUM.

    Raises:
        NkiValidationError: `x` is none of this.
    """
    tile = as_tile(x, "transpose")
    if len(tile.shape) != 2:
        raise refuse(
            "transpose", f"x has the shape {list(tile.shape)}, and not two dimensions"
        )
    element = find_dtype(dtype) if dtype is not None else tile.dtype
    made = _in_psum((tile.shape[1], tile.shape[0]), tile.dtype)
    nc_transpose(made, tile)
    if element is tile.dtype:
        return made
    other = _in_psum(made.shape, element)
    tensor_copy(other, made)
    return other


def matmul(x: Any, y: Any, transpose_x: bool = False) -> NkiTensor:
    """The product of two matrices, ``x @ y``, by the tensor engine.

    Args:
        x: (M, K) in the SBUF, at most 128 by 128; (K, M) if `transpose_x`.
        y: (K, N) in the SBUF, N at most 512.
        transpose_x: whether `x` is transposed already; if not, it is transposed first,
            which simulators alone do.

    Returns:
        A new tile (M, N) in the PSUM, of the type of `x` and `y` together; which must
        be float32 before gen4.

    Raises:
        NkiValidationError: the operands are none of these.
    """
    left, right = as_tile(x, "matmul"), as_tile(y, "matmul", "y")
    if len(left.shape) != 2 or len(right.shape) != 2:
        raise refuse(
            "matmul",
            f"x has the shape {list(left.shape)} and y {list(right.shape)}: both must "
            "have two dimensions",
        )
    if left.shape[0 if transpose_x else 1] != right.shape[0]:
        turned = "x.T @ y" if transpose_x else "x @ y"
        raise refuse(
            "matmul",
            f"{turned} of the shapes {list(left.shape)} and {list(right.shape)}",
        )
    if not transpose_x:
        report_known_issue(
            "matmul",
            "transpose_x=False is not supported on hardware: give x transposed, and "
            "transpose_x=True",
        )
        left = copy(transpose(left))
    made = _in_psum((left.shape[1], right.shape[1]), promoted(left, right))
    nc_matmul(made, left, right)
    return made


def _in_psum(shape: Any, dtype: Any) -> NkiTensor:
    return new_tensor(shape, dtype, MemoryRegion.psum)
