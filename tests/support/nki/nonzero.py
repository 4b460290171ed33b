"""Which elements are not zero, one after the other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nkipy_nki.records import Sample
from tests.support.nki.numbers import rows_of
from tests.support.nki.samples import expects

ALL_ONES = {"uint32": 0xFFFFFFFF, "uint16": 0xFFFF}


@expects("nonzero_with_count")
def _nonzero_with_count(sample: Sample) -> Mapping[str, np.ndarray]:
    written, told = sample.operands["dst"], sample.attributes
    result = written.copy() if isinstance(written, np.ndarray) else np.zeros(*written)
    for p, row in enumerate(rows_of(sample.operands["src"])):
        if p % 16:
            continue
        places = [told.get("index_offset", 0) + i for i, x in enumerate(row) if x != 0]
        padding = [told.get("padding_val", -1)] * (len(row) - len(places))
        result[p] = [*places, *padding, len(places)]
    if sample.label.startswith("documented"):
        assert result.tolist() == [[17, 18, 21, -1, -1, -1, -1, -1, 3]]
    return {"dst": result}
