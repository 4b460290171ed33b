"""What affine patterns give, element by element."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterator, Mapping

import ml_dtypes
import numpy as np

from nkipy_nki.records import Sample
from tests.support.nki.samples import expects

COMPARISONS = {
    "equal": operator.eq,
    "not_equal": operator.ne,
    "greater": operator.gt,
    "greater_equal": operator.ge,
    "less": operator.lt,
    "less_equal": operator.le,
}


def _element(dtype: str) -> np.dtype:
    return np.dtype(getattr(ml_dtypes, dtype, None) or dtype)


def _stored(value: float, dtype: str) -> np.generic:
    """One number, rounded to an element type."""
    element = _element(dtype)
    if element.kind in "iu":
        limits = np.iinfo(dtype)
        return element.type(min(max(round(value), limits.min), limits.max))
    return element.type(np.float32(value))


def _affine(sample: Sample) -> Iterator[tuple[int, int, int]]:
    """Partition, place, and the expression's value."""
    told, (shape, _) = sample.attributes, sample.operands["dst"]
    ranges = [range(count) for _, count in told["pattern"]]
    for p in range(shape[0]):
        for place, indices in enumerate(itertools.product(*ranges)):
            value = told.get("offset", 0) + p * told.get("channel_multiplier", 0)
            for (step, _), i in zip(told["pattern"], indices):
                value += step * i
            yield p, place, (value + (1 << 31)) % (1 << 32) - (1 << 31)


def _empty(sample: Sample) -> np.ndarray:
    shape, dtype = sample.operands["dst"]
    return np.empty((shape[0], int(np.prod(shape[1:]))), _element(dtype))


@expects("iota")
def _iota(sample: Sample) -> Mapping[str, np.ndarray]:
    shape, dtype = sample.operands["dst"]
    result = _empty(sample)
    for p, place, value in _affine(sample):
        result[p, place] = _stored(value, dtype)
    return {"dst": result.reshape(shape)}


@expects("affine_select")
def _affine_select(sample: Sample) -> Mapping[str, np.ndarray]:
    shape, dtype = sample.operands["dst"]
    tile = sample.operands["on_true_tile"].reshape(shape[0], -1)
    told, result = sample.attributes, _empty(sample)
    holds = COMPARISONS[told.get("cmp_op", "equal")]
    for p, place, value in _affine(sample):
        chosen = float(tile[p, place]) if holds(value, 0) else told["on_false_value"]
        result[p, place] = _stored(chosen, dtype)
    return {"dst": result.reshape(shape)}
