"""Names of memories, sizes of tiles, and the base of kernels' own classes."""

from __future__ import annotations

from typing import Any

from nkipy.chips import Chip
from nkipy_nki.deprecation import warn_deprecated
from nkipy_nki.errors import NkiValidationError
from nkipy_nki.flags import flag
from nkipy_nki.program import View
from nkipy_nki.regions import HBM, ON_CHIP, MemoryRegion
from nkipy_nki.running import current, is_running
from nkipy_nki.targets import target_chip

__all__ = [
    "NKIObject",
    "hbm",
    "is_hbm",
    "is_on_chip",
    "is_psum",
    "is_sbuf",
    "private_hbm",
    "psum",
    "sbuf",
    "shared_hbm",
    "tile_size",
]

sbuf = MemoryRegion.sbuf
psum = MemoryRegion.psum
private_hbm = hbm = MemoryRegion.private_hbm
shared_hbm = MemoryRegion.shared_hbm

#: Set to true, the last bank of the PSUM is kept for transposes, from gen3 on.
TRANSPOSE_VARIABLE = "NKI_DMA_TRANSPOSE_AS_PE_TRANSPOSE"


class NKIObject:
    """A base for classes that hold a kernel's tensors and numbers.

    Args:
        values: become attributes.
    """

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


# -- memories --------------------------------------------------------------------------
def _region(given: Any) -> MemoryRegion:
    """A memory, or that of a tensor or grid."""
    if isinstance(given, View):
        return given.region
    region = getattr(given, "buffer", given)
    if not isinstance(region, MemoryRegion):
        raise NkiValidationError(
            f"{given!r} is neither a memory, such as nl.sbuf, nor a tensor"
        )
    return region


def is_hbm(buffer: Any) -> bool:
    """Whether a memory, or that of a tensor, is HBM."""
    return _region(buffer) in HBM


def is_psum(buffer: Any) -> bool:
    """Whether a memory, or that of a tensor, is the PSUM."""
    return _region(buffer) is MemoryRegion.psum


def is_sbuf(buffer: Any) -> bool:
    """Whether a memory, or that of a tensor, is the SBUF."""
    return _region(buffer) is MemoryRegion.sbuf


def is_on_chip(buffer: Any) -> bool:
    """Whether a memory, or that of a tensor, is the SBUF or the PSUM."""
    return _region(buffer) in ON_CHIP


# -- sizes of tiles --------------------------------------------------------------------
class _TileSize:
    """The sizes that tiles may have: ``nl.tile_size``.

    They are those of the chip that the kernel runs for; outside of one, the target's.
    """

    @property
    def _chip(self) -> Chip:
        return current().chip if is_running() else target_chip()

    @property
    def pmax(self) -> int:
        """Partitions."""
        return self._chip.partitions

    @property
    def psum_bank_fmax(self) -> int:
        """Elements of float32 in a bank of a partition of the PSUM."""
        return self.psum_bank_fmax_bytes // 4

    @property
    def psum_bank_fmax_bytes(self) -> int:
        """Bytes of a bank of a partition of the PSUM."""
        return self._chip.psum_bank_bytes

    @property
    def psum_fmax(self) -> int:
        """`psum_bank_fmax` under an older name."""
        warn_deprecated("nl.tile_size.psum_fmax is deprecated: use psum_bank_fmax")
        return self.psum_bank_fmax

    @property
    def psum_num_banks(self) -> int:
        """Banks of the PSUM that a kernel has."""
        chip = self._chip
        kept = flag(TRANSPOSE_VARIABLE, False)
        return chip.psum_banks - (kept and chip.generation >= 3)

    @property
    def sbuf_size_bytes(self) -> int:
        """Bytes of the SBUF, of all partitions."""
        return self._chip.sbuf_bytes

    @property
    def sbuf_fmax(self) -> int:
        """Elements of float32 in a partition of the SBUF."""
        return self.sbuf_fmax_bytes // 4

    @property
    def sbuf_fmax_bytes(self) -> int:
        """Bytes of a partition of the SBUF."""
        return self._chip.sbuf_partition_bytes

    @property
    def total_available_sbuf_size(self) -> int:
        """Bytes of a partition of the SBUF that a kernel has, for all its name."""
        warn_deprecated("nl.tile_size.total_available_sbuf_size is deprecated")
        return self._chip.sbuf_usable_bytes

    @property
    def gemm_stationary_fmax(self) -> int:
        """Columns of the stationary operand of a product."""
        return self._chip.stationary_columns

    @property
    def gemm_moving_fmax(self) -> int:
        """Columns of the moving operand of a product into a bank of the PSUM.

        From gen4 on a product may be of several banks, which this does not tell.
        """
        return min(self._chip.moving_columns["float32"], self.psum_bank_fmax)

    @property
    def bn_stats_fmax(self) -> int:
        """Elements that ``nisa.bn_stats`` takes."""
        return self._chip.bn_stats_elements

    @property
    def psum_min_align(self) -> int:
        """Bytes whose multiple an address in the PSUM must be: an element's four."""
        return 4

    @property
    def sbuf_min_align(self) -> int:
        """Bytes whose multiple an address in the SBUF must be."""
        return 1


tile_size = _TileSize()
