"""Hints about layout and tiling, for backends that take them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TypeVar

from nkipy.core.backend import get_backend

T = TypeVar("T")

MEM_SPACES = ("Hbm", "Psum", "Sbuf", "SharedHbm")


def knob(
    tensor: T,
    *,
    partition_dim: int | None = None,
    mem_space: str | None = None,
    tile_size: Sequence[int] | None = None,
    reduction_tile: Sequence[int] | None = None,
) -> T:
    """Say how `tensor` should be laid out. The HLO backend leaves that to the compiler.

    Args:
        tensor: any array, traced or not.
        partition_dim: the dimension that goes over the partitions of on-chip memory.
        mem_space: "Hbm", "Psum", "Sbuf" or "SharedHbm".
        tile_size: sizes of the tiles that the array is computed in.
        reduction_tile: sizes of the tiles of a reduction.

    Returns:
        `tensor` itself.

    Raises:
        ValueError: there is no such `mem_space`.
    """
    if mem_space is not None and mem_space not in MEM_SPACES:
        raise ValueError(
            f"mem_space must be one of {', '.join(MEM_SPACES)}; received {mem_space!r}"
        )
    if get_backend() == "hlo":
        warnings.warn(
            "knob() is only effective with backend='nkigen'; 'hlo' ignores it",
            UserWarning,
            stacklevel=2,
        )
    return tensor
