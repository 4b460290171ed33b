"""What products and transposes give."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nkipy_nki.records import Sample
from tests.support.nki.rounding import elements_of, given_dtype, shape_of
from tests.support.nki.samples import expects


def accumulated(sample: Sample, product: np.ndarray) -> Mapping[str, np.ndarray]:
    """A product as `dst` holds it, which was written before if it is given."""
    before, shape = sample.operands["dst"], shape_of(sample, "dst")
    if isinstance(before, np.ndarray) and sample.attributes["accumulate"] is not False:
        product = product + before.reshape(product.shape)
    return {"dst": elements_of(product.reshape(-1), given_dtype(sample, "dst"), shape)}


@expects("nc_matmul")
def _nc_matmul(sample: Sample) -> Mapping[str, np.ndarray]:
    left, right = (sample.operands[n] for n in ("stationary", "moving"))
    if sample.attributes.get("is_transpose"):
        return _picked(left, right)
    if "perf_mode" in sample.attributes:
        left, right = (
            left.reshape(-1, left.shape[-1]),
            right.reshape(-1, right.shape[-1]),
        )
    left, right = (part.reshape(part.shape[0], -1) for part in (left, right))
    product = np.zeros((left.shape[1], right.shape[1]))
    for i, j in np.ndindex(*product.shape):
        product[i, j] = sum(
            float(a) * float(b) for a, b in zip(left[:, i], right[:, j])
        )
    return accumulated(sample, product)


def _picked(left: np.ndarray, right: np.ndarray) -> Mapping[str, np.ndarray]:
    result = np.zeros((left.shape[1], right.shape[1]), left.dtype)
    for j in range(right.shape[1]):
        (row,) = np.flatnonzero(right[:, j])
        result[:, j] = left[row]
    return {"dst": result}


@expects("nc_transpose", 0)
def _nc_transpose(sample: Sample) -> Mapping[str, np.ndarray]:
    data = sample.operands["data"].reshape(len(sample.operands["data"]), -1)
    result = np.zeros(data.shape[::-1], data.dtype)
    for i, j in np.ndindex(*data.shape):
        result[j, i] = data[i, j]
        if sample.chip == "trn1" and not np.isfinite(data[:, j]).all():
            result[j, i] = _through_a_product(data[:, j], i)
    return {"dst": result}


def _through_a_product(column: np.ndarray, i: int) -> float:
    """An element of a column, times 1, and the others times 0."""
    return sum(
        float(value) * (1.0 if k == i else 0.0) for k, value in enumerate(column)
    )
