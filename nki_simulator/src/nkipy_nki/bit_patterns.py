"""Whole numbers as bit patterns, which operations of bits take and give."""

from __future__ import annotations

from typing import Any

import numpy as np

from nkipy.chips import Chip
from nkipy_nki.calls import Call
from nkipy_nki.operators import OPERATIONS, as_bits
from nkipy_nki.program import Instruction, View
from nkipy_nki.records import Rule

__all__ = ["bit_number", "bits_of", "store_bits", "whole_numbers"]

_WHOLE = frozenset({"int8", "int16", "int32", "uint8", "uint16", "uint32"})


def bits_of(elements: np.ndarray) -> np.ndarray:
    """Whole numbers as bit patterns."""
    return elements.view(f"u{elements.dtype.itemsize}")


def store_bits(call: Call, bits: np.ndarray) -> None:
    """Store bit patterns; of a destination of other width, the lower bits."""
    dst = call.operands["dst"]
    call.store("dst", bits.astype(f"u{dst.dtype.itemsize}").view(dst.dtype.element))


def bit_number(call: Call, name: str, like: np.ndarray) -> Any:
    """A number, or one for each partition, as bits of an array's dtype."""
    operand = call.operands[name]
    if isinstance(operand, View):
        bits = bits_of(call.raw(name)).astype(like.dtype)
        return bits.reshape(-1, *(1,) * (like.ndim - 1))
    return as_bits(int(operand), like.dtype)


def whole_numbers(operation: str, *tiles: str) -> Rule:
    """Tiles, and numbers beside them, are whole if an operation is of bits."""

    def rule(made: Instruction, chip: Chip) -> str | None:
        if not OPERATIONS[made.attributes[operation]].is_bitvec:
            return None
        for name in tiles:
            operand = made.operands[name]
            if isinstance(operand, View) and operand.dtype.name not in _WHOLE:
                kind = operand.dtype.name
                return f"{name} is {kind}, and operations of bits take whole numbers"
            if isinstance(operand, float) and not operand.is_integer():
                return f"{name} is {operand}, and operations of bits take whole numbers"
        return None

    return rule
