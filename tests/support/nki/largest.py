"""The largest elements of sequences, one after the other."""

from __future__ import annotations

from collections.abc import Mapping

import ml_dtypes
import numpy as np

from nkipy_nki.records import Sample
from tests.support.nki.samples import expects

ALL_ONES = {"uint32": 0xFFFFFFFF, "uint16": 0xFFFF}


@expects("topk")
def _topk(sample: Sample) -> Mapping[str, np.ndarray]:
    src, told = sample.operands["src"], sample.attributes
    (partitions, k), _ = sample.operands["val_dst"]
    values = np.zeros((partitions, k), ml_dtypes.bfloat16)
    indices = np.zeros((partitions, k), np.uint32)
    for first in range(0, partitions, 16):
        snake = [float(src[first + i % 16, i // 16]) for i in range(told["n"])]
        best = sorted(range(told["n"]), key=lambda i: (-snake[i], i))[:k]
        if not told.get("sorted", False):
            best.reverse()
        for slot in range((k + 15) // 16 * 16):
            at = first + slot % 16, slot // 16
            values[at] = snake[best[slot]] if slot < k else np.nan
            indices[at] = best[slot] if slot < k else 0xFFFFFFFF
    return {"val_dst": values, "idx_dst": indices}
