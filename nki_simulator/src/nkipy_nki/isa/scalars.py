"""Scalars: whole numbers that are known when the program runs, to compute with."""

from __future__ import annotations

from typing import Any

from nkipy_nki.isa import registers
from nkipy_nki.program import View
from nkipy_nki.registers import BITS, NkiScalar, new_register
from nkipy_nki.running import invalid

__all__ = ["scalar_load", "scalar_store"]


def scalar_load(src: Any) -> NkiScalar:
    """A scalar with the value of a tensor of one element.

    Args:
        src: [1, 1], int32 or int64, in SBUF or HBM.

    Returns:
        A scalar of the dtype of `src`.

    Raises:
        NkiValidationError: `src` is another tensor, or none.
    """
    dtype = str(src.dtype.name) if isinstance(src, View) else "int32"
    made: NkiScalar = new_register(NkiScalar, dtype if dtype in BITS else "int32")
    registers.scalar_load(made, src)
    return made


def scalar_store(dst: Any, value: NkiScalar) -> None:
    """Store a scalar in a tensor of one element.

    Args:
        dst: [1, 1], in SBUF or HBM, of the dtype of `value`.
        value: the scalar.

    Raises:
        NkiValidationError: `dst` is another tensor, or `value` is no scalar.
    """
    if not isinstance(value, NkiScalar):
        raise invalid(
            f"scalar_store: value is {value!r}, and must be an NkiScalar: a number "
            "that is known is set by memset, and a register stored by register_store"
        )
    registers.scalar_store(dst, value)
