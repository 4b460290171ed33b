"""Makes samples of collectives: what each rank gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np

from nkipy_nki.records import Sample
from nkipy_nki.regions import MemoryRegion
from nkipy_nki.sampling import numbers, sample, together

__all__ = ["DTYPES", "GROUPS", "HBM", "PAIR", "given", "of_ranks", "wrong_lists"]

HBM = MemoryRegion.private_hbm
#: Two ranks.
PAIR = ((0, 1),)
_NAMES = ("srcs", "dsts")
#: Groups to try: of two ranks, of four, and of four in two lists.
GROUPS = (PAIR, ((0, 1, 2, 3),), ((0, 2), (3, 1)))
DTYPES = (np.float32, ml_dtypes.bfloat16, np.int32, np.uint8)


def of_ranks(count: int, one: Callable[[int], Sample]) -> Sample:
    """A sample of so many ranks: `one` says what a rank gives."""
    return together([one(rank) for rank in range(count)])


def given(
    rank: int,
    shape: tuple[int, ...],
    received: tuple[int, ...],
    dtype: Any = np.float32,
    **others: Any,
) -> Sample:
    """What a rank sends, and where what it receives goes.

    Args:
        rank: of which the elements are.
        shape: of each tensor that is sent.
        received: of each tensor that is received into.
        dtype: of both.
        others: attributes, fields of :class:`Sample`; how many `tensors` there are,
            one; the `region` that they lie in, ``private_hbm``; the `names` of the
            operands, of which the last is received into.
    """
    count, region = others.pop("tensors", 1), others.pop("region", HBM)
    names = others.pop("names", _NAMES)
    *sources, target = names
    operands: dict[str, Any] = {
        name: [
            numbers(dtype, shape, 10 * rank + 100 * place + number)
            for number in range(count)
        ]
        for place, name in enumerate(sources)
    }
    operands[target] = [(received, dtype)] * count
    return sample(operands, regions=dict.fromkeys(names, region), **others)


def wrong_lists(**attributes: Any) -> Iterator[Sample]:
    """What all collectives refuse."""
    names = _NAMES
    if "replica_group" in attributes:
        for group, message in (
            (((0, 0),), "rank 0 is there twice"),
            ((), "no list of lists"),
            (((0, 5),), "does not take part"),
        ):
            changed = {**attributes, "replica_group": group}
            yield given(0, (4, 6), (4, 6), names=names, **changed, message=message)
    right = given(0, (4, 6), (4, 6), names=names, **attributes)
    on_chip = {**right.regions, names[-1]: MemoryRegion.sbuf}
    yield sample(
        right.operands,
        **attributes,
        regions=on_chip,
        message="all must be in one of them",
    )
    other = {**right.operands, names[-1]: [((4, 6), "int32")]}
    yield sample(
        other, **attributes, regions=right.regions, message="element types differ"
    )
    yield given(
        *(0, (4, 6), (4, 6)),
        names=names,
        **attributes,
        priority=1,
        message="priority is of gen4",
    )
