"""Tensors in a program."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from nkipy.hlo.builder import Value
from spike_torch.lowering.dims import Dim, static
from spike_torch.lowering.sizes import Size
from spike_torch.tensors import torch_dtype


@dataclass(frozen=True, eq=False)
class Array:
    """A tensor in a program.

    Attributes:
        value: the instruction that computes it, of the padded shape.
        dims: its dimensions.
    """

    value: Value
    dims: tuple[Dim, ...]

    @property
    def dtype(self) -> torch.dtype:
        return torch_dtype(self.value.dtype)

    @property
    def hlo_dtype(self) -> np.dtype:
        """HLO's element type."""
        return self.value.dtype

    @property
    def ndim(self) -> int:
        return len(self.dims)

    @property
    def sizes(self) -> tuple[Size, ...]:
        """The sizes that count, as torch has them."""
        return tuple(d.size for d in self.dims)

    @property
    def is_padded(self) -> bool:
        return any(d.is_padded for d in self.dims)


def unpadded(value: Value) -> Array:
    """An array all of whose elements count."""
    return Array(value, tuple(static(n) for n in value.shape))
