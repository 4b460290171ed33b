"""Tensors without a kernel, and what views of them show."""

from __future__ import annotations

import numpy as np

from nkipy_nki.dtypes import find_dtype
from nkipy_nki.memory import Storage
from nkipy_nki.program import Allocation, whole
from nkipy_nki.regions import MemoryRegion
from nkipy_nki.tensors import NkiTensor, as_tensor

SBUF, HBM = MemoryRegion.sbuf, MemoryRegion.shared_hbm


def tensor(
    shape: tuple[int, ...], region: MemoryRegion = SBUF, dtype: str = "int32"
) -> NkiTensor:
    made = Allocation(0, region, shape, find_dtype(dtype), "t")
    return as_tensor(whole(made))


def bytes_of(made: NkiTensor) -> np.ndarray:
    """Bytes for a tensor, in which each int32 has another value."""
    nbytes = made.allocation.nbytes
    return np.arange(-(-nbytes // 4), dtype=np.int32).view(np.uint8)[:nbytes]


def shown(view: NkiTensor) -> np.ndarray:
    """What a view without an index at run time shows of its tensor's bytes."""
    return Storage(bytes_of(view), 1, True).elements(view)


def array_of(made: NkiTensor) -> np.ndarray:
    """The same bytes, as NumPy has them."""
    element = made.allocation.dtype.element
    return bytes_of(made).view(element).reshape(made.allocation.shape)
