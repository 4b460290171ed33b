"""Means and variances of partitions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np

from nkipy.chips import Chip
from nkipy_nki.calls import Call
from nkipy_nki.checking import same_partitions
from nkipy_nki.computing import (
    RESULT,
    TILE,
)
from nkipy_nki.costs import cycles_of_free
from nkipy_nki.declaring import instruction
from nkipy_nki.engines import Engine
from nkipy_nki.operators import OPERATIONS
from nkipy_nki.program import Instruction
from nkipy_nki.records import Rule, Sample
from nkipy_nki.regions import MemoryRegion
from nkipy_nki.sampling import numbers, sample

__all__ = ["bn_aggr", "bn_stats"]

_F32 = np.float32
_PSUM = MemoryRegion.psum


_SUM = OPERATIONS["add"]


def _bn_stats(call: Call) -> None:
    values = call.flat("data")
    parts = [part for k in (0, 1) for part in _statistics(values[:, k::2])]
    call.write("dst", np.stack(parts, axis=1))


def _statistics(values: np.ndarray) -> list[np.ndarray]:
    """Of each row: the count, the mean, and the sum of squared distances from it."""
    count = values.shape[1]
    if not count:
        return [np.zeros(len(values), _F32)] * 3
    mean = _SUM.reduce(values) / _F32(count)
    distances = np.subtract(values, mean[:, None])
    return [
        np.full(len(values), count, _F32),
        mean,
        _SUM.reduce(np.square(distances)),
    ]


def _bn_aggr(call: Call) -> None:
    values = call.flat("data")
    count, mean, squares = (values[:, k::3] for k in range(3))
    total = _SUM.reduce(count)
    common = _SUM.reduce(count * mean) / total
    distances = np.square(mean - common[:, None])
    spread = _SUM.reduce(squares) + _SUM.reduce(count * distances)
    call.write("dst", np.stack([common, spread / total], axis=1))


def _elements(problem: Callable[[int, Chip], str | None], result: int) -> Rule:
    def rule(made: Instruction, chip: Chip) -> str | None:
        count = made.operands["data"].free_size
        if wanted := problem(count, chip):
            return f"data has {count} elements in a partition, and must have {wanted}"
        if made.operands["dst"].free_size != result:
            found = made.operands["dst"].free_size
            return f"dst has {found} elements in a partition, and must have {result}"
        return None

    return rule


def _stats_problem(count: int, chip: Chip) -> str | None:
    most = chip.bn_stats_elements
    return None if 1 <= count <= most else f"1 up to {most}"


def _aggr_problem(count: int, chip: Chip) -> str | None:
    return None if count > 0 and count % 3 == 0 else "a multiple of 3"


def _stats_samples() -> Iterator[Sample]:
    for count in (1, 2, 5, 8):
        data = numbers(_F32, (4, count))
        yield sample({"dst": ((4, 6), "float32"), "data": data}, label=f"of-{count}")
    data = numbers(ml_dtypes.bfloat16, (4, 2, 4))
    yield sample({"dst": ((4, 6), "bfloat16"), "data": data}, label="bfloat16")
    regions = {"dst": _PSUM, "data": _PSUM}
    yield sample(
        {"dst": ((4, 2, 3), "float32"), "data": data}, regions=regions, label="psum"
    )


def _stats_refused() -> Iterator[Sample]:
    data = np.ones((4, 513), _F32)
    yield sample({"dst": ((4, 6), "float32"), "data": data}, message="up to 512")
    yield sample({"dst": ((4, 5), "float32"), "data": data[:, :4]}, message="have 6")
    yield sample(
        {"dst": ((3, 6), "float32"), "data": data[:, :4]}, message="partitions"
    )


@instruction(
    Engine.vector,
    dst=RESULT,
    data=TILE,
    rules=[same_partitions, _elements(_stats_problem, 6)],
    meaning=_bn_stats,
    cost=cycles_of_free("data"),
    samples=_stats_samples,
    refused=_stats_refused,
)
def bn_stats(dst: Any, data: Any, name: str | None = None) -> Instruction:
    """Statistics of each partition, of which :func:`bn_aggr` makes mean and variance.

    Computed in float32.

    Args:
        dst: in each partition, the count, the mean and the variance times the count of
            the elements at even places, then those of the elements at odd ones.
        data: the tile, of up to 512 elements in a partition.
        name: of the instruction.

    Raises:
        NkiValidationError: there are more elements, or `dst` has other than 6.
    """
    raise NotImplementedError


def _aggr_samples() -> Iterator[Sample]:
    one = np.array([[2, 1.5, 3, 3, -1, 2], [1, 4, 0, 0, 0, 0]], _F32)
    yield sample({"dst": ((2, 2), "float32"), "data": one}, label="two")
    yield sample({"dst": ((2, 2), "float32"), "data": one[:, :3]}, label="one")
    more = np.concatenate([one, one[:, ::-1] * 0 + 2], axis=1).reshape(2, 2, 6)
    yield sample({"dst": ((2, 2), "bfloat16"), "data": more}, label="four")


def _aggr_refused() -> Iterator[Sample]:
    data = np.ones((2, 6), _F32)
    yield sample(
        {"dst": ((2, 2), "float32"), "data": data[:, :4]}, message="multiple of 3"
    )
    yield sample({"dst": ((2, 3), "float32"), "data": data}, message="must have 2")


@instruction(
    Engine.vector,
    dst=RESULT,
    data=TILE,
    rules=[same_partitions, _elements(_aggr_problem, 2)],
    meaning=_bn_aggr,
    cost=cycles_of_free("data", 13 / 3),
    samples=_aggr_samples,
    refused=_aggr_refused,
)
def bn_aggr(dst: Any, data: Any, name: str | None = None) -> Instruction:
    """The mean and the variance of what :func:`bn_stats` made statistics of.

    Computed in float32. The variance is that of all elements, divided by their count.

    Args:
        dst: in each partition, the mean and the variance.
        data: counts, means, and variances times the counts, any number of times.
        name: of the instruction.

    Raises:
        NkiValidationError: they are no triples, or `dst` has other than 2 elements.
    """
    raise NotImplementedError
