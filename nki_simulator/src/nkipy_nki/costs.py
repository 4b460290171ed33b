"""Cycles of an instruction by the number of its elements, for records.

The formulas are those that the documentation gave with each instruction up to SDK 2.26.
N is the number of elements in a partition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nkipy.chips import Chip
from nkipy_nki.dtypes import DTypeRecord
from nkipy_nki.program import Instruction, View
from nkipy_nki.records import Cost
from nkipy_nki.regions import MemoryRegion

__all__ = [
    "DYNAMIC_INTERVAL",
    "GPSIMD_START",
    "INTERVAL",
    "cycles",
    "cycles_of_free",
    "elements_per_cycle",
    "vector_elements_per_cycle",
]

#: Cycles between the starts of two small instructions (MIN_II, pages of nki.isa).
INTERVAL = 64.0
#: The same of copies whose address only the run knows (MIN_II_DYNAMIC, roughly 600,
#: pages of tensor_copy_dynamic_src and tensor_copy_dynamic_dst).
DYNAMIC_INTERVAL = 600.0
#: Cycles of a GpSimd instruction before its elements (pages of iota, affine_select and
#: local_gather: 150 + N).
GPSIMD_START = 150.0


def cycles(elements: float) -> float:
    """Cycles of an instruction that takes one for each element."""
    return max(INTERVAL, elements)


def cycles_of_free(operand: str, factor: float = 1.0, more: float = 0.0) -> Cost:
    """``max(64, factor * N) + more``, with N that of an operand."""

    def cost(made: Instruction, chip: Chip) -> float:
        return cycles(factor * made.operands[operand].free_size) + more

    return cost


def elements_per_cycle(engine: str, tiles: Sequence[View], chip: Chip) -> float:
    """How many elements of a partition an engine's data path takes.

    Of types that the record does not name it is one, which the formulas are of.
    """
    rates = chip.elements_per_cycle[engine]
    return min(_rate(tile.dtype, rates, chip) for tile in tiles)


def _rate(dtype: DTypeRecord, rates: Mapping[str, int], chip: Chip) -> float:
    is_fp8 = dtype.is_float and dtype.device_itemsize == 1
    name = "float8" if is_fp8 else str(dtype.name)
    return rates[name] / chip.partitions if name in rates else 1.0


def vector_elements_per_cycle(tiles: Sequence[View], chip: Chip) -> float:
    """How many the vector engine takes of tiles that it copies, or scales.

    The architecture guide of trn2, on the engine's performance mode: all that the data
    path has for their types, if all tiles are in the SBUF and the elements of the
    innermost dimension lie side by side; half of it if they do not, or if they do and
    one of two tiles is in the PSUM.
    """
    full = elements_per_cycle("vector", tiles, chip)
    in_psum = sum(tile.region is MemoryRegion.psum for tile in tiles)
    contiguous = all(_is_contiguous(tile) for tile in tiles)
    if in_psum == 0 and contiguous:
        return full
    return max(1.0, full / 2) if in_psum + (not contiguous) == 1 else 1.0


def _is_contiguous(tile: View) -> bool:
    """Whether the elements of the innermost dimension lie side by side."""
    return tile.shape[-1] == 1 or tile.strides[-1] == 1
