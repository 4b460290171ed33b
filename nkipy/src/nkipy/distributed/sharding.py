"""Parameters of which each rank has a part."""

from __future__ import annotations

from operator import index
from typing import TYPE_CHECKING

import numpy as np

from nkipy.core.errors import NKIPyAxisError, NKIPyValueError
from nkipy.distributed.processes import world

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def shard(
    array: ArrayLike, axis: int, rank: int | None = None, world_size: int | None = None
) -> np.ndarray:
    """The part of an array that one rank has: the `rank`-th of `world_size` equal ones.

    Args:
        array: the whole, of any shape and dtype; a file that is mapped into memory is
            read where the part is.
        axis: the dimension that is divided.
        rank, world_size: by default this process's, of its job.

    Returns:
        a view of `array`, its size along `axis` divided by `world_size`.

    Raises:
        NKIPyAxisError: there is no such dimension.
        NKIPyValueError: it does not divide, or there is no such rank.
    """
    here = world()
    rank = here.rank if rank is None else index(rank)
    world_size = here.size if world_size is None else index(world_size)
    if not 0 <= rank < world_size:
        raise NKIPyValueError(
            f"rank {rank} is none of {world_size}: ranks go from 0 up"
        )
    whole = np.asanyarray(array)
    if not -whole.ndim <= axis < whole.ndim:
        raise NKIPyAxisError(
            f"axis {axis} is out of bounds for array of dimension {whole.ndim}"
        )
    size, rest = divmod(whole.shape[axis], world_size)
    if rest:
        raise NKIPyValueError(
            f"dimension {axis} of shape {whole.shape} does not divide by {world_size} "
            "ranks; pad it, or shard another one"
        )
    place = [slice(None)] * whole.ndim
    place[axis] = slice(rank * size, (rank + 1) * size)
    return whole[tuple(place)]


def shards(
    array: ArrayLike, axis: int, world_size: int | None = None
) -> list[np.ndarray]:
    """The parts of all ranks, in their order, as :func:`shard` makes them.

    ``PerRank(shards(w, 0, 4))`` is an argument of a kernel that simulates four ranks.

    Raises:
        NKIPyAxisError, NKIPyValueError: as :func:`shard`.
    """
    world_size = world().size if world_size is None else index(world_size)
    return [shard(array, axis, rank, world_size) for rank in range(world_size)]
