"""What transfers give."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nkipy_nki.records import Sample
from tests.support.nki.rounding import elements_of, given_dtype, shape_of
from tests.support.nki.samples import expects


@expects("dma_copy", 0)
def _dma_copy(sample: Sample) -> Mapping[str, np.ndarray]:
    src, dtype = sample.operands["src"], given_dtype(sample, "dst")
    shape = shape_of(sample, "dst")
    if dtype == given_dtype(sample, "src"):
        return {"dst": src.reshape(shape)}
    return {"dst": elements_of(src.reshape(-1), dtype, shape)}


@expects("dma_transpose", 0)
def _dma_transpose(sample: Sample) -> Mapping[str, np.ndarray]:
    src, shape = sample.operands["src"], shape_of(sample, "dst")
    result = np.zeros(shape, src.dtype)
    for place in np.ndindex(*src.shape):
        there = list(place)
        there[0], there[-1] = there[-1], there[0]
        if len(there) == 3:
            assert tuple(there) == place[::-1]
        result[tuple(there)] = src[place]
    return {"dst": result}


@expects("dma_compute", 0)
def _dma_compute(sample: Sample) -> Mapping[str, np.ndarray]:
    sums = []
    for parts in zip(*(src.reshape(-1) for src in sample.operands["srcs"])):
        total = np.float32(parts[0])
        for part in parts[1:]:
            total = np.float32(total + np.float32(part))
        sums.append(total)
    shape, dtype = sample.operands["dst"]
    return {"dst": elements_of(sums, dtype, shape)}
