"""New tensors."""

from __future__ import annotations

from typing import Any

from nkipy_nki.regions import MemoryRegion
from nkipy_nki.tensors import NkiTensor, new_tensor

__all__ = ["ndarray"]


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
        NkiValidationError: there can be no such tensor, or no kernel is running.
    """
    return new_tensor(shape, dtype, buffer, name, address)
