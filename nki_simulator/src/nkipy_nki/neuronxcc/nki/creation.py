"""New tensors: partitions by ``nl.par_dim``, block dimensions before them."""

from __future__ import annotations

from typing import Any

import numpy as np

from nkipy_nki.dtypes import find_dtype, tensor_dtype
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.neuronxcc.nki.faults import fault
from nkipy_nki.neuronxcc.nki.issuing import constant as known
from nkipy_nki.neuronxcc.nki.issuing import fill, issue, require_tile
from nkipy_nki.neuronxcc.nki.state import settle, state
from nkipy_nki.neuronxcc.nki.tiles import Tile, allocate
from nkipy_nki.regions import MemoryRegion
from nkipy_nki.running import current, kernel_line, whole_number

__all__ = [
    "empty_like",
    "full",
    "ndarray",
    "ones",
    "par_dim",
    "shared_constant",
    "shared_identity_matrix",
    "static_cast",
    "zeros",
    "zeros_like",
]

_SBUF = MemoryRegion.sbuf


class par_dim(int):
    """The number of partitions, in a shape: ``nl.par_dim(128)``."""

    def __new__(cls, count: Any) -> par_dim:
        return super().__new__(cls, whole_number(count, "nl.par_dim: the number"))

    def __repr__(self) -> str:
        return f"nl.par_dim({int(self)})"


def _arranged(shape: Any, region: MemoryRegion) -> tuple[tuple[int, ...], int]:
    """A shape with partitions first, and how many block dimensions it has."""
    try:
        given = tuple(shape)
    except TypeError:
        given = (shape,)
    marked = [i for i, count in enumerate(given) if isinstance(count, par_dim)]
    sizes = tuple(whole_number(n, f"a size of the shape {shape!r}") for n in given)
    if any(count < 1 for count in sizes):
        raise NkiValidationError(f"the shape is {list(sizes)}\n  at {kernel_line()}")
    if len(marked) > 1:
        raise NkiValidationError(
            f"the shape {list(given)} has {len(marked)} dimensions of partitions"
            f"\n  at {kernel_line()}"
        )
    if not region.is_on_chip:
        return sizes, 0
    if len(sizes) < 2:
        raise NkiValidationError(
            f"a tensor on the chip has the shape {list(sizes)}, and must have two "
            f"dimensions or more: give (n, 1)\n  at {kernel_line()}"
        )
    at = marked[0] if marked else 0
    return (sizes[at], *sizes[:at], *sizes[at + 1 :]), at


def ndarray(
    shape: Any,
    dtype: Any,
    *,
    buffer: MemoryRegion | None = None,
    name: str = "",
) -> Tile:
    """A new tensor, which holds nothing yet.

    Args:
        shape: on the chip, the first dimension is that of partitions, or the one that
            ``nl.par_dim`` marks; those before it are block dimensions.
        dtype: the element type.
        buffer: where it lies: the SBUF, unless it is given.
        name: for messages and reports.

    Raises:
        NkiValidationError: there can be no such tensor, or `buffer` is an allocator.
    """
    region = _SBUF if buffer is None else buffer
    if not isinstance(region, MemoryRegion):
        raise fault(
            "unsupported_memory",
            f"buffer is {buffer!r}: nl.sbuf, nl.psum, nl.hbm, nl.private_hbm and "
            "nl.shared_hbm are known; explicit allocation is not supported here",
        )
    settle()
    sizes, blocks = _arranged(shape, region)
    element = tensor_dtype(dtype, sizes)
    if region is MemoryRegion.shared_hbm:
        return Tile(_shared(sizes, element, name))
    return Tile(allocate(sizes, element, region, name), blocks)


def _shared(shape: tuple[int, ...], dtype: Any, name: str) -> Any:
    """A tensor that all programs of a grid have: each makes it in its turn."""
    found = state()
    if found.loops:
        raise fault(
            "shared_hbm_must_in_kernel_level",
            "a tensor in shared_hbm is made in a loop: make it before",
        )
    place, found.place = found.place, found.place + 1
    if place < len(found.shared):
        view = found.shared[place]
        if (tuple(view.shape), view.dtype) == (shape, dtype):
            return view
        raise NkiValidationError(
            f"programs of the grid make different tensors in shared_hbm: {view!r} and "
            f"{list(shape)} {dtype}\n  at {kernel_line()}"
        )
    view = allocate(shape, dtype, MemoryRegion.shared_hbm, name)
    found.shared.append(view)
    return view


def full(
    shape: Any,
    fill_value: Any,
    dtype: Any,
    *,
    buffer: MemoryRegion | None = None,
    name: str = "",
) -> Tile:
    """A new tensor on the chip of one number."""
    if buffer is not None and not getattr(buffer, "is_on_chip", True):
        raise fault(
            "hbm_tensor_with_init_value_not_supported",
            f"a tensor in {buffer!r} is made with values: make it with nl.ndarray, and "
            "nl.store to it",
        )
    made = ndarray(shape, dtype, buffer=buffer, name=name)
    if fill_value == 0:
        clear(made)
    else:
        fill(made, fill_value if made.dtype.is_float else int(fill_value))
    return made


def clear(made: Tile) -> None:
    """Set a new tensor to zeros; in the PSUM, they begin a sum of products."""
    if made.buffer is MemoryRegion.psum:
        issue("clear_psum", {"dst": made}, {})
    else:
        fill(made, 0)


def zeros(
    shape: Any, dtype: Any, *, buffer: MemoryRegion | None = None, name: str = ""
) -> Tile:
    """A new tensor on the chip of zeros."""
    return full(shape, 0, dtype, buffer=buffer, name=name)


def ones(
    shape: Any, dtype: Any, *, buffer: MemoryRegion | None = None, name: str = ""
) -> Tile:
    """A new tensor on the chip of ones."""
    return full(shape, 1, dtype, buffer=buffer, name=name)


def empty_like(
    a: Any, dtype: Any = None, *, buffer: Any = None, name: str = ""
) -> Tile:
    """A new tensor of the shape and dtype of another, which holds nothing yet.

    Args:
        a: the other.
        dtype: the element type; that of `a`, if None.
        buffer: where it lies: the SBUF, unless it is given.
        name: for messages and reports.
    """
    tile = require_tile(a, "nl.empty_like: a")
    at = tile.blocks
    shape = tuple(par_dim(n) if i == at and at else n for i, n in enumerate(tile.shape))
    return ndarray(shape, dtype or tile.dtype, buffer=buffer, name=name)


def zeros_like(
    a: Any, dtype: Any = None, *, buffer: Any = None, name: str = ""
) -> Tile:
    """The same, of zeros."""
    made = empty_like(a, dtype, buffer=buffer, name=name)
    clear(made)
    return made


def static_cast(input_data: Any, dtype: Any) -> np.ndarray:
    """An array that is known, as another element type."""
    return np.asarray(input_data).astype(find_dtype(dtype).element)


def shared_constant(constant: Any, dtype: Any = None) -> Tile:
    """A tensor in HBM of values that are known.

    Args:
        constant: an array.
        dtype: of the tensor; the array's, if None.
    """
    values = np.asarray(constant)
    current("nl.shared_constant")
    settle()
    return Tile(known(values if dtype is None else static_cast(values, dtype)))


def shared_identity_matrix(n: int, dtype: Any = "uint8") -> Tile:
    """A tensor in HBM with ones where both indices are the same."""
    return shared_constant(np.eye(n, dtype=np.float32), dtype)
