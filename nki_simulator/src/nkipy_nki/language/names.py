"""Names of memories, and sizes of tiles."""

from __future__ import annotations

from nkipy_nki.regions import MemoryRegion
from nkipy_nki.running import current

__all__ = ["hbm", "private_hbm", "psum", "sbuf", "shared_hbm", "tile_size"]

sbuf = MemoryRegion.sbuf
psum = MemoryRegion.psum
private_hbm = hbm = MemoryRegion.private_hbm
shared_hbm = MemoryRegion.shared_hbm


class _TileSize:
    """The sizes that tiles may have on the target: ``nl.tile_size``."""

    @property
    def pmax(self) -> int:
        """Partitions."""
        return current("nl.tile_size").chip.partitions


tile_size = _TileSize()
