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

    def __repr__(self) -> str:
        return f"nl.{self.value}"

    @property
    def is_on_chip(self) -> bool:
        """Whether its first dimension is that of partitions."""
        return self in ON_CHIP


ON_CHIP = frozenset({MemoryRegion.sbuf, MemoryRegion.psum})
HBM = frozenset({MemoryRegion.private_hbm, MemoryRegion.shared_hbm})
