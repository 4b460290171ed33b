"""Tensors as a kernel has them: views, and what makes views of views."""

from __future__ import annotations

from typing import Any

from nkipy_nki.dtypes import find_dtype
from nkipy_nki.program import View, whole
from nkipy_nki.regions import MemoryRegion
from nkipy_nki.running import current, kernel_line

__all__ = ["NkiTensor", "new_tensor"]


class NkiTensor(View):
    """A tensor, or a view of one: nothing is copied."""

    __slots__ = ()


def as_tensor(view: View) -> NkiTensor:
    """A view as a kernel has it."""
    return NkiTensor(
        view.allocation, view.dtype, view.offset, view.shape, view.strides, view.dynamic
    )


def new_tensor(
    shape: Any, dtype: Any, region: MemoryRegion, name: str = "", address: Any = None
) -> NkiTensor:
    """A new tensor of the current run."""
    made = current("nl.ndarray").allocate(
        region=region,
        shape=tuple(shape),
        dtype=find_dtype(dtype),
        name=name,
        line=kernel_line(),
        address=address,
    )
    return as_tensor(whole(made))
