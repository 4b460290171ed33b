"""What gathers give, index by index."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nkipy_nki.records import Sample
from tests.support.nki.samples import expects


@expects("nc_n_gather")
def _nc_n_gather(sample: Sample) -> Mapping[str, np.ndarray]:
    data, indices = sample.operands["data"], sample.operands["indices"]
    shape, _ = sample.operands["dst"]
    result = np.empty(shape, data.dtype)
    for p in range(shape[0]):
        row = data[p].reshape(-1)
        for i, index in enumerate(indices[p].reshape(-1)):
            result[p].reshape(-1)[i] = row[index]
    return {"dst": result}


@expects("local_gather")
def _local_gather(sample: Sample) -> Mapping[str, np.ndarray]:
    src, index = sample.operands["src_buffer"], sample.operands["index"]
    shape, _ = sample.operands["dst"]
    result = np.empty(shape, src.dtype)
    per_index = sample.attributes.get("num_elem_per_idx", 1)
    count = sample.attributes.get("num_valid_indices", index.shape[1] * 16)
    for p in range(shape[0]):
        row, first = src[p].reshape(-1), p // 16 * 16
        for i in range(count):
            start = int(index[first + i % 16, i // 16])
            for e in range(per_index):
                result[p].reshape(-1)[i * per_index + e] = row[start + e]
    return {"dst": result}
