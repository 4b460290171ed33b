"""New tensors: empty, filled, random, and with what is known beforehand."""

from __future__ import annotations

import errno
import os
import stat
from typing import Any

import numpy as np

from nkipy_nki.arguments import as_numpy
from nkipy_nki.dtypes import find_dtype
from nkipy_nki.geometry import PARTITIONS
from nkipy_nki.isa.affine import affine_select
from nkipy_nki.isa.broadcasts import tensor_scalar
from nkipy_nki.isa.dma import dma_copy
from nkipy_nki.isa.movement import memset, tensor_copy
from nkipy_nki.isa.random import rand2, rng, set_rng_seed
from nkipy_nki.language.tiles import (
    FLOAT32,
    as_tile,
    new_tile,
    not_a_tensor,
    refuse,
)
from nkipy_nki.operators import OPERATIONS
from nkipy_nki.program import View, whole
from nkipy_nki.regions import MemoryRegion
from nkipy_nki.running import current, kernel_line
from nkipy_nki.tensors import NkiTensor, as_tensor, new_tensor

__all__ = [
    "empty_like",
    "full",
    "ndarray",
    "ones",
    "rand",
    "random_seed",
    "shared_constant",
    "shared_identity_matrix",
    "zeros",
    "zeros_like",
]


def ndarray(
    shape: Any,
    dtype: Any,
    buffer: MemoryRegion = MemoryRegion.sbuf,
    name: str = "",
    address: tuple[int, int] | None = None,
) -> NkiTensor:
    """A new tensor, which holds nothing yet.

    Args:
        shape: on the chip, the first dimension is that of partitions.
        dtype: the element type.
        buffer: where it lies.
        name: for messages and reports.
        address: on the chip, the partition and the byte in it where it begins.

    Raises:
        NkiValidationError: there can be no such tensor: it has no elements, or does not
            fit the memory; or no kernel is running.
    """
    return new_tensor(shape, dtype, buffer, name, address)


# -- filled ----------------------------------------------------------------------------
#: The most elements of the tile that a tensor in HBM is filled from.
_ROW = 16384


def full(
    shape: Any,
    fill_value: Any,
    dtype: Any,
    buffer: MemoryRegion = MemoryRegion.sbuf,
    name: str = "",
) -> NkiTensor:
    """A new tensor whose elements are a number.

    In HBM, the number is written by DMA.

    Args:
        shape: on the chip, the first dimension is that of partitions.
        fill_value: an int for whole numbers.
        dtype: the element type.
        buffer: where it lies.
        name: for messages and reports.

    Raises:
        NkiValidationError: there can be no such tensor, or the number does not fit it.
    """
    made = new_tensor(shape, dtype, buffer, name)
    if isinstance(fill_value, str) or not hasattr(fill_value, "__float__"):
        raise refuse("full", f"fill_value is {fill_value!r}, and must be a number")
    value = float(fill_value) if made.dtype.is_float else fill_value
    if buffer.is_on_chip:
        memset(made, value)
        return made
    width = made.shape[-1]
    times = made.size // width
    row = new_tile((1, min(width, _ROW)), made.dtype)
    memset(row, value)
    for start in range(0, width, _ROW):
        stop = min(start + _ROW, width)
        part = row[:, : stop - start]
        whole = made if width <= _ROW else made[..., start:stop]
        dma_copy(whole, part.expand_dim(1).broadcast(1, times))
    return made


def zeros(
    shape: Any, dtype: Any, buffer: MemoryRegion = MemoryRegion.sbuf, name: str = ""
) -> NkiTensor:
    """A new tensor of zeros: see :func:`full`."""
    return full(shape, 0, dtype, buffer, name)


def ones(
    shape: Any, dtype: Any, buffer: MemoryRegion = MemoryRegion.sbuf, name: str = ""
) -> NkiTensor:
    """A new tensor of ones: see :func:`full`."""
    return full(shape, 1, dtype, buffer, name)


def zeros_like(
    x: Any, dtype: Any = None, buffer: MemoryRegion | None = None, name: str = ""
) -> NkiTensor:
    """A new tensor of zeros, of the shape of another: see :func:`empty_like`."""
    like = _tensor(x, "zeros_like")
    return zeros(like.shape, dtype or like.dtype, buffer or MemoryRegion.sbuf, name)


def empty_like(
    x: Any, dtype: Any = None, buffer: MemoryRegion | None = None, name: str = ""
) -> NkiTensor:
    """A new tensor of the shape of another, which holds nothing yet.

    Args:
        x: the other.
        dtype: if None, that of `x`.
        buffer: if None, the SBUF.
        name: for messages and reports.

    Raises:
        NkiValidationError: `x` is no tensor, or there can be no such tensor.
    """
    like = _tensor(x, "empty_like")
    return ndarray(like.shape, dtype or like.dtype, buffer or MemoryRegion.sbuf, name)


