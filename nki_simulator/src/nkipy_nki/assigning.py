"""Assignment to a part of a tensor: the instruction that it stands for."""

from __future__ import annotations

from typing import Any

from nkipy_nki.emitting import emit
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.program import View
from nkipy_nki.records import INSTRUCTIONS
from nkipy_nki.running import kernel_line

__all__ = ["copy_into"]


def copy_into(dst: View, src: Any) -> None:
    """Copy a tensor to a view of one of the same shape, or set the view to a number.

    It emits ``nisa.dma_copy`` if one is in HBM, ``nisa.tensor_copy`` if both are on the
    chip, and ``nisa.memset`` for a number. The instructions are found by their records,
    so that tensors need not import what is made of them.

    Raises:
        NkiValidationError: the shapes differ, or the instruction does not allow it.
    """
    if not isinstance(src, View):
        _issue("memset", dst=dst, value=src)
        return
    if _essential(dst.shape) != _essential(src.shape):
        raise NkiValidationError(
            f"a tensor of shape {list(src.shape)} is assigned to one of shape "
            f"{list(dst.shape)}\n  at {kernel_line()}"
        )
    on_chip = dst.region.is_on_chip and src.region.is_on_chip
    _issue("tensor_copy" if on_chip else "dma_copy", dst=dst, src=src)


def _essential(shape: tuple[int, ...]) -> list[int]:
    """A shape without dimensions of one element."""
    return [count for count in shape if count != 1]


def _issue(name: str, **given: Any) -> None:
    """Emit an instruction, by its name, with what its signature leaves out."""
    record = INSTRUCTIONS[name]
    bound = record.signature.bind(**given)
    bound.apply_defaults()
    operands = {n: v for n, v in bound.arguments.items() if n in record.operands}
    attributes = {
        n: v
        for n, v in bound.arguments.items()
        if n not in record.operands and n != "name"
    }
    emit(record, operands, attributes, None)
