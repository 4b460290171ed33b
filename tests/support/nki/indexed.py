"""What copies by lists of positions give."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nkipy_nki.records import Sample
from tests.support.nki.rounding import elements_of, given_dtype, shape_of
from tests.support.nki.samples import expects


@expects("indexed_copy", 0)
def _indexed_copy(sample: Sample) -> Mapping[str, np.ndarray]:
    src, given = sample.operands["src"].reshape(-1), sample.operands["dst"]
    if "where" in sample.operands:
        return _where(sample)
    taken = sample.operands.get("src_at", np.arange(src.size)).reshape(-1)
    fill = sample.attributes.get("fill", 0.0)
    values = [src[i] if i >= 0 else np.float32(fill) for i in taken]
    shape, dtype = shape_of(sample, "dst"), given_dtype(sample, "dst")
    if isinstance(given, tuple):
        return {"dst": elements_of(values, dtype, shape)}
    result = given.reshape(-1).copy()
    for value, place in zip(values, sample.operands["dst_at"].reshape(-1)):
        if place >= 0:
            result[place] = value
    return {"dst": result.reshape(shape)}


def _where(sample: Sample) -> Mapping[str, np.ndarray]:
    src, given = sample.operands["src"].reshape(-1), sample.operands["dst"]
    where = sample.operands["where"].reshape(-1)
    shape, dtype = shape_of(sample, "dst"), given_dtype(sample, "dst")
    other = sample.attributes.get("fill")
    before = [other] * src.size if other is not None else list(given.reshape(-1))
    values = [src[i] if where[i] else before[i] for i in range(src.size)]
    return {"dst": elements_of(values, dtype, shape)}
