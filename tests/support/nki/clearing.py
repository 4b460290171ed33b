"""What the begin of an accumulation gives."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nkipy_nki.records import Sample
from tests.support.nki.rounding import elements_of, given_dtype, shape_of
from tests.support.nki.samples import expects


@expects("clear_psum", 0)
def _clear_psum(sample: Sample) -> Mapping[str, np.ndarray]:
    shape, dtype = shape_of(sample, "dst"), given_dtype(sample, "dst")
    return {"dst": elements_of([0.0] * int(np.prod(shape)), dtype, shape)}
