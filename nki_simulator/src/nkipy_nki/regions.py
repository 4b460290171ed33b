"""The memories of a core, and what can reach them."""

from __future__ import annotations

from enum import Enum

__all__ = ["ON_CHIP", "HBM", "MemoryRegion"]


class MemoryRegion(Enum):
    """Where a tensor lies."""

    sbuf = "sbuf"
    psum = "psum"
    #: HBM of one core.
    private_hbm = "private_hbm"
    #: HBM that the cores of a logical core share: arguments and results lie there.
    shared_hbm = "shared_hbm"

    def __init__(self, name: str) -> None:
        #: Whether the first dimension of its tensors is that of partitions.
        self.is_on_chip = name in ("sbuf", "psum")

    #: Members are single objects, and Enum's own hash takes longer than a check.
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"nl.{self.value}"


ON_CHIP = frozenset(region for region in MemoryRegion if region.is_on_chip)
HBM = frozenset(region for region in MemoryRegion if not region.is_on_chip)
