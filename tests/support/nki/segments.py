"""Where segments begin and end, element by element."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nkipy_nki.records import Sample
from tests.support.nki.samples import expects


@expects("sequence_bounds")
def _sequence_bounds(sample: Sample) -> Mapping[str, np.ndarray]:
    (ids,) = sample.operands["segment_ids"].tolist()
    shape, dtype = sample.operands["dst"]
    result = np.empty(shape, dtype)
    for i, number in enumerate(ids):
        first = last = i
        while first > 0 and ids[first - 1] == number:
            first -= 1
        while last + 1 < len(ids) and ids[last + 1] == number:
            last += 1
        result[0, :, i] = (first, last + 1) if number else (len(ids), -1)
    return {"dst": result}
