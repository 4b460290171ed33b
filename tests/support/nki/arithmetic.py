"""What element-wise instructions give."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nkipy_nki.records import Sample
from tests.support.nki.samples import expects


@expects("tensor_tensor")
def _tensor_tensor(sample: Sample) -> Mapping[str, np.ndarray]:
    data1, data2 = sample.operands["data1"], sample.operands["data2"]
    result = np.empty(data1.shape, np.float32)
    for i in np.ndindex(*data1.shape):
        result[i] = float(data1[i]) + float(data2[i])
    return {"dst": result}
