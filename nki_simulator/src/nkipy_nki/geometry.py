"""How the partitions of the memories are grouped, on every generation.

What differs between chips is in their records (:mod:`nkipy.chips`).
"""

from __future__ import annotations

from nkipy.chips import DEFAULT

__all__ = [
    "GPSIMD_PARTITIONS",
    "PARTITIONS",
    "QUADRANT",
    "aligned_starts",
    "start_problem",
]

#: Partitions of the SBUF and of the PSUM, and rows and columns of the tensor engine.
PARTITIONS = DEFAULT.partitions
#: Partitions of a quadrant: tiles begin at one, nc_stream_shuffle stays in one, and the
#: scales of an MX operand are laid out by them (pages of nc_stream_shuffle and
#: nc_matmul_mx; architecture guide of trn1, on start partitions).
QUADRANT = PARTITIONS // 4
#: Partitions of one of the eight cores of the GpSimd engine (pages of local_gather and
#: topk).
GPSIMD_PARTITIONS = PARTITIONS // 8


def aligned_starts(count: int) -> tuple[int, ...]:
    """At which partitions so many may begin: of a quadrant, or of a half."""
    if count > 2 * QUADRANT:
        return (0,)
    return tuple(range(0, PARTITIONS, QUADRANT if count <= QUADRANT else 2 * QUADRANT))


def start_problem(first: int, count: int) -> str | None:
    """What is wrong with so many partitions that begin at the partition `first`."""
    if not first or first in (allowed := aligned_starts(count)):
        return None
    return (
        f"begins at partition {first}, and {count} partitions may begin at "
        f"{', '.join(map(str, allowed))} only"
    )
