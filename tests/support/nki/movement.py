"""What copies give."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nkipy_nki.records import Sample
from tests.support.nki.samples import expects


@expects("dma_copy")
def _dma_copy(sample: Sample) -> Mapping[str, np.ndarray]:
    shape, dtype = sample.operands["dst"]
    return {"dst": sample.operands["src"].reshape(shape).astype(dtype)}