def _tensor(given: Any, function: str) -> View:
    if not isinstance(given, View):
        raise not_a_tensor(function, "x", given, "a tensor")
    return given


# -- random ----------------------------------------------------------------------------
def rand(
    shape: Any, dtype: Any, buffer: MemoryRegion = MemoryRegion.sbuf, name: str = ""
) -> NkiTensor:
    """A new tensor of random numbers, evenly spread between 0 and 1.

    They are multiples of 2^-24 below 1, rounded to `dtype`.

    Args:
        shape: that of a tile.
        dtype: the element type.
        buffer: where it lies.
        name: for messages and reports.

    Raises:
        NkiValidationError: there can be no such tensor.
    """
    made = new_tensor(shape, dtype, buffer, name)
    tile = made
    if buffer is not MemoryRegion.sbuf:
        tile = new_tile(made.shape, made.dtype)
    if current("nl.rand").chip.generation >= 4:
        rand2(tile, 0.0, 1.0)
    else:
        _from_bits(tile)
    if buffer is MemoryRegion.psum:
        tensor_copy(made, tile)
    elif tile is not made:
        dma_copy(made, tile)
    return made


def _from_bits(tile: NkiTensor) -> None:
    """Fill a tile with random bits, the upper 24 of 32 as a fraction."""
    bits = new_tile(tile.shape, find_dtype("uint32"))
    rng(bits)
    tensor_scalar(bits, bits, OPERATIONS["right_shift"], 8)
    tensor_scalar(tile, bits, OPERATIONS["multiply"], 2.0**-24)


def random_seed(seed: Any) -> None:
    """Set what :func:`rand` begins with: the same numbers follow the same seed.

    Args:
        seed: a tile [1, 1] of 32 bits.

    Raises:
        NkiValidationError: `seed` is none.
    """
    set_rng_seed(as_tile(seed, "random_seed", "seed"))


# -- known beforehand ------------------------------------------------------------------
def shared_constant(constant: Any) -> NkiTensor:
    """A tensor in shared HBM with values that are known when the kernel is made.

    Args:
        constant: an array, or the path of a ``.npy`` file.

    Raises:
        NkiValidationError: its type is none of the language's, it has no elements or no
            dimension, or the file cannot be read.
    """
    if isinstance(constant, (str, os.PathLike)):
        constant = _load(constant)
    run = current("nl.shared_constant")
    array = np.array(as_numpy(constant, "constant"), order="C")
    if not array.ndim or not array.size:
        raise refuse(
            "shared_constant",
            f"constant has the shape {list(array.shape)}: it must have elements, in "
            "one dimension or more",
        )
    made = run.allocate(
        region=MemoryRegion.shared_hbm,
        shape=array.shape,
        dtype=find_dtype(array.dtype),
        line=kernel_line(),
        role="constant",
    )
    stored = array.view(made.dtype.element)
    run.program.constants[made.id] = stored
    if run.machine is not None:
        run.machine.memory.share(made, stored.copy())
    return as_tensor(whole(made))


def _load(path: str | os.PathLike[str]) -> Any:
    """What a file holds. Opening a named pipe does not wait for who writes to it."""
    with open(path, "rb", opener=_open_at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "is no regular file", os.fspath(path))
        return np.load(file, allow_pickle=False)


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def shared_identity_matrix(n: int, dtype: Any = "uint8", dst: Any = None) -> NkiTensor:
    """A matrix with ones on its diagonal, and zeros elsewhere, in the SBUF.

    Args:
        n: rows and columns, at most 128.
        dtype: the element type.
        dst: a tile (n, n) of this type to write it to; if None, a new one.

    Raises:
        NkiValidationError: `n` is out of bounds, or `dst` another tile.
    """
    if not isinstance(n, int) or not 1 <= n <= PARTITIONS:
        raise refuse(
            "shared_identity_matrix", f"n is {n!r}, and must be 1 to {PARTITIONS}"
        )
    element = find_dtype(dtype)
    made = new_tile((n, n), element) if dst is None else as_tile(dst, "dst")
    if tuple(made.shape) != (n, n) or made.dtype != element:
        raise refuse(
            "shared_identity_matrix",
            f"dst is {list(made.shape)} {made.dtype}, and must be {[n, n]} {element}",
        )
    diagonal = new_tile((n, n), FLOAT32)
    memset(diagonal, 1.0)
    affine_select(diagonal, [[-1, n]], 1, diagonal, 0.0, OPERATIONS["equal"])
    tensor_copy(made, diagonal)
    return made
